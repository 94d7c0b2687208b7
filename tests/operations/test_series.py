"""A series of Appointments: booked as one, each on its own, found, cancelled and moved together."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.definitions import Request
from fhir_server.operations.series import move_series
from fhir_server.outcome import FhirError
from fhir_server.scheduling.recurrence import TEMPLATE
from fhir_server.scheduling.series import CHANGED, ORIGINATING, RECURRENCE_ID
from tests.clinic import NOW, REASON, Json, appointment, at, location, practitioner, role, schedule
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome, problems
from tests.recurring import recurring

BOB = ("Patient/bob", "Practitioner/smith")
TUESDAYS = ("2026-03-03", "2026-03-10", "2026-03-17", "2026-03-24")


def weekly(number: int = 4, **more: Any) -> Json:
    """On Tuesdays at nine, from tomorrow on."""
    return recurring(at("09:00"), occurrenceCount=number, more=more)


async def book(client: httpx.AsyncClient, wanted: Json, series: str | None = None, key: str = "") -> httpx.Response:
    given = [{"name": "appointment", "resource": wanted}]
    given += [{"name": "series", "valueCode": series}] if series else []
    headers = {"idempotency-key": key} if key else {}
    body = {"resourceType": "Parameters", "parameter": given}
    return await client.post("/Appointment/$book", json=body, headers=headers)


async def booked(client: httpx.AsyncClient, wanted: Json | None = None) -> list[Json]:
    """The Appointments of a series that is booked."""
    response = await book(client, wanted or weekly())
    assert response.status_code == 201, response.text
    return [entry["resource"] for entry in response.json()["entry"]]


async def cancel(client: httpx.AsyncClient, id: str, scope: str | None = None, **headers: str) -> httpx.Response:
    given: list[Json] = [{"name": "cancelationReason", "valueCodeableConcept": REASON}]
    given += [{"name": "scope", "valueCode": scope}] if scope else []
    body = {"resourceType": "Parameters", "parameter": given}
    return await client.post(f"/Appointment/{id}/$cancel", json=body, headers=headers)


async def found(client: httpx.AsyncClient, query: str = "") -> list[Json]:
    response = await client.get(f"/Appointment?_sort=date&_count=200&{query}")
    return [entry["resource"] for entry in response.json().get("entry", ())]


def said(appointment: Json, url: str) -> Any:
    """The value of the extension, None if there is none."""
    one = next((one for one in appointment.get("extension", ()) if one["url"] == url), {})
    return next((value for name, value in one.items() if name.startswith("value")), None)


def times(appointments: list[Json]) -> list[str]:
    return [f"{one['start'][:16]} {one['status']}" for one in appointments]


async def test_b11_a_series_is_booked_as_one(clinic: httpx.AsyncClient) -> None:
    response = await book(clinic, weekly(comment="Dressing"))
    assert response.status_code == 201, response.text
    bundle = response.json()
    assert bundle["type"] == "transaction-response"
    assert [entry["response"]["status"] for entry in bundle["entry"]] == ["201 Created"] * 4
    first, *others = [entry["resource"] for entry in bundle["entry"]]
    assert response.headers["location"] == bundle["entry"][0]["response"]["location"]
    assert times([first, *others]) == [f"{day}T09:00 booked" for day in TUESDAYS]
    assert [said(one, RECURRENCE_ID) for one in (first, *others)] == [1, 2, 3, 4]
    assert {said(one, ORIGINATING)["reference"] for one in others} == {f"Appointment/{first['id']}"}
    assert [any(each["url"] == TEMPLATE for each in one["extension"]) for one in (first, *others)] == [True] + [
        False
    ] * 3
    assert {one["comment"] for one in others} == {"Dressing"}
    slot = await clinic.get("/Slot/smith-main.20260317T0900.30")
    assert slot.json()["status"] == "busy"
    assert others[1]["slot"] == [{"reference": "Slot/smith-main.20260317T0900.30"}]


async def test_b11_a_search_finds_the_others_of_a_series(clinic: httpx.AsyncClient) -> None:
    first, *others = await booked(clinic)
    await clinic.post("/Appointment", json=appointment(at("10:00"), actors=BOB))
    assert await found(clinic, f"originating-appointment=Appointment/{first['id']}") == others
    both = await found(clinic, f"_id={first['id']}&_revinclude=Appointment:originating-appointment")
    assert {one["id"] for one in both} == {one["id"] for one in (first, *others)}


async def test_b11_all_or_nothing_books_nothing_and_lists_each_that_is_taken(clinic: httpx.AsyncClient) -> None:
    for day in (TUESDAYS[1], TUESDAYS[3]):
        await clinic.post("/Appointment", json=appointment(at("09:00", day), actors=BOB))
    response = await book(clinic, weekly(), "all-or-nothing")
    issue = assert_outcome(response, 409, "conflict", "practitioner-busy")
    assert issue["diagnostics"].startswith(f"2 of 4 ({at('09:00', TUESDAYS[1])}): ")
    assert issue["expression"] == ["Appointment.participant[1].actor"]
    texts = [one["diagnostics"] for one in response.json()["issue"]]
    assert [text[:6] for text in texts] == [*["2 of 4"] * 3, *["4 of 4"] * 3]
    assert "alternatives" in {one["details"]["coding"][0]["code"] for one in response.json()["issue"]}
    assert "bob" not in response.text
    assert len(await found(clinic, "status=booked")) == 2


async def test_b11_best_effort_books_the_others_and_says_of_each_why_not(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment(at("09:00", TUESDAYS[1]), actors=BOB))
    response = await book(clinic, weekly(), "best-effort")
    assert response.status_code == 201, response.text
    bundle = response.json()
    assert bundle["type"] == "batch-response"
    assert [entry["response"]["status"][:3] for entry in bundle["entry"]] == ["201", "409", "201", "201"]
    outcome = bundle["entry"][1]["response"]["outcome"]
    codes = [issue.get("details", {}).get("coding", [{}])[0].get("code") for issue in outcome["issue"]]
    assert codes == ["practitioner-busy", "alternatives", "blocking-slots", None]
    assert outcome["issue"][-1]["diagnostics"] == "Occurrence 2, 2026-03-10T09:00:00Z, is not booked."
    assert [said(entry["resource"], RECURRENCE_ID) for entry in bundle["entry"] if "resource" in entry] == [1, 3, 4]


async def test_b11_best_effort_begins_with_the_first_or_not_at_all(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment(actors=BOB))
    assert_outcome(await book(clinic, weekly(), "best-effort"), 409, "conflict", "practitioner-busy")
    assert len(await found(clinic)) == 1


@pytest.mark.parametrize("series", ["all-or-nothing", "best-effort"])
async def test_b11_a_repeated_request_gets_the_whole_series_again(clinic: httpx.AsyncClient, series: str) -> None:
    first = await book(clinic, weekly(3), series, "k")
    again = await book(clinic, weekly(3), series, "k")
    assert first.status_code == again.status_code == 201, again.text
    assert first.json() == again.json()
    assert len(await found(clinic)) == 3
    assert_outcome(await book(clinic, weekly(2), series, "k"), 422, "business-rule", "idempotency-key-reused")


async def test_b11_what_best_effort_was_refused_is_tried_again_with_the_same_key(clinic: httpx.AsyncClient) -> None:
    taken = await clinic.post("/Appointment", json=appointment(at("09:00", TUESDAYS[1]), actors=BOB))
    first = await book(clinic, weekly(3), "best-effort", "k")
    await cancel(clinic, taken.json()["id"])
    again = await book(clinic, weekly(3), "best-effort", "k")
    assert [entry["response"]["status"][:3] for entry in again.json()["entry"]] == ["201", "201", "201"]
    assert [again.json()["entry"][place] for place in (0, 2)] == [first.json()["entry"][place] for place in (0, 2)]


async def test_b11_a_series_keeps_the_time_of_its_schedule_s_clock(clinic: httpx.AsyncClient) -> None:
    zone = {"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "Europe/Berlin"}
    await put(clinic, location(extension=[zone]))
    series = await booked(clinic, recurring("2026-03-24T09:00:00+01:00", occurrenceCount=2))
    assert [one["start"] for one in series] == ["2026-03-24T09:00:00+01:00", "2026-03-31T09:00:00+02:00"]
    template = next(one for one in series[0]["extension"] if one["url"] == TEMPLATE)
    assert template["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "Europe/Berlin"
    by_the_client = recurring("2026-03-24T10:00:00+01:00", occurrenceCount=2, timezone="Africa/Lagos")
    assert [one["start"][11:16] for one in await booked(clinic, by_the_client)] == ["10:00", "10:00"]
    free = await clinic.get("/Slot/smith-main.20260331T0800.30")
    assert free.json()["status"] == "free"


async def test_b11_a_series_longer_than_the_limit_is_refused(
    client_with: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    client = await client_with(clinic=True, series_occurrences_max=3)
    response = await book(client, weekly(4))
    issue = assert_outcome(response, 422, "too-costly", "series-too-long")
    assert issue["expression"] == ["Appointment.extension[0]"]
    assert (await book(client, weekly(3))).status_code == 201
    assert_outcome(await book(client, weekly(101), "best-effort"), 422, "too-costly", "series-too-long")


async def test_b11_a_series_stays_on_the_schedule_of_the_slot_that_is_named(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule("a-smith"))
    named = "Slot/smith-main.20260303T0900.30"
    series = await booked(clinic, weekly(2, slot=[{"reference": named}]))
    assert [one["slot"][0]["reference"] for one in series] == [named, "Slot/smith-main.20260310T0900.30"]
    alone = await booked(clinic, recurring(at("10:00"), occurrenceCount=2))
    assert alone[0]["slot"][0]["reference"].startswith("Slot/a-smith.")


async def test_b11_a_proposed_appointment_is_booked_with_its_series(clinic: httpx.AsyncClient) -> None:
    proposed = (await clinic.post("/Appointment", json={**weekly(2), "status": "proposed"})).json()
    response = await clinic.post(f"/Appointment/{proposed['id']}/$book", headers={"idempotency-key": "k"})
    assert response.status_code == 200, response.text
    first, second = [entry["resource"] for entry in response.json()["entry"]]
    assert (first["id"], first["status"]) == (proposed["id"], "booked")
    assert said(second, ORIGINATING) == {"reference": f"Appointment/{first['id']}"}
    again = await clinic.post(f"/Appointment/{proposed['id']}/$book", headers={"idempotency-key": "k"})
    assert again.json() == response.json()


async def test_b11_a_create_books_the_one_and_refuses_a_template_that_is_not_right(clinic: httpx.AsyncClient) -> None:
    assert (await clinic.post("/Appointment", json=weekly())).status_code == 201
    assert len(await found(clinic)) == 1
    wrong = recurring(at("10:00"), "h", occurrenceCount=2)
    response = await clinic.post("/Appointment", json=wrong)
    issue = assert_outcome(response, 422, "extension", "not-recurring")
    assert issue["expression"] == ["Appointment.extension[0].extension[0]"]
    checked = await clinic.post("/Appointment/$validate", json=wrong)
    assert problems(checked) == {"not-recurring"}
    unnumbered = appointment(at("10:00"), extension=[{"url": RECURRENCE_ID, "valueString": "1"}])
    assert_outcome(await clinic.post("/Appointment", json=unnumbered), 422, "extension", "not-recurring")


@pytest.mark.parametrize(
    ("wanted", "code", "problem"),
    [
        (recurring(at("09:00"), occurrenceCount=2, weeklyTemplate={"monday": True}), "business-rule", "not-recurring"),
        ({**weekly(), "start": None, "end": None, "status": "proposed"}, "invariant", None),
        (
            {
                **weekly(),
                "extension": [
                    *weekly()["extension"],
                    {"url": ORIGINATING, "valueReference": {"reference": "Appointment/1"}},
                ],
            },
            "business-rule",
            "not-recurring",
        ),
    ],
)
async def test_b11_what_cannot_recur_is_refused(
    clinic: httpx.AsyncClient, wanted: Json, code: str, problem: str | None
) -> None:
    response = await book(clinic, {name: value for name, value in wanted.items() if value is not None})
    assert_outcome(response, 422, code, problem)
    assert await found(clinic) == []


async def test_b11_words_that_are_not_known_are_refused(clinic: httpx.AsyncClient) -> None:
    assert_outcome(await book(clinic, weekly(), "mostly"), 400, "value")
    first = (await booked(clinic, weekly(2)))[0]
    assert_outcome(await cancel(clinic, first["id"], "some"), 400, "value")


async def test_b11_of_two_who_want_the_same_series_one_gets_it(clinic: httpx.AsyncClient) -> None:
    both = await asyncio.gather(book(clinic, weekly(5)), book(clinic, weekly(5)))
    assert sorted(each.status_code for each in both) == [201, 409]
    assert len(await found(clinic)) == 5


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        ("one", ["booked", "booked", "cancelled", "booked"]),
        ("following", ["booked", "booked", "cancelled", "cancelled"]),
        ("all", ["cancelled"] * 4),
    ],
)
async def test_b11_one_or_this_and_those_after_it_or_all_are_cancelled(
    clinic: httpx.AsyncClient, scope: str, statuses: list[str]
) -> None:
    series = await booked(clinic)
    response = await cancel(clinic, series[2]["id"], scope)
    assert response.status_code == 200, response.text
    assert [one["status"] for one in await found(clinic)] == statuses
    if scope != "one":
        entries = response.json()["entry"]
        assert response.json()["type"] == "transaction-response"
        assert {entry["resource"]["cancelationReason"]["coding"][0]["code"] for entry in entries} == {"pat"}
        assert len(entries) == statuses.count("cancelled")
    freed = await clinic.post("/Appointment", json=appointment(at("09:00", TUESDAYS[2]), actors=BOB))
    assert freed.status_code == 201


async def test_b11_what_is_past_or_over_does_not_go_along(
    clinic: httpx.AsyncClient, set_clock: Callable[[datetime], None]
) -> None:
    series = await booked(clinic)
    await cancel(clinic, series[1]["id"])
    set_clock(NOW + timedelta(days=10))
    assert (await cancel(clinic, series[3]["id"], "all")).status_code == 200
    assert [one["status"] for one in await found(clinic)] == ["booked", "cancelled", "cancelled", "cancelled"]
    assert [one["meta"]["versionId"] for one in await found(clinic)] == ["1", "2", "2", "2"]


async def test_b11_a_series_is_cancelled_once_whatever_is_repeated(clinic: httpx.AsyncClient) -> None:
    first = (await booked(clinic, weekly(2)))[0]
    key = {"idempotency-key": "k"}
    once = await cancel(clinic, first["id"], "all", **key)
    again = await cancel(clinic, first["id"], "all", **key)
    assert once.json() == again.json()
    assert {one["meta"]["versionId"] for one in await found(clinic)} == {"2"}


async def test_b11_an_appointment_of_no_series_has_no_others(clinic: httpx.AsyncClient) -> None:
    alone = (await clinic.post("/Appointment", json=appointment())).json()
    issue = assert_outcome(await cancel(clinic, alone["id"], "all"), 422, "business-rule", "not-recurring")
    assert issue["expression"] == ["Appointment.extension"]
    assert_outcome(await cancel(clinic, "nobody", "all"), 404, "not-found")


async def test_b11_more_members_than_can_be_changed_together_are_refused(
    clinic: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await booked(clinic))[0]
    monkeypatch.setattr("fhir_server.scheduling.series.MEMBERS_MAX", 2)
    assert_outcome(await cancel(clinic, first["id"], "all"), 422, "too-costly")
    monkeypatch.setattr("fhir_server.scheduling.series.MEMBERS_MAX", 3)
    assert (await cancel(clinic, first["id"], "all")).status_code == 200


async def test_b11_a_member_that_is_changed_alone_says_so(clinic: httpx.AsyncClient) -> None:
    first, second, third = await booked(clinic, weekly(3))
    moved = {**second, "start": at("10:00", TUESDAYS[1]), "end": at("10:30", TUESDAYS[1])}
    noted = {**third, "comment": "Bring the letter"}
    for one in (moved, noted):
        assert (await clinic.put(f"/Appointment/{one['id']}", json=one)).status_code == 200
    assert [said(one, CHANGED) for one in await found(clinic)] == [None, True, None]
    assert said((await clinic.get(f"/Appointment/{first['id']}")).json(), CHANGED) is None
    await clinic.put(
        f"/Appointment/{first['id']}", json={**first, "participant": appointment(actors=BOB)["participant"]}
    )
    assert [said(one, CHANGED) for one in await found(clinic)] == [True, True, None]


async def move(client: httpx.AsyncClient, id: str, scope: str, start: str, end: str) -> list[Json]:
    """What $reschedule does with a scope."""
    server = client.app.state.server  # type: ignore[attr-defined]
    request = Request("POST", server.base, f"Appointment/{id}/$reschedule", "Appointment", id)
    response = await move_series(server, request, scope, datetime.fromisoformat(start), datetime.fromisoformat(end))
    assert response.resource is not None
    return [entry["resource"] for entry in response.resource["entry"]]


async def test_b11_a_series_is_moved_as_one(clinic: httpx.AsyncClient) -> None:
    series = await booked(clinic)
    await move(clinic, series[1]["id"], "following", at("10:00", TUESDAYS[1]), at("11:00", TUESDAYS[1]))
    assert times(await found(clinic)) == [
        f"{day}T{time} booked" for day, time in zip(TUESDAYS, ("09:00", "10:00", "10:00", "10:00"), strict=True)
    ]
    assert [said(one, CHANGED) for one in await found(clinic)] == [None] * 4
    moved = await move(clinic, series[1]["id"], "all", at("09:30", "2026-03-11"), at("10:00", "2026-03-11"))
    assert times(moved) == [f"2026-03-{day:02}T09:30 booked" for day in (4, 11, 18, 25)]
    assert [said(one, CHANGED) for one in moved] == [True] * 4
    free = appointment(at("09:00", TUESDAYS[3]), actors=BOB)
    assert (await clinic.post("/Appointment", json=free)).status_code == 201


async def test_b11_a_daily_series_moves_into_its_own_time(clinic: httpx.AsyncClient) -> None:
    series = await booked(clinic, recurring(at("09:00"), "d", occurrenceCount=3))
    moved = await move(clinic, series[0]["id"], "all", at("09:00", "2026-03-04"), at("09:30", "2026-03-04"))
    assert times(moved) == [f"2026-03-{day:02}T09:00 booked" for day in (4, 5, 6)]


async def test_b11_a_series_of_which_one_cannot_move_stays_as_it_is(clinic: httpx.AsyncClient) -> None:
    series = await booked(clinic)
    await clinic.post("/Appointment", json=appointment(at("10:00", TUESDAYS[2]), actors=BOB))
    with pytest.raises(FhirError) as refused:
        await move(clinic, series[0]["id"], "all", at("10:00"), at("10:30"))
    assert refused.value.status == 409
    assert refused.value.issues[0].text.startswith(f"3 of 4 ({at('10:00', TUESDAYS[2])}): ")
    assert refused.value.issues[0].expression == ("Appointment.participant[1].actor",)
    with pytest.raises(FhirError) as far:
        await move(clinic, series[0]["id"], "all", at("10:00", "9999-12-30"), at("10:30", "9999-12-30"))
    assert far.value.issues[0].problem == "too-far-away"
    kept = await found(clinic, "patient=Patient/ann")
    assert times(kept) == [f"{day}T09:00 booked" for day in TUESDAYS]


async def test_b11_a_held_appointment_is_booked_with_its_series(clinic: httpx.AsyncClient) -> None:
    held = (await clinic.post("/Appointment/$hold", json=weekly(2))).json()
    assert (held["status"], len(await found(clinic))) == ("pending", 1)
    response = await clinic.post(f"/Appointment/{held['id']}/$book")
    assert response.status_code == 200, response.text
    assert [entry["response"]["status"] for entry in response.json()["entry"]] == ["200 OK", "201 Created"]
    for one in await found(clinic):
        assert one["status"] == "booked"
        assert not any("hold" in each["url"] for each in one["extension"])


async def test_b11_the_example_of_the_page_is_booked_as_it_says(clinic: httpx.AsyncClient) -> None:
    page = (Path(__file__).parents[2] / "docs" / "series.md").read_text("utf-8")
    await put(clinic, role(availableTime=[{"allDay": True}]))
    wanted, starts = re.findall(r"^```(?:json)?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    response = await clinic.post("/Appointment/$book", json=json.loads(wanted))
    assert response.status_code == 201, response.text
    assert [entry["resource"]["start"] for entry in response.json()["entry"]] == starts.split()


async def test_b11_a_held_first_is_booked_with_its_series_by_its_owner_alone(clinic: httpx.AsyncClient) -> None:
    secret = {"X-Hold-Token": "secret"}
    wanted = recurring(at("09:00"), occurrenceCount=3)
    held = (await clinic.post("/Appointment/$hold", json=wanted, headers=secret)).json()
    for operation, status in (("book", 403), ("validate-booking", 200)):
        refused = await clinic.post(f"/Appointment/{held['id']}/${operation}")
        issue = assert_outcome(refused, status, "forbidden", "not-the-holder")
        assert issue["expression"] == ["Appointment.extension"]
    booked = await clinic.post(f"/Appointment/{held['id']}/$book", headers=secret)
    assert (booked.status_code, len(booked.json()["entry"])) == (200, 3)


async def test_b11_a_series_is_given_to_whom_one_of_them_has_already(clinic: httpx.AsyncClient) -> None:
    jones = {"reference": "Practitioner/jones"}
    await put(clinic, practitioner("jones"), role("jones-main", practitioner=jones))
    await put(clinic, schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]))
    entries = (await book(clinic, weekly(3))).json()["entry"]
    first, second, _ = (entry["resource"]["id"] for entry in entries)
    to = {"name": "to", "valueReference": jones}
    all_of_them = {"name": "scope", "valueCode": "all"}
    alone = await clinic.post(
        f"/Appointment/{second}/$reassign", json={"resourceType": "Parameters", "parameter": [to]}
    )
    assert alone.status_code == 200, alone.text
    given = {"resourceType": "Parameters", "parameter": [to, all_of_them]}
    done = await clinic.post(f"/Appointment/{first}/$reassign", json=given)
    assert done.status_code == 200, done.text
    assert ["Practitioner/jones" in json.dumps(entry["resource"]) for entry in done.json()["entry"]] == [True] * 3


async def test_one_that_says_it_is_the_first_of_itself_is_one(clinic: httpx.AsyncClient) -> None:
    one = (await clinic.post("/Appointment", json=appointment())).json()
    own = {"url": ORIGINATING, "valueReference": {"reference": f"Appointment/{one['id']}"}}
    await clinic.put(f"/Appointment/{one['id']}", json={**one, "extension": [own]})
    reason = {"name": "cancelationReason", "valueCodeableConcept": REASON}
    given = {"resourceType": "Parameters", "parameter": [reason, {"name": "scope", "valueCode": "all"}]}
    done = await clinic.post(f"/Appointment/{one['id']}/$cancel", json=given)
    assert [entry["resource"]["status"] for entry in done.json()["entry"]] == ["cancelled"]
