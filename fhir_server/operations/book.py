"""$book: an Appointment by a found Slot or as a resource, through the one door for writes (docs/booking.md)."""

from __future__ import annotations

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.operations._asking import ASKING, intent, read_bid
from fhir_server.operations.arguments import read_arguments
from fhir_server.operations.series import EFFORTS, SERIES, book_series, chosen_of
from fhir_server.outcome import Json
from fhir_server.plan import Stored
from fhir_server.writing import Server, write


async def book(server: Server, request: Request) -> Response:
    """201 with the booked Appointment, 200 if it was stored before (a proposed, held or pending one); 409 with the
    nearest free times if others were first. With a recurrenceTemplate the whole series, in a Bundle."""
    arguments = read_arguments(OPERATION, request)
    bid = await read_bid(server, request, arguments)

    def propose(before: Stored | None) -> Json:
        return {**bid.appointment(before), "status": "booked"}

    effort = chosen_of(arguments["series"], SERIES, EFFORTS)
    if bid.recurs:
        return await book_series(server, request, bid.id, propose, effort, intent=intent(request, arguments))
    written = await write(
        server,
        "Appointment",
        bid.id,
        propose,
        who=request.principal,
        intent=intent(request, arguments),
        replay=replay_of(request),
    )
    return Response(written.status, written.stored.resource, versioned=True)


OPERATION = Operation(
    code="book",
    name="Book",
    title="Book an appointment",
    description="Books an Appointment: given as a resource (also alone as the body), by reference to a found Slot with "
    "a patient, or, on an instance, the proposed, held or pending Appointment itself. One whose hold expired is booked "
    "if its time is still free. One with a recurrenceTemplate is booked with all its series.",
    resource=("Appointment",),
    levels=("type", "instance"),
    affects_state=True,
    parameters=(
        *ASKING,
        SERIES,
        Parameter("return", "out", 1, "1", "Resource", "The booked Appointment; of a series a Bundle of them"),
    ),
    run=book,
)
