"""update: a new version of a resource, or its first under the client's id (http://hl7.org/fhir/R4/http.html#update)."""

from __future__ import annotations

import re

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.writing import Server, write

_ETAG = re.compile(r'(?:W/)?"([^"]*)"')


async def update(server: Server, request: Request) -> Response:
    """200, or 201 for a first version. 400 if the body's id is not the URL's, 412 if If-Match is not the current
    version, 405 for an unknown id where clients may not choose ids."""
    type, id = str(request.type), str(request.id)
    body = body_of(request)
    if body.get("id") != id:
        raise FhirError("invalid", f"The body's id must be the URL's: {id}.", f"{type}.id")

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        if before is None and not server.settings.create_by_put:
            raise FhirError(
                "not-supported",
                f"{type}/{id} does not exist, and clients do not choose ids here.",
                status=405,
            )
        return body

    written = await write(server, type, id, propose, who=request.principal)
    return Response(written.status, written.stored.resource, versioned=True)


def body_of(request: Request) -> Json:
    """The resource in the body, of the type in the URL."""
    if request.body is None:
        raise FhirError("required", f"The body must be a {request.type}.")
    found = request.body.get("resourceType")
    if found != request.type:
        raise FhirError("invalid", f"The body is a {found}, the URL says {request.type}.", "resourceType")
    return request.body


def refuse_mismatch(request: Request, before: Stored | None) -> None:
    """Refuses with 412 if the current version is not one that If-Match names, or If-None-Match: * meets one."""
    current = before.version if before and before.resource is not None else None
    wanted = request.headers.get("if-match")
    if wanted is not None and wanted.strip() != "*" and str(current) not in _ETAG.findall(wanted):
        said = f'the current version is W/"{current}"' if current else "there is no current version"
        raise FhirError("conflict", f"If-Match is {wanted}, but {said}. Read it again.", status=412)
    if wanted is not None and current is None:
        raise FhirError("conflict", "If-Match is given, but there is no current version.", status=412)
    if request.headers.get("if-none-match", "").strip() == "*" and current is not None:
        raise FhirError("duplicate", "If-None-Match: * is given, but the resource exists.", status=412)


INTERACTION = Interaction("update", "instance", "PUT", "/{type}/{id}", update)
