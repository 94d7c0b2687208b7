"""How a calendar is cut into slots: the scheduling-parameters extension, ours and Medplum's.

Read per field from Schedule, else HealthcareService, else Organization, else the default. Content that
`problems` would refuse counts as not given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from fhir_server.outcome import CANONICAL, Issue, Json

PARAMETERS = f"{CANONICAL}/StructureDefinition/scheduling-parameters"
MEDPLUM_PARAMETERS = "https://medplum.com/fhir/StructureDefinition/SchedulingParameters"
OVERRIDE = f"{CANONICAL}/StructureDefinition/availability-override"
NOT_AVAILABLE = f"{CANONICAL}/StructureDefinition/not-available"
EFFECTIVE_PERIOD = f"{CANONICAL}/StructureDefinition/effective-period"
ACCEPTS = f"{CANONICAL}/StructureDefinition/accepts"
CALENDAR = f"{CANONICAL}/StructureDefinition/calendar"
REQUIRED_FORM = f"{CANONICAL}/StructureDefinition/required-form"
TIMEZONE = "http://hl7.org/fhir/StructureDefinition/timezone"

DAY_MINUTES = 24 * 60
TEN_YEARS_MINUTES = 3650 * DAY_MINUTES
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]|60)(?:\.([0-9]+))?)?")
UNIT_MINUTES: Mapping[str, int] = {"min": 1, "h": 60, "d": DAY_MINUTES, "wk": 7 * DAY_MINUTES}
"""The UCUM units that are read; a month has no fixed length."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Units are in the names; None is no limit, for `alignment_minutes` no grid.

    `zone` and `alignment_zone` are names that exist. `availability` are weekly hours in the form of
    `PractitionerRole.availableTime`; where there are any they replace those of roles and services.
    """

    duration_minutes: int = 30
    buffer_before_minutes: int = 0
    buffer_after_minutes: int = 0
    alignment_minutes: int | None = None
    alignment_offset_minutes: int = 0
    notice_minutes_min: int = 0
    window_days_max: int | None = None
    capacity: int = 1
    per_day_max: int | None = None
    cancel_notice_minutes: int | None = None
    reschedule_notice_minutes: int | None = None
    reschedules_max: int | None = None
    confirmation_required: bool = False
    zone: str | None = None
    alignment_zone: str | None = None
    availability: tuple[Json, ...] = ()


def resolve(schedule: Json, services: Sequence[Json], organizations: Sequence[Json]) -> Parameters:
    """The parameters of a Schedule, each field from the first of these that gives it: the Schedule for one of
    these services, the Schedule, the services, the organizations, the default."""
    found: dict[str, Any] = {}
    names = [f"HealthcareService/{service.get('id')}" for service in services]
    for entry in (
        *_entries(schedule, names),
        *(e for r in (*services, *organizations) for e in _entries(r, [])),
    ):
        for name, value in _fields(entry):
            found.setdefault(name, value)
    return Parameters(**found)


def find_zone(name: object) -> ZoneInfo | None:
    """The IANA time zone of that name, None if there is no such zone."""
    if not isinstance(name, str) or not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def extensions(element: Json, url: str) -> list[Json]:
    """The extensions of an element that have this url, in their order."""
    return [each for each in element.get("extension") or () if each.get("url") == url]


def extension_problems(resource: Json, values: Mapping[str, str], problem: str | None = None) -> Sequence[Issue]:
    """What is wrong with the extensions of a resource that are in `values`: each is there once, with this element."""
    type = resource["resourceType"]
    return [
        Issue("extension", f"{url} needs one {values[url]}.", (f"{type}.extension[{index}]",), problem)
        for index, one in enumerate(resource.get("extension") or ())
        if (url := one.get("url")) in values and (values[url] not in one or len(extensions(resource, url)) > 1)
    ]


def name_reference(reference: Json | None) -> str | None:
    """`Type/id` of a literal reference, without its server and version; None for others."""
    literal = (reference or {}).get("reference")
    if not isinstance(literal, str):
        return None
    parts = literal.partition("/_history/")[0].split("/")
    return "/".join(parts[-2:]) if len(parts) > 1 else None


def read_time(text: object) -> timedelta:
    """The time since midnight that a FHIR time says; a leap second is the next second. ValueError for
    others."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("must have a time from 00:00:00 to 23:59:59; as an end, 00:00:00 is midnight")
    hours, minutes, seconds, fraction = match.groups()
    return timedelta(
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds or 0),
        microseconds=int((fraction or "")[:6].ljust(6, "0")),
    )


