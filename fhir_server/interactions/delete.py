"""delete: no current version any more; the history stays (http://hl7.org/fhir/R4/http.html#delete)."""

from __future__ import annotations

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.plan import Stored
from fhir_server.writing import Server, write


class _AlreadyGone(Exception):
    """There is nothing to delete."""


async def delete(server: Server, request: Request) -> Response:
    """204, also if it was deleted before or never was."""

    def propose(before: Stored | None) -> None:
        refuse_mismatch(request, before)
        if before is None or before.resource is None:
            raise _AlreadyGone

    try:
        written = await write(server, str(request.type), str(request.id), propose, who=request.principal)
    except _AlreadyGone:
        return Response(204)
    return Response(204, headers={"ETag": f'W/"{written.stored.version}"'})


INTERACTION = Interaction("delete", "instance", "DELETE", "/{type}/{id}", delete)
