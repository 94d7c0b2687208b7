"""Decisions as the rules make them, written down short, and what must hold of a store whoever wrote to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fhir_server.outcome import Json
from fhir_server.plan import Claim, Decision, Event, Write
from fhir_server.scheduling import holds
from fhir_server.store import Store
from fhir_server.store.guards import guard_of

NINE = datetime(2026, 12, 1, 9, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """So many minutes after nine."""
    return NINE + timedelta(minutes=minutes)


def claim(
    owner: str,
    start: float,
    end: float,
    *,
    actor: str = "Practitioner/1",
    pool: str | None = None,
    capacity: int = 1,
) -> Claim:
    """A claim without buffers, in minutes after nine."""
    return Claim(actor, at(start), at(end), owner, at(start), at(end), pool, capacity)


def appointment(start: datetime, end: datetime, actors: Iterable[str], status: str = "booked") -> Json:
    return {
        "resourceType": "Appointment",
        "status": status,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "participant": [{"actor": {"reference": actor}, "status": "accepted"} for actor in actors],
    }


GROUP = "Practitioner/group"
"""Who sees several at a time."""

PLACES = {GROUP: 3}


def booking(
    id: str, start: datetime, end: datetime, actors: Sequence[str] = ("Practitioner/1",), before: int = 0
) -> Decision:
    """Appointment/id occupies the actors from start to end, instead of whatever it occupied."""
    owner = f"Appointment/{id}"
    claims = tuple(_claim_of(actor, start, end, owner) for actor in actors)
    write = Write("Appointment", id, appointment(start, end, actors), before)
    return Decision((write,), {owner: claims}, (Event(owner, "create", None, "booked"),))


def _claim_of(actor: str, start: datetime, end: datetime, owner: str) -> Claim:
    pool = "Schedule/group" if actor in PLACES else None
    return Claim(actor, start, end, owner, start, end, pool, PLACES.get(actor, 1))


def holding(id: str, start: datetime, end: datetime, actors: Sequence[str], before: int, expires: datetime) -> Decision:
    """As `booking`, until the hold expires."""
    decision = booking(id, start, end, actors, before)
    resource = holds.ask_for(appointment(start, end, actors), expires)
    claims = {
        owner: tuple(replace(each, expires=expires) for each in claimed) for owner, claimed in decision.claims.items()
    }
    return replace(decision, writes=(Write("Appointment", id, resource, before),), claims=claims)


def cancelling(id: str, start: datetime, end: datetime, actors: Sequence[str], before: int) -> Decision:
    write = Write("Appointment", id, appointment(start, end, actors, "cancelled"), before)
    return Decision((write,), {f"Appointment/{id}": ()})


async def violations(store: Store) -> list[str]:
    """What is wrong with the store: actors taken beyond their places, by the Appointments themselves; claims without an
    Appointment or the other way round; days with claims and without a guard. Holds that are over are nothing."""
    now = datetime.now(UTC)
    found: list[str] = []
    taken: dict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
    async for document in store.db["Appointment"].find({"resource.status": {"$in": ["booked", "pending"]}}):
        resource = document["resource"]
        if holds.is_expired(resource, now):
            continue
        start, end = (datetime.fromisoformat(resource[name]) for name in ("start", "end"))
        for participant in resource["participant"]:
            taken[participant["actor"]["reference"]].append((start, end, f"Appointment/{document['_id']}"))
    for actor, times in taken.items():
        for begins, _, _ in times:
            there = sorted(owner for start, end, owner in times if start <= begins < end)
            if len(there) > PLACES.get(actor, 1):
                found.append(f"{actor} is taken by {' and '.join(there)}")
    booked = {(actor, *time) for actor, times in taken.items() for time in times}
    pieces = await store.db["claims"].find().to_list(None)
    live = [each for each in pieces if each["claim"]["expires"] is None or each["claim"]["expires"] > now]
    claimed = {(each["actor"], each["claim"]["start"], each["claim"]["end"], each["owner"]) for each in live}
    found += [f"no claim: {each}" for each in booked - claimed] + [f"orphan: {each}" for each in claimed - booked]
    guards = {each["_id"] async for each in store.db["guards"].find()}
    found += [f"no guard: {each['day']}" for each in pieces if guard_of(each["day"]) not in guards]
    return found
