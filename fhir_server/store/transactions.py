"""Transactions with an end: a deadline, jittered retries, and a commit that is asked for until it is known."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from fhir_server.store.failures import (
    LostRace,
    is_duplicate,
    is_transient,
    is_uncertain,
    overdue,
    unavailable,
    uncertain,
)
from fhir_server.store.schema import MAJORITY, Client

log = logging.getLogger(__name__)

Session: TypeAlias = AsyncIOMotorClientSession
T = TypeVar("T")

PAUSE_SECONDS_MIN = 0.005
PAUSE_SECONDS_MAX = 0.25


class _TryAgain(Exception):
    """The transaction was aborted, and may succeed when it is tried again."""

    def __init__(self, *, contended: bool, committed_perhaps: bool = False) -> None:
        super().__init__()
        self.contended = contended
        self.committed_perhaps = committed_perhaps


class Moved(Exception):
    """Raised by a body whose ground moved below it: the transaction is aborted and tried again."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the outcome of a transaction is asked of: `body` runs in it, any number of times; `landed` tells
    whether an attempt whose commit got no answer was written."""

    body: Callable[[Session], Awaitable[Any]]
    landed: Callable[[], Awaitable[bool]]


async def transact(client: Client, attempt: Attempt, deadline: float) -> Any:
    """What the body returned in the attempt that was committed. `deadline` is of the loop's clock.

    Raises what the body raises, LostRace where a unique key was taken meanwhile, and 503 past the deadline.
    """
    loop = asyncio.get_running_loop()
    tries = 0
    perhaps: list[Any] = []
    while True:
        results: list[Any] = []
        try:
            return await _once(client, attempt.body, deadline, results)
        except _TryAgain as again:
            perhaps += results if again.committed_perhaps else []
            pause = random.uniform(0, min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN * 2**tries))
            tries += 1
            if loop.time() + pause > deadline:
                if perhaps:
                    raise uncertain() from None
                raise (overdue() if again.contended else unavailable()) from None
            await asyncio.sleep(pause)
        if perhaps and await _landed(attempt, deadline):
            return perhaps[0]


async def _landed(attempt: Attempt, deadline: float) -> bool:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return await attempt.landed()
        except PyMongoError:
            if loop.time() > deadline:
                raise uncertain() from None
            await asyncio.sleep(PAUSE_SECONDS_MAX)


async def _once(client: Client, body: Callable[[Session], Awaitable[Any]], deadline: float, results: list[Any]) -> Any:
    loop = asyncio.get_running_loop()
    try:
        async with await client.start_session() as session:
            session.start_transaction(
                read_concern=ReadConcern("snapshot"),
                write_concern=MAJORITY,
                read_preference=ReadPreference.PRIMARY,
                max_commit_time_ms=max(1, int((deadline - loop.time()) * 1000)),
            )
            try:
                results.append(await body(session))
            except BaseException:
                await session.abort_transaction()
                raise
            await _commit(session, deadline)
            return results[0]
    except Moved:
        raise _TryAgain(contended=True) from None
    except PyMongoError as error:
        if is_duplicate(error):
            raise LostRace from None
        if not is_transient(error):
            raise
        log.debug("the transaction is tried again: %s", error)
        raise _TryAgain(contended=bool(getattr(error, "code", None))) from None


async def _commit(session: Session, deadline: float) -> None:
    """Returns when the commit is known to have happened; asks again while that is unknown.

    A store that was restarted meanwhile knows nothing of it, whether or not it happened before.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            await session.commit_transaction()
            return
        except PyMongoError as error:
            if is_uncertain(error):
                if loop.time() > deadline:
                    raise uncertain() from None
            elif is_transient(error):
                raise _TryAgain(contended=True, committed_perhaps=True) from None
            else:
                raise
        await asyncio.sleep(random.uniform(0, PAUSE_SECONDS_MAX))


@dataclass(frozen=True, slots=True)
class KeyedMutex:
    """One lock for each key, so that those in one process who want the same wait instead of conflicting.

    It only saves work: what makes a transaction safe is what it writes.
    """

    _locks: dict[str, tuple[asyncio.Lock, list[int]]] = field(default_factory=dict)

    @asynccontextmanager
    async def held(self, keys: Iterable[str], deadline: float) -> AsyncIterator[None]:
        """All the keys at once, taken in order. Refused with 503 past the deadline."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadline):
                    for key in sorted(set(keys)):
                        await stack.enter_async_context(self._one(key))
            except TimeoutError:
                raise overdue() from None
            yield

    @asynccontextmanager
    async def _one(self, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.setdefault(key, (asyncio.Lock(), [0]))
        users[0] += 1
        try:
            async with lock:
                yield
        finally:
            users[0] -= 1
            if not users[0]:
                del self._locks[key]
