"""_include and _revinclude (http://hl7.org/fhir/R4/search.html#include): what they name, and what of it to load next.

Pure: one step of inclusion, from the resources found so far to the references to follow and the filters of what refers
to them. Whoever loads them repeats the step for what is to be iterated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fhir_server.definitions import ResourceDefinition, SearchParameter
from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.plan import ById, Plan, Stored
from fhir_server.search import reference
from fhir_server.search.filters import Filter, any_of, conjoin, disjoin
from fhir_server.search.parameters import parameters, place, supported
from fhir_server.search.path import compile_path
from fhir_server.search.scope import Scope

NAMES = ("_include", "_revinclude")
ITERATE = ("iterate", "recurse")
"""The modifier of R4 and its older spelling, which means the same."""

STEPS_MAX = 8
"""How far inclusion is iterated: the matches are at 0."""

FORM = re.compile(r"(?P<source>[A-Z][A-Za-z]*):(?P<code>\*|[A-Za-z_][A-Za-z0-9_-]*)(:(?P<target>[A-Z][A-Za-z]*))?")

References: TypeAlias = frozenset[str]
Rows: TypeAlias = Mapping[str, ResourceDefinition]


@dataclass(frozen=True, slots=True)
class Include:
    """One of them: from resources of the type `source` along `code`, either of which `*` leaves open, to those of the
    type `target`, any if empty. `reverse` goes against the reference; `iterate` also starts at what was included."""

    reverse: bool
    source: str
    code: str
    target: str
    iterate: bool


def read(scope: Scope, name: str, value: str, types: Sequence[str]) -> Include | Issue:
    """The include that a pair asks for in a search over `types`, or the warning that there is nothing it could include.
    Refuses with 400 what is not written like one."""
    code, _, modifier = name.partition(":")
    if modifier and modifier not in ITERATE:
        raise FhirError("not-supported", f"'{code}' has the modifier ':iterate' only, not ':{modifier}'.", status=400)
    found = FORM.fullmatch(value)
    if found is None and value != "*":
        right = "'*', 'Type:*', 'Type:parameter' or 'Type:parameter:Type', one each time it is given"
        raise FhirError("value", f"'{name}' is {right}, not '{value}'.", status=400)
    parts = found.groupdict() if found else {"source": "*", "code": "*"}
    include = Include(code == "_revinclude", parts["source"], parts["code"], parts.get("target") or "", bool(modifier))
    return _problem(scope.rows, include, f"{name}={value}", types) or include


def _problem(rows: Rows, include: Include, said: str, types: Sequence[str]) -> Issue | None:
    """Why an include names nothing."""
    if any(_begins(include, row, parameter, types) for row, parameter in _followed(rows, include)):
        return None
    if include.source != "*" and include.source not in rows:
        right = f"{include.source} is not a resource type of this server"
    else:
        known, way = (reverse_claims, "to") if include.reverse else (claims, "from")
        works = ", ".join(dict.fromkeys(each for type in types for each in known(rows, type)))
        right = f"there is no such reference {way} {' or '.join(types)}, only with ':iterate' {way} what is included"
        right += f". What works: {works or 'nothing'}"
    return Issue("not-supported", f"'{said}' includes nothing: {right}.", severity="warning")


def _begins(include: Include, row: ResourceDefinition, parameter: SearchParameter, types: Sequence[str]) -> bool:
    """Whether going along a parameter can begin at matches of these types, or at what another include adds to them."""
    if include.iterate:
        return True
    if include.reverse:
        return any(_reaches(parameter, type) and include.target in ("", type) for type in types)
    return row.type in types


def claims(rows: Rows, type: str) -> list[str]:
    """What can be included from resources of the type, nothing if it is none of the rows; without the wildcards:
    `Type:parameter`."""
    return [f"{type}:{each.code}" for each in _references(rows, rows[type])] if type in rows else []


def reverse_claims(rows: Rows, type: str) -> list[str]:
    """What can be included that refers to resources of the type: `Type:parameter`."""
    return [
        f"{row.type}:{each.code}" for row in rows.values() for each in _references(rows, row) if _reaches(each, type)
    ]


def referenced(scope: Scope, includes: Iterable[Include], found: Sequence[Json]) -> References:
    """The `Type/id` that the forward includes follow from these resources."""
    return frozenset(
        key
        for include in includes
        if not include.reverse
        for row, parameter in _followed(scope.rows, include)
        for resource in found
        if resource["resourceType"] == row.type
        for key in _targets(scope, parameter, resource)
        if not include.target or key.startswith(f"{include.target}/")
    )


def follow(references: Sequence[str]) -> Plan[list[Json]]:
    """The resources at these `Type/id`, without those that are not there."""
    if not references:
        return []
    (found,) = yield [ById(frozenset(references))]
    return [each.resource for each in found if isinstance(each, Stored) and each.resource is not None]


def referring(scope: Scope, includes: Iterable[Include], found: Sequence[Json]) -> dict[str, Filter]:
    """The filters, by type, of what the reverse includes find that refers to these resources."""
    conditions: dict[str, list[Filter]] = {}
    for include in includes:
        for row, parameter in _followed(scope.rows, include) if include.reverse else ():
            known = [
                f"{each['resourceType']}/{each['id']}"
                for each in found
                if _reaches(parameter, each["resourceType"]) and include.target in ("", each["resourceType"])
            ]
            if known:
                conditions.setdefault(row.type, []).append(any_of(place(parameter), sorted(known)))
    return {type: disjoin(each) for type, each in conditions.items()}


def apart_from(filter: Filter, ids: Iterable[str]) -> Filter:
    """The same filter without the documents of these ids."""
    known = sorted(ids)
    return conjoin(filter, {"_id": {"$nin": known}}) if known else filter


def _followed(rows: Rows, include: Include) -> Iterator[tuple[ResourceDefinition, SearchParameter]]:
    """The parameters that an include goes along, each with the type that has it."""
    for row in rows.values() if include.source == "*" else filter(None, [rows.get(include.source)]):
        for parameter in _references(rows, row):
            reaches = not include.target or (include.target in rows and _reaches(parameter, include.target))
            if include.code in ("*", parameter.code) and reaches:
                yield row, parameter


def _references(rows: Rows, row: ResourceDefinition) -> list[SearchParameter]:
    """The parameters of a stored type that refer to types that are here."""
    if row.contents is not None:
        return []
    return [
        each
        for each in parameters(row)
        if each.type == "reference" and supported(each) and any(_reaches(each, type) for type in rows)
    ]


def _reaches(parameter: SearchParameter, type: str) -> bool:
    return not parameter.target or type in parameter.target


def _targets(scope: Scope, parameter: SearchParameter, resource: Json) -> Iterator[str]:
    values = compile_path(parameter.expression)(resource)
    keys, _ = reference.extract(parameter, values, scope.frame)
    return (key for key in keys if (local := reference.LOCAL.fullmatch(key)) and local[1] in scope.rows)
