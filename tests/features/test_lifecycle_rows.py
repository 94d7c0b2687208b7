"""The lifecycle, clause by clause, where no other test of the rows L1 to L7 has it (docs/features.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_server.scheduling import lifecycle
from fhir_server.store import Happened, Store
from tests.clinic import NOW, REASON, appointment, at, encounter
from tests.doors.test_newcomers import DAN, asked, people
from tests.operations.test_changing import moves
from tests.operations.test_find_slots import put
from tests.operations.test_hold import hold
from tests.operations.test_join import BY_VIDEO, PROVIDER, links
from tests.operations.test_reschedule import booked
from tests.outcomes import assert_outcome
from tests.test_statuses import encounters, move

Json = dict[str, Any]
SetClock = Callable[[datetime], None]
OpenClient = Callable[..., Awaitable[httpx.AsyncClient]]


async def happened(store: Store, reference: str) -> list[Happened]:
    """The events of one resource, in order."""
    seen: list[Happened] = []
    cursor = None
    while True:
        batch, cursor = await store.follow(cursor, 100)
        seen += [one for one in batch if one.event.resource == reference]
        if not batch:
            return seen


async def states_of(client: httpx.AsyncClient, id: str) -> set[str]:
    """The words that a search by `state` finds the Appointment by."""
    found = set()
    for word in {one.code for one in lifecycle.WORDS}:
        total = (await client.get(f"/Appointment?_id={id}&state={word}&_count=0")).json()["total"]
        found |= {word} if total else set()
    return found


async def test_l1_a_visit_goes_by_the_words_of_other_products_from_its_hold_to_its_end(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    held = (await hold(clinic)).json()
    id = held["id"]
    assert await states_of(clinic, id) == {"pending", "held"}
    confirmed = (await clinic.post(f"/Appointment/{id}/$book")).json()
    assert await states_of(clinic, id) >= {"booked", "scheduled", "upcoming", "confirmed"}
    for person in confirmed["participant"]:
        person["status"] = "accepted"
    await put(clinic, confirmed)
    assert "patient-confirmed" in await states_of(clinic, id)
    set_clock(datetime.fromisoformat(at("09:00")))
    await move(clinic, confirmed, "arrived")
    assert await states_of(clinic, id) == {"arrived"}
    [visit] = await encounters(clinic, confirmed)
    await move(clinic, visit, "in-progress")
    assert await states_of(clinic, id) == {"arrived", "in-progress"}
    await move(clinic, visit, "finished")
    assert await states_of(clinic, id) == {"fulfilled", "completed", "done"}


async def test_l2_the_legal_moves_are_published_for_people_and_named_by_the_refusal(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    refused = assert_outcome(await move(clinic, one, "fulfilled"), 422, "business-rule", "illegal-transition")
    assert refused["expression"] == ["Appointment.status"]
    told = [code for code in await moves(clinic, one["id"]) if code in lifecycle.APPOINTMENT]
    assert told == list(lifecycle.APPOINTMENT["booked"])
    assert all(code in refused["diagnostics"] for code in told)


async def test_l2_what_was_booked_by_mistake_is_entered_in_error_and_nothing_follows(
    clinic: httpx.AsyncClient,
) -> None:
    one = await booked(clinic)
    assert (await move(clinic, one, "entered-in-error")).status_code == 200
    assert_outcome(await move(clinic, one, "arrived"), 422, "business-rule", "illegal-transition")


async def test_l3_how_long_a_patient_can_come_is_set(client_with: OpenClient, set_clock: SetClock) -> None:
    client = await client_with(clinic=True, join_window_after_minutes=15)
    one = await booked(client)
    set_clock(datetime.fromisoformat(at("09:14")))
    assert_outcome(await move(client, one, "noshow"), 422, "business-rule", "join-window-open")
    set_clock(datetime.fromisoformat(at("09:15")))
    assert (await move(client, one, "noshow")).status_code == 200


async def test_l5_each_change_tells_old_and_new_status_reason_and_when_and_a_cancellation_comes_first(
    clinic: httpx.AsyncClient, store: Store, set_clock: SetClock
) -> None:
    one = await booked(clinic)
    set_clock(NOW + timedelta(minutes=5))
    done = await move(clinic, one, "cancelled", cancelationReason=REASON)
    assert done.status_code == 200
    made, called_off = await happened(store, f"Appointment/{one['id']}")
    assert (made.event.old_status, made.event.new_status, made.event.priority) == (None, "booked", "normal")
    said = called_off.event
    assert (said.old_status, said.new_status, said.reason, said.priority) == ("booked", "cancelled", "pat", "high")
    assert [each.at for each in (made, called_off)] == [NOW, NOW + timedelta(minutes=5)]
    assert (made.version, called_off.version) == (1, 2)


async def test_l5_a_refused_change_tells_nothing(clinic: httpx.AsyncClient, store: Store) -> None:
    one = await booked(clinic)
    assert (await move(clinic, one, "fulfilled")).status_code == 422
    assert len(await happened(store, f"Appointment/{one['id']}")) == 1


@pytest.mark.parametrize("reference", ["Patient/ann", "Schedule/smith-main", "Practitioner/smith"])
async def test_l6_what_others_refer_to_is_not_deleted(clinic: httpx.AsyncClient, reference: str) -> None:
    await booked(clinic)
    assert (await clinic.delete(f"/{reference}")).status_code == 409
    assert (await clinic.get(f"/{reference}")).status_code == 200


async def test_l6_the_server_says_that_it_does_not_yet_know_who_may_delete(reader: httpx.AsyncClient) -> None:
    security = (await reader.get("/metadata")).json()["rest"][0]["security"]
    assert "no access control" in security["description"]
    assert "service" not in security


async def test_l7_a_booking_makes_the_record_the_room_and_the_link_in_one_transaction(
    client_with: OpenClient,
) -> None:
    client = await client_with(clinic=True, **PROVIDER)
    wanted = {**appointment(actors=("#dan", "Practitioner/smith"), **BY_VIDEO), "contained": [{**DAN, "id": "dan"}]}
    made = await client.post("/Appointment/$book", json=wanted)
    assert made.status_code == 201, made.text
    [id] = await people(client)
    assert made.json()["participant"][0]["actor"]["reference"] == f"Patient/{id}"
    assert len(links(made.json())) == 1
    again = await client.post("/Appointment/$book", json=asked({**DAN, "birthDate": "1999-01-01"}))
    assert again.status_code == 409
    assert await people(client) == [id]


async def test_l7_a_cancellation_and_a_no_show_put_away_room_time_and_visit(
    client_with: OpenClient, set_clock: SetClock
) -> None:
    client = await client_with(clinic=True, **PROVIDER)
    one, two = await booked(client, **BY_VIDEO), await booked(client, at("10:00"), **BY_VIDEO)
    await put(client, encounter(appointment=[{"reference": f"Appointment/{two['id']}"}]))
    await move(client, one, "cancelled", cancelationReason=REASON)
    assert (await client.get(f"/{one['slot'][0]['reference']}")).json()["status"] == "free"
    set_clock(datetime.fromisoformat(at("11:00")))
    assert (await move(client, two, "noshow")).status_code == 200
    assert [visit["status"] for visit in await encounters(client, two)] == ["cancelled"]
    for visit in (one, two):
        closed = await client.get(f"/Appointment/{visit['id']}/$join")
        assert_outcome(closed, 422, "business-rule", "not-booked")
