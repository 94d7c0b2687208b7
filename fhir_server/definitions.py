"""The rows that everything is made of: what they declare is routed, parsed, indexed and described from them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from fhir_server.outcome import Issue, Json
from fhir_server.plan import Decision, Plan
from fhir_server.scheduling.policy import Change, Policy

SearchType: TypeAlias = Literal[
    "token", "reference", "date", "string", "number", "quantity", "uri", "special", "composite"
]
Level: TypeAlias = Literal["system", "type", "instance"]


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter as R4 publishes it (http://hl7.org/fhir/R4/searchparameter-registry.html).

    `expression` is the published FHIRPath for one type. `target` are the types a reference may point to.
    `many` says that a date parameter can have several values, so that its bounds must hold on the same one.
    `system` is the code system of an element of type code, which does not say it. `components` are those of a
    composite: the code of a parameter of the same type, and the FHIRPath of its values below one value of `expression`.
    """

    code: str
    type: SearchType
    expression: str
    url: str
    description: str
    target: tuple[str, ...] = ()
    many: bool = False
    system: str = ""
    components: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Added:
    """What a search finds beside the stored resources, what the client should know of it, and the ids of stored
    resources that do not count, because what they say is not so at present."""

    resources: Sequence[Json]
    notes: Sequence[Issue] = ()
    withheld: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Computed:
    """How resources of a type come into being without being stored. Both are plans, so they read in batches.

    `read(id, now, policy)` returns the resource or None. `search(filter, now, policy)` returns the resources to
    add to a search with this resolved filter, or None if the search does not ask for computed ones. Stored resources
    that the filter `hidden` matches only continue a history: they are computed anew.
    """

    read: Callable[[str, datetime, Policy], Plan[Json | None]]
    search: Callable[[Json, datetime, Policy], Plan[Added | None]]
    hidden: Json


@dataclass(frozen=True, slots=True)
class ResourceDefinition:
    """One resource type. `invariants` list the problems of a resource beyond its structure and bindings;
    `rules` decide what a write of it does; without rules the write is just itself. A type with `contents` is not
    stored: these are all its resources, to be read and searched."""

    type: str
    description: str
    search: tuple[SearchParameter, ...]
    invariants: tuple[Callable[[Json], Sequence[Issue]], ...] = ()
    rules: Callable[[Change], Plan[Decision]] | None = None
    computed: Computed | None = None
    contents: Callable[[], Sequence[Json]] | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation; `max` is "1" or "*". `search_type` says how a string is to be read. One with
    `parts` has those instead of a value, and no type. `also` are other types that are taken under its name; a Reference
    that takes an Identifier may be a logical one."""

    name: str
    use: Literal["in", "out"]
    min: int
    max: str
    type: str
    documentation: str
    search_type: SearchType | None = None
    parts: tuple[Parameter, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(slots=True)
class Request:
    """A request as interactions and operations see it: no HTTP framework in it.

    `body` is the resource in the body, however it was spelled; a patch that is no resource stays as it came, in `raw`
    of the media type `media`. `fingerprint` tells bodies apart; `headers` have lower-case names; `principal` says who
    asks. `target` is the type that is searched for in the compartment `type/id`, `*` for any.
    """

    method: str
    base: str
    path: str
    type: str | None = None
    id: str | None = None
    version: str | None = None
    target: str | None = None
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    media: str = ""
    raw: bytes = b""
    fingerprint: str = ""
    principal: str | None = None


@dataclass(slots=True)
class Response:
    """An answer as interactions and operations give it. `versioned` adds ETag, Last-Modified and, with
    status 201, Location, from the resource's meta."""

    status: int
    resource: Json | None = None
    versioned: bool = False
    headers: dict[str, str] = field(default_factory=dict)


PROTOCOL = ("_format", "_pretty")
"""Query parameters about how an answer is spelled. They are no part of what is asked, and links keep them."""

Handler: TypeAlias = Callable[[Any, Request], Awaitable[Response]]
"""(server, request) → response; `server` is `writing.Server`: the store, the rows, the settings and the clock."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """A FHIR interaction: its code of the R4 value set, its level, and the HTTP that reaches it; `conditional` if that
    names a condition instead of an id, or can."""

    code: str
    level: Level
    method: str
    path: str
    run: Handler
    documentation: str = ""
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation; `resource` are the types it is on (none for system operations). `url` is its definition's, if
    somebody else published that."""

    code: str
    name: str
    title: str
    description: str
    resource: tuple[str, ...]
    levels: tuple[Level, ...]
    affects_state: bool
    parameters: tuple[Parameter, ...]
    run: Handler
    url: str = ""
