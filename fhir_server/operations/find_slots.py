"""$find-slots: the free Slots of Schedules, computed from rules, blocks and bookings (docs/find-slots.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations._free_time import (
    DURATION,
    SCHEDULES,
    WISHES,
    preferences,
    read_ask,
    read_groups,
    read_zone,
)
from fhir_server.operations.arguments import CURSOR, Arguments, cursor_behind, link, read_arguments, read_cursor
from fhir_server.outcome import CANONICAL, FhirError, Issue, Json, operation_outcome
from fhir_server.scheduling.elements import instant, kind, say
from fhir_server.scheduling.finding import Ask, refuse_window
from fhir_server.scheduling.joint import Assign, Combination, Groups, find_joint, find_next_joint
from fhir_server.scheduling.offers import LOOKS_MAX, Following, Key, Offer, find, find_next
from fhir_server.writing import Server

JOINT_SLOT = f"{CANONICAL}/StructureDefinition/joint-slot"

ASSIGNS = ("preference", "least-busy")

ALONE = ("schedule", "actor", "practitioner", "organization")
"""Parameters that choose Schedules, which `participant` does by itself."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked for: `groups` are needed together, or there are none; without an end, the next `count`."""

    ask: Ask
    groups: Groups
    assign: Assign
    count: int
    after: Key | None
    is_open: bool


@dataclass(frozen=True, slots=True)
class _Page:
    """What is on the page, each item the Slots of one time; the key of where the next one begins; how many Slots there
    are in the window, if it has an end; and what else is to be said."""

    items: Sequence[Sequence[Offer]]
    rest: Key | None
    total: int | None
    notes: Sequence[Issue] = ()


