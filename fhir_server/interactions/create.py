"""create: a new resource under an id of the server (http://hl7.org/fhir/R4/http.html#create)."""

from __future__ import annotations

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions.update import body_of
from fhir_server.outcome import FhirError
from fhir_server.store import Replay
from fhir_server.writing import Server, write


async def create(server: Server, request: Request) -> Response:
    """201 with what was stored. The body's id, versionId and lastUpdated are the server's to give."""
    if "if-none-exist" in request.headers:
        raise FhirError("not-supported", "Conditional create (If-None-Exist) is not supported.", status=400)
    body = body_of(request)
    written = await write(
        server, str(request.type), None, lambda _: body, who=request.principal, replay=replay_of(request, 201)
    )
    return Response(written.status, written.stored.resource, versioned=True)


def replay_of(request: Request, status: int) -> Replay | None:
    """Under what the answer is kept, so that a repeated Idempotency-Key gets it again."""
    key = request.headers.get("idempotency-key")
    return Replay(f"{request.path}|{key}", request.fingerprint, status) if key else None


INTERACTION = Interaction("create", "type", "POST", "/{type}", create)
