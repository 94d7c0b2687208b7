"""vread: one version of a resource (http://hl7.org/fhir/R4/http.html#vread)."""

from __future__ import annotations

import re

from fhir_server import subset
from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions.read import existing, view_of
from fhir_server.writing import Server

_VERSION = re.compile("[1-9][0-9]{0,8}")


async def vread(server: Server, request: Request) -> Response:
    """200 with that version, as far as `_summary` or `_elements` ask for it; 404 if there is none, 410 if that version
    is the deletion."""
    view = view_of(server, request)
    type, id, version = str(request.type), str(request.id), str(request.version)
    stored = await server.store.vread(type, id, int(version)) if _VERSION.fullmatch(version) else None
    resource = existing(type, f"{id}/_history/{version}", stored).resource or {}
    return Response(200, subset.cut(resource, view), versioned=True)


INTERACTION = Interaction("vread", "instance", "GET", "/{type}/{id}/_history/{version}", vread)
