"""Whom and what a parameter names: by reference, by identifier, by a search, by a part of an address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_server import search
from fhir_server.interactions.pairs import read_pairs
from fhir_server.operations._enrolling import escaped
from fhir_server.operations._free_time import read_reference
from fhir_server.operations.arguments import reference_text
from fhir_server.outcome import FhirError
from fhir_server.plan import Plan, Sought
from fhir_server.search import Scope
from fhir_server.search.query import Pairs
from fhir_server.writing import Server

NAMED_MAX = 100
"""Resources that one parameter may mean."""

ALSO: Mapping[str, tuple[str, ...]] = {"Practitioner": ("PractitionerRole",)}
"""What may be named instead of a resource of the type."""


def say(value: Any, type: str) -> str:
    """A value of a reference parameter as text: a reference as it is, an Identifier as the search for it."""
    if isinstance(value, dict) and "reference" not in value:
        system = f"{escaped(value['system'])}|" if "system" in value else ""
        return f"{type}?identifier={system}{escaped(str(value.get('value', '')))}"
    return str(reference_text(value))


async def references(server: Server, name: str, type: str, texts: Iterable[str]) -> list[str]:
    """The references that these texts mean, in their order: one that is a search means all that it finds. Refuses those
    of another type, and too many."""
    found: list[str] = []
    for text in texts:
        kind, asks, query = text.partition("?")
        if asks:
            found += await _found(server, _of_type(kind, type, text, name), tuple(read_pairs(query)))
        else:
            reference = read_reference(text, None if "/" in text else type, name, server.base)
            _of_type(reference.partition("/")[0], type, text, name)
            found.append(reference)
    if len(found) > NAMED_MAX:
        raise FhirError("too-costly", f"{name}: at most {NAMED_MAX} can be named.", name, status=400)
    return list(dict.fromkeys(found))


def _of_type(kind: str, type: str, text: str, name: str) -> str:
    wanted = (type, *ALSO.get(type, ()))
    if kind not in wanted:
        raise FhirError("value", f"{name}: {text} is no {' or '.join(wanted)}.", name)
    return kind


async def locations_at(server: Server, texts: Iterable[str]) -> list[str]:
    """The Locations with any of these as a part of their address: a city, a postal code, a state."""
    found: list[str] = []
    for text in texts:
        found += await _found(server, "Location", (("address", escaped(text)),))
    return list(dict.fromkeys(found))


async def _found(server: Server, type: str, pairs: Pairs) -> Sequence[str]:
    return await server.store.run(_search(server.scope(strict=True), type, pairs))


def _search(scope: Scope, type: str, pairs: Pairs) -> Plan[Sequence[str]]:
    wanted = yield from search.resolve(scope, search.parse(scope, type, pairs))
    [found] = yield [Sought(type, wanted.filter, "_id", limit=NAMED_MAX)]
    return [f"{type}/{id}" for id in found]
