"""create: a new resource under an id of the server (http://hl7.org/fhir/R4/http.html#create)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions.conditional import meeting, read_condition
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.update import body_of
from fhir_server.plan import Stored
from fhir_server.store import LostRace, Replay
from fhir_server.writing import Asked, Server, Unchanged, fresh_id, write_all


async def create(server: Server, request: Request) -> Response:
    """201 with what was stored. The body's id, versionId and lastUpdated are the server's to give.

    With If-None-Exist 200 with what is there if one resource meets the condition, 412 if several do.
    """

    async def ask() -> Sequence[Asked]:
        return [await asked(server, request)]

    written = (
        await write_all(server, ask, who=request.principal, intent=intent_of(request), replay=replay_of(request))
    )[0]
    found = {"Location": version_url(server, written.stored)} if written.unchanged else {}
    return Response(written.status, written.stored.resource, versioned=True, headers=found)


async def asked(server: Server, request: Request) -> Asked:
    """A new resource, or the one that meets the condition, which stays as it is."""
    type, body = str(request.type), body_of(request)
    condition = request.headers.get("if-none-exist")
    if condition is None:
        return Asked(type, fresh_id(), lambda _: body, "POST", new=True)
    met = await meeting(server, type, read_condition(condition, type), 1)
    if met.ids:
        return Asked(type, met.ids[0], _stay)
    return Asked(type, fresh_id(), lambda _: body, "POST", new=True, sole=met.sole)


def _stay(before: Stored | None) -> Unchanged:
    """What was found stays as it is; if it was deleted meanwhile, the race is lost."""
    if before is None or before.resource is None:
        raise LostRace
    return Unchanged.UNCHANGED


def version_url(server: Server, stored: Stored) -> str:
    """The URL of this version."""
    return f"{server.base}/{stored.type}/{stored.id}/_history/{stored.version}"


def replay_of(request: Request) -> Replay | None:
    """Under what the answer is kept, so that a repeated Idempotency-Key gets it again."""
    key = request.headers.get("idempotency-key")
    if not key:
        return None
    said = [request.fingerprint, *(request.headers.get(name, "") for name in ("if-none-exist", "if-match"))]
    return Replay(f"{request.path}|{key}", hashlib.sha256("\n".join(said).encode()).hexdigest())


INTERACTION = Interaction("create", "type", "POST", "/{type}", create, conditional=True)
