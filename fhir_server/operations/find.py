"""Appointment/$find: free times as Appointments that are proposed, asked for by the names of IHE, Argonaut, Medplum and
Epic (IHE ITI-115, docs/doors.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeAlias

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations._enrolling import match
from fhir_server.operations._free_time import DURATION, WISHES, preferences, read_ask
from fhir_server.operations._naming import ask_people, locations_at, merge, naming, references, say
from fhir_server.operations.arguments import CURSOR, Arguments, cursor_behind, link, read_arguments, read_cursor
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.plan import ById, Claim, Claimed, Stored
from fhir_server.scheduling import elements
from fhir_server.scheduling.elements import is_room, kind
from fhir_server.scheduling.finding import Ask, by_actor, places_of, refuse_window
from fhir_server.scheduling.joint import Groups, find_joint
from fhir_server.scheduling.offers import Offer, find
from fhir_server.scheduling.proposing import Occasion, is_free, propose, with_slots
from fhir_server.writing import Server, fresh_id

Time: TypeAlias = tuple[Offer, ...]
"""The free Slots that make up one proposal, all at one time."""

Key: TypeAlias = tuple[str, int, int, str]

REFERENCES: Mapping[str, str] = {
    "practitioner": "Practitioner",
    "organization": "Organization",
    "location-reference": "Location",
    "patient-reference": "Patient",
    "service-type-reference": "HealthcareService",
    "schedule": "Schedule",
}
"""The parameters that name resources, and of which type an id or an identifier is."""

TOGETHER = frozenset({"patient-reference", "schedule"})
"""Those of which all that are named are needed; of the others any will do."""

CODED: Mapping[str, tuple[str, ...]] = {
    "specialty": ("specialties",),
    "visit-type": ("serviceType",),
    "reason": ("indications",),
}
"""The parameters with codes, and Epic's names for them."""

NOTHING = Issue("informational", "Nothing is free in this period for what was asked.", severity="information")

MEANING = {"location-string": "location-reference"}
"""The parameters that name the same as another one by other means."""

PLACES_MAX = 100
"""Places that one search may ask for."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked for: `said` are the parameters as texts, for links; `groups` are needed together, or there are
    none; `preferred` are people and places in the order in which they are wanted; no Schedule is meant that is there
    for other `services` only. `missing` are the parameters that name what is not here; that is `impossible` if nothing
    else was named there, or if it is a patient."""

    said: Sequence[tuple[str, str]]
    ask: Ask
    groups: Groups
    preferred: Sequence[Sequence[str]]
    services: frozenset[str]
    occasion: Occasion
    places: int
    missing: Sequence[str]
    impossible: bool


