"""Which codes a value set has (http://hl7.org/fhir/R4/valueset.html#compose)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import TypeAlias

from fhir_server.outcome import FhirError, Json
from fhir_server.terminology.codes import Concept, above_of, concepts
from fhir_server.terminology.definitions import bindings, find, value_sets

Key: TypeAlias = tuple[str, str]
"""System and code."""

FILTERS: Mapping[tuple[str, str], Callable[[Mapping[str, Concept], str, str], bool]] = {
    ("concept", "is-a"): lambda system, code, value: value in above_of(system, code),
    ("concept", "is-not-a"): lambda system, code, value: value not in above_of(system, code),
}
"""By property and operator whether a code of a system passes a filter."""


def value_set(canonical: str, version: str | None = None) -> Json:
    """The ValueSet of a canonical URL. Refuses with 422 one that the served types are bound to and that is not here,
    with 404 any other."""
    found = find(value_sets(), canonical, version)
    if found is not None:
        return found
    url = canonical.partition("|")[0]
    bound = [path for path, (_, bound) in bindings().items() if bound == url]
    if bound and url not in value_sets():
        text = f"R4 binds {bound[0]} to {url}, but this server may not hand on its codes."
        raise FhirError("not-supported", text, "url", status=422)
    said = f"{canonical}|{version}" if version else canonical
    raise FhirError("not-found", f"There is no ValueSet {said} here; see [base]/ValueSet.", "url")


@cache
def expand(url: str) -> tuple[Concept, ...]:
    """The concepts of a value set in its order. Refuses a value set that is not here as `value_set` does, with 422 one
    that has codes of a system that is not here."""
    return tuple(_composed(url).values())


def member(url: str, system: str, code: str) -> Concept | None:
    """The concept that a value set has for a code; None if it has not. Codes of a system that is here can be looked
    for even if others of the set are not; refuses with 422 what cannot be known."""
    if concepts(system) is None or unavailable(url) is None:
        return next((one for one in expand(url) if (one.system, one.code) == (system, code)), None)
    return _composed(url, only=system).get((system, code))


@cache
def unavailable(url: str) -> str | None:
    """Why a value set cannot be expanded here; None if it can."""
    try:
        expand(url)
    except FhirError as error:
        return error.issues[0].text
    return None


def _composed(url: str, only: str | None = None) -> dict[Key, Concept]:
    """The members; with `only`, those of one system."""
    compose = value_set(url)["compose"]
    found: dict[Key, Concept] = {}
    for include in compose["include"]:
        found |= {key: one for key, one in _included(url, include, only).items() if key not in found}
    for exclude in compose.get("exclude", ()):
        for key in _included(url, exclude, only):
            found.pop(key, None)
    return found


def _included(url: str, include: Json, only: str | None) -> dict[Key, Concept]:
    """What one `include` or `exclude` says: the codes that its system and all of its value sets have."""
    for inner in include.get("valueSet", ()):
        if find(value_sets(), inner) is None:
            raise FhirError("not-supported", f"{url} has codes of {inner}, which is not here.", "url", status=422)
    parts = [_composed(inner, only) for inner in include.get("valueSet", ())]
    if "system" in include:
        wanted = only in (None, include["system"])
        parts.append({(one.system, one.code): one for one in _of_system(url, include)} if wanted else {})
    first, *others = parts
    return {key: one for key, one in first.items() if all(key in other for other in others)}


def _of_system(url: str, include: Json) -> Iterator[Concept]:
    system = concepts(include["system"])
    if "concept" in include:
        for one in include["concept"]:
            known = (system or {}).get(one["code"], Concept(include["system"], one["code"]))
            yield replace(known, display=one["display"]) if "display" in one else known
        return
    if system is None:
        text = f"{url} has codes of {include['system']}, which this server does not have."
        raise FhirError("not-supported", text, "url", status=422)
    filters = [(FILTERS[one["property"], one["op"]], one["value"]) for one in include.get("filter", ())]
    for concept in system.values():
        if all(holds(system, concept.code, value) for holds, value in filters):
            yield concept
