"""The store: MongoDB behind read, search, load, transact and follow. Nothing else in the server knows MongoDB.

`transact` is the only write. Its promises are in conformance/decisions/0001-the-guard.md, the documents in
conformance/decisions/0002-document-shape.md. Whatever MongoDB cannot do at present is a 503 with Retry-After.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeAlias, TypeVar

from bson import ObjectId
from pymongo.errors import PyMongoError

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Decision, Found, Load, Plan, Stored
from fhir_server.search import Query
from fhir_server.store import outbox, proposals, reading, reindexing, writes
from fhir_server.store.failures import LostRace, answering, unavailable
from fhir_server.store.guards import Guards
from fhir_server.store.measure import Commands, counted
from fhir_server.store.outbox import Happened
from fhir_server.store.past import Past, Versions, history
from fhir_server.store.reading import Page
from fhir_server.store.schema import Client, Database, connect, database, disconnect, prepare
from fhir_server.store.transactions import Attempt, KeyedMutex, Moved, Session, transact
from fhir_server.store.writes import Answer, Frame, Order, Replay

__all__ = [
    "Answer",
    "Happened",
    "KeyedMutex",
    "Loading",
    "LostRace",
    "Page",
    "Past",
    "Replay",
    "Store",
    "Versions",
    "counted",
    "run",
]

T = TypeVar("T")

Loading: TypeAlias = Callable[[Sequence[Load]], Awaitable[Found]]
"""How a batch of loads is answered."""

READY_SECONDS_MAX = 2.0


async def run(plan: Plan[T], load: Loading) -> T:
    """What the plan returns; each batch that it asks for is loaded by `load`."""
    try:
        loads = next(plan)
        while True:
            loads = plan.send(await load(loads))
    except StopIteration as finished:
        result: T = finished.value
        return result


@dataclass(frozen=True, slots=True)
class Store:
    """The resources, their histories, the claims on actors and the outbox, in one database."""

    client: Client
    db: Database
    frame: Frame
    deadline_seconds: float
    guards: Guards = field(default_factory=Guards)
    mutex: KeyedMutex = field(default_factory=KeyedMutex)
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)

    @classmethod
    async def open(
        cls,
        uri: str,
        name: str,
        rows: Mapping[str, ResourceDefinition],
        *,
        base: str,
        zone: tzinfo = UTC,
        deadline_seconds: float = 5.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Store:
        """The store in the database `name`, with all collections and indexes made.

        `base` is our base URL and `zone` that of dates without one: both are in the index, so `reindex` when they
        change. A write is given up after `deadline_seconds`. Refuses a MongoDB that does not answer with 503, and one
        without transactions with not-supported.
        """
        with answering():
            await prepare(uri, name, rows)
            client = connect(uri, deadline_seconds=deadline_seconds, event_listeners=[Commands()])
            return cls(client, database(client, name), Frame(rows, zone, base, now), deadline_seconds)

    async def close(self) -> None:
        """Waits for the transactions under way, then disconnects."""
        if self.under_way:
            await asyncio.wait(self.under_way)
        await disconnect(self.client)

    async def ready(self) -> bool:
        """Whether the store takes writes at present."""
        write = self.db["health"].update_one({"_id": "ready"}, {"$inc": {"asked": 1}}, upsert=True)
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                await write
        except (PyMongoError, TimeoutError):
            return False
        return True

    async def read(self, type: str, id: str) -> Stored | None:
        """The newest version, its resource None if that deleted it; None if there never was one."""
        with answering():
            return await reading.read(self.db, type, id)

    async def vread(self, type: str, id: str, version: int) -> Stored | None:
        """That version, its resource None if it is a deletion; None if there never was one."""
        with answering():
            return await reading.vread(self.db, type, id, version)

    async def history(self, past: Past) -> Versions:
        """A page of versions, newest first, deletions included."""
        with answering():
            return await history(self.db, past)

    async def search(self, query: Query, limit: int | None = None) -> Page:
        """A page of `limit` documents (the query's count if None), the one beyond it, and the total if asked for.

        Two statements at most. One that takes longer than the deadline is refused as too-costly.
        """
        size = query.count if limit is None else limit
        with answering():
            return await reading.find(self.db, query, size, self.deadline_seconds)

    async def count(self, type: str) -> int:
        """How many resources of the type there are."""
        with answering():
            return await self.db[type].count_documents({})

    async def load(self, loads: Sequence[Load]) -> Found:
        """One list for each load, in their order; resources by id, claims by actor and start.

        The whole batch is one round trip: all statements are under way together.
        """
        with answering():
            return await reading.load(self.db, self.frame.rows, loads, self.frame.now(), self.deadline_seconds)

    async def run(self, plan: Plan[T]) -> T:
        """What the plan returns; whatever it asks for is loaded, batch by batch."""
        return await run(plan, self.load)

    async def transact(
        self,
        decision: Decision,
        *,
        who: str | None = None,
        replay: Replay | None = None,
        answers: Sequence[Answer] = (),
        deadline_seconds: float | None = None,
    ) -> list[Stored]:
        """Writes the decision, all or nothing, and returns the new versions in the order of its writes.

        Raises LostRace when a resource is not the version that was decided on, when a new claim does not fit, or
        when the replay's key was used meanwhile; 503 with Retry-After past the deadline. Once the transaction has
        begun it is finished even if the caller is cancelled. `answers` are kept for the replay, each with
        what is stored before.
        """
        order = Order(decision, ObjectId(), who, replay, answers)
        deadline = asyncio.get_running_loop().time() + (deadline_seconds or self.deadline_seconds)
        keys = writes.guards_touched(decision)
        with answering():
            async with self.mutex.held(keys, deadline):
                attempt = Attempt(lambda session: self._attempt(session, order, keys), lambda: self._landed(order))
                written: list[Stored] = await self._finish(transact(self.client, attempt, deadline))
                return written

    async def _attempt(self, session: Session, order: Order, keys: frozenset[str]) -> list[Stored]:
        await self.guards.ensure(self.db, keys)
        try:
            return await writes.write(self.db, session, self.frame, order)
        except Moved:
            self.guards.forget(keys)
            raise

    async def _landed(self, order: Order) -> bool:
        """Whether the first event of the order was stored, with a number already or not yet."""
        first = f"{order.tag}.0"
        return bool(
            await self.db["outbox"].find_one({"_id": first}, {"_id": 1})
            or await self.db["events"].find_one({"source": first}, {"_id": 1})
        )

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work, which goes on to its end even if nobody waits for it any more."""
        task = asyncio.create_task(work)
        self.under_way.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self.under_way.discard(task)
        if not task.cancelled():
            task.exception()

    async def replayed(self, replay: Replay) -> list[Answer] | None:
        """What this key was answered, None if it was not used in the last 24 hours.

        A key that was used for another request is refused with 422.
        """
        with answering():
            kept = await self.db["idempotency"].find_one({"_id": replay.key})
        if kept is None:
            return None
        if kept["fingerprint"] != replay.fingerprint:
            text = "This Idempotency-Key was used for another request. Use a new one for each request."
            raise FhirError("business-rule", text, problem="idempotency-key-reused")
        return list(await asyncio.gather(*(self._kept_answer(each) for each in kept["answers"])))

    async def _kept_answer(self, kept: Mapping[str, Any]) -> Answer:
        nothing = Stored(kept["type"], kept["id"], 0, self.frame.now(), None)
        stored = await self.vread(kept["type"], kept["id"], kept["version"]) if kept["version"] else nothing
        if stored is None:
            raise unavailable()
        return Answer(stored, kept["status"], kept["where"], kept["unchanged"])

    async def met(self, conditions: Sequence[str]) -> dict[str, int]:
        """How often something was made to meet each condition, lately; what changes makes a transaction that was
        decided on it (`Decision.sole`) a lost race."""
        if not conditions:
            return {}
        with answering():
            found = await self.db["conditions"].find({"_id": {"$in": list(conditions)}}).to_list(None)
        return dict.fromkeys(conditions, 0) | {each["_id"]: each["met"] for each in found}

    async def keep_proposals(self, key: str, proposed: Sequence[Json]) -> None:
        """Keeps Appointments that are proposed, whose ids are the key, `-` and a number."""
        with answering():
            await proposals.keep(self.db, key, proposed, self.frame.now())

    async def recall_proposal(self, id: str, lasting: timedelta) -> Json | None:
        """The Appointment that was proposed under that id, None if there is none or it was proposed longer ago."""
        with answering():
            return await proposals.recall(self.db, id, self.frame.now(), lasting)

    async def follow(self, cursor: str | None, limit: int) -> tuple[Sequence[Happened], str]:
        """At most `limit` events after the cursor (None: from the first), oldest first, and the next cursor.

        No event is skipped, however late its transaction was committed, and none comes twice to whoever keeps the
        cursor.
        """
        with answering():
            return await outbox.follow(self.db, cursor, limit)

    async def reindex(self, type: str, progress: Callable[[int], None] = lambda _: None) -> int:
        """Makes the search index of all resources of the type anew, and returns how many it changed.

        May be repeated, and run while others write; `progress` is told how many were looked at.
        """
        with answering():
            return await reindexing.reindex(self.db, self.frame, type, progress)
