"""Holds that are over are put away: whoever looks at Appointments and Slots first does it, and a task when nobody looks
(conformance/decisions/0017-holds.md).

Nothing depends on it for what is free: a booking and a search for free time judge each hold by the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from fhir_server import offering, search
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling import holds, waiting
from fhir_server.writing import Server, Unchanged, write

log = structlog.get_logger()

HELD = (("Appointment", "pending"), ("Slot", "busy-tentative"))
"""What can be held, and its status then. An Appointment puts its Slots away with it."""

BATCH = 100

AGAIN = timedelta(seconds=5)
"""When what could not be put away is tried again."""


async def settle(server: Server) -> None:
    """Puts away the holds that are over by now, each on its own through the one door for writes.

    Reads nothing as long as none can be over: the next one to end is known, and a hold lasts a minute at least, so
    nobody can have made one since that ends before that.
    """
    if server.settled.covers(server.now()):
        return
    async with server.settled.lock:
        now = server.now()
        if server.settled.covers(now):
            return
        server.settled.since, server.settled.until = now, await _put_away_all(server, now)
    await offering.offer_freed(server)


async def watch(server: Server, seconds: float) -> None:
    """Settles again and again, so that events come and Slots are free in time also if nobody asks; whatever fails is
    tried again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await settle(server)
            await offering.offer_due(server)
        except FhirError as error:
            log.warning("settling", problem=error.issues[0].code)
        except Exception as error:
            log.error("settling", error=type(error).__name__)


async def _put_away_all(server: Server, now: datetime) -> datetime:
    """Until when nothing needs to be looked at again."""
    soonest = now + holds.SHORTEST
    for type, status in HELD:
        while True:
            held = await _soonest(server, type, status)
            over = [one for one in held if holds.is_expired(one, now)]
            kept = [one for one in over if not await _put_away(server, type, str(one["id"]))]
            if kept:
                soonest = min(soonest, now + AGAIN)
            if len(over) < BATCH or kept:
                break
        live = [expires for one in held if one not in over and (expires := holds.expires_of(one))]
        soonest = min([soonest, *live])
    return soonest


async def _soonest(server: Server, type: str, status: str) -> Sequence[Json]:
    """The holds of a type that end first."""
    pairs = [("status", status), ("hold-expires", "gt1900-01-01"), ("_sort", "hold-expires"), ("_count", str(BATCH))]
    query = search.parse(server.scope(strict=True), type, [*pairs, ("_total", "none")])
    return [document["resource"] for document in (await server.store.search(query)).documents]


async def _put_away(server: Server, type: str, id: str) -> bool:
    """Whether the hold is put away, by us or by others."""

    def propose(before: Stored | None) -> Json | Unchanged:
        resource = before.resource if before else None
        if resource is None or not holds.is_expired(resource, server.now()):
            return Unchanged.UNCHANGED
        return waiting.put_away(resource)

    try:
        await write(server, type, id, propose)
    except FhirError as error:
        log.warning("hold", type=type, id=id, problem=error.issues[0].problem or error.issues[0].code)
        return False
    return True
