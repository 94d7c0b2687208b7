"""Interactions on what meets a condition instead of what has an id (http://hl7.org/fhir/R4/http.html#cond-update).

Whoever makes something because nothing met a condition says so to the store: of two who do at the same time, one is
decided anew and finds what the other made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from fhir_server import search
from fhir_server.definitions import PROTOCOL
from fhir_server.interactions._searchset import part
from fhir_server.interactions.pairs import read_pairs
from fhir_server.outcome import FhirError
from fhir_server.search import Query
from fhir_server.writing import Server

Pairs = Sequence[tuple[str, str]]

CONDITIONS = frozenset({"_has", "_filter", *(parameter.code for parameter in search.COMMON)})
"""Names with an underscore that say what to find; all others are about the answer of a search."""


@dataclass(frozen=True, slots=True)
class Met:
    """The ids of the resources that meet a condition, in order, and what ties the answer to the moment if there are
    none (plan.Decision.sole)."""

    ids: tuple[str, ...]
    sole: dict[str, int]


async def meeting(server: Server, type: str, pairs: Pairs, count_max: int) -> Met:
    """What meets the condition at present. Refuses a condition that says nothing or what cannot be searched by with
    400, and more than `count_max` matches with 412."""
    query = condition(server, type, pairs)
    said = sorted((name, value) for name, value in pairs if name not in PROTOCOL and value)
    key = hashlib.sha256(f"{type}?{urlencode(said)}".encode()).hexdigest()
    sole = await server.store.met([key])
    found = await part(server, server.scope(), replace(query, count=count_max))
    if len(found.documents) > count_max:
        few = "one match" if count_max == 1 else f"{count_max} matches"
        text = f"More than {few} for {type}?{urlencode(list(pairs))}: say more, or name an id."
        raise FhirError("multiple-matches", text, type)
    ids = tuple(str(document["_id"]) for document in found.documents)
    return Met(ids, {} if ids else sole)


def condition(server: Server, type: str, pairs: Pairs) -> Query:
    """The search that a condition stands for: all of it counts, and nothing in it is about the answer."""
    scope = server.scope(strict=True)
    given = [(name, value) for name, value in pairs if name not in PROTOCOL]
    about = sorted({name for name, _ in given if name.startswith("_") and name.partition(":")[0] not in CONDITIONS})
    if about:
        raise FhirError("not-supported", f"A condition says what to find, so not {', '.join(about)}.", status=400)
    query = search.parse(scope, type, given)
    if not query.filter:
        text = f"Say which {type} is meant: its id in the URL, or a condition like ?identifier=system|value."
        raise FhirError("required", text, type)
    return replace(query, total="none")


def read_condition(text: str, type: str) -> Pairs:
    """The pairs of a condition in a header or a Bundle entry, with or without the type in front of it."""
    front, mark, query = text.strip().partition("?")
    if mark and front not in ("", type):
        raise FhirError("invalid", f"The condition is about {front}, the resource is a {type}.", type)
    return read_pairs(query if mark else front)
