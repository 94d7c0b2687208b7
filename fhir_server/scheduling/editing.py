"""Weekly hours and blocks of a PractitionerRole as they are after an edit (docs/find-slots.md).

http://hl7.org/fhir/R4/practitionerrole.html#PractitionerRole.availableTime says what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from fhir_server.outcome import Json
from fhir_server.scheduling.availability import effective_days
from fhir_server.scheduling.parameters import EFFECTIVE_PERIOD

DAY = timedelta(days=1)


def with_hours(resource: Json, hours: Sequence[Json], first: date, last: date, zone: ZoneInfo) -> Json:
    """The resource with these weekly hours from the first to the last local day, both included; before and after them
    its former hours hold on. `date.min` and `date.max` are no bound.

    former   [==========================)        hours  [=======)
    result   [======)[=======)[=========)
    """
    former = resource.get("availableTime") or ()
    before = _within(former, date.min, first - DAY, zone) if first > date.min else ()
    after = _within(former, last + DAY, date.max, zone) if last < date.max else ()
    return _with(resource, "availableTime", [*before, *_within(hours, first, last, zone), *after])


def with_blocks(resource: Json, blocks: Sequence[Json]) -> Json:
    """The resource with these blocks instead of its own."""
    return _with(resource, "notAvailable", list(blocks))


def _with(resource: Json, element: str, values: list[Json]) -> Json:
    bare = {name: value for name, value in resource.items() if name != element}
    return {**bare, element: values} if values else bare


def _within(entries: Sequence[Json], low: date, high: date, zone: ZoneInfo) -> Iterator[Json]:
    """The weekly hours as far as they hold on days from `low` to `high`, both included."""
    for entry in entries:
        first, last = effective_days(entry, zone)
        if low <= first and last <= high:
            yield entry
        elif max(first, low) <= min(last, high):
            yield _effective(entry, max(first, low), min(last, high))


def _effective(entry: Json, first: date, last: date) -> Json:
    period = {} if first == date.min else {"start": first.isoformat()}
    period |= {} if last == date.max else {"end": last.isoformat()}
    others = [each for each in entry.get("extension") or () if each.get("url") != EFFECTIVE_PERIOD]
    return {**entry, "extension": [*others, {"url": EFFECTIVE_PERIOD, "valuePeriod": period}]}
