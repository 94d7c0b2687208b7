"""$set-availability and $stranded: hours and blocks are edited, and what that does to bookings is said
(docs/find-slots.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TypeAlias

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.read import existing
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.operations.arguments import CURSOR, Arguments, cursor_behind, link, read_arguments, read_cursor
from fhir_server.outcome import FhirError, Json, operation_outcome
from fhir_server.plan import Stored
from fhir_server.scheduling.editing import with_blocks, with_hours
from fhir_server.scheduling.elements import instant, say
from fhir_server.scheduling.finding import refuse_far
from fhir_server.scheduling.stranding import ABOUT, Stranded, find_stranded
from fhir_server.writing import Asked, Server, rehearse, write

ENTRIES_MAX = 200
"""Windows, and blocks, that one role has."""

CLEARABLE = ("availableTime", "notAvailable")

FAR = timedelta(days=36_500)
"""How far ahead is looked if nothing is said."""

Key: TypeAlias = tuple[datetime, str]
"""The place of an Appointment in the order: its start and its id."""


async def set_availability(server: Server, request: Request) -> Response:
    """200 with the PractitionerRole as it is now, or as it would be, and the Appointments that it strands."""
    arguments = read_arguments(SET_AVAILABILITY, request)
    edit = _read_edit(server, arguments)
    id = str(request.id)
    proposed: list[Json] = []

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        proposed[:] = [edit.apply(existing("PractitionerRole", id, before).resource or {})]
        return proposed[0]

    if edit.preview:
        await rehearse(server, Asked("PractitionerRole", id, propose))
        role = proposed[0]
    else:
        written = await write(server, "PractitionerRole", id, propose, who=request.principal, replay=replay_of(request))
        role = written.stored.resource or {}
    reference = f"PractitionerRole/{id}"
    now = server.now()
    plan = find_stranded(reference, now, now + FAR, now, server.policy, {reference: role})
    stranded: Sequence[Stranded] = await server.store.run(plan)
    listed = _bundle(server, request, _Window(reference, now, now + FAR), stranded, server.settings.count_default)
    parameters = [{"name": "role", "resource": role}, {"name": "stranded", "resource": listed}]
    return Response(200, {"resourceType": "Parameters", "parameter": parameters})


@dataclass(frozen=True, slots=True)
class _Edit:
    """What is to become of a role; None stays as it is. The hours hold from `first` to `last`."""

    hours: Sequence[Json] | None
    blocks: Sequence[Json] | None
    first: date
    last: date
    preview: bool
    server: Server

    def apply(self, role: Json) -> Json:
        if self.hours is not None:
            role = with_hours(role, self.hours, self.first, self.last, self.server.policy.zone)
        if self.blocks is not None:
            role = with_blocks(role, self.blocks)
        for name in CLEARABLE:
            if len(role.get(name, ())) > ENTRIES_MAX:
                raise FhirError("too-costly", f"A role has at most {ENTRIES_MAX} {name}.", name)
        return role


def _read_edit(server: Server, arguments: Arguments) -> _Edit:
    clear = set(arguments["clear"])
    if unknown := clear.difference(CLEARABLE):
        text = f"clear: {sorted(unknown)[0]} is none of {', '.join(CLEARABLE)}."
        raise FhirError("value", text, "clear", status=400)
    given = {name: [*map(_read_entry, arguments[name])] for name in CLEARABLE}
    if both := [name for name in CLEARABLE if name in clear and given[name]]:
        raise FhirError("value", f"clear: {both[0]} is given, too.", "clear", status=400)
    chosen = {name: given[name] if given[name] or name in clear else None for name in CLEARABLE}
    if all(entries is None for entries in chosen.values()):
        raise FhirError("required", "Give availableTime, notAvailable, or clear.", "Parameters", status=400)
    first, last = (_day(arguments, name) for name in ("from", "until"))
    if (first or last) and chosen["availableTime"] is None:
        raise FhirError("required", "from and until say when availableTime holds: give it.", "from", status=400)
    first, last = first or date.min, last or date.max
    if last < first:
        raise FhirError("value", "until: this must not be before from.", "until", status=400)
    return _Edit(chosen["availableTime"], chosen["notAvailable"], first, last, any(arguments["preview"]), server)


def _day(arguments: Arguments, name: str) -> date | None:
    text = next(iter(arguments[name]), None)
    if text is not None and len(text) < len("2026-03-02"):
        raise FhirError("value", f"{name}: a whole date is needed, like 2026-03-02.", name, status=400)
    return None if text is None else date.fromisoformat(text)


def _read_entry(parts: Arguments) -> Json:
    """The element that the parts of a parameter say."""
    return {name: list(values) if name == "daysOfWeek" else values[0] for name, values in parts.items() if values}


# Stranded


@dataclass(frozen=True, slots=True)
class _Window:
    """What is asked about, in [start, end); `after` is where the page before ended."""

    about: str
    start: datetime
    end: datetime
    after: Key | None = None


async def stranded(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle of Appointments by time, and an OperationOutcome that says why each is in it."""
    arguments = read_arguments(STRANDED, request)
    now, about = server.now(), f"{request.type}/{request.id}"
    existing(str(request.type), str(request.id), await server.store.read(str(request.type), str(request.id)))
    start = next(iter(arguments["start"]), now)
    window = _Window(about, start, next(iter(arguments["end"]), start + FAR), read_cursor(arguments, instant, str))
    refuse_far(window.start, window.end, "start")
    if window.end <= window.start:
        raise FhirError("value", "The end must be after the start.", "end", status=400)
    found: Sequence[Stranded] = await server.store.run(
        find_stranded(about, window.start, window.end, now, server.policy)
    )
    count = min(next(iter(arguments["_count"]), server.settings.count_default), server.settings.count_max)
    return Response(200, _bundle(server, request, window, found, count))


