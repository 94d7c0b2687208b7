"""delete: no current version any more; the history stays (http://hl7.org/fhir/R4/http.html#delete)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions.conditional import meeting
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.preference import preference
from fhir_server.interactions.update import reference, refuse_mismatch
from fhir_server.outcome import FhirError, Issue, operation_outcome
from fhir_server.plan import Stored
from fhir_server.writing import Asked, Server, Unchanged, Written, write_all


async def delete(server: Server, request: Request) -> Response:
    """204, also if it was deleted before or never was; 200 with an OperationOutcome if the client prefers one. 409 with
    the referrers if others refer to it.

    Without an id in the URL, all that meets the condition, or 412 if that is too many.
    """
    written = await write_all(
        server,
        lambda: asked(server, request),
        named=reference(request),
        who=request.principal,
        intent=intent_of(request),
    )
    gone = [each for each in written if not each.unchanged]
    headers = {"ETag": f'W/"{gone[0].stored.version}"'} if request.id and gone else {}
    if preference(request, "return") == "OperationOutcome":
        return Response(200, operation_outcome([deleted(gone)]), headers=headers)
    return Response(204, headers=headers)


async def asked(server: Server, request: Request) -> Sequence[Asked]:
    """The deletion of what the URL names by id or by a condition."""
    type = str(request.type)
    if request.id is not None:
        ids: Sequence[str] = (request.id,)
    else:
        ids = (await meeting(server, type, request.query, server.settings.conditional_delete_max)).ids

    return [await _asked_one(server, request, type, id) for id in ids]


async def _asked_one(server: Server, request: Request, type: str, id: str) -> Asked:
    computed = server.rows[type].computed
    there = await server.store.run(computed.read(id, server.now(), server.policy)) if computed else None

    def propose(before: Stored | None) -> Unchanged | None:
        refuse_mismatch(request, before)
        if before is None and there:
            text = f"{type}/{id} is computed from a Schedule, so it cannot be deleted. Make it busy instead."
            raise FhirError("conflict", text, type)
        return Unchanged.UNCHANGED if before is None or before.resource is None else None

    return Asked(type, id, propose, "DELETE")


def deleted(gone: Sequence[Written]) -> Issue:
    """What is said of a deletion."""
    named = ", ".join(f"{each.stored.type}/{each.stored.id}" for each in gone)
    return Issue("informational", f"Deleted: {named or 'nothing was there'}.", severity="information")


INTERACTION = Interaction("delete", "instance", "DELETE", "/{type}/{id}", delete)

CONDITIONAL = Interaction("delete", "type", "DELETE", "/{type}", delete, conditional=True)
