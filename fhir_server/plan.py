"""What a pure rule asks to be loaded and what it decides to write, as data.

A rule is a generator: it yields a batch of loads, is sent what was found, and returns a `Decision`. Whoever runs
it does the reading; a batch is one round trip, so the yields of a rule are its round trips
(conformance/decisions/0007-rules-are-plans.md).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias, TypeVar

from fhir_server.outcome import Json


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of a resource. `resource` is None for the version that deleted it; `method` is the HTTP method that
    made it, `first` that there was none before it or only a deletion."""

    type: str
    id: str
    version: int
    updated: datetime
    resource: Json | None
    method: str = "PUT"
    first: bool = False


@dataclass(frozen=True, slots=True)
class ById:
    """Load: the current version of each `Type/id`; unknown and deleted ones are left out."""

    references: frozenset[str]


@dataclass(frozen=True, slots=True)
class Newest:
    """Load: the newest version of each `Type/id`, which may be the one that deleted it; unknown ones are left out."""

    references: frozenset[str]


@dataclass(frozen=True, slots=True)
class Matching:
    """Load: resources of `type` whose index holds, for **every** code of `where`, any of the values.

    Values are index values: `Type/id` for reference parameters, `*|code` or `system|code` for tokens.
    `window` limits a date parameter with instants: (code, start, end) keeps `start <= value < end`.
    More than `limit` results is refused (too-costly), never cut.
    """

    type: str
    where: Mapping[str, frozenset[str]]
    window: tuple[str, datetime, datetime] | None = None
    limit: int = 10_000


@dataclass(frozen=True, slots=True)
class Referring:
    """Load: resources of any type that refer to any of these `Type/id`, whatever the element; at most `limit`."""

    references: frozenset[str]
    limit: int


@dataclass(frozen=True, slots=True)
class Sought:
    """Load: the distinct texts at `path` in the documents of `type` that the filter finds, in order; of an array those
    that begin with `beginning`. More than `limit` is refused (too-costly), never cut."""

    type: str
    filter: Json
    path: str
    beginning: str = ""
    limit: int = 10_000


@dataclass(frozen=True, slots=True)
class Claimed:
    """Load: the claims of any of `actors` that overlap [start, end), ordered by actor and start. Those of holds that
    have expired are none."""

    actors: frozenset[str]
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Counted:
    """Load: how many documents of `type` the filter finds of each kind: by what they have in the elements of type code
    in `codes` and by the first Coding of those of type CodeableConcept in `concepts`; with `every`, the path of an
    instant and minutes, also by that instant cut to multiples of so many minutes. More kinds than `limit` are refused
    (too-costly), never cut."""

    type: str
    filter: Json
    codes: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()
    every: tuple[str, int] | None = None
    limit: int = 50_000


@dataclass(frozen=True, slots=True)
class Tally:
    """How many there are of a kind. A concept is a system and a code, each None if there is none."""

    count: int
    codes: tuple[str | None, ...] = ()
    concepts: tuple[tuple[str | None, str | None], ...] = ()
    at: datetime | None = None


Load: TypeAlias = ById | Newest | Matching | Referring | Sought | Claimed | Counted


@dataclass(frozen=True, slots=True)
class Claim:
    """That `owner` (an Appointment or a busy Slot) occupies `actor` for [start, end), buffers included.

    [core_start, core_end) is the time without buffers. Claims of one actor may overlap only in the same `pool`
    (a Schedule's reference) while its `capacity` holds the sum of `units`; a claim without a pool shares nothing.
    A claim with `capacity` 0 is a block: it is written whatever is there, and nothing fits over it; one that is
    `forced` is written like that too, and counts for others like any other. From `expires` on a claim is none.
    """

    actor: str
    start: datetime
    end: datetime
    owner: str
    core_start: datetime
    core_end: datetime
    pool: str | None = None
    capacity: int = 1
    units: int = 1
    expires: datetime | None = None
    forced: bool = False

    def renews(self, other: Claim) -> bool:
        """Whether it is for the same owner and time, only held longer or shorter: it fits where that one was."""
        return replace(self, expires=other.expires, forced=other.forced) == other


@dataclass(frozen=True, slots=True)
class Write:
    """`resource` becomes the next version of type/id; None deletes it.

    `before` is the version that was decided on, 0 if there was none: a different one stored makes the whole
    transaction a lost race. `method` is the HTTP method that its history will say.
    """

    type: str
    id: str
    resource: Json | None
    before: int
    method: str = "PUT"


@dataclass(frozen=True, slots=True)
class Event:
    """What a change means, for the outbox. Who and when are added by the transaction."""

    resource: str
    action: str
    old_status: str | None = None
    new_status: str | None = None
    reason: str | None = None
    priority: str = "normal"


@dataclass(frozen=True, slots=True)
class Decision:
    """What one request writes, all or none. The first write is the resource that was asked for.

    `claims` says what each owner occupies from now on: the owner's former claims are dropped; an owner that is
    not named keeps its own. `closes` names actors of whom nothing can be booked from now on, and nothing is; `opens`
    those of whom it can again. `sole` names conditions that nothing met, each with how often something was made to meet
    it until then: if that changed, the transaction is a lost race. `freed` are times (start, end) that are given back,
    for which somebody may wait.
    """

    writes: tuple[Write, ...]
    claims: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    closes: frozenset[str] = frozenset()
    opens: frozenset[str] = frozenset()
    sole: Mapping[str, int] = field(default_factory=dict)
    freed: tuple[tuple[datetime, datetime], ...] = ()


Loaded: TypeAlias = Sequence[Stored] | Sequence[Claim] | Sequence[str] | Sequence[Tally]
"""What one load found."""

Found: TypeAlias = Sequence[Loaded]
"""One list per load of the batch, in its order."""

T = TypeVar("T")
Plan: TypeAlias = Generator[Sequence[Load], Found, T]
