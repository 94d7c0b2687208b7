"""search-type: the resources of a type that meet all the conditions (http://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from fhir_server import search
from fhir_server.definitions import Added, Interaction, Request, ResourceDefinition, Response
from fhir_server.outcome import Issue, Json, operation_outcome
from fhir_server.search import Query
from fhir_server.search.filters import conjoin
from fhir_server.writing import Server


async def search_type(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle: matches in order, then an outcome entry for what was ignored or is worth knowing.

    Where resources of the type are computed, those that match are in their places among the stored ones.
    """
    row = server.rows[str(request.type)]
    strict = server.settings.search_strict or "handling=strict" in request.headers.get("prefer", "")
    query = search.parse(
        row,
        request.query,
        now=server.now(),
        zone=server.policy.zone,
        base=server.base,
        strict=strict,
        count_default=server.settings.count_default,
        count_max=server.settings.count_max,
    )
    added = await _computed(server, row, request)
    apart = list(_apart(row, added))
    asked = replace(query, filter=conjoin(query.filter, *apart)) if apart else query
    page = await server.store.search(asked)
    documents, more, total = list(page.documents), page.more, page.total
    if added is not None:
        found = [_as_stored(server, row, resource) for resource in added.resources]
        merged = search.merge(query, [*page.documents, *page.beyond], found)
        documents, more = merged[: query.count], len(merged) > query.count
        known = {document["_id"] for document in page.documents}
        matching = [one for one in found if search.matches(query.filter, one) and one["_id"] not in known]
        total = None if total is None else total + len(matching)
    notes = [*search.warnings(row, query), *(added.notes if added else ())]
    return Response(200, _bundle(request, query, documents, more, total, notes))


async def _computed(server: Server, row: ResourceDefinition, request: Request) -> Added | None:
    if row.computed is None:
        return None
    added: Added | None = await server.store.run(row.computed.search(request.query, server.now(), server.policy))
    return added


def _apart(row: ResourceDefinition, added: Added | None) -> Iterator[Json]:
    """The filters of stored resources that do not count: those computed anew, those withheld."""
    if row.computed:
        yield {"$nor": [row.computed.hidden]}
    if added and added.withheld:
        yield {"_id": {"$nin": sorted(added.withheld)}}


def _as_stored(server: Server, row: ResourceDefinition, resource: Json) -> Json:
    """A computed resource in the shape that the store's documents have, so that the same filters hold."""
    indexed = search.index(row, resource, zone=server.policy.zone, base=server.base)
    return {"_id": resource["id"], "updated": server.now(), "resource": resource, **indexed}


def _bundle(
    request: Request,
    query: Query,
    documents: Sequence[Json],
    more: bool,
    total: int | None,
    notes: Sequence[Issue],
) -> Json:
    url = f"{request.base}/{request.type}"
    links = [{"relation": "self", "url": _link(url, query.used)}]
    if more and documents:
        links.append({"relation": "next", "url": _link(url, search.following(query, documents[-1]))})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if total is not None:
        bundle["total"] = total
    entries = [_entry(url, document["resource"]) for document in documents]
    if notes:
        entries.append({"resource": operation_outcome(notes), "search": {"mode": "outcome"}})
    if entries:
        bundle["entry"] = entries
    return bundle


def _link(url: str, pairs: Any) -> str:
    return f"{url}?{urlencode(list(pairs))}" if pairs else url


def _entry(url: str, resource: Json) -> Json:
    return {"fullUrl": f"{url}/{resource['id']}", "resource": resource, "search": {"mode": "match"}}


INTERACTION = Interaction("search-type", "type", "GET", "/{type}", search_type)

BY_POST = Interaction("search-type", "type", "POST", "/{type}/_search", search_type)
