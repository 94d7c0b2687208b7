"""A fictional network to try the server on: two clinics, their people and services, and a month of bookings.

`network(today)` is a pure function of the date: the same date gives the same resources. Bookings are chosen
from what the availability engine itself offers, so that they lie in the hours of their Schedules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from fhir_server.outcome import CANONICAL, Json
from fhir_server.scheduling import availability, slots
from fhir_server.scheduling.intervals import Interval

SCHEDULE = "dr-amara-okafor-main"
"""A Schedule of the network that is open from Monday to Friday: where a visitor starts."""

PRACTITIONER = "dr-amara-okafor"
"""Whose Schedule that is."""

PATIENT = "robin-sparrow"
"""A Patient of the network without appointments, who may book; the next two have none either."""

TOGETHER = ("PractitionerRole/dr-lena-hoffmann-skin-screening", "Location/downtown-procedure-room")
"""Who and what a skin screening needs at the same time."""

ORGANIZATION = "riverside-health"
STRUCTURE = f"{CANONICAL}/StructureDefinition"
SERVICES_SYSTEM = f"{CANONICAL}/CodeSystem/service"
ZONE_EXTENSION = "http://hl7.org/fhir/StructureDefinition/timezone"
PHYSICAL_TYPE = "http://terminology.hl7.org/CodeSystem/location-physical-type"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CANCELLATION = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
APPOINTMENT_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0276"

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WORKDAYS = "mon tue wed thu fri"

DAYS_PAST, DAYS_AHEAD = 14, 14
"""Bookings are within these many days of today."""

Hours = tuple[str, str, str]
"""Weekdays separated by blanks, from, until; until is not after from where the window crosses midnight."""


@dataclass(frozen=True, slots=True)
class Clinic:
    id: str
    name: str
    zone: str
    address: Json
    telephone: str
    hours: tuple[Hours, ...]
    rooms: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Offering:
    """A HealthcareService and how it is scheduled; minutes, and people for `capacity`."""

    id: str
    name: str
    comment: str
    minutes: int
    alignment: int
    buffer_after: int = 0
    notice_hours: int = 2
    capacity: int = 1
    per_day_max: int | None = None


@dataclass(frozen=True, slots=True)
class Week:
    """The hours of a practitioner at one clinic for one service: a PractitionerRole and its Schedule."""

    clinic: str
    service: str
    hours: tuple[Hours, ...]


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    given: str
    family: str
    gender: str
    specialty: str
    weeks: tuple[Week, ...]
    doctor: bool = True

    def role(self, week: Week) -> str:
        """The id of the PractitionerRole and of the Schedule for a week."""
        alone = sum(one.clinic == week.clinic for one in self.weeks) == 1
        return f"{self.id}-{week.clinic}" if alone else f"{self.id}-{week.service}"


CLINICS = (
    Clinic(
        "main",
        "Main Clinic",
        "America/New_York",
        {"line": ["12 Example Street"], "city": "Springfield", "state": "NY", "country": "US"},
        "+1-555-0100",
        (("mon tue wed thu", "07:00", "20:00"), ("fri sat sun", "00:00", "00:00")),
        (("main-room-1", "Room 1"), ("main-group-room", "Group Room")),
    ),
    Clinic(
        "downtown",
        "Downtown Clinic",
        "Europe/Berlin",
        {"line": ["Musterstraße 7"], "city": "Musterstadt", "postalCode": "00000", "country": "DE"},
        "+49-555-0100",
        ((WORKDAYS, "08:00", "19:00"), ("sat", "09:00", "13:00")),
        (("downtown-room-1", "Room 1"), ("downtown-procedure-room", "Procedure Room")),
    ),
)

OFFERINGS = (
    Offering("consultation", "Consultation", "One patient, 20 minutes and 10 to write it up.", 20, 30, 10),
    Offering("group-session", "Group session", "Up to ten patients together, for one hour.", 60, 60, capacity=10),
    Offering("telehealth", "Telehealth visit", "By video, wherever the patient is.", 30, 30, notice_hours=1),
    Offering(
        "skin-screening",
        "Skin screening",
        "A promotion: a check-up at a fixed price, for a limited time.",
        15,
        15,
        notice_hours=24,
        per_day_max=12,
    ),
)

SPECIALTIES = {
    "general": ("394814009", "General practice"),
    "cardiology": ("394579002", "Cardiology"),
    "dermatology": ("394582007", "Dermatology"),
    "paediatrics": ("394537008", "Pediatric specialty"),
    "psychiatry": ("394587001", "Psychiatry"),
}

PEOPLE = (
    Person(
        "dr-amara-okafor",
        "Amara",
        "Okafor",
        "female",
        "general",
        (Week("main", "consultation", ((WORKDAYS, "09:00", "12:00"), (WORKDAYS, "13:00", "17:00"))),),
    ),
    Person(
        "dr-jonas-weber",
        "Jonas",
        "Weber",
        "male",
        "general",
        (
            Week("main", "consultation", (("mon wed", "08:00", "16:00"),)),
            Week("downtown", "consultation", (("tue", "09:00", "17:00"),)),
        ),
    ),
    Person(
        "dr-mei-lin-chen",
        "Mei-Lin",
        "Chen",
        "female",
        "cardiology",
        (Week("main", "consultation", (("tue wed thu", "10:00", "14:00"), ("tue wed thu", "15:00", "19:00"))),),
    ),
    Person(
        "dr-luca-moretti",
        "Luca",
        "Moretti",
        "male",
        "dermatology",
        (Week("downtown", "consultation", ((WORKDAYS, "08:00", "12:00"), ("mon thu", "14:00", "18:00"))),),
    ),
    Person(
        "dr-fatima-al-sayed",
        "Fatima",
        "Al-Sayed",
        "female",
        "paediatrics",
        (Week("downtown", "consultation", (("mon wed fri", "09:00", "15:00"),)),),
    ),
    Person(
        "dr-erik-lindqvist",
        "Erik",
        "Lindqvist",
        "male",
        "general",
        (Week("main", "consultation", (("fri sat", "18:00", "02:00"),)),),
    ),
    Person(
        "dr-grace-mwangi",
        "Grace",
        "Mwangi",
        "female",
        "general",
        (Week("main", "consultation", (("sat sun", "09:00", "15:00"), ("mon", "12:00", "20:00"))),),
    ),
    Person(
        "dr-lena-hoffmann",
        "Lena",
        "Hoffmann",
        "female",
        "dermatology",
        (
            Week("downtown", "consultation", (("mon tue thu", "08:00", "13:00"),)),
            Week("downtown", "skin-screening", (("wed", "14:00", "18:00"), ("sat", "09:00", "13:00"))),
        ),
    ),
    Person(
        "dr-priya-raman",
        "Priya",
        "Raman",
        "female",
        "general",
        (Week("downtown", "telehealth", ((WORKDAYS, "16:00", "19:00"),)),),
    ),
    Person(
        "dr-tomasz-nowak",
        "Tomasz",
        "Nowak",
        "male",
        "psychiatry",
        (Week("main", "telehealth", ((WORKDAYS, "07:00", "11:00"), ("sun", "10:00", "13:00"))),),
    ),
    Person(
        "sofia-delgado",
        "Sofia",
        "Delgado",
        "female",
        "psychiatry",
        (Week("main", "group-session", (("mon wed fri", "17:00", "20:00"),)),),
        doctor=False,
    ),
    Person(
        "noah-brandt",
        "Noah",
        "Brandt",
        "male",
        "psychiatry",
        (Week("downtown", "group-session", (("tue thu", "17:00", "19:00"), ("sat", "10:00", "12:00"))),),
        doctor=False,
    ),
)

PATIENTS = (
    "Robin Sparrow",
    "Ash Linden",
    "Hazel Finch",
    "Rowan Heron",
    "Olive Wren",
    "Jay Alder",
    "Wren Maple",
    "Ivy Starling",
    "Martin Beech",
    "Willow Kestrel",
    "Basil Plover",
    "Juniper Swift",
    "Heath Magpie",
    "Laurel Dove",
    "Merlin Oakes",
    "Fern Osprey",
    "Sage Nuthatch",
    "Dale Siskin",
    "Poppy Thrush",
    "Forest Curlew",
    "Iris Bunting",
    "Cedar Lark",
    "Clover Rook",
    "Phoenix Elder",
    "Myrtle Crane",
    "Bay Pipit",
    "Flora Avocet",
    "Reed Warbler",
    "Marigold Teal",
    "Linnet Rowan",
)
"""Nobody: birds and trees. The first three have no appointments yet, the last one is no longer a patient."""

PAST = {"fulfilled": 70, "noshow": 12, "cancelled": 13, "entered-in-error": 5}
AHEAD = {"booked": 78, "pending": 11, "cancelled": 11}
TODAY = ("fulfilled", "checked-in", "arrived", "booked")
"""What has become of bookings, in percent; today's of one Schedule follow each other in this order."""

