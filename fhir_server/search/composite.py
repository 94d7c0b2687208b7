"""Composite parameters (http://hl7.org/fhir/R4/search.html#combining): components that hold of the same element.

The index of a composite is a list with an object for each value of its expression, in which each component has what
is indexed for a parameter of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import product

from fhir_server.definitions import SearchParameter
from fhir_server.outcome import Json
from fhir_server.search.filters import Filter, alternatives, conjoin, some_element
from fhir_server.search.kinds import kind_of
from fhir_server.search.parameters import Frame, bad_value, below, place
from fhir_server.search.path import compile_path
from fhir_server.search.text import split

Known = Mapping[str, SearchParameter]


def extract(parameter: SearchParameter, values: Sequence[Json], frame: Frame, known: Known) -> list[Json]:
    """What is indexed of the values: those of which at least one component has a value."""
    entries = []
    for value in values:
        found = {
            code: kind_of(known[code]).extract(known[code], compile_path(below(path))(value), frame)[0]
            for code, path in parameter.components
        }
        entries.append({code: entry for code, entry in found.items() if entry})
    return [entry for entry in entries if entry]


def compile(parameter: SearchParameter, values: Sequence[str], frame: Frame, now: datetime, known: Known) -> Filter:
    """The filter for any of the values, each with `$` between what is asked of the components."""
    conditions = [each for value in values for each in _conditions(parameter, value, frame, now, known)]
    return some_element(place(parameter), conditions)


def _conditions(parameter: SearchParameter, value: str, frame: Frame, now: datetime, known: Known) -> list[Filter]:
    parts = split(value, "$")
    if len(parts) != len(parameter.components) or not all(parts):
        right = "$".join(f"<{code}>" for code, _ in parameter.components)
        raise bad_value(parameter, value, f"of the form {right}")
    asked = [
        alternatives(kind_of(known[code]).compile(known[code], "", [part], frame, now))
        for (code, _), part in zip(parameter.components, parts, strict=True)
    ]
    return [_within(conjoin(*each)) for each in product(*asked)]


def _within(filter: Filter) -> Filter:
    """The same conditions on the object of one value."""
    return {path.removeprefix("index."): condition for path, condition in filter.items()}
