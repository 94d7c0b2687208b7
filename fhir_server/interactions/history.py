"""history-instance: the versions of a resource, newest first (http://hl7.org/fhir/R4/http.html#history)."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling.elements import say
from fhir_server.writing import Server


async def history(server: Server, request: Request) -> Response:
    """200 with a history Bundle, deletions included; 404 if there never was such a resource."""
    type, id = str(request.type), str(request.id)
    query = dict(request.query)
    count = read_count(query.get("_count"), server)
    page = await server.store.history(type, id, count, query.get("_cursor"))
    if page.total == 0:
        raise FhirError("not-found", f"{type}/{id} does not exist.")
    url = f"{request.base}/{type}/{id}/_history"
    links = [{"relation": "self", "url": f"{url}?{urlencode({'_count': count})}"}]
    if page.next:
        links.append({"relation": "next", "url": f"{url}?_count={count}&_cursor={quote(page.next)}"})
    bundle = {
        "resourceType": "Bundle",
        "type": "history",
        "total": page.total,
        "link": links,
        "entry": [_entry(request.base, stored) for stored in page.stored],
    }
    return Response(200, bundle)


def read_count(text: str | None, server: Server) -> int:
    """A page size by `_count`, the default if it is not given, at most the server's maximum."""
    if text is None:
        return server.settings.count_default
    if not text.isdecimal() or len(text) > 9 or int(text) == 0:
        raise FhirError("value", "`_count` must be a positive whole number.")
    return min(int(text), server.settings.count_max)


def _entry(base: str, stored: Stored) -> Json:
    method = "DELETE" if stored.resource is None else "POST" if stored.version == 1 else "PUT"
    status = {"DELETE": "204", "POST": "201", "PUT": "200"}[method]
    url = f"{stored.type}/{stored.id}"
    entry: Json = {"fullUrl": f"{base}/{url}"}
    if stored.resource is not None:
        entry["resource"] = stored.resource
    return entry | {
        "request": {"method": method, "url": stored.type if method == "POST" else url},
        "response": {
            "status": status,
            "etag": f'W/"{stored.version}"',
            "lastModified": say(stored.updated),
        },
    }


INTERACTION = Interaction("history-instance", "instance", "GET", "/{type}/{id}/_history", history)