REASONS = (
    ("pat", "The patient called it off"),
    ("prov", "The practice called it off"),
    ("other", "Emergency"),
)

ENCOUNTER_STATUS = {"arrived": "arrived", "checked-in": "in-progress", "fulfilled": "finished"}


def network(today: date) -> list[Json]:
    """All resources of the network around `today`, each after those it refers to."""
    practice = [
        _organization(),
        *(_clinic(clinic, today) for clinic in CLINICS),
        *(_room(clinic, *room) for clinic in CLINICS for room in clinic.rooms),
        *(_service(offering) for offering in OFFERINGS),
        *(_practitioner(person, number) for number, person in enumerate(PEOPLE, 1)),
        *(_role(person, week, today) for person in PEOPLE for week in person.weeks),
        *(_patient(name, number) for number, name in enumerate(PATIENTS, 1)),
        *(_schedule(person, week, today) for person in PEOPLE for week in person.weeks),
        _room_schedule("downtown-procedure-room", "Procedure Room of the Downtown Clinic", today),
    ]
    published = _published_slots(today)
    bookings = _Bookings(today, {_reference(one): one for one in practice}, published)
    booked = list(bookings.made())
    appointments = [*booked, *_unscheduled(today), *bookings.waiting_for(booked)]
    responses = [_response(one) for one in appointments if one["status"] == "booked"][:12]
    encounters = [_encounter(one) for one in appointments if one["status"] in ENCOUNTER_STATUS]
    return [*practice, *published, *appointments, *responses, *encounters]


