"""The one door for writes: validate, load what the type's rules name, decide, transact; again on a lost race."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import TypeAlias

from fhir_server import validation
from fhir_server.definitions import Request, ResourceDefinition, Response
from fhir_server.outcome import STATUS_BY_ISSUE, FhirError, Json
from fhir_server.pending import Pending
from fhir_server.plan import ById, Decision, Found, Load, Newest, Referring, Stored, Write
from fhir_server.scheduling.policy import Change, Intent, Policy
from fhir_server.search import Scope
from fhir_server.settings import Settings
from fhir_server.store import Answer, KeyedMutex, Loading, LostRace, Replay, Store, run


class Unchanged(Enum):
    """That a resource is to stay as it is."""

    UNCHANGED = "unchanged"


Propose: TypeAlias = Callable[[Stored | None], Json | Unchanged | None]
"""From what is stored to what is wanted, None to delete. Refuses by raising FhirError; raises LostRace if what was
asked for no longer stands. Called again when a race was lost."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One write as it is asked for: `new` if nothing can be stored under the id yet, `where` it stands in a Bundle, and
    `sole` conditions that nothing met when it was asked for (plan.Decision)."""

    type: str
    id: str
    propose: Propose
    method: str = "PUT"
    new: bool = False
    where: str = ""
    sole: Mapping[str, int] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"


Ask: TypeAlias = Callable[[], Awaitable[Sequence[Asked]]]
"""What is asked for, on what is stored at present: asked again when a race was lost."""


def utc_now() -> datetime:
    """The clock of the server, in milliseconds, as FHIR's meta.lastUpdated and MongoDB keep it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


PLAIN = Intent()
"""A request that says nothing beside the resource."""

LOSSES_MAX = 1
"""Races that a transaction loses before others in its process wait for it: single writes are quicker and always win."""

ATTEMPTS_MAX = 4
"""How often an entry of a transaction is decided: in the order of the entries and against it, in turns."""

DEPENDENT = frozenset({409, 422})
"""The statuses of refusals that may come of what other entries are about to change."""

REFERRERS_MAX = 20
"""Resources that are named as those which refer to what is to be deleted."""

PAUSE_SECONDS_MIN = 0.005
PAUSE_SECONDS_MAX = 0.2

WRITES_AT_ONCE_MAX = 8
"""Writes that a process has under way; more only get in each other's way (benchmarks/race.py)."""

QUEUE_DEADLINES = 2
"""How many deadlines a write waits for its turn, before its own begins."""


async def _nowhere(request: Request) -> Response:
    raise FhirError("not-supported", f"There is no interaction behind {request.path} here.", status=400)


@dataclass(slots=True)
class Settled:
    """From when until when no hold ends that was not put away (`settling`)."""

    since: datetime | None = None
    until: datetime | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def covers(self, now: datetime) -> bool:
        """Whether that is known of this moment."""
        return self.since is not None and self.until is not None and self.since <= now < self.until


FREED_MAX = 1_000


@dataclass(slots=True)
class Freed:
    """Times that were given back since somebody last looked who waits for them (`offering`); when that was done for
    all time, and since when those wait whom it did not get to. What is too much to remember is left to that."""

    times: tuple[tuple[datetime, datetime], ...] = ()
    looked: datetime | None = None
    since: datetime | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def note(self, times: Sequence[tuple[datetime, datetime]]) -> None:
        """Remembers that these were given back."""
        if times:
            self.times = (*self.times, *times)[-FREED_MAX:]

    def take(self) -> tuple[tuple[datetime, datetime], ...]:
        """What is remembered; it is forgotten."""
        taken, self.times = self.times, ()
        return taken


@dataclass(frozen=True, slots=True)
class Server:
    """What interactions and operations work with: `rows` are the types that are stored, `library` those that are not.
    `dispatch` answers a request that came inside another one: its path is below the base, and the headers of its answer
    are those of an answer over HTTP."""

    store: Store
    settings: Settings
    policy: Policy
    rows: Mapping[str, ResourceDefinition]
    now: Callable[[], datetime] = utc_now
    mutex: KeyedMutex = field(default_factory=KeyedMutex)
    admission: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WRITES_AT_ONCE_MAX))
    dispatch: Callable[[Request], Awaitable[Response]] = _nowhere
    library: Mapping[str, ResourceDefinition] = field(default_factory=dict)
    settled: Settled = field(default_factory=Settled)
    freed: Freed = field(default_factory=Freed)

    @property
    def base(self) -> str:
        return self.settings.base

    def scope(self, *, strict: bool | None = None) -> Scope:
        """What a search means here and now; `strict` None is as the settings say."""
        return Scope(
            {**self.rows, **self.library},
            self.policy.zone,
            self.base,
            self.now(),
            self.settings.search_strict if strict is None else strict,
            self.settings.count_default,
            self.settings.count_max,
        )


@dataclass(frozen=True, slots=True)
class Written:
    """The resource that was asked for as it is now, the status of the answer (a replayed one keeps its own), and
    whether nothing was changed."""

    stored: Stored
    status: int
    unchanged: bool = False
    where: str = ""


