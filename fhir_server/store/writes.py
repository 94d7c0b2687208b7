"""What one decision writes, statement by statement, in one transaction (conformance/decisions/0001-the-guard.md).

Everything is read and checked first; then it is written; the guards of the days that get busier are moved last,
so that a transaction that must wait for nobody holds them for as short as can be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Json
from fhir_server.plan import Claim, Decision, Event, Stored, Write
from fhir_server.scheduling.slots import room_left
from fhir_server.store import documents
from fhir_server.store.failures import LostRace
from fhir_server.store.guards import guard_of, guards_of
from fhir_server.store.schema import Database, history_name
from fhir_server.store.transactions import Moved, Session


@dataclass(frozen=True, slots=True)
class Replay:
    """Under which key an answer is kept, and a fingerprint of the request that it answers."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one thing that was asked for, `where` in a Bundle: a version, the HTTP status, and whether it was so
    before."""

    stored: Stored
    status: int
    where: str = ""
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A decision with what the transaction adds to it. `tag` begins the ids of its events: it is one for all
    attempts, so that what was written can be recognised. `answers` are kept for the replay, each with what is stored
    before."""

    decision: Decision
    tag: ObjectId
    who: str | None
    replay: Replay | None
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class Frame:
    """What the documents depend on besides the resource."""

    rows: Mapping[str, ResourceDefinition]
    zone: tzinfo
    base: str
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Version:
    """A write as it will be stored: `past` is the document that it replaces, `document` the new one or None."""

    write: Write
    past: Json | None
    number: int
    updated: datetime
    document: Json | None
    action: str

    @property
    def stored(self) -> Stored:
        resource = self.document and self.document["resource"]
        first = self.past is None
        return Stored(self.write.type, self.write.id, self.number, self.updated, resource, self.write.method, first)


@dataclass(frozen=True, slots=True)
class Occupation:
    """How the claims change: ids of pieces to drop, claims to add, and the keys of the days that get busier."""

    dropped: Sequence[Any]
    added: Sequence[Claim]
    busier: frozenset[str]


def guards_touched(decision: Decision) -> frozenset[str]:
    """The guards that the decision may have to move: those of the days its claims touch, and of whom it closes or
    opens."""
    days = frozenset(guard_of(key) for claim in _wanted(decision) for key in documents.day_keys(claim))
    return days.union(*(guards_of(actor) for actor in decision.closes | decision.opens))


async def write(db: Database, session: Session, frame: Frame, order: Order) -> list[Stored]:
    """Writes the order; one Stored for each write. Raises LostRace or Moved before anything is committed."""
    versions = await _versions(db, session, frame, order.decision.writes)
    occupation = await _occupation(db, session, order.decision, documents.instant(frame.now()))
    events = _events(order, versions, documents.instant(frame.now()))
    await _write_versions(db, session, versions)
    if occupation.dropped:
        await db["claims"].delete_many({"_id": {"$in": list(occupation.dropped)}}, session=session)
    if occupation.added:
        pieces = [piece for claim in occupation.added for piece in documents.pieces(claim)]
        await db["claims"].insert_many(pieces, session=session)
    if events:
        await db["outbox"].insert_many(events, session=session)
    if order.replay:
        await db["idempotency"].insert_one(_answers(order, versions, documents.instant(frame.now())), session=session)
    for condition, met in sorted(order.decision.sole.items()):
        await _meet(db, session, condition, met, documents.instant(frame.now()))
    await _turn(db, session, order.decision, documents.instant(frame.now()))
    await _move_guards(db, session, frozenset(map(guard_of, occupation.busier)))
    return [version.stored for version in versions]


async def _versions(db: Database, session: Session, frame: Frame, writes: Sequence[Write]) -> list[Version]:
    """The next version of each resource. LostRace unless the current ones are those that were decided on."""
    now = documents.instant(frame.now())
    past: dict[tuple[str, str], Json] = {}
    for type, group in _by_type(write for write in writes if write.before > 0):
        found = db[type].find({"_id": {"$in": [write.id for write in group]}}, session=session)
        past |= {(type, document["_id"]): document for document in await found.to_list(None)}
    missing = [write for write in writes if (write.type, write.id) not in past]
    await _refuse_wrong_beginnings(db, session, missing)
    return [_version(frame, write, past.get((write.type, write.id)), now) for write in writes]


