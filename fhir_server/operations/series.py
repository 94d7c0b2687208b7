"""A series of Appointments, booked and changed as one by $book, $cancel and $reschedule (docs/series.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

from fhir_server.definitions import Parameter, Request, Response
from fhir_server.interactions.bundle import status_line
from fhir_server.interactions.create import replay_of, version_url
from fhir_server.interactions.read import existing
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.plan import Stored
from fhir_server.scheduling import series
from fhir_server.scheduling.finding import refuse_far
from fhir_server.scheduling.parameters import extensions
from fhir_server.scheduling.policy import Change, Intent
from fhir_server.scheduling.recurrence import TEMPLATE, read_template
from fhir_server.scheduling.series import Occurrence
from fhir_server.store import LostRace, Replay
from fhir_server.writing import (
    PLAIN,
    Asked,
    Propose,
    Server,
    Unchanged,
    Written,
    fresh_id,
    refuse_invalid,
    rehearse,
    rehearse_all,
    write_all,
)

EFFORTS = ("all-or-nothing", "best-effort")

SERIES = Parameter(
    "series",
    "in",
    0,
    "1",
    "code",
    "For an Appointment with a recurrenceTemplate: all-or-nothing (if not given), or best-effort",
)
"""The parameter of an operation that can book a series."""

SCOPE = Parameter(
    "scope",
    "in",
    0,
    "1",
    "code",
    "Of a series: one (if not given), following (this one and those after it), or all",
)
"""The parameter of an operation that can change a series."""

REPORTED_MAX = 10
"""Occurrences that the refusal of a series lists, each with its reasons."""

Edit: TypeAlias = Callable[[Json], Json]
"""From a member of a series to what is wanted of it."""


def chosen_of(values: Sequence[str], parameter: Parameter, known: Sequence[str]) -> str:
    """The value of `series` or `scope`, the first of the known ones if it is not given; any other is refused."""
    value = next(iter(values), known[0])
    if value not in known:
        text = f"{parameter.name} is one of {', '.join(known)}, not {value}."
        raise FhirError("value", text, f"Parameters.parameter.where(name='{parameter.name}')")
    return value


def recurs(appointment: Json | None) -> bool:
    """Whether the Appointment asks for a series."""
    return bool(extensions(appointment or {}, TEMPLATE))


# Booking


async def book_series(
    server: Server, request: Request, id: str | None, propose: Propose, effort: str, *, intent: Intent = PLAIN
) -> Response:
    """Books all occurrences of the Appointment that `propose` asks for, which is the first; `id` is its own if it is
    stored already.

    `all-or-nothing`: 201 with a transaction-response, or the reasons of all that cannot be booked. `best-effort`: the
    first, then each of the others alone: 201 with a batch-response, an entry for each that was booked or refused.
    """
    book = _book_each if effort == "best-effort" else _book_all
    written = await book(server, request, _Wanted(server, id, propose, intent))
    kind = "batch-response" if effort == "best-effort" else "transaction-response"
    return _report(server, kind, written)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A series that is asked for."""

    server: Server
    id: str | None
    propose: Propose
    intent: Intent

    async def first(self, origin: str) -> tuple[Json, Stored | None]:
        """The first Appointment as it is to be booked now, and what is stored of it."""
        before = await self.server.store.read("Appointment", self.id) if self.id else None
        wanted = self.propose(before)
        assert wanted is not None and not isinstance(wanted, Unchanged), "a booking asks for an Appointment"
        refuse_invalid(self.server.rows["Appointment"], wanted)
        _refuse_member(wanted)
        after = {**wanted, "id": origin}
        change = Change(
            "Appointment", origin, before, after, self.server.now(), self.server.policy, origin, self.intent
        )
        zone: ZoneInfo = await self.server.store.run(series.zone_of(change))
        return series.as_first(after, zone), before

    def asked_first(self, first: Json, before: Stored | None) -> Asked:
        """The write of the first; if it was changed since, the race is lost."""

        def propose(stored: Stored | None) -> Json:
            if (stored and stored.version) != (before and before.version):
                raise LostRace
            return first

        return Asked("Appointment", first["id"], propose, "PUT" if self.id else "POST", new=self.id is None)


def _refuse_member(appointment: Json) -> None:
    if extensions(appointment, series.ORIGINATING):
        text = "An Appointment of another series cannot recur itself: leave out its recurrenceTemplate (R5 app-6)."
        raise FhirError("business-rule", text, "Appointment.extension", problem="not-recurring")


def _others(server: Server, first: Json) -> list[tuple[Occurrence, Json]]:
    """The occurrences after the first, each with its Appointment."""
    template = read_template(first)
    assert template and template.zone, "the first of a series says by whose clock it recurs"
    found = series.expand(first, template.zone, server.policy.series_occurrences_max)[1:]
    return [(one, series.as_other(first, one, first["id"], template.zone, server.policy)) for one in found]


def _asked(appointment: Json) -> Asked:
    return Asked("Appointment", fresh_id(), lambda _: appointment, "POST", new=True)


