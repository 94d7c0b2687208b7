"""$join: the link to the room of a visit by video, while it can be joined (docs/telehealth.md)."""

from __future__ import annotations

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.read import existing
from fhir_server.operations.arguments import read_arguments
from fhir_server.outcome import Json
from fhir_server.scheduling import telehealth
from fhir_server.scheduling.elements import say
from fhir_server.scheduling.telehealth import Meeting
from fhir_server.writing import Server


async def join(server: Server, request: Request) -> Response:
    """200 with the link and how long it is of use; 422 if it is too early or too late, or there is nothing to join."""
    read_arguments(OPERATION, request)
    id = str(request.id)
    stored = existing("Appointment", id, await server.store.read("Appointment", id))
    plan = telehealth.join(id, stored.resource or {}, server.now(), server.policy)
    meeting: Meeting = await server.store.run(plan)
    parameters: list[Json] = [{"name": "url", "valueUrl": meeting.url}]
    if meeting.room:
        parameters.append({"name": "room", "valueString": meeting.room})
    parameters.append({"name": "opens", "valueInstant": say(meeting.opens)})
    parameters.append({"name": "closes", "valueInstant": say(meeting.closes)})
    return Response(200, {"resourceType": "Parameters", "parameter": parameters}, headers={"Cache-Control": "no-store"})


OPERATION = Operation(
    code="join",
    name="Join",
    title="Join a visit by video",
    description="The link to the room in which patient and practitioner meet, from shortly before the visit on.",
    resource=("Appointment",),
    levels=("instance",),
    affects_state=False,
    parameters=(
        Parameter("url", "out", 1, "1", "url", "The link to the meeting"),
        Parameter("room", "out", 0, "1", "string", "The name of the room, if this server made the link"),
        Parameter("opens", "out", 1, "1", "instant", "From when the visit can be joined"),
        Parameter("closes", "out", 1, "1", "instant", "Until when"),
    ),
    run=join,
)
