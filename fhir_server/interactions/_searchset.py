"""The searchset Bundle of a search, over one type or several (http://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fhir_server import search, subset
from fhir_server.definitions import Added, Request, ResourceDefinition, Response
from fhir_server.interactions import _including
from fhir_server.interactions.preference import strictness
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.search import Query, Scope, contents, page, results
from fhir_server.search.filters import Filter, conjoin
from fhir_server.search.page import CURSOR, Cursor
from fhir_server.search.query import Pairs
from fhir_server.search.results import Results, View
from fhir_server.writing import Server


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: the `types`, unless `_type` names some of `choice`, and of each only what its filter in
    `within` finds. `path` is where GET asks for it, below the base."""

    path: str
    types: Sequence[str]
    choice: Sequence[str] = ()
    within: Mapping[str, Filter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """What was found of one type: the documents in order from the cursor on, one more than the page if there are."""

    query: Query
    documents: Sequence[Json]
    total: int | None
    notes: Sequence[Issue] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """The documents of a page, each with its type, and the cursors of the pages beside it."""

    documents: Sequence[tuple[str, Json]] = ()
    previous: Cursor | None = None
    next: Cursor | None = None

    @property
    def resources(self) -> list[Json]:
        return [document["resource"] for _, document in self.documents]


async def answer(server: Server, request: Request, asked: Search) -> Response:
    """200 with the matches in order, then what they include, then an outcome for what was ignored or is worth knowing.

    Where resources of a type are computed, those that match are in their places among the stored ones.
    """
    scope = server.scope(strict=strictness(request))
    wanted = results.parse(scope, request.query, asked.types, subset.has_element, choice=asked.choice)
    queries = [_query(scope, asked, wanted, type) for type in wanted.types]
    notes = _agree(scope, queries)
    binding = page.bind_all(asked.path, queries)
    cursor = page.unseal(wanted.cursor, binding, queries[0].sort, wanted.types) if wanted.cursor else None
    parts = await asyncio.gather(*(part(server, scope, page.turn(query, cursor)) for query in queries))
    shown = _show(parts, cursor)
    included = await _including.gather(server, scope, wanted.includes, shown.resources)
    told = [*notes, *wanted.notes, *(note for part in parts for note in part.notes), *included.notes]
    entries = [
        *_entries(server, shown.resources, "match", wanted.view),
        *_entries(server, included.resources, "include", wanted.view.included),
        *([{"resource": operation_outcome(told), "search": {"mode": "outcome"}}] if told else ()),
    ]
    url = f"{server.base}/{asked.path}".rstrip("/")
    bundle: Json = {"resourceType": "Bundle", "type": "searchset"}
    totals = [part.total for part in parts if part.total is not None]
    bundle |= {"total": sum(totals)} if totals else {}
    bundle["link"] = list(_links(url, queries[0], wanted.cursor, binding, shown))
    return Response(200, bundle | ({"entry": entries} if entries else {}))


def _query(scope: Scope, asked: Search, wanted: Results, type: str) -> Query:
    """The search of one type, its steps not resolved yet. Without entries, the total is what is asked for."""
    query = search.parse(scope, type, wanted.pairs)
    if within := asked.within.get(type):
        query = replace(query, filter=conjoin(within, query.filter))
    return replace(query, count=0, total="accurate") if wanted.counts or query.count == 0 else query


def _agree(scope: Scope, queries: Sequence[Query]) -> Sequence[Issue]:
    """The warnings about what was ignored. Over several types a parameter must be one of all of them, and mean the
    same, or be one of none; else 400."""
    first, *others = queries
    if not others:
        return first.notes
    lacking = {
        name: [query.type for query in queries if name in query.ignored] for query in queries for name in query.ignored
    }
    uncommon = [name for name, types in lacking.items() if len(types) < len(queries)]
    uncommon += sorted(code for code, kinds in _kinds(scope, queries).items() if len(kinds) > 1)
    if uncommon:
        raise FhirError.of([_uncommon(name, lacking.get(name, ())) for name in uncommon], status=400)
    return [_unknown(name) for name in first.ignored]


def _kinds(scope: Scope, queries: Iterable[Query]) -> dict[str, set[str]]:
    """The types of the search parameters that are searched or sorted by, by their codes."""
    kinds: dict[str, set[str]] = {}
    for query in queries:
        known = {parameter.code: parameter.type for parameter in search.parameters(scope.rows[query.type])}
        sorted_by = [key.removeprefix("-") for key in dict(query.used).get("_sort", "").split(",")]
        for code in (*(name.partition(":")[0] for name, _ in query.used), *sorted_by):
            if code in known:
                kinds.setdefault(code, set()).add(known[code])
    return kinds


def _uncommon(name: str, types: Sequence[str]) -> Issue:
    why = f"is not for {', '.join(types)}" if types else "is not the same kind of parameter on each"
    text = f"A search over several types takes only what all of them have, and '{name}' {why}."
    return Issue("not-supported", f"{text} Name the types with '_type', or search each type.")


def _unknown(name: str) -> Issue:
    text = f"'{name}' cannot be searched or sorted by on any of these types and was ignored."
    return Issue("not-supported", text, severity="warning")


async def part(server: Server, scope: Scope, parsed: Query) -> Part:
    """What there is of one type: stored, computed, or in memory."""
    query = await server.store.run(search.resolve(scope, parsed))
    row = scope.rows[query.type]
    if row.contents is not None:
        return _merged(query, (), None, contents.documents(row, scope.frame).values())
    added = await _computed(server, row, query)
    apart = list(_apart(row, added))
    asked = replace(query, filter=conjoin(query.filter, *apart)) if apart else query
    found = await server.store.search(asked)
    documents = [*found.documents, *found.beyond]
    if added is None:
        return Part(query, documents, found.total)
    computed = [contents.document(row, resource, scope.frame, contents.NEVER) for resource in added.resources]
    return replace(_merged(query, documents, found.total, computed), notes=added.notes)


async def _computed(server: Server, row: ResourceDefinition, query: Query) -> Added | None:
    if row.computed is None:
        return None
    added: Added | None = await server.store.run(row.computed.search(query.filter, server.now(), server.policy))
    return added


def _apart(row: ResourceDefinition, added: Added | None) -> Iterator[Json]:
    """The filters of stored resources that do not count: those computed anew, those withheld."""
    if row.computed:
        yield {"$nor": [row.computed.hidden]}
    if added and added.withheld:
        yield {"_id": {"$nin": sorted(added.withheld)}}


def _merged(query: Query, stored: Sequence[Json], total: int | None, others: Iterable[Json]) -> Part:
    """The part of what is stored together with what is not; `total` counts what is stored."""
    known = {document["_id"] for document in stored}
    matching = [one for one in others if one["_id"] not in known and search.matches(query.filter, one)]
    counted = None if query.total == "none" else (total or 0) + len(matching)
    return Part(query, search.merge(query, stored, matching) if query.count else (), counted)


def _show(parts: Sequence[Part], cursor: Cursor | None) -> Shown:
    """The page at the cursor. There is something before a page that was come to from there, and after one that was
    gone back to."""
    count = parts[0].query.count
    found = search.weave([(part.query, part.documents) for part in parts])
    documents, more = found[:count], len(found) > count
    if not documents:
        return Shown()
    backward = cursor is not None and cursor.backward
    if backward:
        documents.reverse()
    queries = {part.query.type: part.query for part in parts}
    (type_first, first), (type_last, last) = documents[0], documents[-1]
    return Shown(
        documents,
        page.at(queries[type_first], first, backward=True) if (more if backward else cursor) else None,
        page.at(queries[type_last], last, backward=False) if more or backward else None,
    )


def _links(url: str, query: Query, here: str | None, binding: str, shown: Shown) -> Iterator[Json]:
    """The links of the page. All are for GET."""
    yield _link("self", url, query.used, here)
    if query.count == 0:
        return
    yield _link("first", url, query.used, None)
    if shown.previous:
        yield _link("previous", url, query.used, page.seal(shown.previous, binding))
    if shown.next:
        yield _link("next", url, query.used, page.seal(shown.next, binding))


def _link(relation: str, url: str, pairs: Pairs, cursor: str | None) -> Json:
    query = search.spell([*pairs, *([(CURSOR, cursor)] if cursor else ())])
    return {"relation": relation, "url": f"{url}?{query}" if query else url}


def _entries(server: Server, resources: Iterable[Json], mode: str, view: View) -> Iterator[Json]:
    for resource in resources:
        url = f"{server.base}/{resource['resourceType']}/{resource['id']}"
        yield {"fullUrl": url, "resource": subset.cut(resource, view), "search": {"mode": mode}}