def fresh_id() -> str:
    """An id that nobody has used."""
    return str(uuid.uuid4())


async def write(
    server: Server,
    type: str,
    id: str | None,
    propose: Propose,
    *,
    method: str = "PUT",
    who: str | None = None,
    intent: Intent = PLAIN,
    replay: Replay | None = None,
) -> Written:
    """Writes one resource and all that follows from it, or nothing; without `id` a new one is made.

    As `write_all`, for what does not depend on a search.
    """
    asked = Asked(type, id or fresh_id(), propose, method if id else "POST", new=id is None)

    async def ask() -> Sequence[Asked]:
        return [asked]

    named = None if id is None else asked.reference
    return (await write_all(server, ask, named=named, who=who, intent=intent, replay=replay))[0]


async def write_all(
    server: Server,
    ask: Ask,
    *,
    named: str | None = None,
    who: str | None = None,
    intent: Intent = PLAIN,
    replay: Replay | None = None,
    deadline_seconds: float | None = None,
) -> Sequence[Written]:
    """Writes all that is asked for and all that follows from it, in one transaction, or nothing. One answer for each
    that was asked for; each is decided on what those before it come to.

    It waits for its turn, is decided, and decided anew if others were first. `named` is the one resource that it is
    about, if that is known before it is asked: a transaction that lost a race about it is waited for.
    `intent` is what the request says beside the resources.
    Refuses what is refused by `propose`, the validation, the type's rules, or because something still refers to what is
    to be deleted; answers 503 with Retry-After when the deadline passes before a race is won.
    """
    seconds = deadline_seconds or server.settings.booking_deadline_seconds
    loop = asyncio.get_running_loop()
    waiting = server.mutex.held([named] if named else [], loop.time() + QUEUE_DEADLINES * seconds)
    async with waiting, _admitted(server), AsyncExitStack() as held:
        deadline = loop.time() + seconds
        attempt = 0
        while True:
            decided: _Decided | Sequence[Written] = ()
            try:
                decided = await _decide(server, ask, intent, replay)
                if not isinstance(decided, _Decided):
                    return decided
                stored = await server.store.transact(
                    decided.decision, who=who, replay=replay, answers=decided.answers, deadline_seconds=seconds
                )
                server.freed.note(decided.decision.freed)
                return decided.written(stored)
            except LostRace:
                if loop.time() > deadline:
                    raise _overdue() from None
            if attempt == LOSSES_MAX and isinstance(decided, _Decided) and len(decided.answers) > 1:
                await held.enter_async_context(server.mutex.held(decided.references, deadline))
            await asyncio.sleep(random.uniform(0, min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN * 2**attempt)))
            attempt += 1


async def rehearse(server: Server, asked: Asked, intent: Intent = PLAIN) -> None:
    """Refuses what a write would be refused for at present; nothing is written."""
    await rehearse_all(server, [asked], intent)


