"""How often an Appointment recurs: R5's recurrenceTemplate in its extension for R4, and the local dates that it means
(http://hl7.org/fhir/R5/appointment-definitions.html#Appointment.recurrenceTemplate, docs/series.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from itertools import islice
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from dateutil.rrule import DAILY, MO, MONTHLY, WEEKLY, YEARLY, rrule, weekday

from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.scheduling.parameters import find_zone

R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment"
TEMPLATE = f"{R5}.recurrenceTemplate"

UCUM = "http://unitsofmeasure.org"
WEEK_OF_MONTH = "http://hl7.org/fhir/week-of-month"
DAYS_OF_WEEK = "http://hl7.org/fhir/days-of-week"

FREQUENCIES = {"d": DAILY, "wk": WEEKLY, "mo": MONTHLY, "a": YEARLY}
"""http://hl7.org/fhir/R5/valueset-appointment-recurrrence-type.html"""

WEEKS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
"""http://hl7.org/fhir/R5/valueset-week-of-month.html"""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

LATEST = date(2999, 12, 31)
"""No occurrence is later, as no booking is."""


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-extension of the template: the element that has its value, whether it repeats, its own parts."""

    value: str = ""
    many: bool = False
    parts: Mapping[str, Part] = field(default_factory=dict)


PARTS: Mapping[str, Part] = {
    "timezone": Part("valueCodeableConcept"),
    "recurrenceType": Part("valueCodeableConcept"),
    "lastOccurrenceDate": Part("valueDate"),
    "occurrenceCount": Part("valuePositiveInt"),
    "occurrenceDate": Part("valueDate", many=True),
    "weeklyTemplate": Part(
        parts={**dict.fromkeys(WEEKDAYS, Part("valueBoolean")), "weekInterval": Part("valuePositiveInt")}
    ),
    "monthlyTemplate": Part(
        parts={
            "dayOfMonth": Part("valuePositiveInt"),
            "nthWeekOfMonth": Part("valueCoding"),
            "dayOfWeek": Part("valueCoding"),
            "monthInterval": Part("valuePositiveInt"),
        }
    ),
    "yearlyTemplate": Part(parts={"yearInterval": Part("valuePositiveInt")}),
    "excludingDate": Part("valueDate", many=True),
    "excludingRecurrenceId": Part("valuePositiveInt", many=True),
}

OF_TYPE: Mapping[str, str] = {"weeklyTemplate": "wk", "monthlyTemplate": "mo", "yearlyTemplate": "a"}
"""The recurrenceType that each of these is for."""

LISTED = ("weeklyTemplate", "monthlyTemplate", "yearlyTemplate", "occurrenceCount", "lastOccurrenceDate")
"""What says nothing beside a list of the dates."""


@dataclass(frozen=True, slots=True)
class Template:
    """A recurrenceTemplate as read. `place` is its expression. With `dates` the rest of the pattern says nothing;
    `weekdays` count from Monday, 0; `nth` is (week, weekday), -1 the last week."""

    place: str
    frequency: str
    zone: ZoneInfo | None = None
    interval: int = 1
    weekdays: tuple[int, ...] = ()
    month_day: int | None = None
    nth: tuple[int, int] | None = None
    count: int | None = None
    last: date | None = None
    dates: tuple[date, ...] = ()
    excluded: frozenset[date] = frozenset()
    excluded_ids: frozenset[int] = frozenset()


def read_template(appointment: Json) -> Template | None:
    """The template of an Appointment, None if it has none. Refuses one that is not right, with all that is wrong."""
    read = _read(appointment)
    if isinstance(read, list):
        raise FhirError.of(read, status=422)
    return read


def template_problems(appointment: Json) -> Sequence[Issue]:
    """What is wrong with the template of an Appointment."""
    read = _read(appointment)
    return read if isinstance(read, list) else ()


def occurrences(template: Template, first: date, most: int) -> list[tuple[int, date]]:
    """The recurrenceId and the local date of each occurrence, in order, the first one's included.

    As in iCalendar the count is of the pattern: an excluded occurrence keeps its number, and no other takes its
    place. A day that a month or year does not have is left out. Refuses more than `most`, and a first date that is not
    in the pattern.
    """
    dates = _dates(template, first, most)
    if len(dates) > most or (template.count or 0) > most:
        text = f"A series has at most {most} occurrences; an earlier end is needed."
        raise _refused(template, text, "too-costly", "series-too-long")
    if template.count and not template.last and len(dates) < template.count:
        raise _refused(template, f"The pattern has only {len(dates)} dates up to {LATEST}.", problem="too-far-away")
    kept = [
        (number, day)
        for number, day in enumerate(dates, 1)
        if day not in template.excluded and number not in template.excluded_ids
    ]
    if not kept or kept[0] != (1, first):
        fits = f"the next date that does is {kept[0][1]}" if kept else "no date does"
        text = f"The Appointment is the first occurrence, but {first} is not a date of the template: {fits}."
        raise _refused(template, text)
    return kept


def _dates(template: Template, first: date, most: int) -> list[date]:
    """The dates of the pattern from the first one on, the excluded ones too; `most` + 1 if there are more."""
    if template.dates:
        if early := [day for day in template.dates if day < first]:
            raise _refused(template, f"{early[0]} is before the first occurrence, {first}.")
        if max(template.dates) > LATEST:
            raise _refused(template, f"{max(template.dates)} is after {LATEST}.", problem="too-far-away")
        return sorted({first, *template.dates})
    week, day = template.nth or (0, 0)
    last = min(template.last or LATEST, LATEST)
    rule = rrule(
        FREQUENCIES[template.frequency],
        dtstart=datetime.combine(first, time.min),
        interval=template.interval,
        wkst=MO,
        byweekday=weekday(day)(week) if template.nth else template.weekdays or None,
        bymonthday=template.month_day,
        until=datetime.combine(last, time.min),
    )
    return [one.date() for one in islice(rule, min(template.count or most + 1, most + 1))]


def _refused(template: Template, text: str, code: str = "business-rule", problem: str = "not-recurring") -> FhirError:
    return FhirError(code, text, template.place, problem=problem, status=422)


# Reading

_Parts: TypeAlias = dict[str, list[tuple[str, Any]]]
"""By name the expression and the value of each part; of one that has parts, its parts."""


def _read(appointment: Json) -> Template | list[Issue] | None:
    problems: list[Issue] = []
    found = [
        (f"Appointment.extension[{index}]", extension)
        for index, extension in enumerate(appointment.get("extension") or ())
        if extension.get("url") == TEMPLATE
    ]
    if not found:
        return None
    if len(found) > 1:
        problems.append(_wrong(found[1][0], "an Appointment has one recurrenceTemplate"))
    place, extension = found[0]
    parts = _parts(extension, PARTS, place, problems)
    template = None if problems else _template(place, parts, problems)
    return template if template and not problems else problems


def _wrong(place: str, text: str) -> Issue:
    return Issue("extension", f"recurrenceTemplate: {text}.", (place,), "not-recurring")


def _parts(extension: Json, known: Mapping[str, Part], place: str, problems: list[Issue]) -> _Parts:
    """The parts by name; unknown ones, those that are there twice and those without their value are problems."""
    found: _Parts = {}
    for index, one in enumerate(extension.get("extension") or ()):
        name, where = str(one.get("url")), f"{place}.extension[{index}]"
        part = known.get(name)
        if part is None:
            problems.append(_wrong(where, f"there is no {name}; there is {', '.join(known)}"))
        elif name in found and not part.many:
            problems.append(_wrong(where, f"{name} can be given once"))
        elif part.parts:
            found[name] = [(where, _parts(one, part.parts, where, problems))]
        elif (value := one.get(part.value)) is None:
            problems.append(_wrong(where, f"{name} needs a {part.value}"))
        else:
            found.setdefault(name, []).append((where, value))
    return found


def _template(place: str, parts: _Parts, problems: list[Issue]) -> Template | None:
    """The template, if it can be read; what is wrong is added to the problems."""
    frequency = _frequency(place, parts, problems)
    _check_mixed(parts, frequency, problems)
    zone = _zone(parts, problems)
    count, last = _one(parts, "occurrenceCount"), next(iter(_days(parts, "lastOccurrenceDate", problems)), None)
    dates = tuple(_days(parts, "occurrenceDate", problems))
    if count is None and last is None and not dates:
        text = "it needs an end: occurrenceCount, lastOccurrenceDate or the dates themselves (occurrenceDate)"
        problems.append(_wrong(place, text))
    excluded = frozenset(_days(parts, "excludingDate", problems))
    excluded_ids = frozenset(value for _, value in parts.get("excludingRecurrenceId", ()))
    known = Template(place, frequency, zone, 1, (), None, None, count, last, dates, excluded, excluded_ids)
    name = next((name for name, of in OF_TYPE.items() if of == frequency and name in parts), None)
    if problems or name is None:
        return None if problems else known
    where, inner = parts[name][0]
    return _PATTERNS[name](known, where, inner, problems)


def _frequency(place: str, parts: _Parts, problems: list[Issue]) -> str:
    where, concept = parts.get("recurrenceType", [(place, {})])[0]
    codes = [one.get("code") for one in concept.get("coding", ()) if one.get("system") == UCUM]
    code = next((code for code in codes if code in FREQUENCIES), None)
    if code is None:
        problems.append(_wrong(where, f"recurrenceType is d, wk, mo or a, a code of {UCUM}"))
    return code or ""


def _check_mixed(parts: _Parts, frequency: str, problems: list[Issue]) -> None:
    """A template is of its recurrenceType, and beside a list of dates nothing else says when."""
    for name, (first, *_) in parts.items():
        if name in LISTED and "occurrenceDate" in parts:
            problems.append(_wrong(first[0], f"{name} and occurrenceDate cannot both say when"))
        elif frequency and OF_TYPE.get(name, frequency) != frequency:
            problems.append(_wrong(first[0], f"{name} is for recurrenceType {OF_TYPE[name]}, not {frequency}"))


def _zone(parts: _Parts, problems: list[Issue]) -> ZoneInfo | None:
    if "timezone" not in parts:
        return None
    where, concept = parts["timezone"][0]
    zone = next(filter(None, (find_zone(one.get("code")) for one in concept.get("coding", ()))), None)
    if zone is None:
        problems.append(_wrong(where, "timezone needs the code of an IANA time zone, like Europe/Berlin"))
    return zone


def _days(parts: _Parts, name: str, problems: list[Issue]) -> Iterator[date]:
    for where, text in parts.get(name, ()):
        try:
            if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
                raise ValueError(text)
            yield date.fromisoformat(text)
        except ValueError:
            problems.append(_wrong(where, f"{name} must be a whole date, like 2026-03-02"))


def _one(parts: _Parts, name: str) -> Any:
    return next((value for _, value in parts.get(name, ())), None)


def _weekly(known: Template, _place: str, parts: _Parts, _problems: list[Issue]) -> Template:
    days = tuple(number for number, name in enumerate(WEEKDAYS) if _one(parts, name))
    return replace(known, weekdays=days, interval=_one(parts, "weekInterval") or 1)


def _monthly(known: Template, place: str, parts: _Parts, problems: list[Issue]) -> Template:
    interval, day = _one(parts, "monthInterval"), _one(parts, "dayOfMonth")
    week = _code(parts, "nthWeekOfMonth", WEEK_OF_MONTH, tuple(WEEKS), problems)
    of_week = _code(parts, "dayOfWeek", DAYS_OF_WEEK, tuple(name[:3] for name in WEEKDAYS), problems)
    if interval is None:
        problems.append(_wrong(place, "monthlyTemplate needs monthInterval: 1 for every month"))
    if ("nthWeekOfMonth" in parts) != ("dayOfWeek" in parts):
        problems.append(_wrong(place, "nthWeekOfMonth and dayOfWeek belong together"))
    if "dayOfMonth" in parts and "dayOfWeek" in parts:
        problems.append(_wrong(place, "a month is by dayOfMonth or by nthWeekOfMonth and dayOfWeek, not both"))
    if day is not None and day > 31:
        problems.append(_wrong(parts["dayOfMonth"][0][0], "no month has more than 31 days"))
    nth = (WEEKS[week], [name[:3] for name in WEEKDAYS].index(of_week)) if week and of_week else None
    return replace(known, month_day=day, nth=nth, interval=interval or 1)


def _yearly(known: Template, place: str, parts: _Parts, problems: list[Issue]) -> Template:
    interval = _one(parts, "yearInterval")
    if interval is None:
        problems.append(_wrong(place, "yearlyTemplate needs yearInterval: 1 for every year"))
    return replace(known, interval=interval or 1)


_PATTERNS = {"weeklyTemplate": _weekly, "monthlyTemplate": _monthly, "yearlyTemplate": _yearly}


def _code(parts: _Parts, name: str, system: str, codes: Sequence[str], problems: list[Issue]) -> str | None:
    """The code of a Coding with a required binding; the system may be left out."""
    if name not in parts:
        return None
    where, coding = parts[name][0]
    code = coding.get("code")
    if coding.get("system", system) != system or code not in codes:
        problems.append(_wrong(where, f"{name} is {', '.join(codes)}, a code of {system}"))
        return None
    return str(code)