async def find_slots(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle of free Slots, ordered by time then Schedule; with `end`, `total` counts all of the
    window."""
    arguments = read_arguments(OPERATION, request)
    zone = read_zone(arguments)
    question = await _read(server, request, arguments)
    page = await (_next_page if question.is_open else _page)(server, request, question)
    links = [{"relation": "self", "url": _url(server, request, arguments, question, question.after)}]
    if page.rest:
        links.append({"relation": "next", "url": _url(server, request, arguments, question, page.rest)})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset"}
    bundle |= {} if page.total is None else {"total": page.total}
    entries = [entry for item in page.items for entry in _entries(server.base, item, zone)]
    if page.notes:
        entries.append({"resource": operation_outcome(page.notes), "search": {"mode": "outcome"}})
    bundle |= {"link": links} | ({"entry": entries} if entries else {})
    return Response(200, bundle)


async def _read(server: Server, request: Request, arguments: Arguments) -> _Question:
    start = next(iter(arguments["start"]), server.now())
    end = next(iter(arguments["end"]), None)
    ask = read_ask(server, request, arguments, start, end or start)
    if end is not None:
        refuse_window(start, end, server.policy)
    assign = next(iter(arguments["assign"]), ASSIGNS[0])
    if assign not in ASSIGNS:
        raise FhirError("value", f"assign: this is one of {', '.join(ASSIGNS)}.", "assign")
    return _Question(
        ask,
        await _groups(server, request, arguments),
        cast(Assign, assign),
        min((arguments["_count"] or [server.settings.count_default])[0], server.settings.count_max),
        read_cursor(arguments, instant, str, str),
        end is None,
    )


async def _groups(server: Server, request: Request, arguments: Arguments) -> Groups:
    """Who is needed together: on an instance that Schedule, too."""
    given = arguments["participant"]
    if not given:
        return ()
    if mixed := [name for name in ALONE if arguments[name]]:
        text = f"participant names all who are needed, so {mixed[0]} cannot be given too."
        raise FhirError("invalid", text, mixed[0], status=400)
    own = [[f"Schedule/{request.id}"]] if request.id else []
    return [*own, *await read_groups(server, given, "participant")]


async def _page(server: Server, request: Request, question: _Question) -> _Page:
    """A page of all that is free in the window."""
    now, policy = server.now(), server.policy
    found: Sequence[Offer | Combination]
    if question.groups:
        team, found = await server.store.run(find_joint(question.groups, question.ask, now, policy, question.assign))
        notes = _idle(request, team.idle)
    else:
        findings = await server.store.run(find(question.ask, now, policy))
        found, notes = findings.offers, _unknown(request, findings.unknown)
    rest = [each for each in found if question.after is None or each.key > question.after]
    page = rest[: question.count]
    if not found:
        notes.append(_note("Nothing is free in this window for what was asked."))
    total = sum(len(_slots(each)) for each in found)
    return _Page([_slots(each) for each in page], page[-1].key if len(rest) > len(page) else None, total, notes)


async def _next_page(server: Server, request: Request, question: _Question) -> _Page:
    """The next ones, however far."""
    now, policy = server.now(), server.policy
    following: Following[Offer] | Following[Combination]
    asked = question.count, question.after, now, policy
    if question.groups:
        team, following = await server.store.run(
            find_next_joint(question.groups, question.ask, *asked, question.assign)
        )
        notes = _idle(request, team.idle)
    else:
        unknown, following = await server.store.run(find_next(question.ask, *asked))
        notes = _unknown(request, unknown)
    if len(following.found) < question.count:
        notes.append(_note(_why_no_more(question, following)))
    return _Page([_slots(each) for each in following.found], following.rest, None, notes)


def _why_no_more(question: _Question, following: Following[Offer] | Following[Combination]) -> str:
    if following.rest:
        return f"{LOOKS_MAX} times were looked at: the next link goes on."
    if following.until <= question.ask.start:
        return "Nothing is free for what was asked: there is no Schedule that could be."
    more = "more " if following.found or question.after else ""
    return f"Nothing {more}is free for what was asked up to {say(following.until)}, which is as far as is looked."


def _slots(found: Offer | Combination) -> Sequence[Offer]:
    return found.offers if isinstance(found, Combination) else (found,)


def _unknown(request: Request, unknown: Iterable[str]) -> list[Issue]:
    if request.id and f"Schedule/{request.id}" in unknown:
        raise FhirError("not-found", f"Schedule/{request.id} does not exist.")
    texts = (f"{reference} does not exist here." for reference in sorted(unknown))
    return [Issue("not-found", text, ("schedule",), "schedule-unknown", "warning") for text in texts]


def _idle(request: Request, idle: Iterable[str]) -> list[Issue]:
    own = [f"Schedule/{request.id}"] if request.id else []
    texts = (_without_schedule(reference) for reference in idle if reference not in own)
    _unknown(request, set(own).intersection(idle))
    return [Issue("not-found", text, ("participant",), "no-schedule", "warning") for text in texts]


def _without_schedule(reference: str) -> str:
    text = f"{reference} has no Schedule here."
    if kind(reference) == "HealthcareService":
        return f"{text} Whoever offers it is PractitionerRole?service={reference}."
    return text


def _note(text: str) -> Issue:
    return Issue("informational", text, severity="information")


# Links


def _url(server: Server, request: Request, arguments: Arguments, question: _Question, after: Key | None) -> str:
    """The request as a GET with what was used, for the page behind `after`."""
    path = f"{server.base}/Schedule/{request.id}" if request.id else f"{server.base}/Schedule"
    said = {**arguments, "start": [question.ask.start], "when": preferences(arguments), "timing": (), "_cursor": ()}
    pairs = [(name, _said(value)) for name, values in said.items() for value in values]
    if after:
        pairs.append(cursor_behind(say(after[0]), *after[1:]))
    return link(f"{path}/$find-slots", request, pairs)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return say(value) if isinstance(value, datetime) else str(value)


# Entries


def _entries(base: str, offers: Sequence[Offer], zone: ZoneInfo | None) -> Iterator[Json]:
    """The Slots of one time, each naming the others that it is to be booked with."""
    for offer in offers:
        slot = offer.slot
        others = [{"reference": f"Slot/{other.id}"} for other in offers if other is not offer]
        if others:
            joint = [{"url": JOINT_SLOT, "valueReference": other} for other in others]
            slot = {**slot, "extension": [*slot.get("extension", ()), *joint]}
        if zone:
            slot = {**slot, **{element: say(instant(slot[element]), zone) for element in ("start", "end")}}
        yield {"fullUrl": f"{base}/Slot/{slot['id']}", "resource": slot, "search": {"mode": "match"}}


OPERATION = Operation(
    code="find-slots",
    name="FindSlots",
    title="Find free slots",
    description="The free Slots of Schedules in a window, or the next ones from a moment on, computed from opening "
    "rules, blocks and bookings; each can be read, and booked by reference. Several who are needed together are found "
    "with `participant`.",
    resource=("Schedule",),
    levels=("type", "instance"),
    affects_state=False,
    parameters=(
        Parameter("start", "in", 0, "1", "dateTime", "Start of the window, with a time zone; now, if not given"),
        Parameter(
            "end",
            "in",
            0,
            "1",
            "dateTime",
            "End of the window, with a time zone; Slots end by then. Without it the next ones are found, however far",
        ),
        *SCHEDULES,
        Parameter(
            "participant",
            "in",
            0,
            "*",
            "string",
            "Who is needed, all at the same time: one reference, or several with commas, any of whom will do, in order "
            "of preference; each may be a search, like `PractitionerRole?role=nurse`",
        ),
        Parameter(
            "assign",
            "in",
            0,
            "1",
            "code",
            "Whom of several participants a time is offered with: `preference` (as listed) or `least-busy`",
        ),
        DURATION,
        *WISHES,
        Parameter(
            "timezone", "in", 0, "1", "string", "IANA time zone to spell the times in, if not the Schedule's own"
        ),
        Parameter("_count", "in", 0, "1", "positiveInt", "Slots on a page; with `participant`, times"),
        CURSOR,
        Parameter("return", "out", 1, "1", "Bundle", "Searchset of free Slots in time order, with total and next"),
    ),
    run=find_slots,
)
