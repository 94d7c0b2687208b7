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


WRITES_AT_ONCE_MAX = 8
"""Writes that a process has under way; more only get in each other's way (benchmarks/race.py)."""


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

    `recording` writes down what happened elsewhere (an import): rules about notice and the past do not apply.
    Refuses what `propose`, the validation or the type's rules refuse; answers 503 with Retry-After when the
    deadline passes before a race is won.
    """
    async with _admitted(server):
        return await _write(server, type, id, propose, who, recording, replay)


@asynccontextmanager
async def _admitted(server: Server) -> AsyncIterator[None]:
    """A place among the writes under way; 503 if none gets free before the deadline. Those who wait hold nothing up,
    while all at once would only lose races against each other."""
    try:
        async with asyncio.timeout(server.settings.booking_deadline_seconds):
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


async def _write(
    server: Server,
    type: str,
    id: str | None,
    propose: Propose,
    who: str | None,
    recording: bool,
    replay: Replay | None,
) -> Written:
    row = server.rows[type]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + server.settings.booking_deadline_seconds
    target = id or fresh_id()
    for attempt in range(1_000):
        if replay and (answer := await server.store.replayed(replay)):
            return Written(answer.stored, answer.status)
        before = await server.store.read(type, target) if id else None
        after = propose(before)
        if after is not None:
            after = {**after, "id": target}
            refuse_invalid(row, after)
        now = server.now()
        change = Change(type, target, before, after, now, server.policy, fresh_id(), recording)
        decision = await server.store.run(row.rules(change)) if row.rules else _plain(change)
        try:
            stored = await server.store.transact(decision, who=who, replay=replay)
        except LostRace:
            if loop.time() > deadline:
                break
            await asyncio.sleep(random.uniform(0, min(0.2, 0.005 * 2**attempt)))
            continue
        created = before is None or before.resource is None
        return Written(stored[0], 201 if created and after is not None else 200)
    raise _overdue()


def _plain(change: Change) -> Decision:
    version = change.before.version if change.before else 0
    return Decision((Write(change.type, change.id, change.after, version),))


def refuse_invalid(row: ResourceDefinition, resource: Json) -> None:
    """Refuses a resource that is not valid, with all its problems: 400 if it is malformed, 422 if it breaks a rule."""
    issues = validation.check(row, resource)
    errors = [issue for issue in issues if issue.severity in ("error", "fatal")]
    if errors:
        raise FhirError.of(issues, status=min(STATUS_BY_ISSUE[issue.code] for issue in errors))
