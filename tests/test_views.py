"""What staff look at: today's list, what comes, the calendar, states in FHIR's codes and in the words of products."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.scheduling.holds import EXPIRES
from fhir_server.scheduling.lifecycle import APPOINTMENT, STATUS_SYSTEM, WORD_SYSTEM, WORDS
from fhir_server.search.state import TELLING
from tests.clinic import MONDAY, NOW, REASON, TUESDAY, WEDNESDAY, appointment, at, encounter
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome

SetClock = Callable[[datetime], None]


async def ids(client: httpx.AsyncClient, query: str, type: str = "Appointment") -> list[str]:
    response = await client.get(f"/{type}?{query}", headers={"Prefer": "handling=strict"})
    assert response.status_code == 200, response.text
    entries = response.json().get("entry", ())
    return [one["resource"]["id"] for one in entries if one["search"]["mode"] == "match"]


def held(start: str, expires: datetime) -> dict[str, Any]:
    return appointment(
        start,
        status="pending",
        extension=[{"url": EXPIRES, "valueInstant": expires.isoformat().replace("+00:00", "Z")}],
    )


@pytest.fixture
async def ward(clinic: httpx.AsyncClient) -> httpx.AsyncClient:
    """The test clinic with an Appointment in each state, its id the state. Times tell them apart."""
    unanswered = appointment(at("11:30"))
    unanswered["participant"][0]["status"] = "needs-action"
    plain = {
        "booked": unanswered,
        "patient-confirmed": appointment(at("09:00")),
        "pending": appointment(at("09:30"), status="pending"),
        "held": held(at("10:00"), NOW + timedelta(minutes=15)),
        "proposed": appointment(at("10:30"), status="proposed"),
        "waitlist": appointment(at("10:30"), status="waitlist"),
        "cancelled": appointment(at("10:30"), status="cancelled", cancelationReason=REASON),
        "mistake": appointment(at("10:30"), status="entered-in-error"),
        "arrived": appointment(at("09:00", MONDAY), status="arrived"),
        "in-progress": appointment(at("09:30", MONDAY), status="arrived", actors=("Patient/bob", "Practitioner/smith")),
        "noshow": appointment(at("09:00", "2026-02-27"), status="noshow"),
        "fulfilled": appointment(at("10:00", "2026-02-27"), status="fulfilled"),
    }
    await put(clinic, *({**one, "id": id} for id, one in plain.items()))
    await put(
        clinic,
        encounter(status="in-progress", appointment=[{"reference": "Appointment/in-progress"}]),
    )
    return clinic


async def test_v1_states_are_searched_in_fhirs_codes_and_in_the_words_of_products(ward: httpx.AsyncClient) -> None:
    for state, expected in {
        "held": {"held"},
        "pending": {"held", "pending"},
        "requested": {"proposed"},
        "upcoming": {"booked", "patient-confirmed"},
        "scheduled": {"booked", "patient-confirmed"},
        "confirmed": {"booked", "patient-confirmed"},
        "patient-confirmed": {"patient-confirmed"},
        "arrived": {"arrived", "in-progress"},
        "in-progress": {"in-progress"},
        "done": {"fulfilled"},
        "no-show": {"noshow"},
        "noshow": {"noshow"},
        "cancelled": {"cancelled"},
        "waiting-list": {"waitlist"},
        "booked-by-mistake": {"mistake"},
        "expired": set(),
        "banana": set(),
        "held,in-progress,no-show": {"held", "in-progress", "noshow"},
        f"{WORD_SYSTEM}|no-show": {"noshow"},
        f"{STATUS_SYSTEM}|no-show": set(),
        f"{STATUS_SYSTEM}|noshow": {"noshow"},
        "http://elsewhere.example|noshow": set(),
    }.items():
        assert set(await ids(ward, f"state={state}")) == expected, state
    everything = set(await ids(ward, "state:missing=false"))
    assert len(everything) == 12
    assert set(await ids(ward, f"state={WORD_SYSTEM}|")) == everything
    assert set(await ids(ward, "state:not=held,upcoming,in-progress")) == everything - {
        "held",
        "booked",
        "patient-confirmed",
        "in-progress",
    }


async def test_v1_a_state_joins_other_conditions_chains_and_filters(ward: httpx.AsyncClient) -> None:
    assert await ids(ward, "state=upcoming&_sort=date") == ["patient-confirmed", "booked"]
    assert await ids(ward, "state=upcoming&state=patient-confirmed") == ["patient-confirmed"]
    assert await ids(ward, "patient=bob&state=in-progress,upcoming") == ["in-progress"]
    assert await ids(ward, "_has:Appointment:actor:state=in-progress", "Patient") == ["bob"]
    assert await ids(ward, "appointment.state=in-progress&status=in-progress", "Encounter") == ["visit"]
    assert await ids(ward, "_filter=state eq held or state eq no-show&_sort=date") == ["noshow", "held"]
    assert_outcome(await ward.get("/Appointment?state=a|b|c"), 400, "value")
    assert_outcome(await ward.get("/Appointment?state=|"), 400, "value")


async def test_v1_what_the_clock_decides_is_decided_when_it_is_asked(
    ward: httpx.AsyncClient, set_clock: SetClock
) -> None:
    set_clock(NOW + timedelta(minutes=15))
    assert "held" not in await ids(ward, "state=held")
    assert await ids(ward, "state=expired") == ["held"]
    set_clock(datetime.fromisoformat(at("09:00")))
    assert await ids(ward, "state=upcoming") == ["booked"]
    assert set(await ids(ward, "state=booked")) == {"booked", "patient-confirmed"}


def test_every_word_is_either_its_status_or_told_apart() -> None:
    narrower = {word.code for word in WORDS if not word.exact}
    assert set(TELLING) == narrower - {"confirmed"}
    assert all(word.status == word.code for word in WORDS if word.code in APPOINTMENT)


async def test_v1_the_lists_of_a_clinic_come_in_order_with_the_names(ward: httpx.AsyncClient) -> None:
    today = f"date=ge{MONDAY}T00:00:00Z&date=lt{TUESDAY}T00:00:00Z&_sort=date"
    bundle = (await ward.get(f"/Appointment?{today}&_include=Appointment:actor")).json()
    shown = [(one["search"]["mode"], one["resource"]["resourceType"], one["resource"]["id"]) for one in bundle["entry"]]
    assert shown[:2] == [("match", "Appointment", "arrived"), ("match", "Appointment", "in-progress")]
    assert {(type, id) for mode, type, id in shown if mode == "include"} == {
        ("Patient", "ann"),
        ("Patient", "bob"),
        ("Practitioner", "smith"),
    }
    assert bundle["total"] == 2
    coming = "state=upcoming&_sort=date"
    assert await ids(ward, f"practitioner=smith&{coming}") == ["patient-confirmed", "booked"]
    assert await ids(ward, f"patient=ann&{coming}") == ["patient-confirmed", "booked"]
    assert await ids(ward, f"patient=bob&{coming}") == []
    week = f"date=ge{MONDAY}&date=lt2026-03-09&status=booked,arrived&_sort=date"
    assert await ids(ward, week) == ["arrived", "in-progress", "patient-confirmed", "booked"]
    assert await ids(ward, f"date={WEDNESDAY}") == []
    assert await ids(ward, "cancelation-reason=pat") == ["cancelled"]


async def test_the_requests_of_the_page_are_answered_and_it_explains_every_word(ward: httpx.AsyncClient) -> None:
    page = (Path(__file__).parents[1] / "docs" / "views.md").read_text("utf-8")
    requests = re.findall(r"^GET \[base\](/.+)$", page, re.MULTILINE)
    assert len(requests) > 6
    for url in requests:
        answer = await ward.get(url, headers={"Prefer": "handling=strict"})
        assert answer.status_code == 200, (url, answer.text)
    [example] = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert (await ward.get(requests[-1])).json() == json.loads(example)
    assert all(f"| `{word}` |" in page for word in TELLING)