def _entries(resource: Json, services: Sequence[str]) -> list[Json]:
    """The extensions that apply: those for one of the services (in their order) before those for all."""
    ranked: list[tuple[int, Json]] = []
    for entry in (*extensions(resource, PARAMETERS), *extensions(resource, MEDPLUM_PARAMETERS)):
        service = next(iter(extensions(entry, "service")), None)
        name = name_reference(service.get("valueReference")) if service else None
        if service is None:
            ranked.append((len(services), entry))
        elif name in services:
            ranked.append((services.index(name), entry))
    return [entry for _, entry in sorted(ranked, key=lambda each: each[0])]


def _fields(entry: Json) -> Iterator[tuple[str, Any]]:
    rows = _ROWS if entry["url"] == PARAMETERS else _MEDPLUM_ROWS
    for part in entry.get("extension") or ():
        row = rows.get(part.get("url", ""))
        if row is None or row.field is None:
            continue
        try:
            yield row.field, row.read(part)
        except ValueError:
            continue


# What one sub-extension may hold


@dataclass(frozen=True, slots=True)
class _Row:
    """A sub-extension: the field of Parameters it gives, if any, and how its value is read. ValueError says
    what would be right."""

    field: str | None
    read: Callable[[Json], Any]


def _minutes(least: int, most: int = TEN_YEARS_MINUTES, unit: int = 1) -> Callable[[Json], int]:
    """A reader of valueDuration in units of that many minutes, from `least` to `most` minutes."""

    def read(part: Json) -> int:
        duration = part.get("valueDuration")
        if not isinstance(duration, Mapping):
            raise ValueError("must have a valueDuration")
        factor = UNIT_MINUTES.get(str(duration.get("code", duration.get("unit"))))
        if factor is None:
            raise ValueError("must have one of the UCUM units min, h, d, wk")
        if duration.get("comparator"):
            raise ValueError("must be exact, without a comparator")
        minutes = _number(duration.get("value")) * factor
        if minutes % unit:
            raise ValueError("must be whole days" if unit == DAY_MINUTES else "must be whole minutes")
        if not least <= minutes <= most:
            raise ValueError(f"must be from {least} to {most} minutes")
        return int(minutes) // unit

    return read


def _number(value: object) -> Decimal:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = Decimal(str(value))
        if number.is_finite() and number.adjusted() < 12:
            return number
    raise ValueError("must have a number as its value")


def _positive(part: Json) -> int:
    value = part.get("valuePositiveInt", part.get("valueInteger"))
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("must have a valuePositiveInt of at least 1")
    return value


def _boolean(part: Json) -> bool:
    value = part.get("valueBoolean")
    if not isinstance(value, bool):
        raise ValueError("must have a valueBoolean")
    return value


def _zone_name(part: Json) -> str:
    name = part.get("valueCode", part.get("valueString"))
    if find_zone(name) is None:
        raise ValueError("must name a time zone of the IANA database, for example Europe/Berlin")
    return str(name)


def _service(part: Json) -> str:
    name = name_reference(part.get("valueReference"))
    if name is None or not name.startswith("HealthcareService/"):
        raise ValueError("must have a valueReference to a HealthcareService")
    return name


def _availability(part: Json) -> tuple[Json, ...]:
    """Medplum's weekly hours in the form of PractitionerRole.availableTime."""
    return tuple(_available_time(each) for each in extensions(part, "availableTime"))


def _available_time(part: Json) -> Json:
    read: Json = {}
    for each in part.get("extension") or ():
        value = next((value for key, value in each.items() if key.startswith("value")), None)
        if each.get("url") == "daysOfWeek":
            read.setdefault("daysOfWeek", []).append(value)
        else:
            read[str(each.get("url"))] = value
    return read