async def find_appointments(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle of proposed Appointments in order of time, those at the same time in order of
    preference; `total` counts all of the window. Nothing is stored that others could see or that takes time."""
    arguments = read_arguments(OPERATION, request)
    question = await _read(server, arguments)
    found = [] if question.impossible else await _search(server, question)
    after = read_cursor(arguments, str, int, int, str)
    rest = [time for time in found if after is None or _key(time, question) > after]
    count = min(next(iter(arguments["_count"]), server.settings.count_default), server.settings.count_max)
    page = rest[:count]
    url = f"{server.base}/Appointment/$find"
    links = [{"relation": "self", "url": link(url, request, question.said)}]
    if len(rest) > len(page) and page:
        cursor = cursor_behind(*_key(page[-1], question))
        links.append({"relation": "next", "url": link(url, request, [*question.said, cursor])})
    contained = any(arguments[name] for name in ("service-type-reference", "schedule"))
    entries = await _propose(server, page, question, contained=contained)
    if notes := _notes(question, nothing=not found):
        entries.append({"resource": operation_outcome(notes), "search": {"mode": "outcome"}})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links}
    until = server.now() + timedelta(minutes=server.settings.proposal_minutes)
    return Response(
        200,
        bundle | ({"entry": entries} if entries else {}),
        headers={"Expires": format_datetime(until.replace(microsecond=0), usegmt=True)},
    )


def _notes(question: _Question, *, nothing: bool) -> list[Issue]:
    """What the client should know of the answer."""
    text = "What this names is not here, or not active."
    gone = [Issue("not-found", f"{name}: {text}", (name,), severity="warning") for name in question.missing]
    return [*gone, NOTHING] if nothing else gone


async def _propose(server: Server, page: Sequence[Time], question: _Question, *, contained: bool) -> list[Json]:
    """The entries of the page; each Appointment can be asked for by its id for a while."""
    key = fresh_id().replace("-", "")
    proposals = [{**propose(time, question.occasion), "id": f"{key}-{number}"} for number, time in enumerate(page, 1)]
    if proposals:
        await server.store.keep_proposals(key, proposals)
    shown = [with_slots(*each) for each in zip(proposals, page, strict=True)] if contained else proposals
    return [
        {"fullUrl": f"{server.base}/Appointment/{one['id']}", "resource": one, "search": {"mode": "match"}}
        for one in shown
    ]


# What is asked for


async def _read(server: Server, arguments: Arguments) -> _Question:
    start, end = (_moment(arguments, name) for name in ("start", "end"))
    refuse_window(start, end, server.policy)
    coded = {name: [*arguments[name], *_tokens(arguments, CODED[name])] for name in CODED}
    texts = {name: [say(one, type) for one in arguments[name]] for name, type in REFERENCES.items()}
    places = _places(arguments)
    named = await _name(server, arguments, texts)
    here = named.references
    rooms = [one for one in here["location-reference"] if is_room(named.resources[one])]
    wishes = {
        "when": preferences({**arguments, "timing": [*arguments["timing"], *arguments["time-of-day"]]}),
        "insurance": [*arguments["insurance"], *_insurances(arguments)],
        "new-patient": arguments["new-patient"],
        "duration": arguments["duration"],
    }
    groups = _groups(here["schedule"], here["practitioner"], rooms)
    people = {} if groups else await ask_people(server, here["practitioner"])
    given = {
        **wishes,
        **people,
        "schedule": () if groups else here["schedule"],
        "location": [one for one in here["location-reference"] if one not in rooms],
        "organization": here["organization"],
        "healthcare-service": () if here["schedule"] else here["service-type-reference"],
        "service-type": coded["visit-type"],
        "specialty": coded["specialty"],
    }
    said = [
        ("start", elements.say(start)),
        ("end", elements.say(end)),
        *((name, text) for name, values in (*coded.items(), *texts.items()) for text in values),
        *(("location-string", text) for text in arguments["location-string"]),
        *(("patient-reference", one) for one in named.described if one not in texts["patient-reference"]),
        *((name, _said(one)) for name, values in wishes.items() for one in values),
        *(("referral-identifier", _referral(one)) for one in arguments["referral-identifier"]),
        *([("places", str(places))] if places > 1 else []),
        *(("_count", str(one)) for one in arguments["_count"]),
    ]
    return _Question(
        said,
        read_ask(server, _NOWHERE, given, start, end),
        groups,
        (here["practitioner"], here["location-reference"]),
        frozenset(here["service-type-reference"]),
        Occasion(here["patient-reference"], start, end, _more(coded["reason"], arguments)),
        places,
        named.missing,
        any(name in TOGETHER or not here[MEANING.get(name, name)] for name in named.missing),
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """Whom and what the parameters name, as far as it is here and active, and what is stored of it; `described` are the
    patients who are known by what they are described as, `missing` the parameters that name what is not here."""

    references: Mapping[str, Sequence[str]]
    resources: Mapping[str, Json]
    described: Sequence[str]
    missing: Sequence[str]


async def _name(server: Server, arguments: Arguments, texts: Mapping[str, Sequence[str]]) -> _Named:
    found = {name: await references(server, name, REFERENCES[name], texts[name]) for name in REFERENCES}
    described = await _known(server, arguments)
    found["patient-reference"] += [[one] for one in described]
    if arguments["location-string"]:
        found["location-string"] = [await locations_at(server, arguments["location-string"])]
    resources = await _active(server, [one for those in found.values() for each in those for one in each])
    here = {name: [one for one in merge(those) if one in resources] for name, those in found.items()}
    here |= {name: merge([here[name], here.get(other, ())]) for other, name in MEANING.items()}
    return _Named(
        here,
        resources,
        described,
        [name for name, those in found.items() if any(not each or not resources.keys() >= set(each) for each in those)],
    )


async def _active(server: Server, named: Sequence[str]) -> dict[str, Json]:
    """What is stored under these references. An inactive Patient is left out: nothing can be booked for it."""
    if not named:
        return {}
    [found] = await server.store.load([ById(frozenset(named))])
    stored = {f"{one.type}/{one.id}": one.resource for one in found if isinstance(one, Stored) and one.resource}
    return {name: one for name, one in stored.items() if kind(name) != "Patient" or one.get("active", True)}


def _groups(schedules: Sequence[str], practitioners: Sequence[str], rooms: Sequence[str]) -> Groups:
    """What is needed together, of each list one; nothing if one Schedule is enough."""
    if len(schedules) < 2 and not rooms:
        return []
    return [*([one] for one in schedules), *(each for each in (practitioners, rooms) if each)]


def _places(arguments: Arguments) -> int:
    """How many places are needed: one for each patient, or more."""
    patients = sum(len(arguments[name]) for name in ("patient-reference", "patient-resource", "patient"))
    places: int = max(next(iter(arguments["places"]), 1), patients)
    if places > PLACES_MAX:
        raise FhirError("too-costly", f"At most {PLACES_MAX} places can be asked for.", "places", status=400)
    return places


_NOWHERE = Request("GET", "", "")
"""The question is not on an instance."""


def _moment(arguments: Arguments, name: str) -> datetime:
    given = [*arguments[name], *arguments[f"{name}Time"]]
    if len(given) != 1:
        text = f"$find needs {name}, a date and time with a zone, once; {name}Time means the same."
        raise FhirError("required", text, f"Parameters.parameter.where(name='{name}')")
    moment: datetime = given[0]
    return moment


def _tokens(arguments: Arguments, names: Sequence[str]) -> list[str]:
    """The codes of CodeableConcepts as the texts of tokens."""
    codings = (coding for name in names for concept in arguments[name] for coding in concept.get("coding", ()))
    return [
        f"{coding['system']}|{coding['code']}" if "system" in coding else coding["code"]
        for coding in codings
        if "code" in coding
    ]


def _insurances(arguments: Arguments) -> Iterator[str]:
    """Insurances that are named by reference, and who pays by a Coverage, with its type."""
    yield from (say(one, "InsurancePlan").rpartition("identifier=")[2] for one in arguments["insurance-reference"])
    for coverage in arguments["coverage"]:
        yield from (str(payor["reference"]) for payor in coverage.get("payor", ()) if "reference" in payor)
        for coding in coverage.get("type", {}).get("coding", ()):
            if "code" in coding:
                yield f"{coding['system']}|{coding['code']}" if "system" in coding else coding["code"]


async def _known(server: Server, arguments: Arguments) -> list[str]:
    """The patients with a record among those that are described. Nobody is recorded for a search."""
    found = []
    for described in (*arguments["patient-resource"], *arguments["patient"]):
        try:
            reference, _ = await match(server, described)
        except FhirError as several:
            if several.issues[0].code != "multiple-matches":
                raise
            reference = None
        found += [reference] if reference else []
    return found


def _more(reasons: Sequence[str], arguments: Arguments) -> dict[str, object]:
    """The elements of the proposals that only pass on what was said."""
    more: dict[str, object] = {}
    if reasons:
        more["reasonCode"] = [{"coding": [_coding(one)]} for one in reasons]
    if arguments["referral-identifier"]:
        referrals = [_referral(one) for one in arguments["referral-identifier"]]
        more["basedOn"] = [{"type": "ServiceRequest", "identifier": _identifier(one)} for one in referrals]
    return more


def _coding(text: str) -> Json:
    system, bar, code = text.rpartition("|")
    return {"system": system, "code": code} if bar and system else {"code": code}


def _referral(value: Any) -> str:
    """An identifier as `system|value`."""
    if isinstance(value, dict):
        return "|".join(str(value[name]) for name in ("system", "value") if name in value)
    return str(value)


def _identifier(text: str) -> Json:
    system, bar, value = text.rpartition("|")
    return {"system": system, "value": value} if bar and system else {"value": value}


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# What is found


async def _search(server: Server, question: _Question) -> list[Time]:
    """The free times with enough places at which the patients are free, too."""
    now, policy, ask = server.now(), server.policy, question.ask
    if question.groups:
        _, combinations = await server.store.run(find_joint(question.groups, ask, now, policy))
        times: list[Time] = [each.offers for each in combinations if _is_of(each.offers, ask)]
    else:
        times = [(offer,) for offer in (await server.store.run(find(ask, now, policy))).offers]
    times = [time for time in times if all(_serves(offer, question.services) for offer in time)]
    claims = await _claims(server, question)
    free = [
        time
        for time in times
        if min(offer.left for offer in time) >= question.places
        and all(is_free(each, time[0].start, time[0].end) for each in claims.values())
    ]
    return sorted(free, key=lambda time: _key(time, question))


def _is_of(offers: Time, ask: Ask) -> bool:
    """Whether one of the Schedules belongs to an organization that is asked for."""
    owners = {f"Organization/{one['id']}" for offer in offers for one in offer.bookable.calendar.organizations}
    return not ask.organizations or not owners.isdisjoint(ask.organizations)


def _serves(offer: Offer, services: frozenset[str]) -> bool:
    """Whether the Schedule is there for one of these services; one that names no service is there for all."""
    own = {f"HealthcareService/{one['id']}" for one in offer.bookable.calendar.services}
    return not services or not own or not services.isdisjoint(own)


async def _claims(server: Server, question: _Question) -> Mapping[str, Sequence[Claim]]:
    """What the patients have in the period."""
    if not question.occasion.patients:
        return {}
    load = Claimed(frozenset(question.occasion.patients), question.ask.start, question.ask.end)
    [found] = await server.store.load([load])
    return by_actor([one for one in found if isinstance(one, Claim)])


def _key(time: Time, question: _Question) -> Key:
    """The place in the order: by time, then as practitioners and places are preferred."""
    people = {actor for offer in time for actor in (*offer.bookable.claimed, *_actors(offer))}
    places = {place for offer in time for place in places_of(offer.bookable)}
    ranks = (_rank(question.preferred[0], people), _rank(question.preferred[1], places | people))
    return elements.say(time[0].start), *ranks, time[0].id


def _actors(offer: Offer) -> Iterator[str]:
    return elements.targets(offer.bookable.calendar.schedule.get("actor", ()), "")


def _rank(preferred: Sequence[str], those: set[str]) -> int:
    return next((place for place, one in enumerate(preferred) if one in those), len(preferred))


def _coded(name: str, documentation: str) -> Parameter:
    return Parameter(name, "in", 0, "*", "string", f"{documentation}, as system|code", "token")


OPERATION = Operation(
    code="find",
    name="Find",
    title="Find appointments",
    description="Free times as proposed Appointments, which `$hold` and `$book` take by reference for a while, or as "
    "they are. Practitioners, places, services and so on are all needed; of several of one kind any will do, the first "
    "ones first. Several patients come together.",
    resource=("Appointment",),
    levels=("type",),
    affects_state=False,
    parameters=(
        Parameter("start", "in", 0, "1", "dateTime", "Start of the period, with a time zone; this or startTime"),
        Parameter("end", "in", 0, "1", "dateTime", "End of the period, with a time zone; this or endTime"),
        Parameter("startTime", "in", 0, "1", "dateTime", "The same as start (Epic)"),
        Parameter("endTime", "in", 0, "1", "dateTime", "The same as end (Epic)"),
        _coded("specialty", "A specialty"),
        Parameter("specialties", "in", 0, "*", "CodeableConcept", "The same as specialty (Epic)"),
        _coded("visit-type", "A type of service"),
        Parameter("serviceType", "in", 0, "*", "CodeableConcept", "The same as visit-type (Epic)"),
        naming("practitioner", "A Practitioner or PractitionerRole"),
        naming("organization", "An Organization"),
        Parameter("location-string", "in", 0, "*", "string", "A part of an address: a city, a state, a postal code"),
        naming("location-reference", "A Location: a room is needed itself, a site is where it is to be"),
        naming("patient-reference", "A patient, who is free then"),
        Parameter("patient-resource", "in", 0, "*", "Patient", "A patient who may have no record; none is made"),
        Parameter("patient", "in", 0, "*", "Patient", "The same as patient-resource (Epic)"),
        Parameter("places", "in", 0, "1", "positiveInt", "How many places are needed, if more than patients are named"),
        _coded("reason", "A reason, which the proposals have as reasonCode"),
        Parameter("indications", "in", 0, "*", "CodeableConcept", "The same as reason (Epic)"),
        Parameter(
            "referral-identifier",
            "in",
            0,
            "1",
            "Identifier",
            "The referral, which the proposals have as basedOn; as text system|value",
            also=("string",),
        ),
        Parameter("time-of-day", "in", 0, "*", "Timing", "The same as timing (Epic)"),
        naming("insurance-reference", "An insurance"),
        Parameter("coverage", "in", 0, "*", "Coverage", "An insurance, by who pays and by its type (Argonaut)"),
        naming("service-type-reference", "A HealthcareService (Medplum)"),
        naming("schedule", "A Schedule; several are needed together (Medplum)"),
        *WISHES,
        DURATION,
        Parameter("_count", "in", 0, "1", "unsignedInt", "Appointments on a page; with 0 only the total"),
        CURSOR,
        Parameter("return", "out", 1, "1", "Bundle", "Searchset of proposed Appointments in time order, with total"),
    ),
    run=find_appointments,
)
