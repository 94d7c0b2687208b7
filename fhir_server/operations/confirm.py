"""$confirm: an Appointment that is pending or proposed becomes sure (docs/doors.md)."""

from __future__ import annotations

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.read import existing
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.operations._intending import TOKEN, intending
from fhir_server.operations.arguments import read_arguments
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.writing import Server, write

CONFIRMABLE = ("pending", "proposed")


async def confirm(server: Server, request: Request) -> Response:
    """200 with the booked Appointment; 409 if it has another status, or others have its time."""
    arguments = read_arguments(OPERATION, request)
    id = str(request.id)

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        known = existing("Appointment", id, before).resource or {}
        if known["status"] not in CONFIRMABLE:
            text = f"Appointment/{id} is {known['status']}; one that is {' or '.join(CONFIRMABLE)} can be confirmed."
            raise FhirError("conflict", text, "Appointment.status", problem="illegal-transition")
        return {**known, "status": "booked"}

    intent = intending(intent_of(request), arguments)
    written = await write(
        server, "Appointment", id, propose, who=request.principal, intent=intent, replay=replay_of(request)
    )
    return Response(written.status, written.stored.resource, versioned=True)


OPERATION = Operation(
    code="confirm",
    name="Confirm",
    title="Confirm an appointment",
    description="Books an Appointment that is held, that waits for confirmation, or that is proposed.",
    resource=("Appointment",),
    levels=("instance",),
    affects_state=True,
    parameters=(TOKEN, Parameter("return", "out", 1, "1", "Appointment", "The booked Appointment")),
    run=confirm,
)
