"""URI parameters (http://hl7.org/fhir/R4/search.html#uri). The index of a URI is a list of texts, exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.search.filters import Filter, any_of, disjoin, starting_with
from fhir_server.search.parameters import Frame, Scalar, place
from fhir_server.search.text import unescape

MODIFIERS: tuple[str, ...] = ("below", "above")


def extract(_: SearchParameter, values: Sequence[Any], __: Frame) -> tuple[list[str], list[Scalar]]:
    """The URIs to find and sort by; a canonical with a version is also found without it."""
    texts = [str(value) for value in values]
    return list(dict.fromkeys([*texts, *(text.partition("|")[0] for text in texts)])), list(texts)


def compile(parameter: SearchParameter, modifier: str, values: Sequence[str], _: Frame, __: datetime) -> Filter:
    """The filter for any of the values; `:below` finds every URI that starts with one, `:above` every URI that is a
    value or a path on the way to it."""
    texts = [unescape(value) for value in values]
    if modifier == "below":
        return disjoin([starting_with(place(parameter), text) for text in texts])
    if modifier == "above":
        return any_of(place(parameter), [part for text in texts for part in _above(text)])
    return any_of(place(parameter), texts)


def _above(text: str) -> Iterator[str]:
    """The URI and all that its path goes through, with and without a slash at the end."""
    yield text
    for at, character in enumerate(text):
        if character == "/":
            yield text[: at + 1]
            yield text[:at]
