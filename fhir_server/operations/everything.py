"""$everything: a Patient or an Encounter with all that belongs to it
(http://hl7.org/fhir/R4/patient-operation-everything.html, http://hl7.org/fhir/R4/encounter-operation-everything.html)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from fhir_server import search
from fhir_server.compartments import COMPARTMENTS, ITSELF
from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.read import existing
from fhir_server.operations.arguments import Arguments, link, read_arguments
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Matching, Newest, Plan, Stored
from fhir_server.scheduling.elements import kind, say
from fhir_server.search.date import FIRST, LAST, Span, parse_span
from fhir_server.validation.shapes import RESOURCE_TYPES
from fhir_server.writing import Server

RECORDS = frozenset({"Appointment", "AppointmentResponse", "Encounter", "Patient"})
"""Types about somebody who receives care. They are in the answer because they belong to the compartment, or because the
resource itself refers to them, never because something else does: others take part in an Appointment, too."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of it all is asked for; `types` None is every type. `care` is when the care took place."""

    types: frozenset[str] | None
    since: datetime | None
    care: Span | None
    zone: tzinfo

    def needs(self, type: str) -> bool:
        """Whether members of this type have to be read: those that are left out bring only what is none of RECORDS."""
        return self.types is None or type in self.types or not self.types <= RECORDS

    def concerns(self, stored: Stored) -> bool:
        """Whether the resource is about the care asked for. One without dates of care is, whatever the dates."""
        taken = _care_of(stored.resource or {}, self.zone) if self.care else None
        return not (self.care and taken) or (taken.low < self.care.high and taken.high > self.care.low)

    def holds(self, stored: Stored) -> bool:
        """Whether a resource that is about it is to be in the answer."""
        if self.types is not None and stored.type not in self.types:
            return False
        return self.since is None or stored.updated >= self.since