def _reference(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _to(type: str, id: str, display: str | None = None) -> Json:
    return {"reference": f"{type}/{id}"} | ({"display": display} if display else {})


def _on(days: str) -> list[str]:
    return days.split()


def _clock(text: str) -> str:
    return f"{text}:00"


def _next(today: date, day: str) -> date:
    """The first such weekday after today."""
    return today + timedelta(days=(DAYS.index(day) - today.weekday() - 1) % 7 + 1)


def _identifier(kind: str, number: int) -> Json:
    return {"system": f"{CANONICAL}/{kind}-number", "value": f"{kind[:2].upper()}-{number:04}"}


def _minutes(url: str, minutes: int) -> Json:
    system = "http://unitsofmeasure.org"
    return {
        "url": url,
        "valueDuration": {"value": minutes, "unit": "min", "system": system, "code": "min"},
    }


def _parameters(*parts: Json) -> Json:
    return {"url": f"{STRUCTURE}/scheduling-parameters", "extension": list(parts)}


def _closing(description: str, start: date, end: date) -> Json:
    return {
        "url": f"{STRUCTURE}/not-available",
        "extension": [
            {"url": "description", "valueString": description},
            {"url": "during", "valuePeriod": _period(start, end)},
        ],
    }


def _override(day: date, *windows: tuple[str, str]) -> Json:
    return {
        "url": f"{STRUCTURE}/availability-override",
        "extension": [
            {"url": "date", "valueDate": day.isoformat()},
            *(
                {
                    "url": "window",
                    "extension": [
                        {"url": "start", "valueTime": _clock(start)},
                        {"url": "end", "valueTime": _clock(end)},
                    ],
                }
                for start, end in windows
            ),
        ],
    }


def _period(start: date, end: date) -> Json:
    return {"start": start.isoformat(), "end": end.isoformat()}


def _specialty(name: str) -> Json:
    code, display = SPECIALTIES[name]
    return {"coding": [{"system": "http://snomed.info/sct", "code": code, "display": display}]}


def _service_type(service: str) -> Json:
    name = next(offering.name for offering in OFFERINGS if offering.id == service)
    return {"coding": [{"system": SERVICES_SYSTEM, "code": service, "display": name}], "text": name}


def _physical_type(code: str, display: str) -> Json:
    return {"coding": [{"system": PHYSICAL_TYPE, "code": code, "display": display}]}


def _organization() -> Json:
    return {
        "resourceType": "Organization",
        "id": ORGANIZATION,
        "extension": [_parameters(_minutes("bookingWindow", 12 * 7 * 24 * 60))],
        "active": True,
        "name": "Riverside Health",
        "telecom": [{"system": "email", "value": "office@riverside-health.example"}],
    }


def _opening(days: str, start: str, end: str) -> Json:
    hours: Json = {"daysOfWeek": _on(days)}
    if start == end:
        return {**hours, "allDay": True}
    return {**hours, "openingTime": _clock(start), "closingTime": _clock(end)}


def _clinic(clinic: Clinic, today: date) -> Json:
    training = _next(today + timedelta(days=DAYS_AHEAD), "mon")
    return {
        "resourceType": "Location",
        "id": clinic.id,
        "extension": [
            {"url": ZONE_EXTENSION, "valueCode": clinic.zone},
            _closing("Closed for staff training", training, training),
        ],
        "status": "active",
        "name": clinic.name,
        "mode": "instance",
        "telecom": [{"system": "phone", "value": clinic.telephone}],
        "address": clinic.address,
        "physicalType": _physical_type("si", "Site"),
        "managingOrganization": _to("Organization", ORGANIZATION),
        "hoursOfOperation": [_opening(*hours) for hours in clinic.hours],
    }


def _room(clinic: Clinic, id: str, name: str) -> Json:
    return {
        "resourceType": "Location",
        "id": id,
        "extension": [{"url": ZONE_EXTENSION, "valueCode": clinic.zone}],
        "status": "active",
        "name": f"{name}, {clinic.name}",
        "mode": "instance",
        "physicalType": _physical_type("ro", "Room"),
        "managingOrganization": _to("Organization", ORGANIZATION),
        "partOf": _to("Location", clinic.id, clinic.name),
    }


def _service(offering: Offering) -> Json:
    parameters = [
        _minutes("duration", offering.minutes),
        _minutes("alignmentInterval", offering.alignment),
        _minutes("minimumNotice", offering.notice_hours * 60),
        {"url": "capacity", "valuePositiveInt": offering.capacity},
    ]
    if offering.buffer_after:
        parameters.append(_minutes("bufferAfter", offering.buffer_after))
    if offering.per_day_max:
        parameters.append({"url": "maximumPerDay", "valuePositiveInt": offering.per_day_max})
    return {
        "resourceType": "HealthcareService",
        "id": offering.id,
        "extension": [_parameters(*parameters)],
        "active": True,
        "providedBy": _to("Organization", ORGANIZATION),
        "type": [_service_type(offering.id)],
        "location": [_to("Location", clinic) for clinic in _offered_at(offering.id)],
        "name": offering.name,
        "comment": offering.comment,
        "appointmentRequired": True,
    }


def _offered_at(service: str) -> list[str]:
    weeks = [week for person in PEOPLE for week in person.weeks if week.service == service]
    return list(dict.fromkeys(week.clinic for week in weeks))


def _practitioner(person: Person, number: int) -> Json:
    name: Json = {"use": "official", "family": person.family, "given": [person.given]}
    return {
        "resourceType": "Practitioner",
        "id": person.id,
        "identifier": [_identifier("practitioner", number)],
        "active": True,
        "name": [{**name, "prefix": ["Dr"]} if person.doctor else name],
        "telecom": [{"system": "email", "value": f"{person.id}@riverside-health.example", "use": "work"}],
        "gender": person.gender,
    }


def _role(person: Person, week: Week, today: date) -> Json:
    role: Json = {
        "resourceType": "PractitionerRole",
        "id": person.role(week),
        "active": True,
        "practitioner": _to("Practitioner", person.id, _name(person)),
        "organization": _to("Organization", ORGANIZATION),
        "specialty": [_specialty(person.specialty)],
        "location": [_to("Location", week.clinic)],
        "healthcareService": [_to("HealthcareService", week.service)],
        "availableTime": [
            {
                "daysOfWeek": _on(days),
                "availableStartTime": _clock(start),
                "availableEndTime": _clock(end),
            }
            for days, start, end in week.hours
        ],
    }
    leave = [
        {"description": description, "during": _period(*(today + timedelta(days=days) for days in span))}
        for description, span in LEAVE.get(person.id, ())
    ]
    return {**role, "notAvailable": leave} if leave else role


LEAVE: dict[str, tuple[tuple[str, tuple[int, int]], ...]] = {
    "dr-mei-lin-chen": (("Annual leave", (7, 11)),),
    "dr-fatima-al-sayed": (("Congress", (14, 16)),),
    "dr-jonas-weber": (("Sick leave", (-6, -4)),),
}
"""Why and when practitioners are away, in days from today, the last one included."""


def _name(person: Person) -> str:
    return f"{'Dr ' if person.doctor else ''}{person.given} {person.family}"


def _patient(name: str, number: int) -> Json:
    given, family = name.split()
    id = f"{given}-{family}".lower()
    return {
        "resourceType": "Patient",
        "id": id,
        "identifier": [_identifier("patient", number)],
        "active": number < len(PATIENTS),
        "name": [{"use": "official", "family": family, "given": [given]}],
        "telecom": [
            {"system": "email", "value": f"{id}@patients.example"},
            {"system": "phone", "value": f"+1-555-01{number:02}", "use": "mobile"},
        ],
        "birthDate": date(1940 + 2 * number, number % 12 + 1, number % 28 + 1).isoformat(),
        "managingOrganization": _to("Organization", ORGANIZATION),
    }


def _schedule(person: Person, week: Week, today: date) -> Json:
    promotion = week.service == "skin-screening"
    extensions = _overrides(person, today)
    if promotion:
        price = {"value": 49, "currency": "EUR"}
        extensions.append({"url": f"{STRUCTURE}/price", "valueMoney": price})
    clinic = next(clinic for clinic in CLINICS if clinic.id == week.clinic)
    horizon = (-30, 42) if promotion else (-90, 180)
    schedule: Json = {"resourceType": "Schedule", "id": person.role(week)}
    return {
        **schedule,
        **({"extension": extensions} if extensions else {}),
        "active": True,
        "serviceType": [_service_type(week.service)],
        "specialty": [_specialty(person.specialty)],
        "actor": [
            _to("PractitionerRole", person.role(week), _name(person)),
            _to("Location", clinic.id, clinic.name),
        ],
        "planningHorizon": _period(*(today + timedelta(days=days) for days in horizon)),
        "comment": f"{_name(person)}, {clinic.name}: {week.service.replace('-', ' ')}",
    }


def _overrides(person: Person, today: date) -> list[Json]:
    """One practitioner works on a Saturday instead of the Friday before."""
    if person.id != "dr-luca-moretti":
        return []
    friday = _next(today, "fri")
    return [_override(friday), _override(friday + timedelta(days=1), ("10:00", "13:00"))]


def _room_schedule(room: str, comment: str, today: date) -> Json:
    return {
        "resourceType": "Schedule",
        "id": room,
        "extension": [_parameters(_minutes("duration", 15), _minutes("alignmentInterval", 15))],
        "active": True,
        "actor": [_to("Location", room)],
        "planningHorizon": _period(today - timedelta(days=90), today + timedelta(days=180)),
        "comment": comment,
    }


def _published_slots(today: date) -> list[Json]:
    """Slots as another system would publish them: one takes time away, one adds some."""
    new_york = ZoneInfo(CLINICS[0].zone)
    meeting = datetime.combine(_next(today, "wed"), time(12), new_york)
    extra = datetime.combine(_next(today, "sat"), time(10), new_york)
    return [
        _slot("team-meeting", "dr-jonas-weber-main", "busy-unavailable", meeting, 60, "Team meeting"),
        _slot("saturday-visit", SCHEDULE, "free", extra, 20, "An extra visit on a Saturday"),
    ]


def _slot(id: str, schedule: str, status: str, start: datetime, minutes: int, comment: str) -> Json:
    return {
        "resourceType": "Slot",
        "id": id,
        "schedule": _to("Schedule", schedule),
        "status": status,
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=minutes)).isoformat(),
        "comment": comment,
    }


