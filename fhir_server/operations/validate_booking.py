"""$validate-booking: what $book would say, with nothing written (docs/changing.md)."""

from __future__ import annotations

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations import book
from fhir_server.operations._asking import ask_bid
from fhir_server.operations.arguments import read_arguments
from fhir_server.operations.series import rehearse_series
from fhir_server.outcome import FhirError, Issue, operation_outcome
from fhir_server.scheduling import overrides
from fhir_server.writing import Server, rehearse_all

BOOKABLE = Issue("informational", "It can be booked now.", severity="information")

ANSWERS = frozenset({403, 409, 412, 422})
"""The statuses of refusals of $book that answer the question; any other is about the question itself."""


async def validate_booking(server: Server, request: Request) -> Response:
    """200 with an OperationOutcome: the problems that $book would refuse with, each that can be overridden marked, and
    the nearest free times; or that there is none."""
    arguments = read_arguments(OPERATION, request)
    try:
        order = await book.read_order(server, request, arguments)
        if order.bid.recurs:
            await rehearse_series(server, order.stored, order.propose, intent=order.intent)
        else:
            asked = await ask_bid(server, order.bid, order.propose, order.replaced)
            await rehearse_all(server, asked, order.intent)
    except FhirError as refused:
        if refused.status not in ANSWERS:
            raise
        return Response(200, operation_outcome(map(overrides.mark, refused.issues)))
    return Response(200, operation_outcome([BOOKABLE]))


OPERATION = Operation(
    code="validate-booking",
    name="ValidateBooking",
    title="Ask whether an appointment can be booked",
    description="Tells what $book would say to the same parameters: every problem at once, which of them can be "
    "overridden, and the nearest free times. Nothing is written.",
    resource=("Appointment",),
    levels=("type", "instance"),
    affects_state=False,
    parameters=(
        *(one for one in book.OPERATION.parameters if one.use == "in"),
        Parameter("return", "out", 1, "1", "OperationOutcome", "The problems, or that there is none"),
    ),
    run=validate_booking,
)
