"""$stats: how many Appointments there are in a period, of which kinds, and what became of them (docs/views.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from fhir_server import search
from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations._free_time import read_reference, read_zone
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Counted, Plan, Sought, Tally
from fhir_server.scheduling.elements import COMPUTED_TAG, say
from fhir_server.scheduling.finding import refuse_far
from fhir_server.scheduling.statistics import CODES, CONCEPTS, VISITS, Concept, Statistics, step_minutes, summarize
from fhir_server.search import Scope
from fhir_server.search.conditions import Unknown, chain, condition
from fhir_server.search.filters import Filter, any_of, conjoin, disjoin, one_of
from fhir_server.search.step import Step
from fhir_server.writing import Server

DAYS_MAX = 366
"""The longest period."""

SCHEDULES_MAX = 400
"""Schedules of those who are asked for; MongoDB takes no longer expression than one with their ids."""

WHOSE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "practitioner": ("Practitioner", ("actor", "actor:PractitionerRole.practitioner")),
    "location": (
        "Location",
        (
            *("actor", "actor:Location.partof", "actor:Location.partof.partof"),
            *("actor:PractitionerRole.location", "actor:PractitionerRole.location.partof"),
            "actor:HealthcareService.location",
        ),
    ),
    "organization": (
        "Organization",
        ("actor:PractitionerRole.organization", "actor:Location.organization", "actor:HealthcareService.organization"),
    ),
}
"""By parameter the type of its references, and the conditions under which one who takes part in an Appointment, or has
the Schedule that it is on, belongs to them."""


async def stats(server: Server, request: Request) -> Response:
    """200 with Parameters: counts, rates and times, and nobody's name or id."""
    arguments = read_arguments(OPERATION, request)
    start, end = arguments["start"][0], arguments["end"][0]
    _refuse_period(start, end)
    zone = read_zone(arguments) or server.policy.zone
    wanted = _filter(server, arguments, start, end)

    def count() -> Plan[Statistics]:
        every = yield from search.resolve_filter(server.scope(), wanted)
        visits = conjoin(every, any_of("index.status", [f"*|{status}" for status in sorted(VISITS)]))
        step = ("index.date.l", step_minutes(start, end, zone))
        kinds, times = yield [
            Counted("Appointment", every, CODES, CONCEPTS),
            Counted("Appointment", visits, every=step),
        ]
        return summarize(cast(Sequence[Tally], kinds), cast(Sequence[Tally], times), start, end, zone)

    found = await server.store.run(count())
    period = {"start": say(start, zone), "end": say(end, zone)}
    return Response(200, {"resourceType": "Parameters", "parameter": list(_said(found, period, zone.key))})


def _refuse_period(start: datetime, end: datetime) -> None:
    refuse_far(start, end, "start")
    if end <= start:
        raise FhirError("value", "The end of the period must be after its start.", "end", status=400)
    if end - start > timedelta(days=DAYS_MAX):
        raise FhirError("too-costly", f"The period is limited to {DAYS_MAX} days; ask for a shorter one.", "end")


def _filter(server: Server, arguments: Arguments, start: datetime, end: datetime) -> Filter:
    """The Appointments that are counted; the filter may hold steps."""
    scope = server.scope()
    window = {"$gte": start, "$lt": end}
    filters: list[Filter] = [{"index.date.l": window}]
    for name, (type, names) in WHOSE.items():
        references = [read_reference(text, type, name, server.base) for text in arguments[name]]
        if references:
            filters.append(_belonging(scope, names, ",".join(references), window))
    patients = [read_reference(text, "Patient", "patient", server.base) for text in arguments["patient"]]
    if patients:
        filters.append(_met(scope, "Appointment", ("patient",), ",".join(patients)))
    if arguments["service-type"]:
        filters.append(_met(scope, "Appointment", ("service-type",), ",".join(arguments["service-type"])))
    return conjoin(*filters)


def _met(scope: Scope, type: str, names: Sequence[str], value: str) -> Filter:
    """The filter for what meets one of the conditions with the value."""
    found = [condition(scope, type, name, value) for name in names]
    return disjoin([each for each in found if not isinstance(each, Unknown)])


def _belonging(scope: Scope, names: Sequence[str], value: str, window: Mapping[str, datetime]) -> Filter:
    """The Appointments in which one who belongs to them takes part, or that are on such a Schedule: on a computed Slot,
    whose id begins with the Schedule's, or on a published one."""

    def schedules(_: str) -> Filter:
        return _met(scope, "Schedule", names, value)

    def published(_: str) -> Filter:
        computed = f"{COMPUTED_TAG['system']}|{COMPUTED_TAG['code']}"
        apart: Filter = {"index._tag": {"$nin": [computed]}, "index.status": {"$nin": ["*|free"]}}
        on = cast(Filter, chain(scope, "Slot", "schedule", "Schedule", schedules))
        return conjoin(on, {"index.start.l": dict(window)}, apart)

    sought = Sought("Schedule", schedules(""), "_id", limit=SCHEDULES_MAX)
    return disjoin(
        [
            _met(scope, "Appointment", names, value),
            {"index.slot": Step((sought,), _computed_slots)},
            cast(Filter, chain(scope, "Appointment", "slot", "Slot", published)),
        ]
    )


def _computed_slots(found: Sequence[Sequence[str]]) -> Any:
    ids = "|".join(re.escape(id) for id in found[0])
    return {"$regex": rf"^Slot/({ids})\.[0-9]{{8}}T[0-9]{{4}}\.[0-9]+$"} if ids else one_of([])


