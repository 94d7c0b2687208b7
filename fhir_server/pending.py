"""What a transaction is about to write, laid over what is stored: an entry sees those that were decided before it
(conformance/decisions/0011-transactions.md). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any

from fhir_server import search
from fhir_server.definitions import ResourceDefinition
from fhir_server.plan import (
    ById,
    Claim,
    Claimed,
    Decision,
    Event,
    Load,
    Matching,
    Newest,
    Referring,
    Stored,
    Write,
)


@dataclass(slots=True)
class Pending:
    """The decisions so far, as one: of several writes of a resource the last counts. What is `released` is seen as if
    it occupied nothing, until it is decided."""

    rows: Mapping[str, ResourceDefinition]
    zone: tzinfo
    base: str
    now: datetime
    writes: dict[str, Write] = field(default_factory=dict)
    claims: dict[str, tuple[Claim, ...]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    closes: set[str] = field(default_factory=set)
    opens: set[str] = field(default_factory=set)
    sole: dict[str, int] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    freed: list[tuple[datetime, datetime]] = field(default_factory=list)

    def add(self, asked: str, decision: Decision) -> None:
        """Lays the decision on what was asked for, a `Type/id`, over those before it."""
        self.released.discard(asked)
        for write in decision.writes:
            reference = f"{write.type}/{write.id}"
            first = self.writes.get(reference)
            self.writes[reference] = replace(write, method=first.method) if first else write
        self.claims |= decision.claims
        self.events += decision.events
        self.closes = (self.closes - decision.opens) | decision.closes
        self.opens = (self.opens - decision.closes) | decision.opens
        self.sole |= decision.sole
        self.freed += decision.freed

    def decision(self) -> Decision:
        """All of it, to be written at once."""
        return Decision(
            tuple(self.writes.values()),
            self.claims,
            tuple(self.events),
            frozenset(self.closes),
            frozenset(self.opens),
            self.sole,
            tuple(self.freed),
        )

    def stored(self, reference: str) -> Stored | None:
        """The resource as it will be, under the version that is stored; None if nothing is decided on it."""
        write = self.writes.get(reference)
        return self._stored(write) if write else None

    def see(self, load: Load, found: Sequence[Any]) -> list[Any]:
        """What a load finds if all that was decided is written, from what it found in the store."""
        if not self.writes and not self.claims and not self.released:
            return list(found)
        match load:
            case Claimed():
                return self._claims(load, found)
            case ById():
                return self._merged(found, (each for each in self._named(load.references) if each.resource is not None))
            case Newest():
                return self._merged(found, self._named(load.references))
            case Matching():
                return self._merged(found, self._matching(load))
            case Referring():
                return self._merged(found, self._referring(load))[: load.limit]
        return list(found)

    def _stored(self, write: Write) -> Stored:
        resource = write.resource and {"resourceType": write.type, **write.resource, "id": write.id}
        return Stored(write.type, write.id, write.before, self.now, resource, write.method)

    def _named(self, references: Iterable[str]) -> list[Stored]:
        return [self._stored(self.writes[each]) for each in sorted(references) if each in self.writes]

    def _merged(self, found: Iterable[Stored], mine: Iterable[Stored]) -> list[Stored]:
        others = [each for each in found if f"{each.type}/{each.id}" not in self.writes]
        return sorted([*others, *mine], key=lambda each: (each.type, each.id))

    def _matching(self, load: Matching) -> list[Stored]:
        row = self.rows[load.type]
        wanted = search.filter_of(row, load)
        return [
            self._stored(write)
            for write in self.writes.values()
            if write.type == load.type
            and write.resource is not None
            and search.matches(wanted, self._document(row, write))
        ]

    def _document(self, row: ResourceDefinition, write: Write) -> Mapping[str, Any]:
        return {"_id": write.id, **search.index(row, write.resource or {}, zone=self.zone, base=self.base)}

    def _referring(self, load: Referring) -> list[Stored]:
        return [
            self._stored(write)
            for write in self.writes.values()
            if write.resource is not None and load.references.intersection(search.referred(write.resource, self.base))
        ]

    def _claims(self, load: Claimed, found: Iterable[Claim]) -> list[Claim]:
        mine = [
            claim
            for claims in self.claims.values()
            for claim in claims
            if claim.actor in load.actors and claim.start < load.end and load.start < claim.end
        ]
        kept = [claim for claim in found if claim.owner not in self.claims and claim.owner not in self.released]
        return sorted([*kept, *mine], key=lambda claim: (claim.actor, claim.start))
