"""history: the versions of a resource, a type or everything, newest first (http://hl7.org/fhir/R4/http.html#history)."""

from __future__ import annotations

from datetime import datetime

from fhir_server.definitions import PROTOCOL, Interaction, Request, Response
from fhir_server.interactions.preference import preference
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling.elements import say
from fhir_server.search.date import Span, parse_span
from fhir_server.search.query import spell
from fhir_server.store import Past
from fhir_server.writing import Server

PARAMETERS = ("_since", "_at", "_count", "_total", "_cursor")


async def history(server: Server, request: Request) -> Response:
    """200 with a history Bundle, deletions included; 404 for a resource that never was."""
    given = _parameters(server, request)
    past = Past(
        types=(request.type,) if request.type else tuple(sorted(server.rows)),
        id=request.id,
        count=_count(given.get("_count"), server),
        cursor=given.get("_cursor"),
        since=_since(server, given.get("_since")),
        at=_at(server, given.get("_at")),
        total=_total(given.get("_total")),
    )
    page = await server.store.history(past)
    if request.id and not page.stored and await server.store.read(str(request.type), request.id) is None:
        raise FhirError("not-found", f"{request.type}/{request.id} does not exist.")
    url = "/".join(part for part in (request.base, request.type, request.id, "_history") if part)
    kept = {name: value for name, value in given.items() if name != "_cursor"} | {"_count": past.count}
    own = kept | ({"_cursor": past.cursor} if past.cursor else {})
    links = [_link("self", url, own), _link("first", url, kept)]
    if page.next:
        links.append(_link("next", url, kept | {"_cursor": page.next}))
    bundle: Json = {"resourceType": "Bundle", "type": "history", "link": links if past.count else links[:1]}
    if page.total is not None:
        bundle["total"] = page.total
    if page.stored:
        bundle["entry"] = [_entry(request.base, stored) for stored in page.stored]
    return Response(200, bundle)


def _parameters(server: Server, request: Request) -> dict[str, str]:
    """What is given, each at most once. What a history does not know is left out; refused if the client is strict."""
    given: dict[str, str] = {}
    strict = server.settings.search_strict or preference(request, "handling") == "strict"
    for name, value in request.query:
        if name not in PARAMETERS and name not in PROTOCOL:
            if strict:
                text = f"A history has no parameter {name}; it has {', '.join(PARAMETERS[:-1])}."
                raise FhirError("not-supported", text, name, status=400)
        elif name in given:
            raise FhirError("value", f"`{name}` can be given once only.", name)
        elif value:
            given[name] = value
    return given


def _count(text: str | None, server: Server) -> int:
    if text is None:
        return server.settings.count_default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise FhirError("value", f"`_count` is a number from 0 on, not {text}.", "_count")
    return min(int(text), server.settings.count_max)


def _total(text: str | None) -> bool:
    if text not in (None, "none", "estimate", "accurate"):
        raise FhirError("value", f"`_total` is one of none, estimate, accurate, not {text}.", "_total")
    return text != "none"


def _since(server: Server, text: str | None) -> datetime | None:
    return None if text is None else _span(server, "_since", text).low


def _at(server: Server, text: str | None) -> tuple[datetime, datetime] | None:
    if text is None:
        return None
    span = _span(server, "_at", text)
    return span.low, span.high


def _span(server: Server, name: str, text: str) -> Span:
    span = parse_span(text, server.policy.zone)
    if span is None:
        raise FhirError("value", f"`{name}` is a date or an instant like 2026-03-02T08:00:00Z, not {text}.", name)
    return span


def _link(relation: str, url: str, pairs: Json) -> Json:
    return {"relation": relation, "url": f"{url}?{spell((name, str(value)) for name, value in pairs.items())}"}


def _entry(base: str, stored: Stored) -> Json:
    url = f"{stored.type}/{stored.id}"
    status = "204" if stored.resource is None else "201" if stored.first else "200"
    entry: Json = {"fullUrl": f"{base}/{url}"}
    if stored.resource is not None:
        entry["resource"] = stored.resource
    return entry | {
        "request": {"method": stored.method, "url": stored.type if stored.method == "POST" else url},
        "response": {
            "status": status,
            "etag": f'W/"{stored.version}"',
            "lastModified": say(stored.updated),
        },
    }


INTERACTION = Interaction("history-instance", "instance", "GET", "/{type}/{id}/_history", history)

OF_TYPE = Interaction("history-type", "type", "GET", "/{type}/_history", history)

OF_SYSTEM = Interaction("history-system", "system", "GET", "/_history", history)
