"""URI parameters (http://hl7.org/fhir/R4/search.html#uri). The index of a URI is a list of texts, exact."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.search.filters import Filter, any_of, disjoin, starting_with
from fhir_server.search.parameters import Frame, Scalar, place
from fhir_server.search.text import unescape

MODIFIERS: tuple[str, ...] = ("below",)


def extract(_: SearchParameter, values: Sequence[Any], __: Frame) -> tuple[list[str], list[Scalar]]:
    """The URIs to find and sort by; a canonical with a version is also found without it."""
    texts = [str(value) for value in values]
    return list(dict.fromkeys([*texts, *(text.partition("|")[0] for text in texts)])), list(texts)


def compile(parameter: SearchParameter, modifier: str, values: Sequence[str], _: Frame, __: datetime) -> Filter:
    """The filter for any of the values; `:below` finds every URI that starts with one."""
    texts = [unescape(value) for value in values]
    if modifier == "below":
        return disjoin([starting_with(place(parameter), text) for text in texts])
    return any_of(place(parameter), texts)
