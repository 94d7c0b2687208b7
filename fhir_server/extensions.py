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
        "alternative",
        "A free time instead",
        "A free time near to the one that was refused, on an issue of an OperationOutcome.",
        ("OperationOutcome.issue",),
        (
            Part("slot", "The free Slot, to be booked by reference", ("Reference",)),
            Part("period", "Its time", ("Period",), 1),
        ),
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
        "effective-period",
        "When a weekly rule is valid",
        "The weekly hours hold only on local dates within this period, both ends included.",
        ("PractitionerRole.availableTime", "HealthcareService.availableTime"),
        value=("Period",),
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
        ),
    ),
)
