"""The guards: documents of an actor, of which every transaction that makes a UTC day of the actor busier changes one.

A day's guard is one of `GUARDS` by turns, so that an actor has a fixed number of them and an actor that goes away can
have all of them closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from fhir_server.store.failures import is_duplicate
from fhir_server.store.schema import Database

KNOWN_MAX = 100_000

GUARDS = 64
"""How many guards an actor has. Days so far apart share one, which costs nothing but waiting."""


def guard_of(day_key: str) -> str:
    """The guard of an actor's UTC day."""
    actor, _, day = day_key.rpartition("|")
    ordinal = date(int(day[:-4]), int(day[-4:-2]), int(day[-2:])).toordinal()
    return f"{actor}|{ordinal % GUARDS}"


def guards_of(actor: str) -> frozenset[str]:
    """All the guards of an actor."""
    return frozenset(f"{actor}|{number}" for number in range(GUARDS))


@dataclass(frozen=True, slots=True)
class Guards:
    """Makes sure that guards exist before a transaction moves them, and remembers those that do."""

    known: set[str] = field(default_factory=set)

    async def ensure(self, db: Database, keys: Iterable[str]) -> None:
        """All guards exist afterwards. Plain idempotent writes: made twice at once, one of them wins."""
        missing = sorted(set(keys) - self.known)
        if not missing:
            return
        try:
            await db["guards"].bulk_write([_made(key) for key in missing], ordered=False)
        except PyMongoError as error:
            if not is_duplicate(error):
                raise
        if len(self.known) + len(missing) > KNOWN_MAX:
            self.known.clear()
        self.known.update(missing)

    def forget(self, keys: Iterable[str]) -> None:
        """One of them was not there after all: they are looked for again."""
        self.known.difference_update(keys)


def _made(key: str) -> UpdateOne:
    return UpdateOne({"_id": key}, {"$setOnInsert": {"moves": 0}}, upsert=True)
