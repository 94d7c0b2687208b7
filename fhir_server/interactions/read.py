"""read: the current version of a resource (http://hl7.org/fhir/R4/http.html#read)."""

from __future__ import annotations

from fhir_server import subset
from fhir_server.definitions import Interaction, Request, ResourceDefinition, Response
from fhir_server.interactions.preference import strictness
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.search import contents, index, match, results
from fhir_server.search.results import View
from fhir_server.writing import Server


async def read(server: Server, request: Request) -> Response:
    """200 with the resource, stored, computed or in memory, or with what `_summary` or `_elements` name of it; 404 if
    there never was one, 410 if it was deleted."""
    view = view_of(server, request)
    resource, versioned = await _find(server, str(request.type), str(request.id))
    return Response(200, subset.cut(resource, view), versioned=versioned)


def view_of(server: Server, request: Request) -> View:
    """How much of the resource is wanted."""
    scope = server.scope(strict=strictness(request))
    return results.view_of(scope, request.query, str(request.type), subset.has_element)


async def _find(server: Server, type: str, id: str) -> tuple[Json, bool]:
    """The resource, and whether it has versions."""
    if type in server.library:
        return _published(server, type, id), True
    row = server.rows[type]
    stored = await server.store.read(type, id)
    if is_computed(row, stored) and (computed := await compute(server, type, id)):
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


async def compute(server: Server, type: str, id: str) -> Json | None:
    """The resource as it is computed at present, None if it is not."""
    row = server.rows[type]
    if row.computed is None:
        return None
    found: Json | None = await server.store.run(row.computed.read(id, server.now(), server.policy))
    return found


def is_computed(row: ResourceDefinition, stored: Stored | None) -> bool:
    """Whether what is computed counts: nothing is stored, or what only continues the history of what was computed."""
    if row.computed is None:
        return False
    return stored is None or stored.resource is None or match.matches(row.computed.hidden, index(row, stored.resource))


def current(row: ResourceDefinition, id: str, stored: Stored | None, computed: Json | None) -> Json:
    """What a change starts from: the resource as it is read. 404 and 410 as for a read."""
    if computed and is_computed(row, stored):
        return computed
    return existing(row.type, id, stored).resource or {}


INTERACTION = Interaction("read", "instance", "GET", "/{type}/{id}", read)
