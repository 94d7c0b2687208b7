"""The code systems, value sets, concept maps and bindings that are here, HL7's and ours, by URL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from fhir_server import vocabulary
from fhir_server.outcome import Json


@cache
def code_systems() -> Mapping[str, Json]:
    """Every CodeSystem by URL."""
    return _by_url([*_read("codesystems.json"), *vocabulary.code_systems()])


@cache
def value_sets() -> Mapping[str, Json]:
    """Every ValueSet by URL."""
    return _by_url([*_read("valuesets.json"), *vocabulary.value_sets()])


@cache
def concept_maps() -> Mapping[str, Json]:
    """Every ConceptMap by URL."""
    return _by_url(vocabulary.concept_maps())


@cache
def bindings() -> Mapping[str, tuple[str, str]]:
    """By path of an element the strength of its binding and the URL of its value set, as R4 has them."""
    return {path: (strength, url) for path, (strength, url) in _read("bindings.json").items()}


def find(definitions: Mapping[str, Json], canonical: str, version: str | None = None) -> Json | None:
    """The definition of a canonical URL, which can end in `|version`; None if it is not here, or in another version."""
    url, _, said = canonical.partition("|")
    found = definitions.get(url)
    wanted = said or version
    return found if found is not None and wanted in (None, "", found.get("version")) else None


def of_id(definitions: Mapping[str, Json], id: str) -> Json | None:
    """The definition of an id; None if there is none."""
    return next((one for one in definitions.values() if one["id"] == id), None)


def _read(name: str) -> Any:
    return orjson.loads(files(__package__).joinpath(name).read_bytes())


def _by_url(definitions: Iterable[Json]) -> Mapping[str, Json]:
    return {one["url"]: one for one in sorted(definitions, key=lambda one: str(one["url"]))}