def _bundle(server: Server, request: Request, window: _Window, found: Sequence[Stranded], count: int) -> Json:
    rest = [one for one in found if window.after is None or one.key > window.after]
    page = rest[:count]
    links = [{"relation": "self", "url": _url(server, request, window, count)}]
    if len(rest) > len(page):
        links.append({"relation": "next", "url": _url(server, request, replace(window, after=page[-1].key), count)})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links}
    return bundle | ({"entry": list(_entries(server.base, page))} if page else {})


def _entries(base: str, page: Sequence[Stranded]) -> Iterator[Json]:
    for one in page:
        url = f"{base}/Appointment/{one.appointment.id}"
        yield {"fullUrl": url, "resource": one.appointment.resource, "search": {"mode": "match"}}
    reasons = [
        replace(issue, severity="warning", expression=(f"Bundle.entry[{index}].resource",))
        for index, one in enumerate(page)
        for issue in one.issues
    ]
    yield {"resource": operation_outcome(reasons), "search": {"mode": "outcome"}}


def _url(server: Server, request: Request, window: _Window, count: int) -> str:
    pairs = [("start", say(window.start)), ("end", say(window.end)), ("_count", str(count))]
    if window.after:
        pairs.append(cursor_behind(say(window.after[0]), window.after[1]))
    return link(f"{server.base}/{window.about}/$stranded", request, pairs)


SET_AVAILABILITY = Operation(
    code="set-availability",
    name="SetAvailability",
    title="Set weekly hours and leave",
    description="Replaces the weekly hours of a PractitionerRole, from a date and until a date if they are given, or "
    "its blocks, or both. No booking is dropped: those that the new rules would not offer are listed.",
    resource=("PractitionerRole",),
    levels=("instance",),
    affects_state=True,
    parameters=(
        Parameter(
            "availableTime",
            "in",
            0,
            "*",
            "",
            "A weekly window; all together replace the former ones",
            parts=(
                Parameter("daysOfWeek", "in", 0, "*", "code", "mon, tue, wed, thu, fri, sat, sun; none is every day"),
                Parameter("allDay", "in", 0, "1", "boolean", "From midnight to midnight"),
                Parameter("availableStartTime", "in", 0, "1", "time", "Local time it opens"),
                Parameter("availableEndTime", "in", 0, "1", "time", "Local time it closes; before the start: next day"),
            ),
        ),
        Parameter("from", "in", 0, "1", "date", "First local day of the new hours; before it the former ones hold"),
        Parameter("until", "in", 0, "1", "date", "Last local day of the new hours; after it the former ones hold"),
        Parameter(
            "notAvailable",
            "in",
            0,
            "*",
            "",
            "A block; all together replace the former ones",
            parts=(
                Parameter("description", "in", 1, "1", "string", "Why, for people"),
                Parameter("during", "in", 1, "1", "Period", "When; dates are whole local days, the last one included"),
            ),
        ),
        Parameter("clear", "in", 0, "*", "code", "availableTime or notAvailable: none from now on"),
        Parameter("preview", "in", 0, "1", "boolean", "Only say what would come of it"),
        Parameter("role", "out", 1, "1", "PractitionerRole", "As it is now; with preview as it would be"),
        Parameter("stranded", "out", 1, "1", "Bundle", "As $stranded answers"),
    ),
    run=set_availability,
)

STRANDED = Operation(
    code="stranded",
    name="Stranded",
    title="Find stranded appointments",
    description="The Appointments to come whose time the rules would not offer any more, since hours, blocks, places "
    "or people have changed: by time, each with the reasons that a booking would be refused for now.",
    resource=ABOUT,
    levels=("instance",),
    affects_state=False,
    parameters=(
        Parameter("start", "in", 0, "1", "dateTime", "Only those that end after it; now, if not given"),
        Parameter("end", "in", 0, "1", "dateTime", "Only those that start before it"),
        Parameter("_count", "in", 0, "1", "positiveInt", "Appointments on a page"),
        CURSOR,
        Parameter("return", "out", 1, "1", "Bundle", "Searchset of Appointments, and an OperationOutcome with reasons"),
    ),
    run=stranded,
)

OPERATIONS = (SET_AVAILABILITY, STRANDED)
