"""Search and loads: the right documents, and a number of statements that does not depend on how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fhir_server import search
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Claimed, Decision, Load, Matching, Plan, Sought, Stored, Write
from fhir_server.resources import ROWS
from fhir_server.search import Query
from fhir_server.store import Page, Store, counted
from tests.store.bookings import NINE, at, booking
from tests.store.conftest import BASE


def parsed(type: str, **pairs: str) -> Query:
    named = [(name.replace("__", "-"), value) for name, value in pairs.items()]
    return search.parse(search.Scope(ROWS, ZoneInfo("UTC"), BASE, NINE, strict=True), type, named)


def following(query: Query, page: Page) -> Query:
    return search.page.turn(query, search.page.at(query, page.documents[-1], backward=False))


def ids(documents: Sequence[Json]) -> list[str]:
    return [document["_id"] for document in documents]


async def store_slots(store: Store, *starts: int, schedule: str = "1", status: str = "free") -> None:
    writes = [
        Write(
            "Slot",
            f"s{start:03}-{schedule}",
            {
                "resourceType": "Slot",
                "schedule": {"reference": f"Schedule/{schedule}"},
                "status": status,
                "start": at(start).isoformat(),
                "end": at(start + 15).isoformat(),
            },
            0,
        )
        for start in starts
    ]
    await store.transact(Decision(tuple(writes)))


async def test_a_search_gives_what_matches_in_order_with_the_total(store: Store) -> None:
    await store_slots(store, 30, 0, 15, 600)
    await store_slots(store, 0, schedule="2")
    page = await store.search(
        parsed("Slot", schedule="Schedule/1", start=f"lt{at(60):%Y-%m-%dT%H:%M:%SZ}", _sort="-start")
    )
    assert (ids(page.documents), page.total, page.more) == (["s030-1", "s015-1", "s000-1"], 3, False)


async def test_pages_neither_skip_nor_repeat_when_data_changes_meanwhile(store: Store) -> None:
    await store_slots(store, *range(0, 100, 10))
    asked = {"_sort": "start", "_count": "3"}
    query = parsed("Slot", **asked)
    page = await store.search(query)
    seen = ids(page.documents)
    await store_slots(store, 5, 25, 95)
    await store.transact(Decision((Write("Slot", "s000-1", None, 1), Write("Slot", "s050-1", None, 1))))
    while page.more:
        query = following(query, page)
        page = await store.search(query)
        seen += ids(page.documents)
    assert seen == [f"s{start:03}-1" for start in (0, 10, 20, 25, 30, 40, 60, 70, 80, 90, 95)]


async def test_a_count_of_zero_gives_the_total_alone(store: Store) -> None:
    await store_slots(store, 0, 15)
    page = await store.search(parsed("Slot", _count="0"))
    assert (page.documents, page.more, page.total) == ([], False, 2)


async def test_a_search_is_two_statements_and_one_without_a_total(store: Store) -> None:
    await store_slots(store, *range(0, 600, 5))
    with counted() as commands:
        await store.search(parsed("Slot", _sort="start", _count="100"))
    assert sorted(commands) == ["aggregate", "find"]
    with counted() as commands:
        await store.search(parsed("Slot", _total="none"))
    assert commands == ["find"]


async def test_deleted_resources_are_not_found(store: Store) -> None:
    await store_slots(store, 0)
    await store.transact(Decision((Write("Slot", "s000-1", None, 1),)))
    assert (await store.search(parsed("Slot"))).total == 0


async def test_loads_come_back_in_their_order(store: Store) -> None:
    await store_slots(store, 0, 30, 60)
    await store_slots(store, 15, schedule="2", status="busy")
    await store.transact(booking("a", at(0), at(30)))
    free, named, claims, busy = await store.load(
        [
            Matching("Slot", {"schedule": frozenset({"Schedule/1"})}, ("start", at(30), at(60))),
            ById(frozenset({"Slot/s015-2", "Appointment/a", "Appointment/none", "Device/1", "nonsense"})),
            Claimed(frozenset({"Practitioner/1"}), at(0), at(1)),
            Matching("Slot", {"schedule": frozenset({"Schedule/1", "Schedule/2"}), "status": frozenset({"*|busy"})}),
        ]
    )
    assert [each.id for each in free if isinstance(each, Stored)] == ["s030-1"]
    assert [(each.type, each.id) for each in named if isinstance(each, Stored)] == [
        ("Appointment", "a"),
        ("Slot", "s015-2"),
    ]
    assert [each.owner for each in claims if not isinstance(each, Stored)] == ["Appointment/a"]
    assert [each.id for each in busy if isinstance(each, Stored)] == ["s015-2"]


async def test_what_is_deleted_is_not_loaded(store: Store) -> None:
    await store_slots(store, 0)
    await store.transact(Decision((Write("Slot", "s000-1", None, 1),)))
    loads: list[Load] = [ById(frozenset({"Slot/s000-1"})), Matching("Slot", {})]
    assert await store.load(loads) == [[], []]


async def test_a_batch_is_one_statement_for_each_type_and_each_other_load(store: Store) -> None:
    await store_slots(store, *range(0, 300, 2))
    references = frozenset(f"Slot/s{start:03}-1" for start in range(0, 300, 2))
    with counted() as commands:
        slots, *_ = await store.load(
            [
                ById(references),
                ById(frozenset({"Slot/s000-1", "Patient/1"})),
                Matching("Slot", {"schedule": frozenset({"Schedule/1"})}),
                Claimed(frozenset({"Practitioner/1"}), NINE, NINE + timedelta(days=62)),
            ]
        )
    assert len(slots) == 150
    assert commands == ["find"] * 4


async def test_more_than_the_limit_is_refused_and_never_cut(store: Store) -> None:
    await store_slots(store, 0, 15, 30)
    assert len((await store.load([Matching("Slot", {}, limit=3)]))[0]) == 3
    with pytest.raises(FhirError) as refused:
        await store.load([Matching("Slot", {}, limit=2)])
    assert refused.value.issues[0].code == "too-costly"


async def test_a_plan_is_run_batch_by_batch(store: Store) -> None:
    await store_slots(store, 0, 15)

    def plan() -> Plan[list[str]]:
        first = (yield [ById(frozenset({"Slot/s000-1"}))])[0]
        second = (yield [ById(frozenset({"Slot/s015-1"})), Matching("Patient", {})])[0]
        return [each.id for each in (*first, *second) if isinstance(each, Stored)]

    with counted() as commands:
        assert await store.run(plan()) == ["s000-1", "s015-1"]
    assert commands == ["find"] * 3


async def test_a_plan_that_refuses_is_heard(store: Store) -> None:
    def plan() -> Plan[None]:
        yield [Matching("Patient", {})]
        raise FhirError("business-rule", "no")

    with pytest.raises(FhirError):
        await store.run(plan())


async def test_reindexing_makes_found_what_was_indexed_wrongly_and_changes_nothing_twice(store: Store) -> None:
    await store_slots(store, 0, 15)
    await store.db["Slot"].update_one({"_id": "s000-1"}, {"$set": {"index": {}, "order": {"gone": 1}}})
    query = parsed("Slot", schedule="Schedule/1")
    assert (await store.search(query)).total == 1
    told: list[int] = []
    assert await store.reindex("Slot", told.append) == 1
    assert (await store.search(query)).total == 2
    assert await store.reindex("Slot") == 0
    assert told == [2]


async def test_an_index_depends_on_the_zone_of_dates_without_one(store: Store) -> None:
    encounter = {"resourceType": "Encounter", "status": "finished", "period": {"start": "2026-12-01"}}
    await store.transact(Decision((Write("Encounter", "e", encounter, 0),)))
    query = parsed("Encounter", date="lt2026-12-01T00:00:00Z")
    assert (await store.search(query)).total == 0
    east = replace(store, frame=replace(store.frame, zone=ZoneInfo("Asia/Tokyo")))
    assert await east.reindex("Encounter") == 1
    assert (await store.search(query)).total == 1


async def test_an_opened_store_is_ready(store: Store) -> None:
    assert await store.ready()


async def test_times_are_read_back_in_utc(store: Store) -> None:
    await store_slots(store, 0)
    stored = await store.read("Slot", "s000-1")
    assert stored and stored.updated.tzinfo is UTC
    assert datetime.now(UTC) - stored.updated < timedelta(minutes=1)


async def test_texts_are_sought_without_what_they_stand_in(store: Store) -> None:
    await store_slots(store, 0, 15)
    await store_slots(store, 0, schedule="2", status="busy")
    with counted() as commands:
        every, ids_found, busy, none = await store.load(
            [
                Sought("Slot", {}, "index.schedule", beginning="Schedule/"),
                Sought("Slot", {"index.schedule": "Schedule/1"}, "_id"),
                Sought("Slot", {"index.status": "*|busy"}, "index.schedule", beginning="Schedule/"),
                Sought("Slot", {}, "index.schedule", beginning="Location/"),
            ]
        )
    assert [list(found) for found in (every, ids_found, busy, none)] == [
        ["Schedule/1", "Schedule/2"],
        ["s000-1", "s015-1"],
        ["Schedule/2"],
        [],
    ]
    assert sorted(commands) == ["distinct", "distinct", "distinct", "find"]


async def test_more_texts_than_the_limit_are_refused(store: Store) -> None:
    await store_slots(store, 0, 15, 30)
    [found] = await store.load([Sought("Slot", {}, "_id", limit=3)])
    assert len(found) == 3
    with pytest.raises(FhirError) as refused:
        await store.load([Sought("Slot", {}, "_id", limit=2)])
    assert (refused.value.status, refused.value.issues[0].code) == (400, "too-costly")
