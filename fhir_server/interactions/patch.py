"""patch: a resource changed in some of its elements (http://hl7.org/fhir/R4/http.html#patch)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server import patching
from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions.conditional import meeting
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.read import compute, current
from fhir_server.interactions.update import reference, refuse_mismatch
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.writing import Asked, Server, write_all


async def patch(server: Server, request: Request) -> Response:
    """200 with the next version. 404 or 410 if there is nothing to patch, 412 if If-Match is not the current version,
    415 for what is no patch, 422 if the patch cannot be applied.

    Without an id in the URL, of what meets the condition: none is 404, several are 412.
    """

    async def ask() -> Sequence[Asked]:
        return [await asked(server, request)]

    written = (
        await write_all(
            server,
            ask,
            named=reference(request),
            who=request.principal,
            intent=intent_of(request),
            replay=replay_of(request),
        )
    )[0]
    return Response(200, written.stored.resource, versioned=True)


async def asked(server: Server, request: Request) -> Asked:
    """The next version of what the URL names by id or by a condition, as the patch makes it."""
    type, row = str(request.type), server.rows[str(request.type)]
    id = await _meeting_id(server, request) if request.id is None else request.id
    computed = await compute(server, type, id)

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        return patching.apply(request.media, request.body, request.raw, current(row, id, before, computed))

    return Asked(type, id, propose, "PATCH")


async def _meeting_id(server: Server, request: Request) -> str:
    met = await meeting(server, str(request.type), request.query, 1)
    if not met.ids:
        raise FhirError("not-found", "Nothing meets the condition, so there is nothing to patch.")
    return met.ids[0]


INTERACTION = Interaction("patch", "instance", "PATCH", "/{type}/{id}", patch)

CONDITIONAL = Interaction("patch", "type", "PATCH", "/{type}", patch, conditional=True)
