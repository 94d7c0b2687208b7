"""Whom and what a parameter names: by reference, by identifier, by a search, by a part of an address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_server import search
from fhir_server.definitions import Parameter
from fhir_server.interactions.pairs import read_pairs
from fhir_server.operations._asking import TEXTS
from fhir_server.operations._enrolling import escaped
from fhir_server.operations._free_time import read_reference
from fhir_server.operations.arguments import reference_text
from fhir_server.outcome import FhirError
from fhir_server.plan import Matching, Plan, Sought, Stored
from fhir_server.search import Scope
from fhir_server.search.query import Pairs
from fhir_server.writing import Server

NAMED_MAX = 100
"""Resources that one parameter may mean."""

ALSO: Mapping[str, tuple[str, ...]] = {"Practitioner": ("PractitionerRole",)}
"""What may be named instead of a resource of the type."""


def naming(name: str, documentation: str) -> Parameter:
    """The row of a parameter that names resources."""
    return Parameter(name, "in", 0, "*", "Reference", documentation, also=("Identifier", *TEXTS))


def say(value: Any, type: str) -> str:
    """A value of a reference parameter as text: a reference as it is, an Identifier as the search for it."""
    if isinstance(value, dict) and "reference" not in value:
        system = f"{escaped(value['system'])}|" if "system" in value else ""
        return f"{type}?identifier={system}{escaped(str(value.get('value', '')))}"
    return str(reference_text(value))


async def references(server: Server, name: str, type: str, texts: Sequence[str]) -> list[list[str]]:
    """For each of these texts the references that it means: one that is a search means all that it finds. Refuses what
    is of another type, and too many."""
    _refuse_many(name, texts)
    found: list[list[str]] = []
    for text in texts:
        kind, asks, query = text.partition("?")
        if asks:
            found.append(await _found(server, _of_type(kind, type, text, name), tuple(read_pairs(query)), name))
        else:
            reference = read_reference(text, None if "/" in text else type, name, server.base)
            _of_type(reference.partition("/")[0], type, text, name)
            found.append([reference])
    return found


def merge(lists: Iterable[Sequence[str]]) -> list[str]:
    """All of these in their order, each once."""
    return list(dict.fromkeys(one for each in lists for one in each))


def _of_type(kind: str, type: str, text: str, name: str) -> str:
    wanted = (type, *ALSO.get(type, ()))
    if kind not in wanted:
        raise FhirError("value", f"{name}: {text} is no {' or '.join(wanted)}.", name)
    return kind


def _refuse_many(name: str, texts: Sequence[str]) -> None:
    if len(texts) > NAMED_MAX:
        raise FhirError("too-costly", f"{name}: at most {NAMED_MAX} can be named.", name, status=400)


async def locations_at(server: Server, texts: Sequence[str]) -> list[str]:
    """The Locations with any of these as a part of their address: a city, a postal code, a state."""
    _refuse_many("location-string", texts)
    return merge([await _found(server, "Location", (("address", escaped(text)),), "location-string") for text in texts])


async def ask_people(server: Server, named: Sequence[str]) -> dict[str, Sequence[str]]:
    """The parameters of $find-slots for these people: of a Practitioner the Schedules of all roles are meant, of a
    PractitionerRole its own."""
    practitioners = frozenset(one for one in named if one.startswith("Practitioner/"))
    if len(practitioners) == len(named):
        return {"practitioner": list(named)}
    [roles] = await server.store.load([Matching("PractitionerRole", {"practitioner": practitioners})])
    return {"actor": [*named, *(f"PractitionerRole/{one.id}" for one in roles if isinstance(one, Stored))]}


async def _found(server: Server, type: str, pairs: Pairs, name: str) -> list[str]:
    """Refuses a search that says nothing: it would find whatever there is."""
    if not any(value.strip() for _, value in pairs):
        raise FhirError("value", f"{name}: this names nothing.", name, status=400)
    return await server.store.run(_search(server.scope(strict=True), type, pairs))


def _search(scope: Scope, type: str, pairs: Pairs) -> Plan[list[str]]:
    wanted = yield from search.resolve(scope, search.parse(scope, type, pairs))
    [found] = yield [Sought(type, wanted.filter, "_id", limit=NAMED_MAX)]
    return [f"{type}/{id}" for id in found]
