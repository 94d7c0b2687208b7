"""The one door for writes: validate, load what the type's rules name, decide, transact; again on a lost race."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from fhir_server import validation
from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import STATUS_BY_ISSUE, FhirError, Json
from fhir_server.plan import Decision, Stored, Write
from fhir_server.scheduling.policy import Change, Policy
from fhir_server.settings import Settings
from fhir_server.store import LostRace, Replay, Store

Propose: TypeAlias = Callable[[Stored | None], Json | None]
"""From what is stored to what is wanted, None to delete. Called again when a race was lost; refuses by raising."""


def utc_now() -> datetime:
    """The clock of the server, in milliseconds, as FHIR's meta.lastUpdated and MongoDB keep it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


PAUSE_SECONDS_MIN = 0.005
PAUSE_SECONDS_MAX = 0.2

WRITES_AT_ONCE_MAX = 8
"""Writes that a process has under way; more only get in each other's way (benchmarks/race.py)."""

QUEUE_DEADLINES = 2
"""How many deadlines a write waits for its turn, before its own begins."""


@dataclass(frozen=True, slots=True)
class Server:
    """What interactions and operations work with."""

    store: Store
    settings: Settings
    policy: Policy
    rows: Mapping[str, ResourceDefinition]
    now: Callable[[], datetime] = utc_now
    admission: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WRITES_AT_ONCE_MAX))

    @property
    def base(self) -> str:
        return self.settings.base


@dataclass(frozen=True, slots=True)
class Written:
    """The resource that was asked for as it is now, and the status of the answer (a replayed one keeps its own)."""

    stored: Stored
    status: int


def fresh_id() -> str:
    """An id that nobody has used."""
    return str(uuid.uuid4())


async def write(
    server: Server,
    type: str,
    id: str | None,
    propose: Propose,
    *,
    who: str | None = None,
    recording: bool = False,
    replay: Replay | None = None,
) -> Written:
    """Writes one resource and all that follows from it, or nothing; without `id` a new one is made.

    It waits for its turn, is decided, and decided anew if others were first.
    `recording` writes down what happened elsewhere (an import): rules about notice and the past do not apply.
    Refuses what `propose`, the validation or the type's rules refuse; answers 503 with Retry-After when the
    deadline passes before a race is won.
    """
    asked = _Asked(type, id or fresh_id(), id is None, propose, recording)
    async with _admitted(server):
        loop = asyncio.get_running_loop()
        deadline = loop.time() + server.settings.booking_deadline_seconds
        decided = await _decide(server, asked, replay)
        attempt = 0
        while isinstance(decided, _Decided):
            try:
                stored = await server.store.transact(decided.decision, who=who, replay=replay)
                return Written(stored[0], decided.status)
            except LostRace:
                if loop.time() > deadline:
                    raise _overdue() from None
            await asyncio.sleep(random.uniform(0, min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN * 2**attempt)))
            attempt += 1
            decided = await _decide(server, asked, replay)
    return decided


@dataclass(frozen=True, slots=True)
class _Asked:
    """One write as it is asked for: `new` if nothing can be stored under the id yet."""

    type: str
    id: str
    new: bool
    propose: Propose
    recording: bool


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a write comes to on what is stored at present, and the status of its answer."""

    decision: Decision
    status: int


async def _decide(server: Server, asked: _Asked, replay: Replay | None) -> _Decided | Written:
    """What to write; or what was written, if the same request was answered before, even just now."""
    if written := await _replayed(server, replay):
        return written
    try:
        return await _decide_anew(server, asked)
    except FhirError:
        if written := await _replayed(server, replay):
            return written
        raise


async def _replayed(server: Server, replay: Replay | None) -> Written | None:
    answer = await server.store.replayed(replay) if replay else None
    return Written(answer.stored, answer.status) if answer else None


async def _decide_anew(server: Server, asked: _Asked) -> _Decided:
    row = server.rows[asked.type]
    before = None if asked.new else await server.store.read(asked.type, asked.id)
    after = asked.propose(before)
    if after is not None:
        after = {**after, "id": asked.id}
        refuse_invalid(row, after)
    now = server.now()
    change = Change(asked.type, asked.id, before, after, now, server.policy, fresh_id(), asked.recording)
    decision = await server.store.run(row.rules(change)) if row.rules else _plain(change)
    created = after is not None and (before is None or before.resource is None)
    return _Decided(decision, 201 if created else 200)


@asynccontextmanager
async def _admitted(server: Server) -> AsyncIterator[None]:
    """A place among the writes under way; 503 if none gets free in time. Those who wait hold nothing up, while all at
    once would only lose races against each other."""
    try:
        async with asyncio.timeout(QUEUE_DEADLINES * server.settings.booking_deadline_seconds):
            await server.admission.acquire()
    except TimeoutError:
        raise _overdue() from None
    try:
        yield
    finally:
        server.admission.release()


def _overdue() -> FhirError:
    text = "Others were writing the same at the same time. Nothing was written; try again."
    return FhirError("transient", text, headers={"Retry-After": "1"})


def _plain(change: Change) -> Decision:
    version = change.before.version if change.before else 0
    return Decision((Write(change.type, change.id, change.after, version),))


def refuse_invalid(row: ResourceDefinition, resource: Json) -> None:
    """Refuses a resource that is not valid, with all its problems: 400 if it is malformed, 422 if it breaks a rule."""
    issues = validation.check(row, resource)
    errors = [issue for issue in issues if issue.severity in ("error", "fatal")]
    if errors:
        raise FhirError.of(issues, status=min(STATUS_BY_ISSUE[issue.code] for issue in errors))