@dataclass(slots=True)
class _Bookings:
    """Who is taken when, while the bookings are made one after another."""

    today: date
    known: dict[str, Json]
    published: Sequence[Json]
    taken: dict[str, list[Interval]] = field(default_factory=dict)
    dice: Random = field(default_factory=lambda: Random(ORGANIZATION))

    def made(self) -> Iterator[Json]:
        """Appointments on every Schedule, in the order of their Schedules and then of time."""
        for slot in self.published:
            role = self.known[f"PractitionerRole/{slot['schedule']['reference'].partition('/')[2]}"]
            whole = Interval(datetime.fromisoformat(slot["start"]), datetime.fromisoformat(slot["end"]))
            self._take([role["practitioner"]["reference"]], whole, 0)
        for person in PEOPLE:
            for week in person.weeks:
                yield from self._on_schedule(person, week)

    def waiting_for(self, booked: Sequence[Json]) -> Iterator[Json]:
        """Who waits for the next booked times of the practitioner whom visitors meet first."""
        ahead = [one for one in booked if one["id"].startswith(f"{SCHEDULE}-") and one["status"] == "booked"]
        later = [one for one in ahead if datetime.fromisoformat(one["start"]).date() > self.today]
        for number, one in enumerate(later[:2], 1):
            start, end = (datetime.fromisoformat(one[side]) for side in ("start", "end"))
            patient = self._somebody(Interval(start, end))
            period = {"start": one["start"], "end": one["end"]}
            wanted = one["participant"][1]["actor"]
            yield _wish(f"{SCHEDULE}-wait-{number}", "waitlist", one["serviceType"], patient, wanted, period)

    def _on_schedule(self, person: Person, week: Week) -> Iterator[Json]:
        zone = ZoneInfo(_find_clinic(week).zone)
        offered = self._offered(person, week, zone)
        for offset in range(-DAYS_PAST, DAYS_AHEAD):
            day = self.today + timedelta(days=offset)
            free = [one for one in offered if one.start.astimezone(zone).date() == day]
            count = len(TODAY) + 1 if offset == 0 else self.dice.choice((0, 1, 1, 2))
            picked = sorted(self.dice.sample(free, min(count, len(free))))
            for place, interval in enumerate(picked):
                yield from self._at(person, week, interval, offset, place)

    def _offered(self, person: Person, week: Week, zone: ZoneInfo) -> list[Interval]:
        """The free intervals of a Schedule, without those that the practitioner is taken at elsewhere."""
        known, role = self.known, f"PractitionerRole/{person.role(week)}"
        calendar = availability.calendar(
            known[f"Schedule/{person.role(week)}"],
            roles=(known[role],),
            services=(known[f"HealthcareService/{week.service}"],),
            locations=(known[f"Location/{week.clinic}"],),
            organizations=(known[f"Organization/{ORGANIZATION}"],),
            default_zone=zone,
        )
        start, end = (
            datetime.combine(self.today + timedelta(days=days), time(), zone) for days in (-DAYS_PAST, DAYS_AHEAD)
        )
        offering = _find_offering(week)
        candidates = slots.candidates(calendar, start, end, offering.minutes)
        return [one for one in candidates if self._is_free(f"Practitioner/{person.id}", one)]

    def _at(self, person: Person, week: Week, interval: Interval, offset: int, place: int) -> Iterator[Json]:
        """The Appointment at a time, or several of a group session."""
        offering = _find_offering(week)
        patients = self.dice.randint(3, 5) if offering.capacity > 1 else 1
        for number in range(patients):
            patient = self._somebody(interval)
            self._take([f"Patient/{patient}"], interval, 0)
            status = self._status(offset, place)
            yield _appointment(person, week, interval, patient, status, number, self.dice)
        actors = [f"Practitioner/{person.id}"]
        self._take(actors, interval, offering.buffer_after)

    def _status(self, offset: int, place: int) -> str:
        if offset == 0:
            return TODAY[min(place, len(TODAY) - 1)]
        odds = PAST if offset < 0 else AHEAD
        return self.dice.choices(tuple(odds), tuple(odds.values()))[0]

    def _somebody(self, interval: Interval) -> str:
        """A current patient with nothing else on at that time; there are always more patients than places."""
        ids = [name.lower().replace(" ", "-") for name in PATIENTS[3:-1]]
        return self.dice.choice([id for id in ids if self._is_free(f"Patient/{id}", interval)])

    def _is_free(self, actor: str, interval: Interval) -> bool:
        return not any(one.start < interval.end and interval.start < one.end for one in self.taken.get(actor, ()))

    def _take(self, actors: Iterable[str], interval: Interval, buffer_after: int) -> None:
        whole = Interval(interval.start, interval.end + timedelta(minutes=buffer_after))
        for actor in actors:
            self.taken.setdefault(actor, []).append(whole)


