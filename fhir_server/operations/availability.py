"""$availability: when Schedules are free, and why not when they are not (docs/find-slots.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations._free_time import DURATION, SCHEDULES, read_ask, read_zone
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.outcome import PROBLEMS, FhirError, Json
from fhir_server.plan import Plan
from fhir_server.scheduling.elements import say
from fhir_server.scheduling.explaining import AVAILABILITY_CAUSES, Piece, Reason, pieces, reasons_at
from fhir_server.scheduling.finding import Ask, Bookable, is_wanted, load_bookables, refuse_window, select_schedules
from fhir_server.scheduling.offers import Taken, load_taken
from fhir_server.scheduling.policy import Policy
from fhir_server.writing import Server

PIECES_MAX = 20_000
"""Intervals that one answer lists at most."""


@dataclass(frozen=True, slots=True)
class _Found:
    bookables: Sequence[Bookable]
    taken: Taken
    unknown: frozenset[str]


async def availability(server: Server, request: Request) -> Response:
    """200 with a Parameters: for each Schedule its free intervals, with `explain` also the others and why; with `at`
    whether a visit then could be booked, and all the reasons why not."""
    arguments = read_arguments(OPERATION, request)
    zone = read_zone(arguments)
    at = next(iter(arguments["at"]), None)
    start = at or next(iter(arguments["start"]), server.now())
    end = _end(arguments, server.policy, at, start)
    ask = read_ask(server, request, arguments, start, end)
    refuse_window(start, end, server.policy)
    found = await server.store.run(_load(ask, server.policy))
    if unknown := sorted(found.unknown):
        own = request.id and unknown == [f"Schedule/{request.id}"]
        text = f"{unknown[0]} does not exist here."
        raise FhirError("not-found", text, "schedule", problem=None if own else "schedule-unknown")
    explain = at is not None or next(iter(arguments["explain"]), False)
    intervals: list[Json] = []
    for bookable in found.bookables:
        for piece in _pieces(bookable, ask, at, server.now(), found.taken):
            if explain or not piece.reasons:
                intervals.append(_interval(bookable, piece, zone))
            if len(intervals) > PIECES_MAX:
                text = f"These are more than {PIECES_MAX} intervals; ask for a shorter window or fewer Schedules."
                raise FhirError("too-costly", text, "end")
    answer: Json = {"resourceType": "Parameters"}
    return Response(200, answer | ({"parameter": intervals} if intervals else {}))


def _end(arguments: Arguments, policy: Policy, at: datetime | None, start: datetime) -> datetime:
    """The end of the window; with `at` that of the longest visit which may be asked about."""
    given: datetime | None = next(iter(arguments["end"]), None)
    if at is not None:
        if given or arguments["start"]:
            raise FhirError("invalid", "Give at, or start and end, not both.", "at", status=400)
        minutes = next(iter(arguments["duration"]), None)
        return start + (timedelta(minutes=minutes) if minutes else policy.appointment_length_max)
    if given is None:
        raise FhirError("required", "Give end, or at for one time.", "end", status=400)
    return given


def _load(ask: Ask, policy: Policy) -> Plan[_Found]:
    selection = yield from select_schedules(ask, policy)
    bookables = yield from load_bookables(selection.schedules, policy)
    wanted = [bookable for bookable in bookables if is_wanted(bookable.calendar, ask)]
    taken = yield from load_taken(wanted, ask.start, ask.end, policy.base)
    return _Found(wanted, taken, selection.unknown)


def _pieces(bookable: Bookable, ask: Ask, at: datetime | None, now: datetime, taken: Taken) -> Sequence[Piece]:
    if at is None:
        return pieces(bookable, ask.start, ask.end, now, taken)
    minutes = ask.duration_minutes or bookable.calendar.parameters.duration_minutes
    end = at + timedelta(minutes=minutes)
    return [Piece(at, end, tuple(reasons_at(bookable, at, end, now, taken)))]


def _interval(bookable: Bookable, piece: Piece, zone: ZoneInfo | None) -> Json:
    spoken = zone or bookable.calendar.zone
    parts: list[Json] = [
        {"name": "schedule", "valueReference": {"reference": bookable.reference}},
        {"name": "period", "valuePeriod": {"start": say(piece.start, spoken), "end": say(piece.end, spoken)}},
        {"name": "free", "valueBoolean": not piece.reasons},
    ]
    return {"name": "interval", "part": [*parts, *_reasons(piece.reasons)]}


def _reasons(reasons: Sequence[Reason]) -> Iterator[Json]:
    for reason in reasons:
        codes = [{"system": PROBLEMS, "code": reason.code}, {"system": AVAILABILITY_CAUSES, "code": reason.cause}]
        yield {"name": "reason", "valueCodeableConcept": {"coding": codes}}


OPERATION = Operation(
    code="availability",
    name="Availability",
    title="When Schedules are free, and why not",
    description="The free time of Schedules as intervals; with `explain` also the time that is not free, and why; with "
    "`at` everything for which a booking at that time would be refused.",
    resource=("Schedule",),
    levels=("type", "instance"),
    affects_state=False,
    parameters=(
        Parameter("start", "in", 0, "1", "dateTime", "Start of the window, with a time zone; now, if not given"),
        Parameter("end", "in", 0, "1", "dateTime", "End of the window, with a time zone"),
        Parameter("at", "in", 0, "1", "dateTime", "Instead of a window, the start of one visit"),
        DURATION,
        *SCHEDULES,
        Parameter("explain", "in", 0, "1", "boolean", "Whether to list what is not free, too, with the reasons"),
        Parameter(
            "timezone", "in", 0, "1", "string", "IANA time zone to spell the times in, if not the Schedule's own"
        ),
        Parameter(
            "interval",
            "out",
            0,
            "*",
            "",
            "A time of a Schedule, in order",
            parts=(
                Parameter("schedule", "out", 1, "1", "Reference", "The Schedule"),
                Parameter("period", "out", 1, "1", "Period", "The time, its end excluded"),
                Parameter("free", "out", 1, "1", "boolean", "Whether it is free"),
                Parameter(
                    "reason", "out", 0, "*", "CodeableConcept", "Why not: the code of the refusal, and its cause"
                ),
            ),
        ),
    ),
    run=availability,
)
