"""Names by their sound (http://hl7.org/fhir/R4/patient.html#search, parameter `phonetic`).

The index is a list with the Metaphone code of each word; a word without one, such as a number, stands for itself. It
is made for English.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from jellyfish import metaphone

from fhir_server.definitions import SearchParameter
from fhir_server.search.filters import Filter, conjoin, disjoin
from fhir_server.search.parameters import Frame, Scalar, place
from fhir_server.search.string import TEXT_LENGTH_MAX, fold, folded_value, texts_in
from fhir_server.search.text import unescape

MODIFIERS: tuple[str, ...] = ()


def extract(_: SearchParameter, values: Sequence[Any], __: Frame) -> tuple[list[str], list[Scalar]]:
    """The sounds of all words, and the folded values to sort by."""
    words = [fold(text)[:TEXT_LENGTH_MAX] for value in values for text in texts_in(value)]
    order = [fold(" ".join(texts_in(value))) for value in values]
    return list(dict.fromkeys(sound for text in words for sound in _sounds(text))), [text for text in order if text]


def compile(parameter: SearchParameter, _: str, values: Sequence[str], __: Frame, ___: datetime) -> Filter:
    """The filter for any of the values: each of its words must sound like a word of the name."""
    wanted = [_sounds(folded_value(parameter, unescape(value))) for value in values]
    return disjoin([conjoin(*({place(parameter): sound} for sound in sounds)) for sounds in wanted])


def _sounds(folded: str) -> Iterator[str]:
    for word in folded.split(" "):
        if word:
            yield metaphone(word) or word