def _said(found: Statistics, period: Json, zone: str) -> Iterator[Json]:
    """The parameters of the answer."""
    yield {"name": "period", "valuePeriod": period}
    yield {"name": "timezone", "valueString": zone}
    yield {"name": "total", "valueUnsignedInt": found.total}
    for status, count in sorted(found.statuses.items(), key=_most):
        yield _counted("status", count, {"name": "code", "valueCode": status})
    yield from _concepts("appointment-type", found.appointment_types)
    yield from _concepts("service-type", found.service_types)
    yield from _concepts("cancelation-reason", found.reasons)
    yield {"name": "visits", "valueUnsignedInt": found.visits}
    yield {"name": "days", "valuePositiveInt": found.day_count}
    yield {"name": "mean-per-day", "valueDecimal": found.mean_per_day}
    for name, rate in (("no-show-rate", found.noshow_rate), ("completion-rate", found.completion_rate)):
        if rate is not None:
            yield {"name": name, "valueDecimal": rate}
    for day, count in sorted(found.days.items()):
        yield _counted("day", count, {"name": "date", "valueDate": day.isoformat()})
    for hour, count in sorted(found.hours.items(), key=_most):
        yield _counted("hour", count, {"name": "from", "valueTime": f"{hour:02}:00:00"})


def _most(one: tuple[Any, int]) -> tuple[int, Any]:
    """The order by count, the highest first."""
    return -one[1], one[0]


def _concepts(name: str, counts: Mapping[Concept, int]) -> Iterator[Json]:
    """The counts of the concepts; texts are not among them, since they may be about somebody."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], str(one[0])))
    for (system, code), count in ordered:
        coding = {"system": system} if system else {}
        coding |= {"code": code} if code else {}
        yield _counted(name, count, *([{"name": "coding", "valueCoding": coding}] if coding else ()))


def _counted(name: str, count: int, *what: Json) -> Json:
    return {"name": name, "part": [*what, {"name": "count", "valueUnsignedInt": count}]}


COUNT = Parameter("count", "out", 1, "1", "unsignedInt", "How many there are")
CODING = Parameter("coding", "out", 0, "1", "Coding", "The first coding; none stands for those without any")

OPERATION = Operation(
    code="stats",
    name="Stats",
    title="Count appointments",
    description="How many Appointments start in a period: by status, type, day and hour; why they were cancelled, and "
    "how many patients did not come. The store counts; nobody is named.",
    resource=("Appointment",),
    levels=("type",),
    affects_state=False,
    parameters=(
        Parameter("start", "in", 1, "1", "dateTime", "Start of the period, with a time zone"),
        Parameter("end", "in", 1, "1", "dateTime", f"End of the period, at most {DAYS_MAX} days later; not included"),
        Parameter("timezone", "in", 0, "1", "string", "IANA time zone of days and hours, if not the server's"),
        Parameter("practitioner", "in", 0, "*", "Reference", "Only Appointments of these Practitioners, in any role"),
        Parameter("location", "in", 0, "*", "Reference", "Only Appointments at these Locations, their rooms included"),
        Parameter("organization", "in", 0, "*", "Reference", "Only Appointments with these Organizations"),
        Parameter("patient", "in", 0, "*", "Reference", "Only Appointments of these Patients"),
        Parameter("service-type", "in", 0, "*", "string", "Only this service, as code or system|code", "token"),
        Parameter("period", "out", 1, "1", "Period", "What was asked for"),
        Parameter("timezone", "out", 1, "1", "string", "The zone of days and hours"),
        Parameter(
            "total", "out", 1, "1", "unsignedInt", "Appointments that start in the period, whatever their status"
        ),
        Parameter(
            "status",
            "out",
            0,
            "*",
            "",
            "By status, most first",
            parts=(Parameter("code", "out", 1, "1", "code", "Appointment.status"), COUNT),
        ),
        Parameter("appointment-type", "out", 0, "*", "", "By Appointment.appointmentType", parts=(CODING, COUNT)),
        Parameter("service-type", "out", 0, "*", "", "By the first Appointment.serviceType", parts=(CODING, COUNT)),
        Parameter("cancelation-reason", "out", 0, "*", "", "Cancelled ones by their reason", parts=(CODING, COUNT)),
        Parameter("visits", "out", 1, "1", "unsignedInt", f"Those whose status is one of {', '.join(sorted(VISITS))}"),
        Parameter("days", "out", 1, "1", "positiveInt", "Local days that the period touches"),
        Parameter("mean-per-day", "out", 1, "1", "decimal", "Visits divided by days"),
        Parameter("no-show-rate", "out", 0, "1", "decimal", "noshow among noshow, arrived, checked-in and fulfilled"),
        Parameter("completion-rate", "out", 0, "1", "decimal", "fulfilled among fulfilled, noshow and cancelled"),
        Parameter(
            "day",
            "out",
            0,
            "*",
            "",
            "Visits of a local day, in order; days without any are left out",
            parts=(Parameter("date", "out", 1, "1", "date", "The day"), COUNT),
        ),
        Parameter(
            "hour",
            "out",
            0,
            "*",
            "",
            "Visits that start in an hour of the local day, the busiest first",
            parts=(Parameter("from", "out", 1, "1", "time", "When the hour begins"), COUNT),
        ),
    ),
    run=stats,
)
