"""Date parameters (http://hl7.org/fhir/R4/search.html#date).

Every value is an interval [l, h) of instants in UTC, to the millisecond: a date or partial date spans its
precision, a Period reaches to the end of what its end says, a moment is one millisecond long. A missing
bound is the first or last instant there is.

    S             [======)
    eq             [T==)
    gt                [T======)    ge: eq or gt
    lt         [T=====)            le: eq or lt
    sa                     [T==)
    eb      [T===)
    ap                [T======)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.search.filters import Filter, beneath, disjoin, some_element
from fhir_server.search.parameters import STORED, Frame, Scalar, bad_value, place
from fhir_server.search.path import element
from fhir_server.search.text import unescape

MODIFIERS: tuple[str, ...] = ()

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)

INSTANTS = frozenset({"start", "lastUpdated", "issued", "recorded", "timestamp"})
"""Elements that are instants wherever a search expression ends with them: one bound says everything, so that
a window of time is one range of an index."""

DATE = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d+))?)?"
    r"(?P<zone>Z|[-+ ](?:0\d|1[0-3]):[0-5]\d|[-+ ]14:00)?)?)?)?",
    re.ASCII,
)
"""What a search accepts; what is stored was checked at the door. A blank is a `+` that was decoded once too
often."""

PREFIX = re.compile(r"(eq|ne|gt|ge|lt|le|sa|eb|ap)?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Span:
    """[low, high), both in UTC, start included and end excluded."""

    low: datetime
    high: datetime


RANGES: Mapping[str, Callable[[Span], Filter]] = {
    "eq": lambda s: {"l": {"$gte": s.low}, "h": {"$lte": s.high}},
    "ne": lambda s: {"$or": [{"l": {"$lt": s.low}}, {"h": {"$gt": s.high}}]},
    "gt": lambda s: {"h": {"$gt": s.high}},
    "lt": lambda s: {"l": {"$lt": s.low}},
    "ge": lambda s: {"h": {"$gt": s.low}, "$or": [{"l": {"$gte": s.low}}, {"h": {"$gt": s.high}}]},
    "le": lambda s: {"l": {"$lt": s.high}, "$or": [{"l": {"$lt": s.low}}, {"h": {"$lte": s.high}}]},
    "sa": lambda s: {"l": {"$gte": s.high}},
    "eb": lambda s: {"h": {"$lte": s.low}},
    "ap": lambda s: {"l": {"$lt": s.high}, "h": {"$gt": s.low}},
}
"""How an interval compares with the one searched for. In `ge` and `le` the first condition follows from the
others; it is there to be read from an index."""

POINTS: Mapping[str, Callable[[Span], Filter]] = {
    "eq": lambda s: {"l": {"$gte": s.low, "$lt": s.high}},
    "ne": lambda s: {"$or": [{"l": {"$lt": s.low}}, {"l": {"$gte": s.high}}]},
    "gt": lambda s: {"l": {"$gte": s.high}},
    "lt": lambda s: {"l": {"$lt": s.low}},
    "ge": lambda s: {"l": {"$gte": s.low}},
    "le": lambda s: {"l": {"$lt": s.high}},
    "sa": lambda s: {"l": {"$gte": s.high}},
    "eb": lambda s: {"l": {"$lt": s.low}},
    "ap": lambda s: {"l": {"$gte": s.low, "$lt": s.high}},
}
"""The same for an instant, in terms of its start alone."""


def extract(parameter: SearchParameter, values: Sequence[Any], frame: Frame) -> tuple[Any, list[Scalar]]:
    """{l, h}, or a list of them if the row says `many`, and the starts to sort by. Several values where the
    row does not say so count as the one interval around them."""
    spans = [span for value in values for span in _spans(value, frame.zone)]
    if spans and not parameter.many:
        spans = [Span(min(span.low for span in spans), max(span.high for span in spans))]
    kept = [{"l": span.low, "h": span.high} for span in spans]
    return (kept if parameter.many else next(iter(kept), None)), [span.low for span in spans]


def compile(parameter: SearchParameter, _: str, values: Sequence[str], frame: Frame, now: datetime) -> Filter:
    """The filter for any of the values, each with a prefix or `eq`; 400 for what is no date."""
    sought = [_read(parameter, unescape(value), frame.zone) for value in values]
    return condition(parameter, [(prefix, _widen(date, now) if prefix == "ap" else date) for prefix, date in sought])


def overlapping(parameter: SearchParameter, value: str, frame: Frame) -> Filter:
    """The filter for what has an instant in common with the date; 400 for what is none."""
    _, date = _read(parameter, f"eq{value}", frame.zone)
    return condition(parameter, [("ap", date)])


def condition(parameter: SearchParameter, sought: Sequence[tuple[str, Span]]) -> Filter:
    """The filter for any of the prefixes with their intervals."""
    comparisons = POINTS if is_instant(parameter) else RANGES
    conditions = [comparisons[prefix](date) for prefix, date in sought]
    if parameter.code in STORED:
        return disjoin([_rename(each, place(parameter)) for each in conditions])
    if parameter.many:
        return some_element(place(parameter), conditions)
    return disjoin([beneath(place(parameter), each) for each in conditions])


def is_instant(parameter: SearchParameter) -> bool:
    """Whether every value of the parameter is a moment."""
    return element(parameter.expression) in INSTANTS


def parse_span(text: str, zone: tzinfo) -> Span | None:
    """The interval that a date, dateTime or instant stands for, or None if it is none of them.

    Without an offset it is in `zone`. 24:00 is no time; second 60 is the first of the next minute.
    """
    found = DATE.fullmatch(text)
    if found is None:
        return None
    given = found.groupdict()
    try:
        if given["hour"] is None:
            return _day_span(int(given["year"]), given["month"], given["day"], zone)
        return _time_span(given, zone)
    except ValueError:
        return None


def _spans(value: Any, zone: tzinfo) -> Iterator[Span]:
    """A moment is one millisecond whatever the precision of its seconds; malformed values have no
    interval."""
    if isinstance(value, str):
        span = parse_span(value, zone)
        if span:
            yield Span(span.low, _plus(span.low, MOMENT)) if "T" in value else span
    elif isinstance(value, dict) and ("start" in value or "end" in value):
        start, end = (parse_span(value.get(bound) or "", zone) for bound in ("start", "end"))
        if start or end:
            yield Span(start.low if start else FIRST, end.high if end else LAST)


def _day_span(year: int, month: str | None, day: str | None, zone: tzinfo) -> Span:
    first = datetime(year, int(month or 1), int(day or 1), tzinfo=zone)
    try:
        if day:
            after = first + timedelta(days=1)
        elif month:
            after = first.replace(year=year + first.month // 12, month=first.month % 12 + 1)
        else:
            after = first.replace(year=year + 1)
    except (ValueError, OverflowError):
        return Span(_utc(first), LAST)
    return Span(_utc(first), _utc(after))


def _time_span(given: Mapping[str, str | None], zone: tzinfo) -> Span:
    year, month, day, hour, minute = (int(given[part] or 0) for part in ("year", "month", "day", "hour", "minute"))
    second, fraction = int(given["second"] or 0), (given["fraction"] or "")[:3]
    leap = int(second == 60)
    microsecond = int(fraction.ljust(3, "0")) * 1000
    zone = _offset(given["zone"], zone)
    moment = datetime(year, month, day, hour, minute, second - leap, microsecond, zone)
    low = _plus(_utc(moment), timedelta(seconds=leap))
    width = timedelta(milliseconds=10 ** (3 - len(fraction)) if given["second"] else 60_000)
    return Span(low, _plus(low, width))


def _plus(moment: datetime, width: timedelta) -> datetime:
    return moment + width if LAST - moment > width else LAST


def _offset(text: str | None, zone: tzinfo) -> tzinfo:
    if text is None:
        return zone
    if text == "Z":
        return UTC
    size = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-size if text[0] == "-" else size)


def _utc(moment: datetime) -> datetime:
    """The moment in UTC; the first or last instant there is if it lies beyond."""
    try:
        return min(moment.astimezone(UTC), LAST)
    except OverflowError:
        return FIRST if moment.year == 1 else LAST


def _read(parameter: SearchParameter, value: str, zone: tzinfo) -> tuple[str, Span]:
    match = PREFIX.fullmatch(value.strip())
    prefix, text = match.groups() if match else (None, "")
    span = parse_span(text, zone)
    if span is None:
        raise bad_value(
            parameter,
            value,
            "a date like 2026, 2026-01, 2026-01-15, 2026-01-15T09:30 or 2026-01-15T09:30:00+01:00, with or "
            "without a prefix (eq, ne, gt, ge, lt, le, sa, eb, ap)",
        )
    return prefix or "eq", span


def _widen(span: Span, now: datetime) -> Span:
    """The interval with a tenth of its distance from now added on both sides."""
    margin = abs(now - span.low) / 10
    low = span.low - margin if span.low - FIRST > margin else FIRST
    return Span(low, _plus(span.high, margin))


def _rename(condition: Mapping[str, Any], path: str) -> Filter:
    """A condition on the start alone, as a condition on `path`."""
    return {
        path if key == "l" else key: value if key == "l" else [_rename(each, path) for each in value]
        for key, value in condition.items()
    }
