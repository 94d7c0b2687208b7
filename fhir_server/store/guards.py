"""The guards: one document for each actor and UTC day, which every transaction that makes that day busier changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from fhir_server.store.failures import is_duplicate
from fhir_server.store.schema import Database

KNOWN_MAX = 100_000


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
    day = datetime.strptime(key.rpartition("|")[2], "%Y%m%d").replace(tzinfo=UTC)
    return UpdateOne({"_id": key}, {"$setOnInsert": {"day": day, "moves": 0}}, upsert=True)