async def rehearse_all(server: Server, asked: Sequence[Asked], intent: Intent = PLAIN) -> None:
    """Refuses what a write of all of them together would be refused for at present; nothing is written."""
    await _decide_anew(server, asked, intent)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What is to be written on what is stored at present, and the answers, each with what is stored before."""

    decision: Decision
    answers: Sequence[Answer]

    @property
    def references(self) -> list[str]:
        """What was asked for."""
        return [f"{each.stored.type}/{each.stored.id}" for each in self.answers]

    def written(self, stored: Sequence[Stored]) -> list[Written]:
        """The answers, from the new versions."""
        new = {(each.type, each.id): each for each in stored}
        return [_written(each, new.get((each.stored.type, each.stored.id))) for each in self.answers]


def _written(answer: Answer, new: Stored | None) -> Written:
    return Written(new or answer.stored, answer.status, new is None, answer.where)


async def _decide(server: Server, ask: Ask, intent: Intent, replay: Replay | None) -> _Decided | Sequence[Written]:
    """What to write; or what was written, if there is nothing to write or the same request was answered before, even
    just now."""
    if written := await _replayed(server, replay):
        return written
    try:
        decided = await _decide_anew(server, await ask(), intent)
    except FhirError:
        if written := await _replayed(server, replay):
            return written
        raise
    return decided if decided.decision.writes or replay else decided.written(())


async def _replayed(server: Server, replay: Replay | None) -> Sequence[Written]:
    answers = await server.store.replayed(replay) if replay else None
    return [Written(each.stored, each.status, each.unchanged, each.where) for each in answers or ()]


async def _decide_anew(server: Server, asked: Sequence[Asked], intent: Intent) -> _Decided:
    """Each on what those before it come to; then what still refers to what is deleted.

    What is refused because of what others have is put off until they are decided, then again with what those that wait
    occupy taken as free, since they all are about to say anew what they occupy: so the order in which a transaction
    lists its entries does not matter, and two appointments can change places. Where nothing has changed meanwhile, it
    stays refused.
    """
    now = server.now()
    pending = Pending(server.rows, server.policy.zone, server.base, now)
    load = _loading(server, pending)
    before = await _stored_before(server, asked)
    answers: dict[int, Answer] = {}
    waiting = list(enumerate(asked))
    for attempt in range(ATTEMPTS_MAX):
        refused: dict[int, FhirError] = {}
        for place, each in reversed(waiting) if attempt % 2 else waiting:
            known = pending.stored(each.reference) or before.get(each.reference)
            try:
                decision = await _decide_one(server, each, known, load, now, intent)
            except FhirError as error:
                refused[place] = placed(error, each.where, each.type) if each.where else error
                if len(asked) == 1 or error.status not in DEPENDENT:
                    raise refused[place] from None
                continue
            pending.add(each.reference, decision)
            answers[place] = _answer(each, before.get(each.reference), decision, now)
        decided = len(refused) < len(waiting)
        waiting = [(place, each) for place, each in waiting if place in refused]
        if not waiting:
            break
        released = {each.reference for _, each in waiting if each.reference in before}
        if not decided and released == pending.released:
            raise refused[waiting[0][0]]
        pending.released = released
    else:
        raise refused[waiting[0][0]]
    await _refuse_referred(server, asked, pending, load)
    return _Decided(pending.decision(), [answers[place] for place in sorted(answers)])


def _answer(asked: Asked, before: Stored | None, decision: Decision, now: datetime) -> Answer:
    """What is stored before of what was asked for, and the status of the answer."""
    first = before or Stored(asked.type, asked.id, 0, now, None)
    created = bool(decision.writes and decision.writes[0].resource is not None and first.resource is None)
    return Answer(first, 201 if created else 200, asked.where)


async def _stored_before(server: Server, asked: Sequence[Asked]) -> Mapping[str, Stored]:
    """What is stored of those that are not new, by reference."""
    wanted = [each for each in asked if not each.new]
    if len(wanted) == 1:
        found = await server.store.read(wanted[0].type, wanted[0].id)
        return {wanted[0].reference: found} if found else {}
    if not wanted:
        return {}
    groups = await server.store.load([Newest(frozenset(each.reference for each in wanted))])
    return {f"{each.type}/{each.id}": each for group in groups for each in group if isinstance(each, Stored)}


async def _decide_one(
    server: Server, asked: Asked, before: Stored | None, load: Loading, now: datetime, intent: Intent
) -> Decision:
    row = server.rows[asked.type]
    after = asked.propose(before)
    if isinstance(after, Unchanged):
        return Decision(())
    if after is not None:
        after = {**after, "id": asked.id}
        refuse_invalid(row, after)
    change = Change(asked.type, asked.id, before, after, now, server.policy, fresh_id(), intent)
    decision = await run(row.rules(change), load) if row.rules else _plain(change)
    first, *others = decision.writes
    return replace(decision, writes=(replace(first, method=asked.method), *others), sole=asked.sole)


def _loading(server: Server, pending: Pending) -> Loading:
    """Loads as if what is pending were written. What was read by id once is remembered for those that follow."""
    known: dict[str, Stored | None] = {}

    async def load(loads: Sequence[Load]) -> Found:
        asked = [ById(each.references - known.keys()) if isinstance(each, ById) else each for each in loads]
        found = await server.store.load(asked)
        for wanted, group in zip(asked, found, strict=True):
            if isinstance(wanted, ById):
                known.update(dict.fromkeys(wanted.references))
                known.update({f"{one.type}/{one.id}": one for one in group if isinstance(one, Stored)})
        return [
            pending.see(each, _remembered(known, each) if isinstance(each, ById) else group)
            for each, group in zip(loads, found, strict=True)
        ]

    return load


def _remembered(known: Mapping[str, Stored | None], load: ById) -> list[Stored]:
    return [stored for reference in sorted(load.references) if (stored := known[reference])]


async def _refuse_referred(server: Server, asked: Sequence[Asked], pending: Pending, load: Loading) -> None:
    """Refuses with 409 to delete what something that stays refers to; the settings can allow it."""
    gone = [each.reference for each in asked if (last := pending.stored(each.reference)) and last.resource is None]
    if not gone or server.settings.delete_referenced:
        return
    found = (await load([Referring(frozenset(gone), REFERRERS_MAX + len(gone))]))[0]
    referrers = sorted(
        reference for each in found if isinstance(each, Stored) and (reference := f"{each.type}/{each.id}") not in gone
    )
    if not referrers:
        return
    more = f" and {len(referrers) - REFERRERS_MAX} or more others" if len(referrers) > REFERRERS_MAX else ""
    wanted = ", ".join(gone) if len(gone) < 4 else f"{len(gone)} resources"
    text = f"{wanted} cannot be deleted while others refer to it: {', '.join(referrers[:REFERRERS_MAX])}{more}."
    raise FhirError("conflict", text, gone[0].partition("/")[0], problem="referenced")


def placed(refused: FhirError, where: str, type: str) -> FhirError:
    """The same refusal, with the expressions under the place of a Bundle entry."""
    issues = [replace(issue, expression=_under(where, type, issue.expression)) for issue in refused.issues]
    return FhirError.of(issues, status=refused.status, headers=refused.headers)


def _under(where: str, type: str, expressions: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{where}.resource{each.removeprefix(type)}" if each.partition(".")[0] == type else where
        for each in expressions
    ) or (where,)


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