def _find_clinic(week: Week) -> Clinic:
    return next(clinic for clinic in CLINICS if clinic.id == week.clinic)


def _find_offering(week: Week) -> Offering:
    return next(offering for offering in OFFERINGS if offering.id == week.service)


def _appointment(
    person: Person, week: Week, interval: Interval, patient: str, status: str, number: int, dice: Random
) -> Json:
    clinic = _find_clinic(week)
    start, end = (one.astimezone(ZoneInfo(clinic.zone)) for one in (interval.start, interval.end))
    suffix = f"-{number + 1}" if _find_offering(week).capacity > 1 else ""
    appointment: Json = {
        "resourceType": "Appointment",
        "id": f"{person.role(week)}-{start:%Y%m%d-%H%M}{suffix}",
        "status": status,
    }
    if status == "cancelled":
        appointment["cancelationReason"] = _cancellation(*dice.choice(REASONS))
    places = [_to("Location", clinic.id, clinic.name)]
    if week.service == "skin-screening":
        places.append(_to("Location", "downtown-procedure-room", "Procedure Room"))
    waiting = "needs-action" if status == "pending" else "accepted"
    return appointment | {
        "serviceType": [_service_type(week.service)],
        "specialty": [_specialty(person.specialty)],
        "appointmentType": _appointment_type(dice.choice(("ROUTINE", "FOLLOWUP", "CHECKUP"))),
        "start": start.isoformat(),
        "end": end.isoformat(),
        "minutesDuration": _find_offering(week).minutes,
        "created": (start.date() - timedelta(days=dice.randint(15, 40))).isoformat(),
        "participant": [
            _participant(_to("Patient", patient, patient.replace("-", " ").title()), "accepted"),
            _participant(_to("Practitioner", person.id, _name(person)), waiting),
            *(_participant(place, "accepted") for place in places),
        ],
    }