_ROWS: Mapping[str, _Row] = {
    "service": _Row(None, _service),
    "duration": _Row("duration_minutes", _minutes(1, DAY_MINUTES)),
    "bufferBefore": _Row("buffer_before_minutes", _minutes(0, DAY_MINUTES)),
    "bufferAfter": _Row("buffer_after_minutes", _minutes(0, DAY_MINUTES)),
    "alignmentInterval": _Row("alignment_minutes", _minutes(1, DAY_MINUTES)),
    "alignmentOffset": _Row("alignment_offset_minutes", _minutes(0, DAY_MINUTES)),
    "minimumNotice": _Row("notice_minutes_min", _minutes(0)),
    "bookingWindow": _Row("window_days_max", _minutes(DAY_MINUTES, unit=DAY_MINUTES)),
    "capacity": _Row("capacity", _positive),
    "maximumPerDay": _Row("per_day_max", _positive),
    "cancelNotice": _Row("cancel_notice_minutes", _minutes(0)),
    "rescheduleNotice": _Row("reschedule_notice_minutes", _minutes(0)),
    "reschedulesMax": _Row("reschedules_max", _positive),
    "confirmationRequired": _Row("confirmation_required", _boolean),
}

_MEDPLUM_ROWS: Mapping[str, _Row] = {
    **_ROWS,
    "slotCapacity": _Row("capacity", _positive),
    "timezone": _Row("zone", _zone_name),
    "alignmentTimezone": _Row("alignment_zone", _zone_name),
    "availability": _Row("availability", _availability),
}


# What the write door refuses

_Check: TypeAlias = Callable[[Json, str], Iterator[Issue]]


def problems(resource: Json) -> list[Issue]:
    """What is wrong with the scheduling extensions of a resource, each with its FHIRPath expression.

    Structure (types of values, grammar of dates) is the model's to check; this adds what the definitions of
    the extensions say: units, whole minutes, limits, zones that exist, no unknown or repeated parts.
    """
    kind = str(resource.get("resourceType"))
    issues = [issue for each in _checked(resource, kind) for issue in each]
    for name in ("availableTime", "hoursOfOperation"):
        for index, entry in enumerate(resource.get(name) or ()):
            issues += [issue for each in _checked(entry, f"{kind}.{name}[{index}]") for issue in each]
    return issues


def _checked(element: Json, path: str) -> Iterator[Iterator[Issue]]:
    for index, extension in enumerate(element.get("extension") or ()):
        check = _CHECKS.get(str(extension.get("url")))
        if check is not None:
            yield check(extension, f"{path}.extension[{index}]")


def _check_parameters(extension: Json, path: str) -> Iterator[Issue]:
    ours = extension["url"] == PARAMETERS
    rows = _ROWS if ours else _MEDPLUM_ROWS
    if ours:
        yield from _check_parts(extension, path, frozenset(rows), once=frozenset(rows))
    for index, part in enumerate(extension.get("extension") or ()):
        where, url = f"{path}.extension[{index}]", str(part.get("url"))
        if url == "service" and not path.startswith("Schedule."):
            yield Issue("extension", "service is for the parameters of a Schedule only", (where,))
        if url in rows:
            yield from _check_value(rows[url].read, part, where)


def _check_parts(
    extension: Json, path: str, known: frozenset[str], once: frozenset[str] = frozenset()
) -> Iterator[Issue]:
    seen: set[str] = set()
    for index, part in enumerate(extension.get("extension") or ()):
        url, where = str(part.get("url")), f"{path}.extension[{index}]"
        if url not in known:
            yield Issue("extension", f"{url} is unknown here; known are {', '.join(sorted(known))}", (where,))
        if url in seen & once:
            yield Issue("extension", f"{url} may be given only once", (where,))
        seen.add(url)


def _check_value(read: Callable[[Json], object], part: Json, path: str) -> Iterator[Issue]:
    try:
        read(part)
    except ValueError as error:
        yield Issue("value", f"{part.get('url')} {error}", (f"{path}.value",))


def _check_zone(extension: Json, path: str) -> Iterator[Issue]:
    yield from _check_value(_zone_name, {**extension, "url": "timezone"}, path)


def _check_override(extension: Json, path: str) -> Iterator[Issue]:
    yield from _check_parts(extension, path, frozenset({"date", "window"}), once=frozenset({"date"}))
    if not extensions(extension, "date"):
        yield Issue("required", "availability-override must have a date", (path,))
    for index, part in enumerate(extension.get("extension") or ()):
        where = f"{path}.extension[{index}]"
        if part.get("url") == "date":
            yield from _check_value(_date, part, where)
        elif part.get("url") == "window":
            yield from _check_window(part, where)


