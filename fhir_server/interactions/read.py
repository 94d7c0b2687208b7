"""read: the current version of a resource (http://hl7.org/fhir/R4/http.html#read)."""

from __future__ import annotations

from fhir_server import subset
from fhir_server.definitions import Interaction, Request, ResourceDefinition, Response
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.search import contents, index, match, results
from fhir_server.writing import Server


async def read(server: Server, request: Request) -> Response:
    """200 with the resource, stored, computed or in memory, or with what `_summary` or `_elements` name of it; 404 if
    there never was one, 410 if it was deleted."""
    view = results.view_of(request.query)
    resource, versioned = await _find(server, str(request.type), str(request.id))
    return Response(200, subset.cut(resource, view), versioned=versioned)


async def _find(server: Server, type: str, id: str) -> tuple[Json, bool]:
    """The resource, and whether it has versions."""
    if type in server.library:
        return _published(server, type, id), False
    row = server.rows[type]
    stored = await server.store.read(type, id)
    if row.computed and (stored is None or stored.resource is None or stands_for_nothing(row, stored.resource)):
        computed = await server.store.run(row.computed.read(id, server.now(), server.policy))
        if computed is not None:
            return computed, False
    return existing(type, id, stored).resource or {}, True


def _published(server: Server, type: str, id: str) -> Json:
    found = contents.documents(server.library[type], server.scope().frame).get(id)
    if found is None:
        raise FhirError("not-found", f"{type}/{id} does not exist.")
    resource: Json = found["resource"]
    return resource


def existing(type: str, id: str, stored: Stored | None) -> Stored:
    """What is stored; refuses what never was with 404 and what was deleted with 410."""
    if stored is None:
        raise FhirError("not-found", f"{type}/{id} does not exist.")
    if stored.resource is None:
        etag = {"ETag": f'W/"{stored.version}"'}
        raise FhirError("deleted", f"{type}/{id} was deleted.", headers=etag)
    return stored


def stands_for_nothing(row: ResourceDefinition, resource: Json) -> bool:
    """Whether a stored resource only continues the history of one that is computed anew."""
    return row.computed is not None and match.matches(row.computed.hidden, index(row, resource))


INTERACTION = Interaction("read", "instance", "GET", "/{type}/{id}", read)