def _cancellation(code: str, text: str) -> Json:
    return {"coding": [{"system": CANCELLATION, "code": code}], "text": text}


def _appointment_type(code: str) -> Json:
    return {"coding": [{"system": APPOINTMENT_TYPE, "code": code}]}


def _participant(actor: Json, status: str) -> Json:
    return {"actor": actor, "required": "required", "status": status}


def _unscheduled(today: date) -> Iterator[Json]:
    """What patients have asked for and has no time yet: proposals, and those who wait for any time of a service."""
    wishes = ["proposed"] * 4 + ["waitlist"] * 2
    for number, status in enumerate(wishes, 1):
        service = "consultation" if status == "proposed" else "skin-screening"
        day, wanted = today + timedelta(days=number), _to("HealthcareService", service)
        patient = PATIENTS[number + 2].lower().replace(" ", "-")
        period = _period(day, day + timedelta(days=14))
        wish = _wish(f"{status}-{number}", status, [_service_type(service)], patient, wanted, period)
        yield wish | {"priority": number % 3, "created": (today - timedelta(days=number)).isoformat()}


def _wish(id: str, status: str, service_type: list[Json], patient: str, wanted: Json, period: Json) -> Json:
    return {
        "resourceType": "Appointment",
        "id": id,
        "status": status,
        "serviceType": service_type,
        "participant": [
            _participant(_to("Patient", patient, patient.replace("-", " ").title()), "accepted"),
            _participant(wanted, "needs-action"),
        ],
        "requestedPeriod": [period],
    }


