"""The concepts of a code system and how they stand to each other (http://hl7.org/fhir/R4/codesystem.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhir_server.outcome import Json
from fhir_server.terminology.definitions import code_systems


@dataclass(frozen=True, slots=True)
class Concept:
    """A code of a system, with what is said of it. `abstract` ones only stand for those below them; `inactive` ones
    are kept for old data."""

    system: str
    code: str
    display: str = ""
    definition: str = ""
    designation: tuple[Json, ...] = ()
    properties: tuple[Json, ...] = ()
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()

    @property
    def abstract(self) -> bool:
        return self._says("notSelectable", True)

    @property
    def inactive(self) -> bool:
        return self._says("status", "retired") or self._says("inactive", True)

    def _says(self, code: str, value: object) -> bool:
        return any(one["code"] == code and value_of(one) == value for one in self.properties)


def value_of(element: Json) -> Any:
    """The value of `value[x]`; None if there is none."""
    return next((value for name, value in element.items() if name.startswith("value")), None)


@cache
def concepts(system: str) -> Mapping[str, Concept] | None:
    """The concepts of a code system by code, in its order; None if the code system is not here."""
    definition = code_systems().get(system)
    if definition is None:
        return None
    elements = {one["code"]: (one, below) for one, below in _walk(definition.get("concept", ()))}
    parents: dict[str, list[str]] = {code: [] for code in elements}
    for code, (_, below) in elements.items():
        for child in below:
            parents[child].append(code)
    return {
        code: Concept(
            system,
            code,
            one.get("display", ""),
            one.get("definition", ""),
            tuple(one.get("designation", ())),
            tuple(each for each in one.get("property", ()) if each["code"] != "child"),
            tuple(parents[code]),
            below,
        )
        for code, (one, below) in elements.items()
    }


def _walk(elements: Iterable[Json]) -> Iterator[tuple[Json, tuple[str, ...]]]:
    """Each concept and the codes right below it: those within it, and those that its `child` properties name."""
    for one in elements:
        inner = [each["code"] for each in one.get("concept", ())]
        named = [value_of(each) for each in one.get("property", ()) if each["code"] == "child"]
        yield one, tuple(dict.fromkeys([*inner, *named]))
        yield from _walk(one.get("concept", ()))


def above_of(system: Mapping[str, Concept], code: str) -> frozenset[str]:
    """The code and all those that it is a kind of."""
    found, todo = set[str](), [code]
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += system[each].parents
    return frozenset(found)
