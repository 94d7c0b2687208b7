"""The outbox: every change says what it was, once, in an order that can be followed."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.outcome import FhirError
from fhir_server.plan import Decision, Event, Stored, Write
from fhir_server.store import Answer, Happened, LostRace, Replay, Store
from tests.store.bookings import at, booking


async def follow_all(store: Store, cursor: str | None = None, limit: int = 7) -> list[Happened]:
    seen: list[Happened] = []
    while True:
        events, cursor = await store.follow(cursor, limit)
        if not events:
            return seen
        seen += events


def patient(id: str, before: int, resource: bool = True) -> Decision:
    return Decision((Write("Patient", id, {"resourceType": "Patient"} if resource else None, before),))


async def test_each_write_without_an_event_gets_one(store: Store) -> None:
    for before, resource in ((0, True), (1, True), (2, False), (3, True)):
        await store.transact(patient("p", before, resource), who="Practitioner/1")
    assert [(each.event, each.version, each.who) for each in await follow_all(store)] == [
        (Event("Patient/p", "create"), 1, "Practitioner/1"),
        (Event("Patient/p", "update"), 2, "Practitioner/1"),
        (Event("Patient/p", "delete"), 3, "Practitioner/1"),
        (Event("Patient/p", "create"), 4, "Practitioner/1"),
    ]


async def test_the_events_of_a_decision_are_kept_as_they_are(store: Store) -> None:
    said = Event("Appointment/a", "update", "booked", "cancelled", "pat", "high")
    write = Write("Appointment", "a", {"resourceType": "Appointment"}, 0)
    await store.transact(Decision((write, *patient("p", 0).writes), events=(said,)))
    happened = await follow_all(store)
    assert {each.event for each in happened} == {said, Event("Patient/p", "create")}
    stored = await store.read("Appointment", "a")
    assert stored and {each.at for each in happened} == {stored.updated}


async def test_what_was_not_written_did_not_happen(store: Store) -> None:
    with pytest.raises(LostRace):
        await store.transact(patient("p", 3))
    assert await follow_all(store) == []


async def test_a_cursor_goes_on_where_it_was(store: Store) -> None:
    for number in range(5):
        await store.transact(patient(f"p{number}", 0))
    first, cursor = await store.follow(None, 3)
    await store.transact(patient("late", 0))
    rest, end = await store.follow(cursor, 100)
    assert [each.number for each in (*first, *rest)] == [1, 2, 3, 4, 5, 6]
    assert await store.follow(end, 100) == ([], end)


async def test_an_event_that_is_committed_late_is_not_skipped(store: Store) -> None:
    """Its time lies before that of events which were followed already."""
    await store.transact(patient("p", 0))
    seen, cursor = await store.follow(None, 10)
    early = {"_id": "early", "at": at(-100_000), "version": 1, "resource": "Patient/q", "action": "create"}
    rest = {"old_status": None, "new_status": None, "reason": None, "priority": "normal", "who": None}
    await store.db["outbox"].insert_one({**early, **rest})
    late, _ = await store.follow(cursor, 10)
    assert [each.event.resource for each in (*seen, *late)] == ["Patient/p", "Patient/q"]


async def test_followers_at_once_see_the_same_events_each_once(store: Store, neighbour: Store) -> None:
    async def write() -> None:
        for number in range(30):
            await store.transact(patient(f"p{number}", 0))

    async def follow(reader: Store) -> list[Happened]:
        seen: list[Happened] = []
        cursor: str | None = None
        while len(seen) < 30:
            events, cursor = await reader.follow(cursor, 4)
            seen += events
        return seen

    async with asyncio.timeout(30):
        _, one, two, three = await asyncio.gather(write(), follow(store), follow(neighbour), follow(store))
    assert one == two == three
    assert [each.number for each in one] == list(range(1, 31))
    assert len({each.event.resource for each in one}) == 30


async def test_a_follower_stopped_half_way_numbers_nothing_twice(store: Store) -> None:
    await store.transact(patient("p", 0))
    waiting = await store.db["outbox"].find_one({})
    first = await follow_all(store)
    assert waiting
    await store.db["outbox"].insert_one(waiting)
    assert await follow_all(store) == first
    assert await store.db["outbox"].count_documents({}) == 0


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1" * 30, "²"])
async def test_a_cursor_that_was_not_given_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(FhirError) as refused:
        await store.follow(cursor, 1)
    assert refused.value.status == 400


async def test_a_key_is_answered_again_as_the_first_time(store: Store) -> None:
    replay = Replay("Appointment|k", "print")
    assert await store.replayed(replay) is None
    nothing = Stored("Appointment", "a", 0, at(0), None)
    (first,) = await store.transact(booking("a", at(0), at(30)), replay=replay, answers=[Answer(nothing, 201)])
    await store.transact(booking("a", at(60), at(90), before=1))
    assert await store.replayed(replay) == [Answer(first, 201)]


async def test_a_key_of_another_request_is_refused(store: Store) -> None:
    await store.transact(patient("p", 0), replay=Replay("k", "one"))
    with pytest.raises(FhirError) as refused:
        await store.replayed(Replay("k", "other"))
    assert refused.value.status == 422


async def test_a_key_that_is_used_twice_at_once_writes_once(store: Store, neighbour: Store) -> None:
    replay = Replay("k", "print")
    results = await asyncio.gather(
        *((store, neighbour)[n % 2].transact(patient(f"p{n}", 0), replay=replay) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, LostRace) for each in results) == 9
    assert await store.count("Patient") == 1
    assert len(await follow_all(store)) == 1


async def test_a_refused_write_leaves_its_key_free(store: Store) -> None:
    replay = Replay("k", "print")
    with pytest.raises(LostRace):
        await store.transact(patient("p", 5), replay=replay)
    assert await store.replayed(replay) is None