async def _refuse_wrong_beginnings(db: Database, session: Session, writes: Sequence[Write]) -> None:
    """LostRace unless each resource that is not there never was, or was deleted by the version decided on."""
    if any(write.resource is None for write in writes):
        raise LostRace
    for type, group in _by_type(writes):
        last = {f"{write.id}/{write.before}" for write in group if write.before}
        next = {f"{write.id}/{write.before + 1}" for write in group}
        found = db[history_name(type)].find(
            {"_id": {"$in": [*last, *next]}}, {"resource.resourceType": 1}, session=session
        )
        deletions = {each["_id"]: each.get("resource") is None for each in await found.to_list(None)}
        if deletions != dict.fromkeys(last, True):
            raise LostRace


def _version(frame: Frame, write: Write, past: Json | None, now: datetime) -> Version:
    if past and past["version"] != write.before:
        raise LostRace
    number = write.before + 1
    updated = max(now, past["updated"]) if past else now
    if write.resource is None:
        return Version(replace(write, method="DELETE"), past, number, updated, None, "delete")
    document = documents.version_of(
        frame.rows[write.type],
        write,
        number,
        updated,
        write.resource,
        first=past is None,
        zone=frame.zone,
        base=frame.base,
    )
    return Version(write, past, number, updated, document, "update" if past else "create")


async def _write_versions(db: Database, session: Session, versions: Sequence[Version]) -> None:
    for type, group in _by_type(versions, lambda version: version.write.type):
        history = [statement for version in group for statement in _past_statements(version)]
        if history:
            await db[history_name(type)].bulk_write(history, session=session)
        result = await db[type].bulk_write([_statement(version) for version in group], session=session)
        replaced = sum(version.past is not None and version.document is not None for version in group)
        deleted = sum(version.document is None for version in group)
        if (result.matched_count, result.deleted_count) != (replaced, deleted):
            raise LostRace


def _past_statements(version: Version) -> Iterator[InsertOne[Json] | UpdateOne]:
    """What a version makes of those before it: the current one is past, a deletion no longer lasts."""
    write = version.write
    if version.past:
        yield InsertOne(documents.superseded(version.past, version.updated))
    elif write.before:
        yield UpdateOne({"_id": f"{write.id}/{write.before}"}, {"$set": {"until": version.updated}})
    if version.document is None:
        said = {"id": write.id, "version": version.number, "updated": version.updated, "method": write.method}
        yield InsertOne(documents.deletion(said))


def _statement(version: Version) -> InsertOne[Json] | ReplaceOne[Json] | DeleteOne:
    if version.past is None:
        return InsertOne(version.document or {})
    current = {"_id": version.write.id, "version": version.write.before}
    return ReplaceOne(current, version.document) if version.document else DeleteOne(current)


async def _occupation(db: Database, session: Session, decision: Decision, now: datetime) -> Occupation:
    """The change from the owners' former claims to the wanted ones. LostRace if a new one does not fit.

    A claim that an owner has already, or renews, is not asked again whether it fits. What has expired by `now` on the
    days that get busier is dropped.
    """
    if not decision.claims:
        return Occupation((), (), frozenset())
    found = db["claims"].find({"owner": {"$in": sorted(decision.claims)}}, session=session)
    former: dict[Claim, list[Any]] = defaultdict(list)
    for piece in await found.to_list(None):
        former[documents.claim_of(piece)].append(piece["_id"])
    wanted = _wanted(decision)
    added = [claim for claim in wanted if claim not in former]
    dropped = [id for claim in former.keys() - set(wanted) for id in former[claim]]
    busier = frozenset(key for claim in added for key in documents.day_keys(claim))
    live = [claim for claim in former if not documents.has_expired(claim, now)]
    renewed = frozenset(claim for claim in added if any(map(claim.renews, live)))
    expired = await _refuse_crowding(db, session, added, busier, frozenset(dropped), renewed, now)
    return Occupation([*dropped, *expired], added, busier)


def _wanted(decision: Decision) -> list[Claim]:
    claims = (documents.exact(claim) for owned in decision.claims.values() for claim in owned)
    return list(dict.fromkeys(claims))


async def _refuse_crowding(
    db: Database,
    session: Session,
    added: Sequence[Claim],
    busier: Iterable[str],
    dropped: frozenset[Any],
    renewed: frozenset[Claim],
    now: datetime,
) -> list[Any]:
    """LostRace unless each added claim, but for the renewed ones, fits with those that stay and with those added before
    it. The ids of the pieces that were in the way only until they expired."""
    if all(claim.capacity == 0 for claim in added):
        return []
    found = db["claims"].find({"day": {"$in": sorted(busier)}}, session=session)
    others_pieces = [piece for piece in await found.to_list(None) if piece["_id"] not in dropped]
    present: dict[str, set[Claim]] = defaultdict(set)
    for claim in documents.claims_of(others_pieces, now):
        present[claim.actor].add(claim)
    for claim in added:
        others = sorted(present[claim.actor], key=lambda other: other.start)
        asked = claim.capacity and not claim.forced and claim not in renewed
        if asked and room_left(others, claim) < claim.units:
            raise LostRace
        present[claim.actor].add(claim)
    return [piece["_id"] for piece in others_pieces if documents.has_expired(documents.claim_of(piece), now)]


