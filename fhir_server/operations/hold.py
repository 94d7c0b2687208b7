"""$hold and $release: a time that is nobody else's for a while (conformance/decisions/0017-holds.md)."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.read import existing
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.operations._asking import ASKING, intent, read_bid, write_bid
from fhir_server.operations._intending import OVERRIDING
from fhir_server.operations._replying import refuse, reply, shape_of
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling import holds, waiting
from fhir_server.writing import Server, Written, write


async def hold(server: Server, request: Request) -> Response:
    """201 with the held Appointment, 200 if it was stored before; its end is in the extension hold-expires and in the
    Expires header. 409 with the nearest free times if others were first, 429 if the client has too many holds. The
    shape of the answer goes with the names of the parameters (docs/doors.md)."""
    shape = shape_of(request)
    try:
        arguments = read_arguments(HOLD, request)
        bid = await read_bid(server, request, arguments, booking=False)

        def propose(before: Stored | None) -> Json:
            return holds.ask_for(bid.appointment(before), _until(server, arguments))

        written = await write_bid(server, request, bid, propose, intent(request, arguments))
    except FhirError as error:
        return refuse(shape, error, held=True)
    return await reply(server, shape, written, written.status, expires_header(written))


def expires_header(written: Written) -> dict[str, str]:
    """When the hold ends, as a header (RFC 9111, 5.3); nothing if it is none."""
    expires = holds.expires_of(written.stored.resource or {})
    return {"Expires": format_datetime(expires, usegmt=True)} if expires else {}


def _until(server: Server, arguments: Arguments) -> datetime:
    """The end that is asked for, to the second, as headers say it."""
    minutes = next(iter(arguments["minutes"]), server.settings.hold_minutes)
    if minutes > server.settings.hold_minutes_max:
        text = f"minutes: a hold lasts from 1 to {server.settings.hold_minutes_max} minutes."
        raise FhirError("value", text, "minutes", problem="hold-too-long", status=422)
    whole = server.now().replace(microsecond=0)
    return whole + timedelta(minutes=minutes) + (timedelta(seconds=1) if whole < server.now() else timedelta(0))


async def release(server: Server, request: Request) -> Response:
    """200 with the Appointment, cancelled, or waiting again if the waiting list offered it; its time is free at once.
    422 if it is not held."""
    arguments = read_arguments(RELEASE, request)
    id = str(request.id)

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        known = existing("Appointment", id, before).resource or {}
        if known["status"] != "pending" or holds.expires_of(known) is None:
            text = f"Appointment/{id} is {known['status']} and not held. To call it off, use $cancel."
            raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")
        if waiting.waits(known):
            return waiting.put_away(known)
        return {**known, "status": "cancelled", "cancelationReason": holds.reason("hold-released")}

    written = await write(
        server,
        "Appointment",
        id,
        propose,
        who=request.principal,
        intent=intent(request, arguments),
        replay=replay_of(request),
    )
    return Response(written.status, written.stored.resource, versioned=True)


HOLD = Operation(
    code="hold",
    name="Hold",
    title="Hold a time",
    description="Takes the time of an Appointment for a while: it is pending, its Slot busy-tentative, and others find "
    "the time taken. `$book` confirms it, `$hold` on it renews it, `$release` gives it up; else it ends by itself.",
    resource=("Appointment",),
    levels=("type", "instance"),
    affects_state=True,
    parameters=(
        *ASKING,
        *OVERRIDING,
        Parameter("minutes", "in", 0, "1", "positiveInt", "How long, if not as long as the server holds by default"),
        Parameter(
            "return",
            "out",
            1,
            "1",
            "Resource",
            "The held Appointment, with the extension hold-expires; for some names of parameters in a Bundle",
        ),
    ),
    run=hold,
)

RELEASE = Operation(
    code="release",
    name="Release",
    title="Give up a hold",
    description="Cancels a held Appointment with the reason hold-released; the time is free at once. One that the "
    "waiting list offered waits on, without this time.",
    resource=("Appointment",),
    levels=("instance",),
    affects_state=True,
    parameters=(
        Parameter("token", "in", 0, "1", "string", "The token of the hold, if it has one; also as header X-Hold-Token"),
        Parameter("return", "out", 1, "1", "Appointment", "The cancelled Appointment, or the waiting one"),
    ),
    run=release,
)

OPERATIONS = (HOLD, RELEASE)
