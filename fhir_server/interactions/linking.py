"""The entries of a transaction linked to each other and to what is stored: `urn:uuid`, absolute URLs and conditional
references become references that last (http://hl7.org/fhir/R4/http.html#transaction)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from fhir_server import search
from fhir_server.interactions.conditional import condition
from fhir_server.interactions.entries import Entry
from fhir_server.links import rewrite
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.search.reference import normalize
from fhir_server.writing import Asked, Propose, Server, Unchanged

CONDITIONS_MAX = 1000
"""Different conditional references that one transaction may have."""

CONDITIONAL = re.compile(r"[A-Z][A-Za-z]+\?.+", re.DOTALL)
SUFFIX = re.compile(r"(?=/_history/|#)")


@dataclass(frozen=True, slots=True)
class Step:
    """An entry and one write that it asks for."""

    entry: Entry
    asked: Asked


async def link(server: Server, steps: Sequence[Step]) -> list[Asked]:
    """The writes, with every link to an entry, and every conditional reference, replaced in what they write. Refuses a
    `urn:` that no entry has, and a condition that not exactly one resource meets."""
    names = _names(server, steps)
    met = await _meeting(server, steps)
    return [replace(step.asked, propose=_linked(step, names, met)) for step in steps]


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


def _linked(step: Step, names: Mapping[str, str], met: Mapping[str, str]) -> Propose:
    def change(link: str, is_reference: bool) -> str:
        url, *suffix = SUFFIX.split(link, maxsplit=1)
        named = names.get(url) or (names.get(_own_base(step.entry) + url) if is_reference else None)
        if named:
            return "".join([named, *suffix])
        if is_reference and link.startswith("urn:"):
            text = f"{link} is the fullUrl of no entry of this Bundle."
            raise FhirError("not-found", text, step.asked.type, status=400)
        return met.get(link, link) if is_reference else link

    def propose(before: Stored | None) -> Json | Unchanged | None:
        after = step.asked.propose(before)
        return rewrite(after, change) if isinstance(after, dict) else after

    return propose


def _own_base(entry: Entry) -> str:
    """The base that relative references of an entry are below: that of its fullUrl."""
    found = re.fullmatch(r"(https?://.*/)[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}", entry.full_url)
    return found[1] if found else ""


async def _meeting(server: Server, steps: Sequence[Step]) -> Mapping[str, str]:
    """What each conditional reference means: the one resource that meets it, stored or in the transaction."""
    where: dict[str, str] = {}
    for step in steps:
        for reference in _conditional(step.entry.request.body):
            where.setdefault(reference, step.entry.where)
    if len(where) > CONDITIONS_MAX:
        raise FhirError(
            "too-costly", f"A transaction has at most {CONDITIONS_MAX} conditional references.", "Bundle.entry"
        )
    found = await asyncio.gather(*(_meets(server, steps, reference, where[reference]) for reference in where))
    return dict(zip(where, found, strict=True))


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


async def _meets(server: Server, steps: Sequence[Step], reference: str, where: str) -> str:
    type, _, text = reference.partition("?")
    if type not in server.rows:
        raise FhirError("not-found", f"{type} is not stored here, so {reference} means nothing.", where, status=412)
    query = await condition(server, type, parse_qsl(text, keep_blank_values=True))
    mine = {step.asked.id: step for step in steps if step.asked.type == type}
    stored = await server.store.search(query, len(mine) + 2)
    met = [document["_id"] for document in stored.documents if not _replaces(mine.get(document["_id"]))]
    for id, step in mine.items():
        body = step.entry.request.body
        if _replaces(step) and body is not None:
            indexed = search.index(server.rows[type], {**body, "id": id}, zone=server.policy.zone, base=server.base)
            if search.matches(query.filter, {"_id": id, "updated": server.now(), **indexed}):
                met.append(id)
    if len(met) != 1:
        issue = "multiple-matches" if met else "not-found"
        text = f"{reference} is met by {len(met) or 'no'} resources, and must be by one."
        raise FhirError(issue, text, where, status=412)
    return f"{type}/{met[0]}"


def _replaces(step: Step | None) -> bool:
    """Whether an entry says all of a resource, so that what is stored of it does not count."""
    return step is not None and step.asked.method in ("POST", "PUT", "DELETE") and not _keeps(step)


def _keeps(step: Step) -> bool:
    """Whether a conditional create found what it was about, which stays as it is."""
    return step.entry.request.method == "POST" and step.asked.method != "POST"
