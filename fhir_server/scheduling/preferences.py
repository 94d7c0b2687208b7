"""Days of the week and times of the day that suit the one who asks, and which patients a Schedule takes.

Times are by the clock of the Schedule (http://hl7.org/fhir/R4/datatypes.html#Timing).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from fhir_server.outcome import FhirError, Json
from fhir_server.scheduling.availability import WEEKDAYS, Calendar, local_wall
from fhir_server.scheduling.intervals import Interval
from fhir_server.scheduling.parameters import ACCEPTS, UNIT_MINUTES, extensions, name_reference

DAY = timedelta(days=1)

PARTS_OF_DAY: Mapping[str, str] = {
    "MORN": "06:00-12:00",
    "MORN.early": "06:00-09:00",
    "MORN.late": "09:00-12:00",
    "NOON": "12:00-14:00",
    "AFT": "12:00-18:00",
    "AFT.early": "12:00-15:00",
    "AFT.late": "15:00-18:00",
    "EVE": "18:00-22:00",
    "EVE.early": "18:00-20:00",
    "EVE.late": "20:00-22:00",
    "NIGHT": "22:00-06:00",
}
"""What the codes of http://hl7.org/fhir/R4/valueset-event-timing.html that are parts of a day mean here."""

PREFERENCES_MAX = 20
"""Alternatives that one search may name, once a Timing is written out."""

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIMES = re.compile(rf"({_CLOCK})(?:-({_CLOCK}|24:00))?")


@dataclass(frozen=True, slots=True)
class Preference:
    """Times that suit: on these weekdays (none is any), begun within a day of `start` and wholly within [start, end),
    since local midnight; without an end they begin exactly at `start`. An end past 24 h is on the next day, whose early
    hours belong to the day before."""

    weekdays: frozenset[int]
    start: timedelta = timedelta(0)
    end: timedelta | None = 2 * DAY

    def suits(self, start: datetime, end: datetime, zone: ZoneInfo) -> bool:
        """Whether [start, end) is such a time in the zone."""
        opens, closes = local_wall(start, zone), local_wall(end, zone)
        for days in (0, 1):
            midnight = datetime.combine(opens.date(), datetime.min.time()) - days * DAY
            if self.weekdays and midnight.weekday() not in self.weekdays:
                continue
            if self.end is None:
                if opens - midnight == self.start:
                    return True
            elif self.start <= opens - midnight < self.start + DAY and closes - midnight <= self.end:
                return True
        return False


def read_preference(text: str, where: str) -> Preference:
    """`mon,wed 09:00-12:00`: days, times or both. Times are a span, a time at which to begin, or a part of the day."""
    parts = text.split()
    days = parts.pop(0).split(",") if parts and parts[0].split(",")[0] in WEEKDAYS else []
    times = _TIMES.fullmatch(PARTS_OF_DAY.get(parts[0], parts[0])) if len(parts) == 1 else None
    if (parts and times is None) or not (parts or days) or not WEEKDAYS.keys() >= set(days):
        right = f"mon,wed 09:00-12:00, or sat, 14:30, or one of {', '.join(PARTS_OF_DAY)}"
        raise FhirError("value", f"{where}: {text} is no preference of days and times; one is {right}.", where)
    weekdays = frozenset(WEEKDAYS[day] for day in days)
    if times is None:
        return Preference(weekdays)
    start = _clock(times[1])
    end = _clock(times[2]) if times[2] else None
    return Preference(weekdays, start, end + DAY if end is not None and end <= start else end)


def _clock(text: str) -> timedelta:
    hours, minutes = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))


_READ = frozenset({"dayOfWeek", "timeOfDay", "when", "duration", "durationUnit"})
"""The elements of Timing.repeat that say when it suits."""


def spell_timing(timing: Json, where: str) -> list[str]:
    """The Timing as texts that `read_preference` reads, one for each of its times. Refuses elements that it does not
    read, rather than to find what was not asked for."""
    repeat = timing.get("repeat") or {}
    others = sorted((set(timing) - {"repeat", "id"}) | {f"repeat.{name}" for name in set(repeat) - _READ - {"id"}})
    if others or not repeat:
        text = f"{where}: of a Timing, repeat.{', repeat.'.join(sorted(_READ))} are read"
        raise FhirError("not-supported", f"{text}, not {', '.join(others) or 'nothing'}.", where, status=400)
    days = ",".join(repeat.get("dayOfWeek", ()))
    times = [*_spell_times(repeat, where), *map(str, repeat.get("when", ()))]
    if "duration" in repeat and "timeOfDay" not in repeat:
        text = f"{where}: repeat.duration is how long the time from a repeat.timeOfDay lasts."
        raise FhirError("not-supported", text, where, status=400)
    unknown = [code for code in repeat.get("when", ()) if code not in PARTS_OF_DAY]
    if unknown:
        text = f"{where}: {unknown[0]} is no part of a day; those are {', '.join(PARTS_OF_DAY)}."
        raise FhirError("not-supported", text, where, status=400)
    return [f"{days} {time}".strip() for time in times or [""]]


def _spell_times(repeat: Json, where: str) -> Iterator[str]:
    for time in repeat.get("timeOfDay", ()):
        if time[5:].strip(":0."):
            text = f"{where}: repeat.timeOfDay is a whole minute, not {time}."
            raise FhirError("not-supported", text, where, status=400)
        start = _clock(time[:5])
        if "duration" not in repeat:
            yield time[:5]
            continue
        minutes = Decimal(str(repeat["duration"])) * UNIT_MINUTES.get(repeat.get("durationUnit", ""), 0)
        if not 0 < minutes <= UNIT_MINUTES["d"] or minutes % 1:
            text = f"{where}: repeat.duration is from 1 minute to 1 day, in min, h or d."
            raise FhirError("value", text, where)
        end = (start + timedelta(minutes=int(minutes))) % DAY
        yield f"{time[:5]}-{end.seconds // 3600:02}:{end.seconds // 60 % 60:02}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What suits the one who asks: any of the preferences, a Schedule that takes new patients, one of the insurances,
    which are references or tokens (`*|code`, `system|code`)."""

    preferences: Sequence[Preference] = ()
    new_patient: bool = False
    insurances: frozenset[str] = frozenset()

    def suit(self, interval: Interval, zone: ZoneInfo) -> bool:
        """Whether any of the preferences is for this time, or there are none."""
        return not self.preferences or any(each.suits(interval.start, interval.end, zone) for each in self.preferences)

    def taken_by(self, calendar: Calendar) -> bool:
        """Whether the Schedule takes such a patient: it, else its services, say whom; what nothing says is no bar."""
        if self.new_patient and _said(calendar, "newPatients", "valueBoolean") == [False]:
            return False
        insurances = {name for part in _parts(calendar, "insurance") for name in _names(part)}
        return not self.insurances or not insurances or not insurances.isdisjoint(self.insurances)


def _said(calendar: Calendar, name: str, element: str) -> list[object]:
    return [part.get(element) for part in _parts(calendar, name)]


def _parts(calendar: Calendar, name: str) -> list[Json]:
    """The parts of that name in `accepts` of the Schedule, or of the first of its services that has any."""
    for resource in (calendar.schedule, *calendar.services):
        parts = [part for extension in extensions(resource, ACCEPTS) for part in extensions(extension, name)]
        if parts:
            return parts
    return []


def _names(part: Json) -> Iterator[str]:
    if reference := name_reference(part.get("valueReference")):
        yield reference
    coding = part.get("valueCoding", {})
    if "code" in coding:
        yield f"*|{coding['code']}"
        yield f"{coding.get('system', '')}|{coding['code']}"
