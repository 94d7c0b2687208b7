"""What the operations that look for free time ask for, read out of their parameters (docs/find-slots.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fhir_server import search
from fhir_server.definitions import Parameter, Request
from fhir_server.interactions.pairs import read_pairs
from fhir_server.operations.arguments import Arguments
from fhir_server.outcome import FhirError
from fhir_server.plan import Plan, Sought
from fhir_server.scheduling.elements import target
from fhir_server.scheduling.finding import Ask
from fhir_server.scheduling.joint import MEMBERS_MAX, refuse_many
from fhir_server.scheduling.preferences import PREFERENCES_MAX, Wishes, read_preference, spell_timing
from fhir_server.search import Scope
from fhir_server.search.text import split, unescape
from fhir_server.writing import Server

SCHEDULES: Sequence[Parameter] = (
    Parameter("schedule", "in", 0, "*", "Reference", "Only these Schedules"),
    Parameter("actor", "in", 0, "*", "Reference", "Only Schedules with one of these actors"),
    Parameter("practitioner", "in", 0, "*", "Reference", "Only Schedules of these Practitioners, in whichever role"),
    Parameter("location", "in", 0, "*", "Reference", "Only Schedules at these Locations"),
    Parameter("organization", "in", 0, "*", "Reference", "Only Schedules of these Organizations"),
    Parameter("healthcare-service", "in", 0, "*", "Reference", "Only Schedules for one of these HealthcareServices"),
    Parameter(
        "service-type",
        "in",
        0,
        "*",
        "string",
        "Only Schedules for one of these service types, as code or system|code",
        "token",
    ),
    Parameter(
        "specialty",
        "in",
        0,
        "*",
        "string",
        "Only Schedules with one of these specialties, as code or system|code",
        "token",
    ),
)
"""Which Schedules are looked at."""

WISHES: Sequence[Parameter] = (
    Parameter(
        "when",
        "in",
        0,
        "*",
        "string",
        "Only on these days of the week and at these times, by the Schedule's clock: `mon,wed 09:00-12:00`, `sat`, "
        "`14:30` (begins then) or `MORN`",
    ),
    Parameter(
        "timing",
        "in",
        0,
        "*",
        "Timing",
        "The same as a Timing with repeat.dayOfWeek, and timeOfDay (with duration) or when",
    ),
    Parameter("new-patient", "in", 0, "1", "boolean", "Only Schedules that do not say they take no new patients"),
    Parameter(
        "insurance",
        "in",
        0,
        "*",
        "string",
        "Only Schedules that take one of these insurances or name none: code, system|code, or a reference",
    ),
)
"""What suits the one who asks."""

DURATION = Parameter("duration", "in", 0, "1", "positiveInt", "Length of a visit in minutes, if not the Schedule's own")


def read_ask(server: Server, request: Request, arguments: Arguments, start: datetime, end: datetime) -> Ask:
    """What is asked for in [start, end); on a Schedule's own instance only that Schedule."""

    def references(name: str, type: str | None = None) -> frozenset[str]:
        given = arguments.get(name, ())
        return frozenset(read_reference(text, type, name, server.base) for text in given)

    longest = server.policy.appointment_hours_max * 60
    if any(minutes > longest for minutes in arguments["duration"]):
        raise FhirError("value", f"duration: no appointment lasts longer than {longest} minutes.", "duration")
    schedules = references("schedule", "Schedule")
    own = request.type == "Schedule" and request.id
    return Ask(
        start=start,
        end=end,
        schedules=schedules | {f"Schedule/{request.id}"} if own else schedules,
        actors=references("actor"),
        practitioners=references("practitioner", "Practitioner"),
        locations=references("location", "Location"),
        organizations=references("organization", "Organization"),
        services=references("healthcare-service", "HealthcareService"),
        service_types=_tokens(arguments.get("service-type", ())),
        specialties=_tokens(arguments.get("specialty", ())),
        duration_minutes=next(iter(arguments["duration"]), None),
        wishes=_wishes(server, arguments),
    )