async def _book_all(server: Server, request: Request, wanted: _Wanted) -> Sequence[Written]:
    origin = wanted.id or fresh_id()
    asked: list[Asked] = []
    starts: list[str] = []

    async def ask() -> Sequence[Asked]:
        asked[:], starts[:] = await _whole(server, wanted, origin)
        return asked

    named = f"Appointment/{wanted.id}" if wanted.id else None
    try:
        return await write_all(
            server,
            ask,
            named=named,
            who=request.principal,
            intent=wanted.intent,
            replay=replay_of(request),
            deadline_seconds=server.settings.transaction_deadline_seconds,
        )
    except FhirError as refused:
        raise await _refusal(server, refused, asked, starts, wanted.intent) from None


async def _whole(server: Server, wanted: _Wanted, origin: str) -> tuple[list[Asked], list[str]]:
    """All writes of a series, and when each Appointment starts."""
    first, before = await wanted.first(origin)
    others = [each for _, each in _others(server, first)]
    asked = _placed([wanted.asked_first(first, before), *map(_asked, others)])
    return asked, [_start(each) for each in (first, *others)]


def _start(appointment: Json) -> str:
    """When it starts; empty if it has no time."""
    return str(appointment.get("start", ""))


def _placed(asked: Sequence[Asked]) -> list[Asked]:
    """Each with its place in the answer, by which a refusal tells which of them it is about."""
    return [replace(each, where=f"Bundle.entry[{index}]") for index, each in enumerate(asked)]


_PLACE = re.compile(r"Bundle\.entry\[(\d+)\](?:\.resource)?")


def _said(refused: FhirError, starts: Sequence[str]) -> FhirError:
    """The refusal of one of those that were asked for, in words that say which."""
    issues = [_about(issue, starts) for issue in refused.issues]
    return FhirError.of(issues, status=refused.status, headers=refused.headers)


def _about(issue: Issue, starts: Sequence[str]) -> Issue:
    place = _PLACE.match(next(iter(issue.expression), ""))
    if place is None:
        return issue
    expressions = tuple(_PLACE.sub("Appointment", each) for each in issue.expression)
    index = int(place[1])
    when = f" ({starts[index]})" if starts[index] else ""
    return replace(issue, text=f"{index + 1} of {len(starts)}{when}: {issue.text}", expression=expressions)


async def _refusal(
    server: Server, refused: FhirError, asked: Sequence[Asked], starts: Sequence[str], intent: Intent
) -> FhirError:
    """The refusal of a series; if it is about what can be booked, with the reasons of all."""
    reasons = await _all_reasons(server, asked, starts, intent) if refused.status in (409, 422) else None
    return reasons or _said(refused, starts)


async def _all_reasons(
    server: Server, asked: Sequence[Asked], starts: Sequence[str], intent: Intent
) -> FhirError | None:
    """Why occurrences cannot be booked even alone, at most `REPORTED_MAX` of them; None if they all can."""
    refusals: list[FhirError] = []
    for each in asked:
        if len(refusals) == REPORTED_MAX:
            break
        try:
            await rehearse(server, each, intent)
        except FhirError as refused:
            if refused.status >= 500:
                raise
            refusals.append(_said(refused, starts))
    if not refusals:
        return None
    issues = [issue for refused in refusals for issue in refused.issues]
    status = next((refused.status for refused in refusals if refused.status != 409), 409)
    return FhirError.of(issues, status=status)


async def rehearse_series(server: Server, id: str | None, propose: Propose, *, intent: Intent = PLAIN) -> None:
    """Refuses what `book_series` would refuse, all or nothing; nothing is written."""
    wanted = _Wanted(server, id, propose, intent)
    asked, starts = await _whole(server, wanted, id or fresh_id())
    try:
        await rehearse_all(server, asked, intent)
    except FhirError as refused:
        raise await _refusal(server, refused, asked, starts, intent) from None


async def _book_each(server: Server, request: Request, wanted: _Wanted) -> Sequence[Written | FhirError]:
    """The first, which must be bookable, then the others one by one. Each has an idempotency key of its own, so that a
    repeated request goes on where the first one ended."""
    origin = wanted.id or fresh_id()
    firsts: list[Json] = []
    replay = replay_of(request)

    async def ask() -> Sequence[Asked]:
        first, before = await wanted.first(origin)
        _others(server, first)
        firsts[:] = [first]
        return [wanted.asked_first(first, before)]

    written = await write_all(server, ask, who=request.principal, intent=wanted.intent, replay=_numbered_key(replay, 1))
    first = firsts[0] if firsts else written[0].stored.resource or {}
    booked: list[Written | FhirError] = list(written)
    for occurrence, other in _others(server, first):
        key = _numbered_key(replay, occurrence.number)
        booked.append(await _book_alone(server, request, occurrence, other, wanted.intent, key))
    return booked


def _numbered_key(replay: Replay | None, number: int) -> Replay | None:
    return replay and replace(replay, key=f"{replay.key}|{number}")


