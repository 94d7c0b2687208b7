"""$book: an Appointment by whichever of the names in use, through the one door for writes (docs/booking.md,
docs/doors.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations._asking import ASKING, Bid, intent, local_id, read_bid, replacing, write_bid
from fhir_server.operations._intending import OVERRIDING
from fhir_server.operations._replying import refuse, reply, shape_of
from fhir_server.operations.arguments import Arguments, read_arguments, reference_text
from fhir_server.operations.series import EFFORTS, SERIES, book_series, chosen_of
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling.policy import Intent
from fhir_server.writing import Server


async def book(server: Server, request: Request) -> Response:
    """201 with the booked Appointment, 200 if it was stored before (a proposed, held or pending one), 202 if it is to
    be confirmed; 409 with the nearest free times if others were first. With a recurrenceTemplate the whole series, in a
    Bundle. The shape of the answer goes with the names of the parameters (docs/doors.md)."""
    shape = shape_of(request)
    try:
        arguments = read_arguments(OPERATION, request)
        order = await read_order(server, request, arguments)
        if order.bid.recurs:
            effort = chosen_of(arguments["series"], SERIES, EFFORTS)
            return await book_series(server, request, order.stored, order.propose, effort, intent=order.intent)
        written = await write_bid(server, request, order.bid, order.propose, order.intent, order.replaced)
    except FhirError as error:
        return refuse(shape, error, held=False)
    waits = (written.stored.resource or {})["status"] == "pending"
    return await reply(server, shape, written, 202 if waits else written.status, {})


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be booked, and the id of the Appointment that is cancelled if it is."""

    bid: Bid
    propose: Callable[[Stored | None], Json]
    intent: Intent
    replaced: str | None

    @property
    def stored(self) -> str | None:
        """The id, if something can be stored under it."""
        return None if self.bid.new else self.bid.id


async def read_order(server: Server, request: Request, arguments: Arguments) -> Order:
    """What the request asks to be booked."""
    bid = await read_bid(server, request, arguments, booking=True)
    replaced = _replaced(server, arguments, bid)
    if bid.recurs and (bid.newcomers or replaced):
        text = "A series is booked for patients who have a record, and replaces no other Appointment."
        raise FhirError("not-supported", text, "Appointment.extension", status=422)

    def propose(before: Stored | None) -> Json:
        wanted = bid.appointment(before)
        joins = before is None and wanted["status"] == "waitlist" and "start" not in wanted
        stays = not bid.recurs and (bid.calls_off or joins)
        return wanted if stays else {**replacing(wanted, replaced), "status": "booked"}

    return Order(bid, propose, replace(intent(request, arguments), asking=True), replaced)


def _replaced(server: Server, arguments: Arguments, bid: Bid) -> str | None:
    """The id of the Appointment that is cancelled if this one is booked."""
    text = reference_text(next(iter(arguments["cancelled-appt-id"]), None))
    id = local_id(server, text, "Appointment") if text else None
    if id == bid.id:
        text = "An Appointment cannot replace itself: to move it, give it with its id alone."
        raise FhirError("invalid", text, "Parameters.parameter.where(name='cancelled-appt-id')")
    return id


OPERATION = Operation(
    code="book",
    name="Book",
    title="Book an appointment",
    description="Books an Appointment: given as a resource (also alone as the body), by reference to one that was "
    "found, held or stored, by reference to a found Slot with a patient, or, on an instance, that one itself. One "
    "whose hold expired is booked if its time is still free. One with a recurrenceTemplate is booked with all its "
    "series. One that is booked already is changed, or cancelled if it is given as cancelled.",
    resource=("Appointment",),
    levels=("type", "instance"),
    affects_state=True,
    parameters=(
        *ASKING,
        Parameter(
            "cancelled-appt-id",
            "in",
            0,
            "1",
            "uri",
            "An Appointment that is cancelled if this one is booked, and else stays",
            also=("Reference", "string", "id"),
        ),
        SERIES,
        *OVERRIDING,
        Parameter(
            "return",
            "out",
            1,
            "1",
            "Resource",
            "The booked Appointment; of a series, and for some names of parameters, a Bundle",
        ),
    ),
    run=book,
)
