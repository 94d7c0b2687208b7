"""The extensions that this server defines, as rows (http://hl7.org/fhir/R4/defining-extensions.html)."""

from __future__ import annotations

from dataclasses import dataclass

DURATION = ("Duration",)


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-extension: its url, how often it occurs, its value types or its own parts."""

    name: str
    documentation: str
    value: tuple[str, ...] = ()
    min: int = 0
    max: str = "1"
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension: where it may stand, and its parts or its value types."""

    id: str
    title: str
    description: str
    context: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    value: tuple[str, ...] = ()


EXTENSIONS: tuple[Extension, ...] = (
    Extension(
        "accepts",
        "Which patients are taken",
        "Whom the Schedule or service takes; $find-slots leaves out those that do not take the one who asks.",
        ("Schedule", "HealthcareService"),
        (
            Part("newPatients", "Whether patients are taken who have not been here before", ("boolean",)),
            Part(
                "insurance", "An insurance that is taken; if none is named, all are", ("Coding", "Reference"), max="*"
            ),
        ),
    ),
    Extension(
        "alternative",
        "A free time instead",
        "A free time near to the one that was refused, on an issue of an OperationOutcome.",
        ("OperationOutcome.issue",),
        (
            Part("slot", "The free Slots, to be booked by reference, one of each Schedule", ("Reference",), max="*"),
            Part("period", "Its time", ("Period",), 1),
        ),
    ),
    Extension(
        "blocking-slot",
        "A Slot in the way",
        "A Slot that takes the time that was refused, on an issue of an OperationOutcome; it does not say for whom.",
        ("OperationOutcome.issue",),
        value=("Reference",),
    ),
    Extension(
        "availability-override",
        "Other hours on a date",
        "On this date the Schedule has these windows instead of its weekly ones; none means closed.",
        ("Schedule",),
        (
            Part("date", "The local date", ("date",), 1),
            Part(
                "window",
                "A window on that date",
                max="*",
                parts=(
                    Part("start", "Local time it opens", ("time",), 1),
                    Part("end", "Local time it closes; at or before the start means the next day", ("time",), 1),
                ),
            ),
        ),
    ),
    Extension(
        "calendar",
        "Which calendar it is",
        "What the Schedule is called among several for one service, and what kind of calendar it is.",
        ("Schedule",),
        (
            Part("name", "Its name, for people", ("string",)),
            Part("kind", "`standard`, `promotional` or `campaign`", ("code",)),
        ),
    ),
    Extension(
        "cancelled-by",
        "Who cancelled",
        "`patient` or `staff`; kept by the server.",
        ("Appointment",),
        value=("code",),
    ),
    Extension(
        "effective-period",
        "When a weekly rule is valid",
        "The weekly hours hold only on local dates within this period, both ends included.",
        ("PractitionerRole.availableTime", "HealthcareService.availableTime"),
        value=("Period",),
    ),
    Extension(
        "hold-expires",
        "When a hold ends",
        "The time is held until then; afterwards it is free, whether or not somebody has put the hold away.",
        ("Appointment", "Slot"),
        value=("instant",),
    ),
    Extension(
        "hold-since",
        "When a hold began",
        "When the time was first held; renewing does not change it.",
        ("Appointment",),
        value=("instant",),
    ),
    Extension(
        "hold-owner",
        "Whose hold it is",
        "The SHA-256 of the token that a change of the hold needs, in hexadecimal.",
        ("Appointment",),
        value=("string",),
    ),
    Extension(
        "joint-slot",
        "A Slot to be booked with this one",
        "Another free Slot at the same time, of somebody else who is needed; they are booked together.",
        ("Slot",),
        value=("Reference",),
    ),
    Extension(
        "not-available",
        "Closed for a while",
        "A time in which nothing can be booked there: as notAvailable, which R4 has on other types only.",
        ("Location", "Organization", "Schedule"),
        (
            Part("description", "Why, for people", ("string",)),
            Part(
                "during",
                "The time; whole local days if its ends are dates, the last one included",
                ("Period",),
                1,
            ),
        ),
    ),
    Extension(
        "overridable",
        "A problem that can be waived",
        "Whether staff can book all the same, with the parameter `override`; on an issue of an OperationOutcome.",
        ("OperationOutcome.issue",),
        value=("boolean",),
    ),
    Extension(
        "offer-passed",
        "A time that was let pass",
        "A time that the waiting list offered and that was not taken; no time that overlaps it is offered again.",
        ("Appointment",),
        value=("Period",),
    ),
    Extension(
        "price",
        "What a visit costs",
        "The price of a visit booked on this Schedule.",
        ("Schedule",),
        value=("Money",),
    ),
    Extension(
        "remaining-places",
        "Places left",
        "How many more can book this Slot.",
        ("Slot",),
        value=("unsignedInt",),
    ),
    Extension(
        "required-form",
        "A form to be filled in",
        "A Questionnaire that a patient who books is to answer; without the answers to one that comes before booking "
        "nothing can be booked.",
        ("Schedule", "HealthcareService"),
        (
            Part("questionnaire", "The canonical URL of the Questionnaire", ("canonical",), 1),
            Part("when", "`before-booking` or `before-visit`, which it is if nothing says", ("code",)),
        ),
    ),
    Extension(
        "rescheduled",
        "How often the patient moved it",
        "Counted by the server, for reschedulesMax; what staff move does not count.",
        ("Appointment",),
        value=("positiveInt",),
    ),
    Extension(
        "scheduling-parameters",
        "How time is cut into slots",
        "Each part is looked for on the Schedule, then its HealthcareService, then its Organization.",
        ("Schedule", "HealthcareService", "Organization"),
        (
            Part("service", "On a Schedule: the HealthcareService that these are for", ("Reference",)),
            Part("duration", "Length of a slot; 30 minutes if nothing says", DURATION),
            Part("bufferBefore", "Time kept free before a visit", DURATION),
            Part("bufferAfter", "Time kept free after a visit", DURATION),
            Part("alignmentInterval", "Slots start at multiples of this after local midnight", DURATION),
            Part("alignmentOffset", "Moves that grid", DURATION),
            Part("minimumNotice", "A booking is made at least this long before", DURATION),
            Part("bookingWindow", "A booking is made at most this long before", DURATION),
            Part("capacity", "Patients who can have the same time", ("positiveInt",)),
            Part("maximumPerDay", "Appointments on a local day", ("positiveInt",)),
            Part("cancelNotice", "A patient cancels at least this long before", DURATION),
            Part("rescheduleNotice", "A patient moves it at least this long before", DURATION),
            Part("reschedulesMax", "How often a patient moves it", ("positiveInt",)),
            Part("confirmationRequired", "Whether what `$book` books is pending until it is confirmed", ("boolean",)),
        ),
    ),
    Extension(
        "telehealth",
        "By video",
        "Visits on this Schedule, or for this service, are by video.",
        ("Schedule", "HealthcareService"),
        value=("boolean",),
    ),
    Extension(
        "terms",
        "The terms of a Slot",
        "What the Schedule of a Slot that was found says of a visit, to tell the Slots of several calendars apart.",
        ("Slot",),
        (
            Part("name", "The name of the calendar", ("string",)),
            Part("kind", "`standard`, `promotional` or `campaign`", ("code",)),
            Part("duration", "How long a visit is if nothing else is asked for", ("Duration",), 1),
            Part("period", "When the calendar can be booked for: its planningHorizon", ("Period",)),
            Part("price", "What a visit costs", ("Money",)),
            Part("form", "A Questionnaire that is to be answered", ("canonical",), max="*"),
        ),
    ),
    Extension(
        "waived",
        "A rule that was waived",
        "The problem that the version of the Appointment was written against, on the Provenance that says why.",
        ("Provenance",),
        value=("code",),
    ),
    Extension(
        "waiting-offer",
        "Takes part in an offer",
        "Whose Schedule the offered time is on; goes again if the time is not taken.",
        ("Appointment.participant",),
        value=("boolean",),
    ),
    Extension(
        "waiting-since",
        "Since when one waits",
        "When the Appointment came on the waiting list; it keeps its place while a time is offered.",
        ("Appointment",),
        value=("instant",),
    ),
)
