"""Takes the code systems, value sets and bindings of the served types out of HL7's definitions of R4.

`python -m fhir_server.terminology.extract FOLDER`, where FOLDER holds definitions.json.zip of
http://hl7.org/fhir/R4/downloads.html, unpacked. It is run when a resource type is added; what it writes is committed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from fhir_server.outcome import Json
from fhir_server.resources import ROWS

LICENSED = frozenset({"http://snomed.info/sct"})
"""Code systems whose codes may not be handed on; a value set that lists them is left out."""

LEFT_OUT = frozenset({"text", "meta", "extension", "contact"})
"""Elements that say nothing about codes."""

NOT_FOLLOWED = frozenset({"Resource", "Extension", "Element", "BackboneElement"})
"""Types whose content is not that of the type that has them."""


def extract(folder: Path) -> Mapping[str, Sequence[Json] | Json]:
    """What is kept, by file name."""
    structures = {one["id"]: one for one in _read(folder, "profiles-resources.json", "profiles-types.json")}
    published = {
        (one["resourceType"], one["url"]): one
        for one in _read(folder, "valuesets.json", "v3-codesystems.json", "v2-tables.json")
        if one["resourceType"] in ("CodeSystem", "ValueSet")
    }
    bindings = dict(sorted(_bindings(structures)))
    sets = [
        value_set
        for url in sorted(_closure(published, (url for _, url in bindings.values())))
        if not _lists(value_set := published["ValueSet", url], LICENSED)
    ]
    systems = sorted({include["system"] for one in sets for include in _includes(one) if "system" in include})
    found = [published["CodeSystem", url] for url in systems if ("CodeSystem", url) in published]
    return {
        "bindings.json": bindings,
        "valuesets.json": [_trim(one) for one in sets],
        "codesystems.json": [_trim(one) for one in found if one["content"] != "not-present"],
    }


def _read(folder: Path, *names: str) -> Iterator[Json]:
    for name in names:
        yield from (entry["resource"] for entry in orjson.loads((folder / name).read_bytes())["entry"])


def _bindings(structures: Mapping[str, Json]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Path, strength and value set of each binding of the served types and of the data types in them."""
    todo, seen = list(ROWS), set(NOT_FOLLOWED)
    while todo:
        type = todo.pop()
        if type in seen or type not in structures:
            continue
        seen.add(type)
        for element in structures[type]["snapshot"]["element"]:
            todo += [one["code"] for one in element.get("type", ()) if one["code"][0].isupper()]
            binding = element.get("binding", {})
            if "valueSet" in binding:
                yield element["path"], (binding["strength"], binding["valueSet"].partition("|")[0])


def _closure(published: Mapping[tuple[str, str], Json], urls: Iterable[str]) -> set[str]:
    """The value sets and all that they are made of."""
    todo, seen = list(urls), set[str]()
    while todo:
        url = todo.pop().partition("|")[0]
        if url not in seen and ("ValueSet", url) in published:
            seen.add(url)
            todo += [inner for one in _includes(published["ValueSet", url]) for inner in one.get("valueSet", ())]
    return seen


def _includes(value_set: Json) -> list[Json]:
    compose = value_set.get("compose", {})
    return [*compose.get("include", ()), *compose.get("exclude", ())]


def _lists(value_set: Json, systems: frozenset[str]) -> bool:
    return any(one.get("system") in systems and "concept" in one for one in _includes(value_set))


def _trim(value: Any) -> Any:
    """Without what says nothing about codes. R4 has the version of one system in its URL; it is moved to its place."""
    if isinstance(value, list):
        return [_trim(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _trim(one) for name, one in value.items() if name not in LEFT_OUT}
    for name in ("system", "url"):
        if "|" in str(kept.get(name, "")):
            kept[name], _, kept["version"] = kept[name].partition("|")
    return kept


def main(folder: str) -> None:
    """Writes the files anew, one resource a line."""
    for name, found in extract(Path(folder)).items():
        if isinstance(found, dict):
            text = orjson.dumps(found, option=orjson.OPT_INDENT_2)
        else:
            text = b"[\n" + b",\n".join(orjson.dumps(one) for one in found) + b"\n]"
        (Path(__file__).parent / name).write_bytes(text + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
