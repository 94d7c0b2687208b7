"""A search as it will be run (http://hl7.org/fhir/R4/search.html)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import quote, urlencode

from fhir_server.outcome import Issue
from fhir_server.search.filters import Filter
from fhir_server.search.parameters import Scalar

Total: TypeAlias = Literal["none", "estimate", "accurate"]
Sort: TypeAlias = tuple[tuple[str, int], ...]
Pairs: TypeAlias = tuple[tuple[str, str], ...]

UNESCAPED = ",:/$"
"""What a query may hold as it is (RFC 3986, 3.4) and searches are full of; `|` is not among it."""


@dataclass(frozen=True, slots=True)
class Query:
    """`filter` and `sort` (path, 1 or -1; ends with `_id`) are MongoDB's; `count` 0 asks for the total alone.

    `cursor` holds the sort values after which the page begins, None for the first page. `used` are the pairs
    that had an effect, for the self link; `ignored` the names that had none, and `notes` the warnings about
    them. `binding` ties cursors to this search. `including` says that the page includes what is at the cursor.
    """

    type: str
    filter: Filter
    sort: Sort
    count: int
    total: Total
    cursor: tuple[Scalar, ...] | None
    used: Pairs
    ignored: tuple[str, ...]
    notes: tuple[Issue, ...]
    binding: str
    including: bool = False


def spell(pairs: Iterable[tuple[str, str]]) -> str:
    """The query of a URL for these pairs."""
    return urlencode(list(pairs), safe=UNESCAPED, quote_via=quote)
