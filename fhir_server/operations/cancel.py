"""$cancel: an Appointment called off with a reason; its time is free at once (docs/booking.md)."""

from __future__ import annotations

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.read import existing
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.operations._intending import BY, TOKEN, intending
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.operations.series import SCOPE, change_series, chosen_of
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling import holds
from fhir_server.scheduling.series import SCOPES
from fhir_server.writing import Server, write


async def cancel(server: Server, request: Request) -> Response:
    """200 with the cancelled Appointment, or a Bundle of those of its series; 422 if its status cannot become
    cancelled."""
    arguments = read_arguments(OPERATION, request)
    reason = _reason(arguments)
    comment = next(iter(arguments["comment"]), None)
    id = str(request.id)
    intent = intending(intent_of(request), arguments)

    def cancelled(known: Json) -> Json:
        said = {"comment": comment} if comment else {}
        return {**known, **said, "status": "cancelled", "cancelationReason": reason}

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        return cancelled(existing("Appointment", id, before).resource or {})

    scope = chosen_of(arguments["scope"], SCOPE, SCOPES)
    if scope != "one":
        return await change_series(server, request, scope, lambda _: cancelled, intent=intent)
    written = await write(
        server, "Appointment", id, propose, who=request.principal, intent=intent, replay=replay_of(request)
    )
    return Response(written.status, written.stored.resource, versioned=True)


def _reason(arguments: Arguments) -> Json:
    """The reason that is given. A request that says nothing at all is that of a client that knows of none
    (docs/doors.md)."""
    if not arguments["cancelationReason"] and any(arguments.values()):
        text = "A cancellation needs a reason: give cancelationReason, a CodeableConcept."
        raise FhirError("required", text, "Parameters.parameter.where(name='cancelationReason')")
    reason: Json = next(iter(arguments["cancelationReason"]), holds.reason("not-given"))
    return reason


OPERATION = Operation(
    code="cancel",
    name="Cancel",
    title="Cancel an appointment",
    description="Cancels an Appointment. The time is free again at once and an Encounter that had begun is cancelled.",
    resource=("Appointment",),
    levels=("instance",),
    affects_state=True,
    parameters=(
        Parameter(
            "cancelationReason",
            "in",
            0,
            "1",
            "CodeableConcept",
            "Why, in http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason or a code of your own. "
            "Needed, except by a request without any parameter",
        ),
        Parameter("comment", "in", 0, "1", "string", "Appointment.comment"),
        BY,
        TOKEN,
        SCOPE,
        Parameter("return", "out", 1, "1", "Resource", "The cancelled Appointment; of a series a Bundle of them"),
    ),
    run=cancel,
)
