"""One table: the type of a search parameter, how its values are extracted and compared, and its modifiers.

`composite` is not in it: it is made of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.search import date, near, number, phonetic, quantity, reference, state, string, token, uri
from fhir_server.search.filters import Filter
from fhir_server.search.parameters import BY_CODE, Frame, Scalar


@dataclass(frozen=True, slots=True)
class Kind:
    """`extract` gives what is indexed (falsy if nothing) and what is sorted by; `compile` the filter for an
    OR list of values that still have their escapes. `:missing` is not listed: it works for every kind."""

    extract: Callable[[SearchParameter, Sequence[Any], Frame], tuple[Any, list[Scalar]]]
    compile: Callable[[SearchParameter, str, Sequence[str], Frame, datetime], Filter]
    modifiers: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "token": Kind(token.extract, token.compile, token.MODIFIERS),
    "reference": Kind(reference.extract, reference.compile, reference.MODIFIERS),
    "date": Kind(date.extract, date.compile, date.MODIFIERS),
    "string": Kind(string.extract, string.compile, string.MODIFIERS),
    "number": Kind(number.extract, number.compile, number.MODIFIERS),
    "quantity": Kind(quantity.extract, quantity.compile, quantity.MODIFIERS),
    "uri": Kind(uri.extract, uri.compile, uri.MODIFIERS),
    "phonetic": Kind(phonetic.extract, phonetic.compile, phonetic.MODIFIERS),
    "near": Kind(near.extract, near.compile, near.MODIFIERS),
    "state": Kind(state.extract, state.compile, state.MODIFIERS),
}


def kind_of(parameter: SearchParameter) -> Kind:
    """The kind by the code of the parameter if it means more than its type, else by its type."""
    return KINDS[parameter.code if parameter.code in BY_CODE else parameter.type]