async def _move_guards(db: Database, session: Session, keys: frozenset[str]) -> None:
    """Changes the guard of each day that gets busier: of two transactions that do, one is aborted."""
    if not keys:
        return
    open_ones = {"_id": {"$in": sorted(keys)}, "closed": {"$ne": True}}
    moved = await db["guards"].update_many(open_ones, {"$inc": {"moves": 1}}, session=session)
    if moved.modified_count != len(keys):
        closed = await db["guards"].find_one({"_id": {"$in": sorted(keys)}, "closed": True}, session=session)
        raise LostRace if closed else Moved


async def _turn(db: Database, session: Session, decision: Decision, now: datetime) -> None:
    """Closes the guards of those who go away and opens those of who came back. LostRace if somebody who goes away
    was booked meanwhile."""
    for actors, closed in ((decision.closes, True), (decision.opens, False)):
        if not actors:
            continue
        if closed and await db["claims"].find_one(
            {"actor": {"$in": sorted(actors)}, "end": {"$gt": now}}, session=session
        ):
            raise LostRace
        keys = sorted(key for actor in actors for key in guards_of(actor))
        change = {"$inc": {"moves": 1}, "$set": {"closed": closed}}
        moved = await db["guards"].update_many({"_id": {"$in": keys}}, change, session=session)
        if moved.modified_count != len(keys):
            raise Moved


def _events(order: Order, versions: Sequence[Version], now: datetime) -> list[Json]:
    """The documents of the decision's events, and of one for each write that has none."""
    written = {f"{version.write.type}/{version.write.id}": version for version in versions}
    named = {event.resource for event in order.decision.events}
    events = list(order.decision.events)
    events += [_event(name, version) for name, version in written.items() if name not in named]
    return [
        {
            "_id": f"{order.tag}.{number}",
            "at": written[event.resource].updated if event.resource in written else now,
            "version": written[event.resource].number if event.resource in written else None,
            "resource": event.resource,
            "action": event.action,
            "old_status": event.old_status,
            "new_status": event.new_status,
            "reason": event.reason,
            "priority": event.priority,
            "who": order.who,
        }
        for number, event in enumerate(events)
    ]


def _event(name: str, version: Version) -> Event:
    """What happened to a resource of which the decision says nothing in particular."""
    old, new = (document and document["resource"].get("status") for document in (version.past, version.document))
    return Event(name, version.action, _text(old), _text(new))


def _text(status: object) -> str | None:
    return status if isinstance(status, str) else None


def _answers(order: Order, versions: Sequence[Version], now: datetime) -> Json:
    """What is kept of the answers. What was asked for and not written stays at the version it had."""
    assert order.replay is not None
    numbers = {(version.write.type, version.write.id): version.number for version in versions}
    answers = [
        {
            "type": each.stored.type,
            "id": each.stored.id,
            "version": numbers.get((each.stored.type, each.stored.id), each.stored.version),
            "status": each.status,
            "where": each.where,
            "unchanged": (each.stored.type, each.stored.id) not in numbers,
        }
        for each in order.answers
    ]
    return {"_id": order.replay.key, "fingerprint": order.replay.fingerprint, "answers": answers, "at": now}


async def _meet(db: Database, session: Session, condition: str, met: int, now: datetime) -> None:
    """Counts that something was made to meet a condition. LostRace if something else was meanwhile."""
    if met == 0:
        await db["conditions"].insert_one({"_id": condition, "met": 1, "at": now}, session=session)
        return
    change = {"$inc": {"met": 1}, "$set": {"at": now}}
    counted = await db["conditions"].update_one({"_id": condition, "met": met}, change, session=session)
    if counted.modified_count != 1:
        raise LostRace


def _by_type(items: Iterable[Any], type_of: Callable[[Any], str] = lambda write: write.type) -> Any:
    """The items of each type together, so that a type costs one statement; the order is that of the names, the
    same in every transaction."""
    return [(type, list(group)) for type, group in groupby(sorted(items, key=type_of), key=type_of)]