def _response(appointment: Json) -> Json:
    """That the patient will come."""
    return {
        "resourceType": "AppointmentResponse",
        "id": f"{appointment['id']}-reply",
        "appointment": _to("Appointment", appointment["id"]),
        "start": appointment["start"],
        "end": appointment["end"],
        "actor": appointment["participant"][0]["actor"],
        "participantStatus": "accepted",
    }


def _encounter(appointment: Json) -> Json:
    patient, practitioner, place = (one["actor"] for one in appointment["participant"][:3])
    finished = appointment["status"] == "fulfilled"
    virtual = appointment["serviceType"][0]["coding"][0]["code"] == "telehealth"
    period = {"start": appointment["start"]} | ({"end": appointment["end"]} if finished else {})
    code, display = ("VR", "virtual") if virtual else ("AMB", "ambulatory")
    return {
        "resourceType": "Encounter",
        "id": f"{appointment['id']}-visit",
        "status": ENCOUNTER_STATUS[appointment["status"]],
        "class": {"system": ACT_CODE, "code": code, "display": display},
        "serviceType": appointment["serviceType"][0],
        "subject": patient,
        "participant": [{"individual": practitioner}],
        "appointment": [_to("Appointment", appointment["id"])],
        "period": period,
        "location": [{"location": place, "status": "completed" if finished else "active"}],
        "serviceProvider": _to("Organization", ORGANIZATION),
    }
