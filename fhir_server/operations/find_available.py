"""Location/$find-available: which places have room, how much, and when first (docs/find-slots.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations._free_time import DURATION, SCHEDULES, WISHES, read_ask
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Plan, Stored
from fhir_server.scheduling.availability import local_day, sites
from fhir_server.scheduling.elements import is_room
from fhir_server.scheduling.finding import Ask, Bookable, refuse_window
from fhir_server.scheduling.offers import Offer, find
from fhir_server.scheduling.parameters import name_reference
from fhir_server.scheduling.policy import Policy
from fhir_server.writing import Server

AROUND = timedelta(hours=15)
"""A local date begins and ends within this time of the same date in UTC, wherever it is."""


async def find_available(server: Server, request: Request) -> Response:
    """200 with a Parameters: each Location that has free Slots, that with the first one before the others."""
    arguments = read_arguments(OPERATION, request)
    day = _day(arguments)
    start, end = _window(server, arguments, day)
    refuse_window(start, end, server.policy)
    ask = read_ask(server, request, arguments, start, end)
    if day is not None:
        ask = replace(ask, end=end + server.policy.appointment_length_max, before=end)
    found = await server.store.run(_find(ask, day, server.now(), server.policy))
    answer: Json = {"resourceType": "Parameters"}
    return Response(200, answer | ({"parameter": found} if found else {}))


def _day(arguments: Arguments) -> date | None:
    text = next(iter(arguments["date"]), None)
    if text is None:
        return None
    if arguments["start"] or arguments["end"]:
        raise FhirError("invalid", "Give a date, or start and end, not both.", "date", status=400)
    if len(text) != 10:
        raise FhirError("value", "date: a day is needed, like 2026-03-02.", "date")
    return date.fromisoformat(text)


def _window(server: Server, arguments: Arguments, day: date | None) -> tuple[datetime, datetime]:
    if day is not None:
        midnight = datetime.combine(day, time.min, UTC)
        if not 1 < midnight.year < 9999:
            raise FhirError("value", "date: a day that can be booked is needed.", "date", status=422)
        return midnight - AROUND, midnight + timedelta(days=1) + AROUND
    if not arguments["end"]:
        raise FhirError("required", "Give a date, or the end of a window.", "date", status=400)
    return next(iter(arguments["start"]), server.now()), arguments["end"][0]


def _find(ask: Ask, day: date | None, now: datetime, policy: Policy) -> Plan[list[Json]]:
    findings = yield from find(ask, now, policy)
    at: dict[str, list[Offer]] = {}
    bookables = {offer.schedule: offer.bookable for offer in findings.offers}
    sites = {schedule: _sites(bookable, ask.locations) for schedule, bookable in bookables.items()}
    for offer in findings.offers:
        if day is None or local_day(offer.start, offer.bookable.calendar.zone) == day:
            for site in sites[offer.schedule]:
                at.setdefault(site, []).append(offer)
    if not at:
        return []
    [stored] = yield [ById(frozenset(at))]
    locations = {f"{one.type}/{one.id}": one.resource for one in stored if isinstance(one, Stored)}
    order = sorted(at, key=lambda site: (at[site][0].start, site))
    return [_available(resource, at[site]) for site in order if (resource := locations.get(site))]


def _sites(bookable: Bookable, asked: frozenset[str]) -> set[str]:
    """Where a visit on the Schedule can take place, of what was asked for; of a room, what it is part of."""
    locations = {f"Location/{one['id']}": one for one in bookable.calendar.locations}
    lineages = [list(_lineage(f"Location/{site['id']}", locations)) for site in sites(bookable.calendar)]
    return {
        next((reference for reference in lineage if not is_room(locations[reference])), lineage[0])
        for lineage in lineages
        if not asked or not asked.isdisjoint(lineage)
    }


def _lineage(reference: str | None, locations: Mapping[str, Json]) -> Iterator[str]:
    """A Location and those it is part of, the nearest first; a circle ends."""
    seen: set[str] = set()
    while reference is not None and reference in locations and reference not in seen:
        yield reference
        seen.add(reference)
        reference = name_reference(locations[reference].get("partOf"))


def _available(location: Json, offers: Sequence[Offer]) -> Json:
    return {
        "name": "available",
        "part": [
            {"name": "location", "resource": location},
            {"name": "free", "valueUnsignedInt": len(offers)},
            {"name": "first", "resource": offers[0].slot},
        ],
    }


OPERATION = Operation(
    code="find-available",
    name="FindAvailable",
    title="Find places that have room",
    description="The Locations with free Slots on a date or in a window: how many there are, and the first of them.",
    resource=("Location",),
    levels=("type",),
    affects_state=False,
    parameters=(
        Parameter("date", "in", 0, "1", "date", "The day, by the clock of each Schedule"),
        Parameter("start", "in", 0, "1", "dateTime", "Instead: start of a window, with a time zone; now, if not given"),
        Parameter("end", "in", 0, "1", "dateTime", "End of the window, with a time zone"),
        *SCHEDULES,
        DURATION,
        *WISHES,
        Parameter(
            "available",
            "out",
            0,
            "*",
            "",
            "A Location that has room, in the order of the first free Slots",
            parts=(
                Parameter("location", "out", 1, "1", "Location", "The Location; of a room, what it is part of"),
                Parameter("free", "out", 1, "1", "unsignedInt", "How many Slots are free there"),
                Parameter("first", "out", 1, "1", "Slot", "The first of them"),
            ),
        ),
    ),
    run=find_available,
)