async def everything(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle: the resource, then what is in its compartment by type and id, as matches; then what
    those on the page refer to, as includes. 404 if there never was such a resource, 410 if it was deleted.

    Pages are cut by what comes last on them, not by position. Two round trips.
    """
    type, id = str(request.type), str(request.id)
    arguments = read_arguments(next(row for row in OPERATIONS if row.resource == (type,)), request)
    wanted = _wanted(arguments, server.policy.zone)
    count = min(next(iter(arguments["_count"]), server.settings.count_max), server.settings.count_max)
    found = await server.store.run(_find(server, f"{type}/{id}", wanted, _after(arguments), count))
    url = f"{server.base}/{type}/{id}/$everything"
    links = [{"relation": "self", "url": link(url, request, _said(arguments, None))}]
    if found.more and found.page:
        links.append({"relation": "next", "url": link(url, request, _said(arguments, found.page[-1]))})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": found.total, "link": links}
    entries = [
        *(_entry(server.base, each, "match") for each in found.page),
        *(_entry(server.base, each, "include") for each in found.included),
    ]
    return Response(200, bundle | ({"entry": entries} if entries else {}))


@dataclass(frozen=True, slots=True)
class _Found:
    page: Sequence[Stored]
    included: Sequence[Stored]
    total: int
    more: bool


def _find(server: Server, focus: str, wanted: Wanted, after: str | None, count: int) -> Plan[_Found]:
    """One page, from what comes after the reference `after`. What is left out, by its type or because it is older, is
    still about the patient: what it refers to is included with the page that it would be on."""
    type, _, id = focus.partition("/")
    loads = [
        Matching(member, {code: frozenset({focus})})
        for member, codes in COMPARTMENTS[type].items()
        for code in codes
        if code != ITSELF and wanted.needs(member)
    ]
    named, *groups = yield [Newest(frozenset({focus})), *loads]
    first = existing(type, id, next((each for each in named if isinstance(each, Stored)), None))
    members = {_reference(each): each for group in groups for each in group if isinstance(each, Stored)}
    members.pop(focus, None)
    order = [each for each in (first, *(members[one] for one in sorted(members))) if wanted.concerns(each)]
    ahead = [each for each in order if after is None or _is_beyond(_reference(each), after, focus)]
    rest = [each for each in ahead if wanted.holds(each)]
    page = rest[:count]
    if len(rest) > len(page):
        ahead = ahead[: ahead.index(page[-1]) + 1] if page else []
    references = {
        reference
        for each in (ahead if count else ())
        for reference in search.referred(each.resource, server.base)
        if each is first or kind(reference) not in RECORDS
    }
    included = (yield [ById(frozenset(references - members.keys() - {focus}))])[0] if references else ()
    kept = [each for each in included if isinstance(each, Stored) and wanted.concerns(each) and wanted.holds(each)]
    total = sum(wanted.holds(each) for each in order)
    return _Found(page, kept, total, len(rest) > len(page))


def _is_beyond(reference: str, after: str, focus: str) -> bool:
    """Whether a reference comes later in the order, which begins with `focus`."""
    return (reference != focus, reference) > (after != focus, after)


def _reference(stored: Stored) -> str:
    return f"{stored.type}/{stored.id}"


def _care_of(resource: Json, zone: tzinfo) -> Span | None:
    """When the care that a resource tells of takes place; None if it does not say."""
    if resource["resourceType"] == "Encounter":
        period = resource.get("period", {})
        start, end = (parse_span(period.get(bound, ""), zone) for bound in ("start", "end"))
        return Span(start.low if start else FIRST, end.high if end else LAST) if start or end else None
    if resource["resourceType"] in ("Appointment", "AppointmentResponse"):
        return parse_span(resource.get("start", ""), zone)
    return None


def _wanted(arguments: Arguments, zone: tzinfo) -> Wanted:
    types = [type for text in arguments["_type"] for type in text.split(",") if type]
    for type in types:
        if type not in RESOURCE_TYPES:
            raise FhirError("value", f"_type: {type} is no resource type of R4.", "_type")
    start, end = (parse_span(next(iter(arguments.get(name, ())), ""), zone) for name in ("start", "end"))
    care = Span(start.low if start else FIRST, end.high if end else LAST) if start or end else None
    if care and care.low >= care.high:
        raise FhirError("value", "start must not be after end.", "start")
    since = next(iter(arguments["_since"]), None)
    return Wanted(frozenset(types) if types else None, since, care, zone)


def _after(arguments: Arguments) -> str | None:
    text: str | None = next(iter(arguments["_cursor"]), None)
    if text is not None and kind(text) not in RESOURCE_TYPES:
        raise FhirError("value", "`_cursor` is not one of a `next` link.", "_cursor")
    return text


def _said(arguments: Arguments, last: Stored | None) -> list[tuple[str, str]]:
    """What was used, for the page after `last`."""
    pairs = [
        (name, say(value) if isinstance(value, datetime) else str(value))
        for name, values in arguments.items()
        for value in values
        if name != "_cursor" or last is None
    ]
    if last:
        pairs.append(("_cursor", _reference(last)))
    return pairs


def _entry(base: str, stored: Stored, mode: str) -> Json:
    return {"fullUrl": f"{base}/{_reference(stored)}", "resource": stored.resource, "search": {"mode": mode}}


def _common() -> Iterator[Parameter]:
    yield Parameter("_since", "in", 0, "1", "instant", "Only what changed at this time or later")
    yield Parameter("_type", "in", 0, "*", "code", "Only resources of these types, separated by commas")
    yield Parameter("_count", "in", 0, "1", "unsignedInt", "Matches on a page; 0 for the total alone")
    yield Parameter("_cursor", "in", 0, "1", "string", "Where the page begins, from a next link")
    yield Parameter("return", "out", 1, "1", "Bundle", "Searchset of matches and includes, with total and next")


OPERATIONS = (
    Operation(
        code="everything",
        name="PatientEverything",
        title="Everything about a patient",
        description="The Patient, what is in the patient's compartment, and what that refers to.",
        resource=("Patient",),
        levels=("instance",),
        affects_state=False,
        parameters=(
            Parameter("start", "in", 0, "1", "date", "Only care on this date or later"),
            Parameter("end", "in", 0, "1", "date", "Only care on this date or earlier"),
            *_common(),
        ),
        run=everything,
        url="http://hl7.org/fhir/OperationDefinition/Patient-everything",
    ),
    Operation(
        code="everything",
        name="EncounterEverything",
        title="Everything about an encounter",
        description="The Encounter, and what it refers to.",
        resource=("Encounter",),
        levels=("instance",),
        affects_state=False,
        parameters=tuple(_common()),
        run=everything,
        url="http://hl7.org/fhir/OperationDefinition/Encounter-everything",
    ),
)
