"""String parameters (http://hl7.org/fhir/R4/search.html#string).

The index of a string is {n, x, f}: what the folded texts can start with, the texts as they are, and the texts folded
for comparison. A name, an address and a family name are found by each of their words: "Quinones" finds "Carreno
Quinones".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.outcome import FhirError
from fhir_server.search.filters import Filter, any_of, disjoin, starting_with
from fhir_server.search.parameters import Frame, Scalar, bad_value, place
from fhir_server.search.path import element
from fhir_server.search.text import unescape

MODIFIERS: tuple[str, ...] = ("exact", "contains")

PARTS = (
    "family", "given", "prefix", "suffix",
    "line", "city", "district", "state", "postalCode", "country",
    "text",
)  # fmt: skip
"""What is searched of a HumanName and an Address, in the order they are sorted by."""

BY_WORD = frozenset({"family"})
"""Texts that are found by each of their words."""

TEXT_LENGTH_MAX = 1000
WORDS_MAX = 16
CONTAINS_LENGTH_MAX = 100

JOINED = frozenset("'’‘`´.")
"""Punctuation inside a word: O'Neil is ONeil. Any other parts words: Smith-Jones is Smith Jones."""


def extract(parameter: SearchParameter, values: Sequence[Any], _: Frame) -> tuple[Any, list[Scalar]]:
    """{n: folded texts and their word starts, x: the texts, f: folded texts}, and the folded values to sort by."""
    texts = [text for value in values for text in texts_in(value)]
    by_word = element(parameter.expression) in BY_WORD or any(isinstance(value, dict) for value in values)
    folded = [fold(text)[:TEXT_LENGTH_MAX] for text in texts]
    starts = [start for text in folded for start in (_starts(text) if by_word else (text,))]
    order = [fold(" ".join(texts_in(value))) for value in values]
    index = {"n": _distinct(starts), "x": _distinct(map(_whole, texts)), "f": _distinct(folded)}
    return (index if texts else None), [text for text in order if text]


def compile(parameter: SearchParameter, modifier: str, values: Sequence[str], _: Frame, __: datetime) -> Filter:
    """The filter for any of the values: a start of a text, `:contains` a part of it, `:exact` all of it."""
    texts = [unescape(value) for value in values]
    path = place(parameter)
    if modifier == "exact":
        return any_of(f"{path}.x", [_whole(text) for text in texts])
    folded = [folded_value(parameter, text) for text in texts]
    if modifier == "contains":
        return disjoin([{f"{path}.n": {"$regex": part(parameter, text)}} for text in folded])
    return disjoin([starting_with(f"{path}.n", text) for text in folded])


def texts_in(value: Any) -> Iterator[str]:
    """The texts that are searched of a string, a HumanName or an Address."""
    if not isinstance(value, dict):
        yield str(value)
        return
    for part in PARTS:
        found = value.get(part, ())
        yield from (text for text in ([found] if isinstance(found, str) else found) if text)


def fold(text: str) -> str:
    """The text without case, accents and punctuation, words parted by one blank."""
    bare = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(map(_plain, bare)).split())


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Mn" or character in JOINED:
        return ""
    return " " if category[0] in "PCZ" else character


def _whole(text: str) -> str:
    return unicodedata.normalize("NFC", text)[:TEXT_LENGTH_MAX]


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, texts)))


def _starts(text: str) -> Iterator[str]:
    words = text.split(" ")
    return (" ".join(words[at:]) for at in range(min(len(words), WORDS_MAX)))


def folded_value(parameter: SearchParameter, text: str) -> str:
    """The text to look for, folded; 400 if nothing is left of it."""
    folded = fold(text)
    if not folded:
        raise bad_value(parameter, text, "a text with a letter or digit to look for")
    return folded


def part(parameter: SearchParameter, folded: str) -> str:
    """A regular expression that is nothing but the text, so that matching it takes linear time."""
    if len(folded) > CONTAINS_LENGTH_MAX:
        raise FhirError(
            "too-costly",
            f"'{parameter.code}' looks for at most {CONTAINS_LENGTH_MAX} characters inside of texts.",
            status=400,
        )
    if "\0" in folded:
        raise FhirError("value", f"'{parameter.code}': a null character cannot be looked for.", status=400)
    return re.escape(folded)