async def _book_alone(
    server: Server, request: Request, occurrence: Occurrence, other: Json, intent: Intent, replay: Replay | None
) -> Written | FhirError:
    async def ask() -> Sequence[Asked]:
        return [_asked(other)]

    try:
        return (await write_all(server, ask, who=request.principal, intent=intent, replay=replay))[0]
    except FhirError as refused:
        text = f"Occurrence {occurrence.number}, {other['start']}, is not booked."
        issues = [*refused.issues, Issue("informational", text, severity="information")]
        return FhirError.of(issues, status=refused.status)


# Changing


async def members(server: Server, appointment: Json, scope: str) -> Sequence[Stored]:
    """The stored Appointments of the series of this one that the scope is about, in order, those that are over too."""
    found: Sequence[Stored] = await server.store.run(series.load_members(appointment, scope, server.policy))
    return found


async def change_series(
    server: Server,
    request: Request,
    scope: str,
    prepare: Callable[[Json], Edit],
    *,
    intent: Intent = PLAIN,
) -> Response:
    """Changes the Appointment of the request's URL and, by scope, those of its series that still go along: all or none.

    `prepare` is given that Appointment as it is stored and returns what is to become of each. 200 with a
    transaction-response.
    """
    id = str(request.id)
    starts: list[str] = []

    async def ask() -> Sequence[Asked]:
        stored = await server.store.read("Appointment", id)
        refuse_mismatch(request, stored)
        named = existing("Appointment", id, stored).resource or {}
        edit, now = prepare(named), server.now()
        going = [
            one
            for one in await members(server, named, scope)
            if one.id == id or series.goes_along(one.resource or {}, now)
        ]
        starts[:] = [_start(edit(one.resource or {})) for one in going]
        return _placed([_edited(one, edit) for one in going])

    try:
        written = await write_all(
            server,
            ask,
            named=f"Appointment/{id}",
            who=request.principal,
            intent=replace(intent, series=True),
            replay=replay_of(request),
            deadline_seconds=server.settings.transaction_deadline_seconds,
        )
    except FhirError as refused:
        raise _said(refused, starts) from None
    return _report(server, "transaction-response", written)


def _edited(member: Stored, edit: Edit) -> Asked:
    """What is to become of a member; if it was changed since, the race is lost."""

    def propose(before: Stored | None) -> Json:
        if before is None or before.version != member.version:
            raise LostRace
        return edit(member.resource or {})

    return Asked("Appointment", member.id, propose)


async def move_series(
    server: Server,
    request: Request,
    scope: str,
    start: datetime,
    end: datetime,
    *,
    also: Edit = dict,
    intent: Intent = PLAIN,
) -> Response:
    """Moves the Appointment of the request's URL there and, by scope, those of its series as far: the same number of
    days, the same time of the clock, as long. `also` changes each of them beside that. As `change_series`.
    """
    stored = existing("Appointment", str(request.id), await server.store.read("Appointment", str(request.id)))
    zone = await _zone(server, stored.resource or {})

    def prepare(named: Json) -> Edit:
        if "start" not in named or "end" not in named:
            text = "The Appointment has no time yet that its series could be moved from."
            raise FhirError("business-rule", text, "Appointment.start", problem="not-recurring")
        refuse_far(start, end, "start")
        shift = series.shift_to(named, start, end, zone)
        return lambda member: also(series.shifted(member, shift) if "start" in member else member)

    return await change_series(server, request, scope, prepare, intent=intent)


async def _zone(server: Server, appointment: Json) -> ZoneInfo:
    """By whose clock the series of an Appointment recurs: its template's, else that of its Schedule."""
    origin = series.origin_of(appointment, server.base)
    first = await server.store.read("Appointment", origin.partition("/")[2]) if origin else None
    template = read_template(first.resource) if first and first.resource else None
    if template and template.zone:
        return template.zone
    id = str(appointment["id"])
    change = Change("Appointment", id, None, appointment, server.now(), server.policy, id)
    zone: ZoneInfo = await server.store.run(series.zone_of(change))
    return zone


# The answer


def _report(server: Server, type: str, written: Sequence[Written | FhirError]) -> Response:
    """A Bundle with an entry for each occurrence, in order: the Appointment, or why there is none."""
    entries = [_refused(one) if isinstance(one, FhirError) else _entry(server, one) for one in written]
    first = next(one for one in written if isinstance(one, Written))
    bundle: Json = {"resourceType": "Bundle", "type": type, "entry": entries}
    headers = {"Location": version_url(server, first.stored)} if first.status == 201 else {}
    return Response(first.status, bundle, headers=headers)


def _entry(server: Server, written: Written) -> Json:
    stored = written.stored
    resource = stored.resource or {}
    return {
        "fullUrl": f"{server.base}/Appointment/{stored.id}",
        "resource": resource,
        "response": {
            "status": status_line(written.status),
            "location": version_url(server, stored),
            "etag": f'W/"{stored.version}"',
            "lastModified": resource["meta"]["lastUpdated"],
        },
    }


def _refused(refused: FhirError) -> Json:
    return {"response": {"status": status_line(refused.status), "outcome": operation_outcome(refused.issues)}}
