"""Claims: no actor is taken twice, whatever the times, and nobody is refused without need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_server.outcome import FhirError
from fhir_server.plan import Claim, Claimed, Decision, Stored, Write
from fhir_server.store import LostRace, Store
from fhir_server.store.guards import guard_of
from tests.store.bookings import NINE, at, booking, cancelling, claim, violations


def occupying(*claims: Claim) -> Decision:
    """A new Appointment for each owner, with these claims."""
    owners = dict.fromkeys(each.owner for each in claims)
    writes = tuple(
        Write("Appointment", owner.partition("/")[2], {"resourceType": "Appointment"}, 0) for owner in owners
    )
    return Decision(writes, {owner: tuple(c for c in claims if c.owner == owner) for owner in owners})


async def claims(store: Store, *actors: str, start: float = -600, end: float = 600) -> Sequence[Claim]:
    found = (await store.load([Claimed(frozenset(actors or ("Practitioner/1",)), at(start), at(end))]))[0]
    return [each for each in found if isinstance(each, Claim)]


@pytest.mark.parametrize(
    ("start", "end", "free"),
    [(-30, 0, True), (30, 60, True), (0, 30, False), (10, 20, False), (-10, 40, False), (29.99, 31, False)],
)
async def test_a_time_that_is_taken_is_a_lost_race(store: Store, start: float, end: float, free: bool) -> None:
    await store.transact(booking("a", at(0), at(30)))
    if free:
        await store.transact(booking("b", at(start), at(end)))
    else:
        with pytest.raises(LostRace):
            await store.transact(booking("b", at(start), at(end)))
        assert await store.read("Appointment", "b") is None
    assert await violations(store) == []


async def test_one_busy_actor_of_several_is_enough(store: Store) -> None:
    await store.transact(booking("a", at(0), at(30), ["Location/1"]))
    with pytest.raises(LostRace):
        await store.transact(booking("b", at(15), at(45), ["Practitioner/1", "Location/1"]))
    assert await claims(store) == []


async def test_overlaps_across_midnight_are_seen_from_both_days(store: Store) -> None:
    midnight = NINE.replace(hour=0) + timedelta(days=1)
    minute = timedelta(minutes=1)
    await store.transact(booking("a", midnight - 30 * minute, midnight + 30 * minute))
    for start, end in ((-45, -15), (15, 45), (-60, 60), (-1, 1)):
        with pytest.raises(LostRace):
            await store.transact(booking("b", midnight + start * minute, midnight + end * minute))
    assert await violations(store) == []


async def test_a_claim_of_many_days_is_read_back_whole_from_any_of_them(store: Store) -> None:
    leave = claim("Appointment/a", 0, 20 * 24 * 60)
    await store.transact(occupying(leave))
    for day in (0, 10, 19):
        assert await claims(store, start=day * 1440 + 5, end=day * 1440 + 6) == [leave]
    assert await claims(store, start=-100_000, end=100_000) == [leave]
    assert await claims(store, start=20 * 1440, end=20 * 1440 + 60) == []


async def test_a_claim_of_too_many_days_is_refused(store: Store) -> None:
    with pytest.raises(FhirError) as refused:
        await store.transact(occupying(claim("Appointment/a", 0, 401 * 24 * 60)))
    assert refused.value.issues[0].code == "too-costly"


async def test_an_owner_may_hold_several_claims_on_an_actor(store: Store) -> None:
    series = [claim("Appointment/a", start, start + 10) for start in (0, 60, 120)]
    await store.transact(occupying(*series))
    assert await claims(store) == series


async def test_claims_of_one_decision_count_against_each_other(store: Store) -> None:
    with pytest.raises(LostRace):
        await store.transact(occupying(claim("Appointment/a", 0, 30), claim("Appointment/b", 15, 45)))


async def test_a_pool_takes_as_many_as_it_has_places(store: Store) -> None:
    def place(number: int) -> Claim:
        return claim(f"Appointment/{number}", 0, 60, pool="Schedule/1", capacity=3)

    for number in range(3):
        await store.transact(occupying(place(number)))
    with pytest.raises(LostRace):
        await store.transact(occupying(place(3)))
    with pytest.raises(LostRace):
        await store.transact(occupying(claim("Appointment/other", 0, 60)))


async def test_of_many_at_once_a_pool_takes_as_many_as_it_has_places(store: Store, neighbour: Store) -> None:
    results = await asyncio.gather(
        *(
            (store, neighbour)[number % 2].transact(
                occupying(claim(f"Appointment/{number}", number, 60, pool="Schedule/1", capacity=4))
            )
            for number in range(20)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, list) for each in results) == 4
    assert sum(isinstance(each, LostRace) for each in results) == 16


async def test_a_block_is_written_over_what_is_there_and_nothing_after_it(store: Store) -> None:
    await store.transact(booking("a", at(0), at(30)))
    await store.transact(occupying(claim("Appointment/block", -60, 120, capacity=0)))
    with pytest.raises(LostRace):
        await store.transact(booking("b", at(60), at(90)))


async def test_a_reschedule_frees_the_old_time_only_with_the_new_one_won(store: Store) -> None:
    await store.transact(booking("a", at(0), at(30)))
    await store.transact(booking("b", at(60), at(90)))
    with pytest.raises(LostRace):
        await store.transact(booking("a", at(45), at(75), before=1))
    assert [each.start for each in await claims(store)] == [at(0), at(60)]
    await store.transact(booking("a", at(15), at(45), before=1))
    assert [each.start for each in await claims(store)] == [at(15), at(60)]
    assert await violations(store) == []


async def test_a_cancelled_time_is_free_at_once(store: Store) -> None:
    actors = ["Practitioner/1", "Location/1"]
    await store.transact(booking("a", at(0), at(30), actors))
    await store.transact(cancelling("a", at(0), at(30), actors, 1))
    await store.transact(booking("b", at(0), at(30), actors))
    assert await violations(store) == []


async def test_an_owner_that_is_not_named_keeps_its_claims(store: Store) -> None:
    await store.transact(booking("a", at(0), at(30)))
    before = await claims(store)
    decision = Decision((Write("Appointment", "a", {"resourceType": "Appointment"}, 1),))
    await store.transact(decision)
    assert await claims(store) == before


async def test_a_claim_that_stays_is_not_asked_again_whether_it_fits(store: Store) -> None:
    await store.transact(booking("a", at(0), at(30)))
    await store.transact(occupying(claim("Appointment/block", -60, 120, capacity=0)))
    kept = await store.transact(booking("a", at(0), at(30), before=1))
    assert kept[0].version == 2


async def test_only_days_that_get_busier_move_their_guard(store: Store) -> None:
    async def moves() -> dict[str, int]:
        return {each["_id"]: each["moves"] async for each in store.db["guards"].find()}

    await store.transact(booking("a", at(0), at(30)))
    assert await moves() == {guard_of("Practitioner/1|20261201"): 1}
    await store.transact(booking("a", at(0), at(30), before=1))
    await store.transact(cancelling("a", at(0), at(30), ["Practitioner/1"], 2))
    assert await moves() == {guard_of("Practitioner/1|20261201"): 1}


async def test_a_guard_that_was_removed_is_made_again(store: Store) -> None:
    await store.transact(booking("a", at(0), at(30)))
    await store.db["guards"].delete_many({})
    await store.transact(booking("b", at(30), at(60)))
    assert await violations(store) == []


async def test_bookings_that_do_not_clash_all_succeed(store: Store, neighbour: Store) -> None:
    results = await asyncio.gather(
        *(
            (store, neighbour)[number % 2].transact(booking(f"{number}", at(10 * number), at(10 * number + 10)))
            for number in range(50)
        )
    )
    assert all(isinstance(each[0], Stored) for each in results)
    assert len(await claims(store)) == 50


async def test_of_many_overlapping_bookings_no_two_are_kept(store: Store, neighbour: Store) -> None:
    results = await asyncio.gather(
        *(
            (store, neighbour)[number % 2].transact(booking(f"{number}", at(number), at(number + 25)))
            for number in range(40)
        ),
        return_exceptions=True,
    )
    assert {type(each) for each in results} == {list, LostRace}
    assert await violations(store) == []


async def test_a_claim_is_kept_to_the_millisecond_and_never_shortened(store: Store) -> None:
    odd = timedelta(microseconds=1500)
    wanted = replace(claim("Appointment/a", 0, 30), start=at(0) + odd, end=at(30) + odd)
    await store.transact(occupying(wanted))
    (found,) = await claims(store)
    assert (found.start - at(0), found.end - at(30)) == (timedelta(milliseconds=1), timedelta(milliseconds=2))


async def test_claims_are_found_by_actor_and_time_however_many_are_asked_for(store: Store) -> None:
    actors = [f"Practitioner/{number}" for number in range(100)]
    for number in (0, 50, 99):
        await store.transact(booking(f"{number}", at(0), at(30), [actors[number]]))
    found = await claims(store, *actors, start=29, end=40)
    assert [each.actor for each in found] == ["Practitioner/0", "Practitioner/50", "Practitioner/99"]
    assert await claims(store, *actors, start=30, end=40) == []
    assert await claims(store, "Device/1") == []


async def test_who_goes_away_is_not_booked_any_more_and_can_come_back(store: Store) -> None:
    await store.transact(booking("a", at(0), at(30)))
    gone = Decision((), closes=frozenset({"Practitioner/1"}))
    with pytest.raises(LostRace):
        await store.transact(gone)
    await store.transact(cancelling("a", at(0), at(30), ["Practitioner/1"], 1))
    await store.transact(gone)
    with pytest.raises(LostRace):
        await store.transact(booking("b", at(0), at(30)))
    await store.transact(Decision((), opens=frozenset({"Practitioner/1"})))
    await store.transact(booking("b", at(0), at(30)))
