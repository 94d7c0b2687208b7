"""The entries of a transaction linked to each other and to what is stored: `urn:uuid`, absolute URLs and conditional
references become references that last (http://hl7.org/fhir/R4/http.html#transaction)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhir_server import search
from fhir_server.definitions import Request
from fhir_server.interactions._searchset import part
from fhir_server.interactions.conditional import condition
from fhir_server.interactions.entries import Entry
from fhir_server.interactions.pairs import read_pairs
from fhir_server.links import Change, rewrite
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.search.filters import Filter
from fhir_server.search.reference import LOCAL, normalize
from fhir_server.writing import Asked, Propose, Server, Unchanged

CONDITIONS_MAX = 1000
"""Different conditional references that one transaction may have."""

CANDIDATES_MAX = 200
"""Entries that one conditional reference is compared with, where its condition names no exact value."""

CONDITIONAL = re.compile(r"[A-Z][A-Za-z]+\?.+", re.DOTALL)
SUFFIX = re.compile(r"(?=/_history/|#)")


@dataclass(frozen=True, slots=True)
class Step:
    """An entry, its request for this attempt, and one write that it asks for."""

    entry: Entry
    request: Request
    asked: Asked

    @property
    def keeps(self) -> bool:
        """Whether it is a conditional create that found what it is about, which stays as it is."""
        return self.request.method == "POST" and self.asked.method != "POST"


async def link(server: Server, steps: Sequence[Step]) -> list[Asked]:
    """The writes, with every link to an entry, and every conditional reference, replaced in what they write. Refuses a
    `urn:` that no entry has, and a condition that not exactly one resource meets."""
    names = _names(server, steps)
    met = await _meeting(server, steps)
    changes = [_change(step, names, met) for step in steps]
    for step, change in zip(steps, changes, strict=True):
        if step.request.method == "PATCH" and step.request.body is not None:
            step.request.body = rewrite(step.request.body, change)
    return [
        replace(step.asked, propose=_linked(step.asked.propose, change))
        for step, change in zip(steps, changes, strict=True)
    ]


def _names(server: Server, steps: Sequence[Step]) -> Mapping[str, str]:
    """The reference for each URL by which entries know another one."""
    names: dict[str, str] = {}
    for step in steps:
        full_url = step.entry.full_url
        if not full_url or step.asked.method == "DELETE":
            continue
        if full_url in names:
            text = f"{full_url} is the fullUrl of more than one entry."
            raise FhirError("duplicate", text, f"{step.entry.where}.fullUrl", status=400)
        names[full_url] = step.asked.reference
    return {url: to for url, to in names.items() if normalize(url, server.base) != to}


def _change(step: Step, names: Mapping[str, str], met: Mapping[str, str]) -> Change:
    """What becomes of the links of an entry."""
    own_base = _own_base(step.entry)

    def change(link: str, is_reference: bool) -> str:
        url, *suffix = SUFFIX.split(link, maxsplit=1)
        named = names.get(url) or (names.get(own_base + url) if is_reference else None)
        if named:
            return "".join([named, *suffix])
        if is_reference and link.startswith("urn:"):
            text = f"{link} is the fullUrl of no entry of this Bundle."
            raise FhirError("not-found", text, step.entry.where, status=400)
        return met.get(link, link) if is_reference else link

    return change


def _linked(proposed: Propose, change: Change) -> Propose:
    def propose(before: Stored | None) -> Json | Unchanged | None:
        after = proposed(before)
        return rewrite(after, change) if isinstance(after, dict) else after

    return propose


def _own_base(entry: Entry) -> str:
    """The base that relative references of an entry are below: that of its fullUrl."""
    base, _, named = entry.full_url.rpartition("/")
    base, _, type = base.rpartition("/")
    return f"{base}/" if base.startswith(("http://", "https://")) and LOCAL.fullmatch(f"{type}/{named}") else ""


async def _meeting(server: Server, steps: Sequence[Step]) -> Mapping[str, str]:
    """What each conditional reference means: the one resource that meets it, stored or in the transaction."""
    where: dict[str, str] = {}
    for step in steps:
        for reference in _conditional(step.request.body if step.request.body is not None else _json(step.request)):
            where.setdefault(reference, step.entry.where)
    if len(where) > CONDITIONS_MAX:
        raise FhirError(
            "too-costly", f"A transaction has at most {CONDITIONS_MAX} conditional references.", "Bundle.entry"
        )
    types = {reference.partition("?")[0] for reference in where}
    coming = {type: _coming(server, type, steps) for type in types & server.rows.keys()}
    found = await asyncio.gather(*(_meets(server, coming, reference, where[reference]) for reference in where))
    return dict(zip(where, found, strict=True))


def _json(request: Request) -> Any:
    """What a JSON Patch says, to look for references in it; nothing if it cannot be read, which is refused later."""
    try:
        return json.loads(request.raw) if request.raw else None
    except (ValueError, RecursionError):
        return None


def _conditional(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _conditional(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name == "reference" and isinstance(each, str) and CONDITIONAL.fullmatch(each):
                yield each
            else:
                yield from _conditional(each)


@dataclass(frozen=True, slots=True)
class Coming:
    """The resources of a type that the transaction says all of, as they would be stored, by id; None for one that it
    deletes. `by_value` has the ids for each path and text of their indexes."""

    documents: Mapping[str, Json | None]
    by_value: Mapping[tuple[str, str], Sequence[str]]

    def candidates(self, filter: Filter) -> Iterable[str]:
        """The ids among which all are that meet the filter: those that have a text it demands, else all."""
        for path, wanted in filter.items():
            texts = wanted.get("$in") if isinstance(wanted, dict) else [wanted]
            if path.startswith("index.") and texts and all(isinstance(text, str) for text in texts):
                return dict.fromkeys(id for text in texts for id in self.by_value.get((path, text), ()))
        return self.documents


def _coming(server: Server, type: str, steps: Sequence[Step]) -> Coming:
    documents: dict[str, Json | None] = {}
    by_value: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        if step.asked.type != type or not _replaces(step):
            continue
        id, body = step.asked.id, step.request.body
        documents[id] = None
        if step.asked.method != "DELETE" and body is not None:
            indexed = search.index(server.rows[type], {**body, "id": id}, zone=server.policy.zone, base=server.base)
            documents[id] = {"_id": id, "updated": server.now(), **indexed}
            for code, entry in indexed["index"].items():
                for text in entry if isinstance(entry, list) else ():
                    if isinstance(text, str):
                        by_value.setdefault((f"index.{code}", text), []).append(id)
    return Coming(documents, by_value)


async def _meets(server: Server, coming: Mapping[str, Coming], reference: str, where: str) -> str:
    type, _, text = reference.partition("?")
    if type not in coming:
        raise FhirError("not-found", f"{type} is not stored here, so {reference} means nothing.", where, status=412)
    query = condition(server, type, read_pairs(text))
    mine = coming[type]
    stored = await part(server, server.scope(), replace(query, count=len(mine.documents) + 2))
    met = [document["_id"] for document in stored.documents if document["_id"] not in mine.documents]
    filter = stored.query.filter
    candidates = [*mine.candidates(filter)]
    if len(candidates) > CANDIDATES_MAX:
        text = f"{reference} would have to be looked for in {len(candidates)} entries; name it by an exact identifier."
        raise FhirError("too-costly", text, where)
    met += [id for id in candidates if (document := mine.documents[id]) and search.matches(filter, document)]
    if len(met) != 1:
        issue = "multiple-matches" if met else "not-found"
        text = f"{reference} is met by {len(met) or 'no'} resources, and must be by one."
        raise FhirError(issue, text, where, status=412)
    return f"{type}/{met[0]}"


def _replaces(step: Step | None) -> bool:
    """Whether an entry says all of a resource, so that what is stored of it does not count."""
    return step is not None and step.asked.method in ("POST", "PUT", "DELETE") and not step.keeps
