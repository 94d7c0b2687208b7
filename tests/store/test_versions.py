"""Versions: what is written is what is read, and nothing is overwritten unseen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Decision, Stored, Write
from fhir_server.store import LostRace, Past, Store

MISSING = 0


def patient(family: str) -> Json:
    return {"resourceType": "Patient", "name": [{"family": family}]}


async def put(store: Store, id: str, resource: Json | None, before: int) -> Stored:
    return (await store.transact(Decision((Write("Patient", id, resource, before),))))[0]


async def test_what_was_written_is_read_with_its_id_and_version(store: Store) -> None:
    written = await put(store, "p", {**patient("Rossi"), "meta": {"tag": [{"code": "x"}]}, "id": "other"}, MISSING)
    assert written == await store.read("Patient", "p")
    assert written.resource == {
        **patient("Rossi"),
        "id": "p",
        "meta": {
            "tag": [{"code": "x"}],
            "versionId": "1",
            "lastUpdated": written.updated.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        },
    }


async def test_the_resource_that_was_handed_over_is_left_as_it_was(store: Store) -> None:
    resource = patient("Rossi")
    await put(store, "p", resource, MISSING)
    assert resource == patient("Rossi")


async def test_decimals_keep_their_digits(store: Store) -> None:
    position = {"longitude": Decimal("-83.690"), "latitude": Decimal("42.2560000")}
    write = Write("Location", "l", {"resourceType": "Location", "position": position}, MISSING)
    await store.transact(Decision((write,)))
    stored = await store.read("Location", "l")
    assert stored and stored.resource
    assert str(stored.resource["position"]) == str(position)


async def test_a_resource_that_never_was_is_none(store: Store) -> None:
    assert await store.read("Patient", "nobody") is None
    assert await store.vread("Patient", "nobody", 1) is None
    assert (await store.history(Past(("Patient",), "nobody"))).total == 0


async def test_every_version_stays_readable(store: Store) -> None:
    one = await put(store, "p", patient("A"), MISSING)
    two = await put(store, "p", patient("B"), 1)
    assert [await store.vread("Patient", "p", version) for version in (1, 2, 3)] == [one, two, None]


async def test_a_deleted_resource_is_read_as_its_deletion(store: Store) -> None:
    await put(store, "p", patient("A"), MISSING)
    gone = await put(store, "p", None, 1)
    assert (gone.version, gone.resource) == (2, None)
    assert await store.read("Patient", "p") == gone == await store.vread("Patient", "p", 2)
    assert await store.count("Patient") == 0


async def test_a_resource_created_again_goes_on_counting_its_versions(store: Store) -> None:
    await put(store, "p", patient("A"), MISSING)
    await put(store, "p", None, 1)
    again = await put(store, "p", patient("B"), 2)
    assert again.version == 3
    history = await store.history(Past(("Patient",), "p", 10))
    assert [(each.version, each.resource is None) for each in history.stored] == [(3, False), (2, True), (1, False)]


@pytest.mark.parametrize("before", [1, 7])
async def test_a_version_that_is_not_stored_cannot_be_replaced(store: Store, before: int) -> None:
    with pytest.raises(LostRace):
        await put(store, "p", patient("A"), before)


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_a_write_decided_on_another_version_is_a_lost_race(store: Store, before: int) -> None:
    await put(store, "p", patient("A"), MISSING)
    await put(store, "p", patient("B"), 1)
    with pytest.raises(LostRace):
        await put(store, "p", patient("C"), before)
    stored = await store.read("Patient", "p")
    assert stored and stored.version == 2


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_a_deleted_resource_is_created_again_only_over_its_deletion(store: Store, before: int) -> None:
    await put(store, "p", patient("A"), MISSING)
    await put(store, "p", None, 1)
    with pytest.raises(LostRace):
        await put(store, "p", patient("B"), before)


async def test_what_is_gone_cannot_be_deleted(store: Store) -> None:
    with pytest.raises(LostRace):
        await put(store, "p", None, MISSING)


async def test_of_many_who_replace_a_version_one_wins(store: Store, neighbour: Store) -> None:
    await put(store, "p", patient("A"), MISSING)
    writes = (put((store, neighbour)[n % 2], "p", patient(f"B{n}"), 1) for n in range(20))
    results = await asyncio.gather(*writes, return_exceptions=True)
    won = [each for each in results if isinstance(each, Stored)]
    assert len(won) == 1 and sum(isinstance(each, LostRace) for each in results) == 19
    assert await store.read("Patient", "p") == won[0]


async def test_of_many_who_create_an_id_one_wins(store: Store, neighbour: Store) -> None:
    writes = (put((store, neighbour)[n % 2], "p", patient(f"B{n}"), MISSING) for n in range(20))
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(each, Stored) for each in results) == 1
    assert sum(isinstance(each, LostRace) for each in results) == 19


async def test_all_writes_of_a_decision_happen_or_none(store: Store) -> None:
    await put(store, "b", patient("B"), MISSING)
    decision = Decision(
        (
            Write("Patient", "a", patient("A"), MISSING),
            Write("Organization", "o", {"resourceType": "Organization", "name": "O"}, MISSING),
            Write("Patient", "b", patient("B2"), 9),
        )
    )
    with pytest.raises(LostRace):
        await store.transact(decision)
    assert await store.read("Patient", "a") is None
    assert await store.read("Organization", "o") is None
    right = replace(decision, writes=(*decision.writes[:2], Write("Patient", "b", patient("B2"), 1)))
    assert [(each.type, each.id, each.version) for each in await store.transact(right)] == [
        ("Patient", "a", 1),
        ("Organization", "o", 1),
        ("Patient", "b", 2),
    ]


async def test_the_history_comes_in_pages_without_gaps(store: Store) -> None:
    for version in range(7):
        await put(store, "p", patient(f"A{version}"), version)
    await put(store, "p", None, 7)
    seen: list[int] = []
    cursor = None
    while True:
        page = await store.history(Past(("Patient",), "p", 3, cursor))
        assert page.total == 8
        seen += [each.version for each in page.stored]
        cursor = page.next
        if cursor is None:
            break
    assert seen == [8, 7, 6, 5, 4, 3, 2, 1]


async def test_a_history_that_grows_meanwhile_repeats_nothing(store: Store) -> None:
    for version in range(4):
        await put(store, "p", patient(f"A{version}"), version)
    first = await store.history(Past(("Patient",), "p", 2))
    await put(store, "p", patient("later"), 4)
    second = await store.history(Past(("Patient",), "p", 2, first.next))
    assert [each.version for each in (*first.stored, *second.stored)] == [4, 3, 2, 1]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "0", "1" * 30, "²"])
async def test_a_cursor_that_was_not_given_is_refused(store: Store, cursor: str) -> None:
    await put(store, "p", patient("A"), MISSING)
    with pytest.raises(FhirError) as refused:
        await store.history(Past(("Patient",), "p", 2, cursor))
    assert refused.value.status == 400


async def test_last_updated_never_goes_back_even_if_the_clock_does(store: Store) -> None:
    noon = datetime(2026, 12, 1, 12, tzinfo=UTC)
    ahead = replace(store, frame=replace(store.frame, now=lambda: noon))
    behind = replace(store, frame=replace(store.frame, now=lambda: noon - timedelta(hours=1)))
    await put(ahead, "p", patient("A"), MISSING)
    assert (await put(behind, "p", patient("B"), 1)).updated == noon