def _check_window(window: Json, path: str) -> Iterator[Issue]:
    bounds = frozenset({"start", "end"})
    yield from _check_parts(window, path, bounds, once=bounds)
    for bound in sorted(bounds):
        if not extensions(window, bound):
            yield Issue("required", f"window must have a {bound}", (path,))
    for index, part in enumerate(window.get("extension") or ()):
        if part.get("url") in bounds:
            yield from _check_value(_time, part, f"{path}.extension[{index}]")


def _check_not_available(extension: Json, path: str) -> Iterator[Issue]:
    known = frozenset({"description", "during"})
    yield from _check_parts(extension, path, known, once=known)
    if not extensions(extension, "during"):
        yield Issue("required", "not-available must have a during", (path,))
    for index, part in enumerate(extension.get("extension") or ()):
        if part.get("url") == "during":
            yield from _check_value(_period, part, f"{path}.extension[{index}]")


def _check_effective(extension: Json, path: str) -> Iterator[Issue]:
    yield from _check_value(_period, {**extension, "url": "effective-period"}, path)


def _check_accepts(extension: Json, path: str) -> Iterator[Issue]:
    rows = {"newPatients": _boolean, "insurance": _insurance}
    yield from _check_parts(extension, path, frozenset(rows), once=frozenset({"newPatients"}))
    yield from _check_rows(rows, extension, path)


def _check_calendar(extension: Json, path: str) -> Iterator[Issue]:
    rows = {"name": _name, "kind": _kind}
    yield from _check_parts(extension, path, frozenset(rows), once=frozenset(rows))
    yield from _check_rows(rows, extension, path)


def _check_form(extension: Json, path: str) -> Iterator[Issue]:
    rows = {"questionnaire": _questionnaire, "when": _when}
    yield from _check_parts(extension, path, frozenset(rows), once=frozenset(rows))
    if not extensions(extension, "questionnaire"):
        yield Issue("required", "required-form must have a questionnaire", (path,))
    yield from _check_rows(rows, extension, path)


def _check_rows(rows: Mapping[str, Callable[[Json], object]], extension: Json, path: str) -> Iterator[Issue]:
    for index, part in enumerate(extension.get("extension") or ()):
        if part.get("url") in rows:
            yield from _check_value(rows[part["url"]], part, f"{path}.extension[{index}]")


CALENDAR_KINDS = ("standard", "promotional", "campaign")


def _kind(part: Json) -> str:
    if part.get("valueCode") not in CALENDAR_KINDS:
        raise ValueError(f"must have a valueCode, one of {', '.join(CALENDAR_KINDS)}")
    return str(part["valueCode"])


BEFORE_BOOKING, BEFORE_VISIT = "before-booking", "before-visit"


def _when(part: Json) -> str:
    if part.get("valueCode") not in (BEFORE_BOOKING, BEFORE_VISIT):
        raise ValueError(f"must have a valueCode, {BEFORE_BOOKING} or {BEFORE_VISIT}")
    return str(part["valueCode"])


def _questionnaire(part: Json) -> str:
    if not isinstance(part.get("valueCanonical"), str):
        raise ValueError("must have a valueCanonical, the url of a Questionnaire")
    return str(part["valueCanonical"])


def _name(part: Json) -> str:
    if not isinstance(part.get("valueString"), str):
        raise ValueError("must have a valueString")
    return str(part["valueString"])


def _insurance(part: Json) -> Json:
    named = name_reference(part.get("valueReference")) or (part.get("valueCoding") or {}).get("code")
    if not named:
        raise ValueError("must have a valueCoding with a code, or a valueReference to an InsurancePlan or Organization")
    return part


def _date(part: Json) -> date:
    value = str(part.get("valueDate"))
    if len(value) != 10:
        raise ValueError("must have a valueDate with year, month and day")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("must have a valueDate that exists") from None


def _time(part: Json) -> timedelta:
    return read_time(part.get("valueTime"))


def _period(part: Json) -> Json:
    value = part.get("valuePeriod")
    if not isinstance(value, dict) or not (value.get("start") or value.get("end")):
        raise ValueError("must have a valuePeriod with a start, an end or both")
    return value


_CHECKS: Mapping[str, _Check] = {
    PARAMETERS: _check_parameters,
    MEDPLUM_PARAMETERS: _check_parameters,
    OVERRIDE: _check_override,
    NOT_AVAILABLE: _check_not_available,
    EFFECTIVE_PERIOD: _check_effective,
    TIMEZONE: _check_zone,
    ACCEPTS: _check_accepts,
    CALENDAR: _check_calendar,
    REQUIRED_FORM: _check_form,
}