def _wishes(server: Server, arguments: Arguments) -> Wishes:
    return Wishes(
        tuple(read_preference(text, "when") for text in preferences(arguments)),
        next(iter(arguments.get("new-patient", ())), False),
        frozenset(_insurance(text, server.base) for text in _alternatives(arguments.get("insurance", ()))),
    )


def preferences(arguments: Arguments) -> list[str]:
    """The times that suit as texts of `when`, those of Timings too. Refuses too many."""
    texts = [*arguments.get("when", ())]
    texts += [text for timing in arguments.get("timing", ()) for text in spell_timing(timing, "timing")]
    if len(texts) > PREFERENCES_MAX:
        raise FhirError("too-costly", f"At most {PREFERENCES_MAX} times that suit can be named.", "when", status=400)
    return texts


def _insurance(text: str, base: str) -> str:
    return target({"reference": text}, base) or _token(text)


def read_reference(text: str, type: str | None, name: str, base: str) -> str:
    """`Type/id` from a reference, or from an id where the type is known."""
    literal = f"{type}/{text}" if type and "/" not in text else text
    found = target({"reference": literal}, base)
    if found is None or (type and not found.startswith(f"{type}/")):
        raise FhirError("value", f"{name}: {text} is no reference to a {type or 'resource'} here.", name)
    return found


def _tokens(texts: Sequence[str]) -> frozenset[str]:
    return frozenset(map(_token, _alternatives(texts)))


def _alternatives(texts: Sequence[str]) -> list[str]:
    """Each of several with commas, as in a search."""
    return [unescape(one) for text in texts for one in split(text, ",")]


def _token(text: str) -> str:
    """The index value: `*|code` for a bare code, `system|code` as it is."""
    return text if "|" in text else f"*|{text}"


def read_zone(arguments: Arguments) -> ZoneInfo | None:
    """The zone that times are to be spelled in, if one is asked for."""
    name = next(iter(arguments["timezone"]), None)
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FhirError("value", f"timezone: {name} is no IANA zone; one is Europe/Berlin.", "timezone") from None


# Groups: any of several members, some of them found by a search

_NEXT_MEMBER = re.compile(r",(?=[A-Z][A-Za-z]+[/?]|https?://)")

POOLS_MAX = 16
"""Members of a request that are searches."""

MEMBER_TYPES = ("Schedule", "PractitionerRole", "Practitioner", "Location", "Device", "HealthcareService")


async def read_groups(server: Server, texts: Sequence[str], name: str) -> list[list[str]]:
    """Each text as the references it lists, in order of preference: `Practitioner/smith,Practitioner/jones`.

    A member that is a search, like `PractitionerRole?role=nurse&location=Location/main`, stands for all that it finds,
    ordered by id; more than a group may have are refused, and so are too many searches.
    """
    asked = [_NEXT_MEMBER.split(text) for text in texts]
    refuse_many(asked)
    if sum("?" in member for members in asked for member in members) > POOLS_MAX:
        raise FhirError("too-costly", f"{name}: at most {POOLS_MAX} members can be searches.", name)
    return [[one for member in members for one in await _members(server, member, name)] for members in asked]


async def _members(server: Server, text: str, name: str) -> Sequence[str]:
    type, asks, query = text.partition("?")
    if not asks:
        reference = read_reference(text, None, name, server.base)
        if reference.partition("/")[0] not in MEMBER_TYPES:
            raise FhirError("value", f"{name}: {text} is none of {', '.join(MEMBER_TYPES)}.", name)
        return [reference]
    if type not in MEMBER_TYPES or type not in server.rows:
        raise FhirError("value", f"{name}: a pool is a search of one of {', '.join(MEMBER_TYPES)}.", name)
    return await server.store.run(_pool(server.scope(strict=True), type, query))


def _pool(scope: Scope, type: str, query: str) -> Plan[Sequence[str]]:
    wanted = yield from search.resolve(scope, search.parse(scope, type, read_pairs(query)))
    [found] = yield [Sought(type, wanted.filter, "_id", limit=MEMBERS_MAX)]
    return [f"{type}/{id}" for id in found]
