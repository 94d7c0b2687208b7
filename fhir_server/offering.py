"""Free time is offered to those who wait: what was given back at once, everything else from time to time
(conformance/decisions/0022-answers-and-waiting.md).

Several processes may do it at once: an offer is a hold through the one door for writes, and who comes second looks on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

import structlog

from fhir_server import search
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Claim, Stored
from fhir_server.scheduling import waiting
from fhir_server.scheduling.elements import say
from fhir_server.scheduling.intervals import Interval
from fhir_server.scheduling.joint import Combination
from fhir_server.scheduling.offers import Taken
from fhir_server.scheduling.policy import Intent
from fhir_server.scheduling.waiting import Sought, Wish
from fhir_server.writing import Server, Unchanged, write

log = structlog.get_logger()

LISTED_MAX = 250
"""Who is looked at: so many of those with a priority, and so many of those who wait longest."""

TRIES_MAX = 3
"""Times that are tried for one who waits, where others turn out to be in the way."""

DAY = timedelta(days=1)

WRITES_MAX = 100
"""Offers that are tried in one look."""


async def offer_freed(server: Server) -> None:
    """Offers the times that were given back and not looked at yet, before anybody is answered. Reads nothing if there
    are none. Whatever fails here is made good by the next look at everything."""
    if not server.freed.times:
        return
    async with server.freed.lock:
        if times := server.freed.take():
            await _look(server, _reach(server, times))


async def offer_due(server: Server) -> None:
    """Offers whatever is free, if that was not looked at lately: time that a widened availability made, or that was
    given back by a process that ended. Each look goes on behind those that the last one got to."""
    now = server.now()
    pause = timedelta(seconds=server.settings.waitlist_round_seconds)
    if server.freed.looked is not None and now < server.freed.looked + pause:
        return
    async with server.freed.lock:
        server.freed.looked = now
        reach = Interval(now, now + timedelta(days=server.policy.window_days_max))
        server.freed.since = await _look(server, reach, server.freed.since)


def _reach(server: Server, times: Sequence[tuple[datetime, datetime]]) -> Interval:
    """The time around what was given back, in which a visit can have become possible."""
    near = server.policy.appointment_length_max
    start = max(server.now(), min(start for start, _ in times) - near)
    end = max(end for _, end in times) + near
    return Interval(start, min(end, start + timedelta(days=server.policy.window_days_max)))


async def _look(server: Server, reach: Interval, since: datetime | None = None) -> datetime | None:
    """Offers what is free in reach. Since when those wait who are behind all that were looked at, None if nobody is.
    What fails here is logged, and fails nobody whose change was written."""
    if not reach.start < reach.end:
        return None
    try:
        entries, rest = await _list(server, reach, since)
        if entries:
            await _offer_all(server, reach, entries)
    except FhirError as error:
        _note(error)
        return None
    except Exception as error:
        log.error("offering", error=type(error).__name__)
        return None
    return rest


def _note(refused: FhirError) -> None:
    log.warning("offering", problem=refused.issues[0].problem or refused.issues[0].code)


@dataclass(slots=True)
class _Finding:
    """What is found for each wish, what is in the way, and what is free on each day; looked up once until an offer
    changes it."""

    server: Server
    reach: Interval
    sought: dict[Wish, Sought | None] = field(default_factory=dict)
    taken: dict[Wish, Taken] = field(default_factory=dict)
    free: dict[tuple[Wish, date], list[Combination]] = field(default_factory=dict)

    async def seek(self, wish: Wish) -> tuple[Sought, Taken] | None:
        """None if the wish cannot be looked for."""
        run, policy = self.server.store.run, self.server.policy
        if wish not in self.sought:
            try:
                self.sought[wish] = await run(waiting.seek(wish, self.reach, policy))
            except FhirError as error:
                _note(error)
                self.sought[wish] = None
        found = self.sought[wish]
        if found is None:
            return None
        if wish not in self.taken:
            self.taken[wish] = await run(waiting.taken_of(found, policy))
        return found, self.taken[wish]

    def free_on(self, wish: Wish, found: tuple[Sought, Taken], day: date) -> list[Combination]:
        """The times that are free on the day for the wish."""
        if (wish, day) not in self.free:
            self.free[wish, day] = waiting.free_on(day, *found, self.server.now(), self.server.policy)
        return self.free[wish, day]

    def forget(self) -> None:
        """What is in the way is to be looked up again."""
        self.taken.clear()
        self.free.clear()


async def _offer_all(server: Server, reach: Interval, entries: Sequence[Mapping[str, Any]]) -> None:
    """Those who wait get the earliest time that fits, in order; one offer for each patient at a time."""
    policy, finding, writes = server.policy, _Finding(server, reach), 0
    patients = frozenset(patient for entry in entries for patient in waiting.patients_of(entry["resource"], policy))
    busy, offered = await server.store.run(waiting.load_patients(patients, reach, policy))
    for entry in entries:
        wish = waiting.wish_of(entry["resource"], policy)
        theirs = waiting.patients_of(entry["resource"], policy)
        if wish is None or not theirs or theirs & offered or writes >= WRITES_MAX:
            continue
        found = await finding.seek(wish)
        for time in _times(finding, entry["resource"], wish, found, busy) if found else ():
            writes += 1
            if await _offer(server, entry, time):
                offered |= theirs
                finding.forget()
                break
        await asyncio.sleep(0)


def _times(
    finding: _Finding,
    appointment: Json,
    wish: Wish,
    found: tuple[Sought, Taken],
    busy: Mapping[str, Sequence[Claim]],
) -> list[Combination]:
    free_on = partial(finding.free_on, wish, found)
    return list(islice(waiting.fitting(appointment, *found, free_on, busy, finding.server.policy), TRIES_MAX))


async def _list(
    server: Server, reach: Interval, since: datetime | None
) -> tuple[list[Mapping[str, Any]], datetime | None]:
    """Those who wait for a time in reach or for any, in the order in which they are offered one: the first of those
    with a priority, and of those who joined then or later, or at any time. Then, since when the next ones wait."""
    joined = [("waiting-since", f"ge{say(since)}")] if since else []
    first, longest = await asyncio.gather(
        _search(server, reach, [("priority", "gt0")], "priority,waiting-since"),
        _search(server, reach, joined, "waiting-since"),
    )
    entries = {entry["_id"]: entry for entry in (*first, *longest)}
    rest = waiting.since_of(longest[-1]["resource"]) if len(longest) == LISTED_MAX else None
    if rest and rest == since:
        rest += timedelta(milliseconds=1)
    return sorted(entries.values(), key=lambda entry: waiting.rank(entry["resource"])), rest


async def _search(
    server: Server, reach: Interval, more: Sequence[tuple[str, str]], order: str
) -> Sequence[Mapping[str, Any]]:
    """A day more on both sides, for periods that are dates."""
    start, end = say(reach.start - DAY), say(reach.end + DAY)
    wanted = f"requested-period pr false or (requested-period ge {start} and requested-period lt {end})"
    pairs = [("status", "waitlist"), *more, ("_filter", wanted), ("_sort", order), ("_count", str(LISTED_MAX))]
    query = search.parse(server.scope(strict=True), "Appointment", [*pairs, ("_total", "none")])
    return (await server.store.search(query)).documents


async def _offer(server: Server, entry: Mapping[str, Any], time: Combination) -> bool:
    """Whether the time is theirs now, or need not be any more because they or somebody changed what they wait for."""
    try:
        await write(server, "Appointment", entry["_id"], _proposal(server, entry, time), intent=Intent(offering=True))
    except FhirError as error:
        log.info("offer", id=entry["_id"], problem=error.issues[0].problem or error.issues[0].code)
        return False
    return True


def _proposal(server: Server, entry: Mapping[str, Any], time: Combination) -> Callable[[Stored | None], Any]:
    def propose(before: Stored | None) -> Json | Unchanged:
        if before is None or before.resource is None or before.version != entry["version"]:
            return Unchanged.UNCHANGED
        return waiting.offered(before.resource, time, server.now(), server.policy)

    return propose
