"""Counts and rates of Appointments over a period, from tallies that the store made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import gcd
from typing import TypeAlias
from zoneinfo import ZoneInfo

from fhir_server.plan import Tally
from fhir_server.scheduling.lifecycle import PRESENT

Concept: TypeAlias = tuple[str | None, str | None]
"""A system and a code, each None if there is none."""

CODES = ("status",)
CONCEPTS = ("appointmentType", "serviceType", "cancelationReason")
"""What Appointments are told apart by, as elements."""

VISITS = PRESENT | {"booked", "fulfilled", "noshow"}
"""Appointments in these statuses are, or were, expected: they make up the days and the hours."""

CAME = PRESENT | {"fulfilled"}
OVER = frozenset({"fulfilled", "noshow", "cancelled"})


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many Appointments there are in a period of so many local days. `days` and `hours` count visits."""

    day_count: int
    statuses: Mapping[str, int]
    appointment_types: Mapping[Concept, int]
    service_types: Mapping[Concept, int]
    reasons: Mapping[Concept, int]
    days: Mapping[date, int]
    hours: Mapping[int, int]

    @property
    def total(self) -> int:
        return sum(self.statuses.values())

    @property
    def visits(self) -> int:
        return self._of(VISITS)

    @property
    def mean_per_day(self) -> Decimal:
        """Visits on a day of the period, those without any included."""
        return _rate(self.visits, self.day_count) or Decimal(0)

    @property
    def noshow_rate(self) -> Decimal | None:
        """Of those who came or should have come, how many did not; None if there was nobody."""
        return _rate(self._of(("noshow",)), self._of(CAME | {"noshow"}))

    @property
    def completion_rate(self) -> Decimal | None:
        """Of what is over, fulfilled or not, how much was fulfilled; None if nothing is over."""
        return _rate(self._of(("fulfilled",)), self._of(OVER))

    def _of(self, statuses: Iterable[str]) -> int:
        return sum(self.statuses.get(status, 0) for status in statuses)


def step_minutes(start: datetime, end: datetime, zone: ZoneInfo) -> int:
    """The longest step by which instants can be cut in UTC so that in the zone each piece lies within one hour:

    60 where the clock differs from UTC by whole hours, 30 in India, 15 in Nepal.
    """
    minutes = 60
    for day in _days(start, end + timedelta(days=1), zone):
        offset = datetime(day.year, day.month, day.day, tzinfo=zone).utcoffset() or timedelta(0)
        minutes = gcd(minutes, int(offset.total_seconds()) // 60)
    return minutes


def summarize(
    kinds: Sequence[Tally], times: Sequence[Tally], start: datetime, end: datetime, zone: ZoneInfo
) -> Statistics:
    """The statistics of [start, end), from tallies by `CODES` and `CONCEPTS`, and of visits by `step_minutes`."""
    statuses: Counter[str] = Counter()
    appointment_types: Counter[Concept] = Counter()
    service_types: Counter[Concept] = Counter()
    reasons: Counter[Concept] = Counter()
    for one in kinds:
        status = one.codes[0] or ""
        statuses[status] += one.count
        appointment_types[one.concepts[0]] += one.count
        service_types[one.concepts[1]] += one.count
        if status == "cancelled":
            reasons[one.concepts[2]] += one.count
    days: Counter[date] = Counter()
    hours: Counter[int] = Counter()
    for one in times:
        if one.at is not None:
            local = one.at.astimezone(zone)
            days[local.date()] += one.count
            hours[local.hour] += one.count
    count = sum(1 for _ in _days(start, end, zone))
    return Statistics(count, statuses, appointment_types, service_types, reasons, days, hours)


def _days(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[date]:
    """The local dates of [start, end)."""
    day, last = start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def _rate(part: int, whole: int) -> Decimal | None:
    return (Decimal(part) / whole).quantize(Decimal("0.0001")) if whole else None
