"""Random resources of every type, from small pools of values that collide: the same codes with and without a system,
dates at the edges of days, zones and clock changes, texts with accents, quotes and every character that search escapes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from fhir_server.outcome import CANONICAL
from fhir_server.scheduling.series import ORIGINATING
from tests.oracle.elements import Json
from tests.oracle.oracle import span

Draw = Callable[[Random], Any]

BASE = "http://127.0.0.1:8000/fhir"
ZONE = "America/New_York"
"""The zone of the server, with clock changes on 2026-03-08 and 2026-11-01."""

SYSTEMS = ("http://a.example/s", "http://b.example/x,y$z", "urn:oid:1.2.3")
CODES = ("A", "a", "A-1", "a,b", "a|b", "a$b", "a\\b", 'q"q')
TEXTS = (
    "Müller", "MULLER", "O'Neil", "ONeil", "Smith-Jones", "Smith Jones", "Smith", "Carreño Quinones", "quinones",
    "Van der Berg", "Berg", "de la Cruz Müller", "Zoë", "Straße", "Strasse 12", "A,B", "a$b", "a|b", "back\\slash",
    'quo"te', "two  spaces", "St. Mary's (East)", "ﬁne", "Łódź", "100%", "e\u0301t\u00e9",
)  # fmt: skip
DATES = (
    "2024-02-29",
    "2025",
    "2026",
    "2026-02",
    "2026-02-28",
    "2026-03",
    "2026-03-08",
    "2026-11-01",
    "2026-12-31",
    "2027-01-01",
)
MOMENTS = (
    "2026-02-28T23:59:59-05:00",
    "2026-03-01T00:00:00-05:00",
    "2026-03-08T04:59:59.999Z",
    "2026-03-08T05:00:00Z",
    "2026-03-08T00:00:00+14:00",
    "2026-03-08T06:59:59.999Z",
    "2026-03-08T03:00:00-04:00",
    "2026-03-08T10:30:00.5Z",
    "2026-03-08T10:30:00.123Z",
    "2026-03-09T03:59:59.999Z",
    "2026-03-09T00:00:00-04:00",
    "2026-11-01T01:30:00-04:00",
    "2026-11-01T01:30:00-05:00",
    "2026-11-02T05:00:00Z",
    "2026-12-31T23:59:59.999-05:00",
    "2027-01-01T00:00:00-05:00",
)

IDS = ("a", "A", "b", "c.1", "a-1")
"""The same in every type, so that `actor=a` may mean several resources."""

URIS = (
    "http://a.example/p",
    "http://a.example/p/q",
    "http://a.example/pq",
    "http://a.example/P",
    "urn:uuid:3b1c2a52-9f5c-4f4e-8f56-3c0f5f6a0001",
)
CANONICALS = ("http://a.example/p", "http://a.example/p|1", "http://a.example/p/q", "http://a.example/pq|2.0")
UCUM = "http://unitsofmeasure.org"


# How a value is drawn


def one_of(*choices: Any) -> Draw:
    return lambda random: random.choice(choices)


def maybe(draw: Draw, chance: float = 0.6) -> Draw:
    """The value, or None for no element."""
    return lambda random: draw(random) if random.random() < chance else None


def several(draw: Draw, least: int = 1, most: int = 2) -> Draw:
    return lambda random: [one for one in (draw(random) for _ in range(random.randint(least, most))) if one] or None


def whole(**elements: Draw) -> Draw:
    """An object of those elements that are there; `name_` is for names that Python keeps for itself."""

    def draw(random: Random) -> Json | None:
        drawn = {name.rstrip("_"): value(random) for name, value in elements.items()}
        return {name: value for name, value in drawn.items() if value is not None} or None

    return draw


def always(value: Any) -> Draw:
    return lambda _: value


def either(*draws: Draw) -> Draw:
    return lambda random: random.choice(draws)(random)


boolean = one_of(True, False)
text = one_of(*TEXTS)
numbers = one_of(0.5, 1, 29.5, 30, 30.5, 60, 1800)
comparators = maybe(one_of("<", "<=", ">", ">="), 0.3)
coding = whole(system=maybe(one_of(*SYSTEMS)), code=one_of(*CODES), display=maybe(text, 0.3))
concept = either(
    whole(coding=several(coding)),
    whole(coding=several(coding), text=maybe(text)),
    whole(text=text),
)
identifier = whole(
    system=maybe(one_of(*SYSTEMS)),
    value=one_of(*CODES),
    type=maybe(concept, 0.3),
)
name = whole(
    family=maybe(text, 0.9), given=maybe(several(text)), text=maybe(text, 0.1), prefix=maybe(several(text), 0.1)
)
address = whole(
    use=maybe(one_of("home", "work", "old")),
    line=maybe(several(text)),
    city=text,
    state=maybe(text),
    postalCode=maybe(one_of("10001", "SW1A 1AA", "sw1a1aa")),
    country=maybe(one_of("DE", "de", "Côte d'Ivoire")),
)
work_address = whole(use=maybe(one_of("work", "old")), city=text, state=maybe(text), country=maybe(one_of("DE", "de")))
contact = whole(
    system=one_of("phone", "email", "url"),
    value=one_of("+1 555 0100", "Zoe@Example.org", "zoe@example.org", "555,1"),
    use=maybe(one_of("work", "mobile")),
)


def low(text: str) -> float:
    return span(text, ZoneInfo(ZONE))[0]


IN_ORDER = sorted((*MOMENTS, *DATES), key=low)
MOMENTS_IN_ORDER = sorted(MOMENTS, key=low)


def period(random: Random) -> Json:
    """Open or closed, its bounds of any precision."""
    start, end = sorted(random.choices(IN_ORDER, k=2), key=low)
    return random.choice([{"start": start, "end": end}, {"start": start, "end": end}, {"start": start}, {"end": end}])


def times(random: Random) -> Json:
    at = random.randrange(len(MOMENTS) - 1)
    return {"start": MOMENTS_IN_ORDER[at], "end": MOMENTS_IN_ORDER[at + 1]}


def death(random: Random) -> Json:
    return random.choice(
        [{}, {"deceasedBoolean": random.random() < 0.5}, {"deceasedDateTime": random.choice(IN_ORDER)}]
    )


def reference(*types: str) -> Draw:
    """To a resource here, there, elsewhere, nowhere or of no URL, spelled in every way."""

    def draw(random: Random) -> Json:
        type, id = random.choice(types), random.choice(IDS)
        literal = random.choice(
            [f"{type}/{id}"] * 6
            + [
                f"{BASE}/{type}/{id}",
                f"http://elsewhere.example/fhir/{type}/{id}",
                f"{type}/nobody",
                f"{type}/{id}/_history/1",
            ]
        )
        logical = {"identifier": identifier(random), "type": random.choice((type, None))}
        logical = {name: value for name, value in logical.items() if value}
        both: Json = {"reference": literal, **(logical if random.random() < 0.2 else {})}
        return random.choice([both] * 8 + [logical, {"display": "Somebody"}])

    return draw


META = maybe(
    whole(
        tag=maybe(several(coding)),
        security=maybe(several(coding), 0.3),
        profile=maybe(several(one_of(*CANONICALS))),
        source=maybe(one_of(*URIS)),
    )
)

SERVICE: dict[str, Draw] = {
    "serviceCategory": maybe(several(concept)),
    "serviceType": maybe(several(concept)),
    "specialty": maybe(several(concept)),
}
PERSON: dict[str, Draw] = {
    "identifier": maybe(several(identifier)),
    "active": maybe(boolean),
    "name": maybe(several(name)),
    "telecom": maybe(several(contact)),
    "gender": maybe(one_of("male", "female", "unknown")),
    "birthDate": maybe(one_of(*DATES)),
    "address": maybe(several(address)),
}
ACTORS = ("Patient", "Practitioner", "PractitionerRole", "HealthcareService", "Location", "Device")
AUTHORS = ("Practitioner", "Organization", "Device", "Patient", "PractitionerRole")

ELEMENTS: dict[str, dict[str, Draw]] = {
    "Organization": {
        "identifier": maybe(several(identifier)),
        "active": maybe(boolean),
        "type": maybe(several(concept)),
        "name": text,
        "alias": maybe(several(text)),
        "address": maybe(several(work_address)),
        "partOf": maybe(reference("Organization")),
        "endpoint": maybe(several(reference("Endpoint")), 0.2),
    },
    "Location": {
        "identifier": maybe(several(identifier)),
        "status": maybe(one_of("active", "suspended", "inactive")),
        "operationalStatus": maybe(coding),
        "name": maybe(text),
        "alias": maybe(several(text)),
        "type": maybe(several(concept)),
        "address": maybe(address),
        "managingOrganization": maybe(reference("Organization")),
        "partOf": maybe(reference("Location")),
    },
    "HealthcareService": {
        "identifier": maybe(several(identifier)),
        "active": maybe(boolean),
        "providedBy": maybe(reference("Organization")),
        "category": maybe(several(concept)),
        "type": maybe(several(concept)),
        "specialty": maybe(several(concept)),
        "location": maybe(several(reference("Location"))),
        "name": maybe(text),
        "program": maybe(several(concept)),
        "characteristic": maybe(several(concept)),
        "coverageArea": maybe(several(reference("Location"))),
    },
    "Practitioner": {**PERSON, "communication": maybe(several(concept))},
    "PractitionerRole": {
        "identifier": maybe(several(identifier)),
        "active": maybe(boolean),
        "period": maybe(period),
        "practitioner": maybe(reference("Practitioner")),
        "organization": maybe(reference("Organization")),
        "code": maybe(several(concept)),
        "specialty": maybe(several(concept)),
        "location": maybe(several(reference("Location"))),
        "healthcareService": maybe(several(reference("HealthcareService"))),
        "telecom": maybe(several(contact)),
    },
    "Patient": {
        **PERSON,
        "deceased[x]": death,
        "communication": maybe(several(whole(language=concept))),
        "generalPractitioner": maybe(several(reference("Practitioner", "Organization", "PractitionerRole"))),
        "managingOrganization": maybe(reference("Organization")),
        "link": maybe(several(whole(other=reference("Patient", "RelatedPerson"), type=always("seealso")))),
    },
    "Device": {
        "identifier": maybe(several(identifier)),
        "udiCarrier": maybe(several(whole(deviceIdentifier=text, carrierHRF=maybe(text))), 0.3),
        "status": maybe(one_of("active", "inactive")),
        "manufacturer": maybe(text),
        "modelNumber": maybe(text),
        "deviceName": maybe(several(whole(name=text, type=always("other")))),
        "type": maybe(concept),
        "patient": maybe(reference("Patient"), 0.3),
        "owner": maybe(reference("Organization")),
        "location": maybe(reference("Location")),
        "url": maybe(one_of(*URIS)),
    },
    "Questionnaire": {
        "url": maybe(one_of(*URIS)),
        "identifier": maybe(several(identifier)),
        "version": maybe(one_of("1", "2.0", "a|b")),
        "name": maybe(text),
        "title": maybe(text),
        "status": one_of("draft", "active", "retired"),
        "subjectType": maybe(several(one_of("Patient", "Encounter"))),
        "date": maybe(one_of(*DATES)),
        "publisher": maybe(text),
        "description": maybe(text),
        "useContext": maybe(several(whole(code=coding, valueCodeableConcept=concept)), 0.5),
        "jurisdiction": maybe(several(concept), 0.3),
        "effectivePeriod": maybe(period),
        "item": several(
            whole(
                linkId=lambda random: str(random.randrange(10**12)),
                definition=maybe(one_of(*URIS)),
                code=maybe(several(coding)),
                type=always("string"),
            )
        ),
    },
    "Schedule": {
        **SERVICE,
        "identifier": maybe(several(identifier)),
        "active": maybe(boolean),
        "actor": several(reference(*ACTORS)),
        "planningHorizon": maybe(period),
    },
    "Slot": {
        **SERVICE,
        "identifier": maybe(several(identifier)),
        "appointmentType": maybe(concept),
        "schedule": whole(reference=one_of(*(f"Schedule/{id}" for id in IDS))),
        "status": one_of("free", "busy", "entered-in-error", "busy-unavailable"),
        "time[x]": times,
    },
    "Appointment": {
        **SERVICE,
        "identifier": maybe(several(identifier)),
        "status": one_of("proposed", "waitlist", "cancelled", "entered-in-error", "noshow", "pending", "fulfilled"),
        "time[x]": times,
        "appointmentType": maybe(concept),
        "requestedPeriod": maybe(several(period), 0.3),
        "priority": maybe(one_of(0, 1, 7, 30)),
        "reasonCode": maybe(several(concept)),
        "reasonReference": maybe(several(reference("Condition", "Procedure")), 0.3),
        "supportingInformation": maybe(several(reference("Encounter", "Location", "Basic"))),
        "basedOn": maybe(several(reference("ServiceRequest")), 0.3),
        "slot": maybe(several(reference("Slot")), 0.3),
        "participant": several(
            whole(actor=reference(*ACTORS), status=one_of("accepted", "declined", "tentative", "needs-action")), 1, 3
        ),
    },
    "AppointmentResponse": {
        "identifier": maybe(several(identifier)),
        "appointment": reference("Appointment"),
        "actor": reference(*ACTORS),
        "participantStatus": one_of("accepted", "declined", "tentative"),
    },
    "Encounter": {
        "identifier": maybe(several(identifier)),
        "status": one_of("planned", "in-progress", "finished", "cancelled"),
        "class": coding,
        "type": maybe(several(concept)),
        "subject": maybe(reference("Patient", "Group")),
        "participant": maybe(
            several(
                whole(
                    individual=maybe(reference("Practitioner", "PractitionerRole")),
                    type=maybe(several(concept)),
                    period=period,
                )
            )
        ),
        "appointment": maybe(several(reference("Appointment"))),
        "period": maybe(period),
        "length": maybe(
            either(
                whole(value=numbers, comparator=comparators, unit=maybe(one_of("min", "minutes"))),
                whole(value=numbers, comparator=comparators, system=always(UCUM), code=one_of("min", "h", "s")),
            )
        ),
        "reasonCode": maybe(several(concept)),
        "reasonReference": maybe(several(reference("Condition", "Procedure")), 0.3),
        "diagnosis": maybe(several(whole(condition=reference("Condition", "Procedure"))), 0.3),
        "location": maybe(several(whole(location=reference("Location"), period=maybe(period)))),
        "hospitalization": maybe(whole(specialArrangement=maybe(several(concept), 1.0)), 0.3),
        "serviceProvider": maybe(reference("Organization")),
        "partOf": maybe(reference("Encounter")),
    },
    "QuestionnaireResponse": {
        "identifier": maybe(identifier),
        "basedOn": maybe(several(reference("CarePlan", "ServiceRequest")), 0.3),
        "partOf": maybe(several(reference("Observation", "Procedure")), 0.3),
        "questionnaire": maybe(one_of(*CANONICALS, *(f"{BASE}/Questionnaire/{id}" for id in IDS))),
        "status": one_of("in-progress", "completed", "amended"),
        "subject": maybe(reference("Patient", "Location")),
        "encounter": maybe(reference("Encounter")),
        "authored": maybe(one_of(*DATES, *MOMENTS)),
        "author": maybe(reference(*AUTHORS)),
        "source": maybe(reference("Patient", "Practitioner")),
    },
    "Provenance": {
        "target": several(reference("Patient", "Appointment", "Slot")),
        "occurred[x]": lambda random: {"occurredDateTime": random.choice(IN_ORDER)},
        "recorded": one_of(*MOMENTS),
        "location": maybe(reference("Location"), 0.3),
        "agent": several(whole(type=maybe(concept), role=maybe(several(concept)), who=reference(*AUTHORS))),
        "entity": maybe(several(whole(role=always("source"), what=reference("Questionnaire", "Schedule"))), 0.3),
    },
}
"""What each type is made of; `[x]` draws the elements themselves."""


def resources(seed: int) -> list[Json]:
    """Four or five of each type, the same for the same seed."""
    random = Random(seed)
    return [_build(random, type, id) for type in ELEMENTS for id in random.sample(IDS, random.randint(3, 5))]


class Everything(Random):
    """Draws whatever is left to chance, and chooses as any other."""

    def random(self) -> float:
        return 0.0

    getrandbits = Random.getrandbits


def _to(*types: str) -> list[Json]:
    return [{"reference": f"{type}/a"} for type in types]


HELD = [{"url": f"{CANONICAL}/StructureDefinition/hold-expires", "valueInstant": "2099-03-08T05:00:00Z"}]
WAITED = [{"url": f"{CANONICAL}/StructureDefinition/waiting-since", "valueInstant": "2026-03-02T08:00:00Z"}]
LATER = [{"url": ORIGINATING, "valueReference": {"reference": "Appointment/a"}}]

CONCEPT = {"coding": [{"code": "A"}]}

BESIDES: dict[str, Json] = {
    "Appointment": {
        "status": "cancelled",
        "cancelationReason": {"coding": [{"system": "http://a.example", "code": "pat", "display": "Patient"}]},
        "extension": [*HELD, *WAITED, *LATER],
        "supportingInformation": _to(*ELEMENTS),
        "participant": [{"actor": actor, "status": "tentative"} for actor in _to(*ACTORS)],
    },
    "Encounter": {
        "account": _to("Account"),
        "basedOn": _to("ServiceRequest"),
        "episodeOfCare": _to("EpisodeOfCare"),
        "length": {"value": 30, "unit": "min", "system": UCUM, "code": "min"},
        "partOf": {"reference": "Encounter/a"},
    },
    "HealthcareService": {"endpoint": _to("Endpoint")},
    "Location": {"endpoint": _to("Endpoint"), "position": {"longitude": 8.2, "latitude": 47.1}},
    "Organization": {
        "address": [{"use": "work", "city": "Bern", "state": "BE", "postalCode": "3011", "country": "CH"}]
    },
    "PractitionerRole": {
        "endpoint": _to("Endpoint"),
        "telecom": [{"system": "email", "value": "zoe@example.org"}, {"system": "phone", "value": "555"}],
    },
    "Provenance": {
        "target": _to(*ELEMENTS),
        "agent": [{"type": CONCEPT, "role": [CONCEPT], "who": who} for who in _to(*AUTHORS)],
        "entity": [{"role": "source", "what": what} for what in _to(*ELEMENTS)],
        "signature": [
            {"type": [{"system": SYSTEMS[0], "code": "A"}], "when": MOMENTS[0], "who": {"reference": "Patient/a"}}
        ],
    },
    "Questionnaire": {
        "useContext": [
            {"code": {"code": "age"}, "valueQuantity": {"value": 30}},
            {"code": {"code": "task"}, "valueCodeableConcept": CONCEPT},
        ]
    },
    "Schedule": {"actor": _to(*ACTORS)},
    "Slot": {"extension": HELD},
}
"""What is seldom drawn, or never, and yet is to be found in what has everything."""


def everything(seed: int) -> list[Json]:
    """One of each type and id, with every element that a search looks at and a reference to every type it may be to."""
    random = Everything(seed)
    built = [_build(random, type, id) | BESIDES.get(type, {}) for type in ELEMENTS for id in IDS]
    last = {one["resourceType"]: one for one in built}
    answers = [{**last["AppointmentResponse"], "id": f"of-{type}", "actor": _to(type)[0]} for type in ACTORS]
    responses = (one for one in built if one["resourceType"] == "AppointmentResponse")
    for response, actor in zip(responses, _to(*ACTORS), strict=False):
        response["actor"] = actor
    form = {**last["QuestionnaireResponse"], "questionnaire": f"{BASE}/Questionnaire/a"}
    filled_in = [{**form, "id": f"about-{type}", "subject": _to(type)[0]} for type in ELEMENTS]
    written = [{**form, "id": f"by-{type}", "author": _to(type)[0]} for type in AUTHORS]
    sources = ("Patient", "Practitioner", "PractitionerRole")
    said = [{**form, "id": f"from-{type}", "source": _to(type)[0]} for type in sources]
    return [*built, *answers, *filled_in, *written, *said]


def _build(random: Random, type: str, id: str) -> Json:
    built: Json = {"resourceType": type, "id": id}
    for name, draw in {"meta": META, **ELEMENTS[type]}.items():
        value = draw(random)
        if name.endswith("[x]"):
            built |= value
        elif value is not None:
            built[name] = value
    return built
