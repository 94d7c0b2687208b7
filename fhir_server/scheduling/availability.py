"""When a Schedule is open and when it is blocked: the only module that knows local time.

Weekly hours, date overrides and blocks are written in wall-clock time; here they become intervals of UTC.
What a clock change does to them is written in conformance/decisions/0005-dst-contract.md. What the elements
mean: http://hl7.org/fhir/R4/practitionerrole.html, http://hl7.org/fhir/R4/schedule.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from zoneinfo import ZoneInfo

from fhir_server.outcome import Json
from fhir_server.scheduling.intervals import Interval, clip, intersect, normalize, overlaps, subtract, union
from fhir_server.scheduling.parameters import (
    EFFECTIVE_PERIOD,
    NOT_AVAILABLE,
    OVERRIDE,
    TIMEZONE,
    Parameters,
    extensions,
    find_zone,
    name_reference,
    read_time,
    resolve,
)

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
ALWAYS = Interval(EARLIEST, LATEST)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
WEEKDAYS = {code: number for number, code in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}


@dataclass(frozen=True, slots=True)
class Calendar:
    """A Schedule with all that decides when it is open.

    `roles` are the PractitionerRoles that are its actors, or of a Practitioner that is; `services` the
    HealthcareServices that are its actors, else those the roles name; `locations` its Location actors, else
    the roles' locations, else those of its Device actors, else those of its services if it has no role, and their
    partOf parents; `organizations` those that manage it.
    """

    schedule: Json
    roles: tuple[Json, ...]
    services: tuple[Json, ...]
    locations: tuple[Json, ...]
    organizations: tuple[Json, ...]
    parameters: Parameters
    zone: ZoneInfo


def calendar(
    schedule: Json,
    *,
    roles: Sequence[Json],
    services: Sequence[Json],
    locations: Sequence[Json],
    organizations: Sequence[Json],
    default_zone: ZoneInfo,
) -> Calendar:
    """The Calendar of a Schedule. Its zone is that of the timezone extension of the Schedule, else of
    Medplum's parameters, else of the first Location that has one, else the default."""
    parameters = resolve(schedule, services, organizations)
    zone = _own_zone(schedule) or find_zone(parameters.zone)
    zone = zone or next(filter(None, map(_own_zone, locations)), default_zone)
    return Calendar(schedule, tuple(roles), tuple(services), tuple(locations), tuple(organizations), parameters, zone)


# Open


def windows(calendar: Calendar, start: datetime, end: datetime) -> list[Interval]:
    """The open windows that overlap [start, end), unclipped and normal, before blocks are cut out.

    A calendar that is open day and night is one window; of it only the days around [start, end) are given.
    """
    wanted = Interval(start, end)
    return [each for each in normalize(openings(calendar, start, end)) if overlaps(each, wanted)]


def openings(calendar: Calendar, start: datetime, end: datetime) -> list[Interval]:
    """The open windows of each day, as `hours`, in the planning horizon; none if the Schedule is inactive."""
    if not is_active(calendar):
        return []
    span = horizon(calendar)
    return clip(hours(calendar, start, end), span.start, span.end)


def hours(calendar: Calendar, start: datetime, end: datetime) -> list[Interval]:
    """What weekly hours and overrides say, whole, for each local day that has to do with [start, end).

    Sorted and disjoint, but those of two days may touch: a window belongs to the day it starts on, and what
    an earlier day has already opened is not opened again.

    Mon 20:00-04:00  [========)             Mon [========)
    Tue 02:00-12:00        [==========)     Tue          [=======)
    """
    if end <= start:
        return []
    days = _days(local_day(start, calendar.zone), local_day(end, calendar.zone), before=3, after=1)
    sources = _sources(calendar, days)
    overrides = _overrides(calendar)
    pieces: list[Interval] = []
    yesterday: list[Interval] = []
    for day in days:
        today = overrides.get(day)
        if today is None:
            today = union(*(source.open_on(day) for source in sources))
        pieces += subtract(today, yesterday)
        yesterday = today
    wanted = Interval(start, end)
    return sorted(each for each in pieces if overlaps(each, wanted))


def is_active(calendar: Calendar) -> bool:
    """True unless Schedule.active says false."""
    return calendar.schedule.get("active") is not False


def horizon(calendar: Calendar) -> Interval:
    """Schedule.planningHorizon: its end is included by its precision (a day, a second)."""
    return span_of(calendar.schedule.get("planningHorizon") or {}, calendar.zone, SECOND)


# Blocked


def blocked(calendar: Calendar, start: datetime, end: datetime) -> list[Interval]:
    """What roles, services, organizations, the Schedule and its places block in [start, end); clipped, normal.

    A time is blocked for its places when every Location where it could take place is blocked, and for its
    services when every one that it could be for is; those that are actors of the Schedule are all needed. An
    entry without a period says nothing that can be computed.
    """
    zone = calendar.zone
    spans = [span for role in _roles(calendar) for span in _leave(role, zone)]
    spans += [span for r in (calendar.schedule, *calendar.organizations) for span in _closures(r, zone)]
    return clip(union(spans, _blocked_services(calendar), _blocked_places(calendar)), start, end)


def _leave(resource: Json, zone: ZoneInfo) -> list[Interval]:
    periods = [entry.get("during") for entry in resource.get("notAvailable") or ()]
    return normalize(span_of(during, zone) for during in periods if during)


def _blocked_services(calendar: Calendar) -> list[Interval]:
    """Of the services that roles name, those count that the Schedule says it is for, by its serviceType."""
    actors = _actors(calendar)
    own = [service for service in calendar.services if _name(service) in actors]
    if own:
        return union(*(_leave(service, calendar.zone) for service in own))
    wanted = _codes(calendar.schedule.get("serviceType"))
    meant = [service for service in calendar.services if not wanted.isdisjoint(_codes(service.get("type")))]
    leaves = [_leave(service, calendar.zone) for service in meant or calendar.services]
    return reduce(intersect, leaves) if leaves else []


def _codes(concepts: Iterable[Json] | None) -> set[tuple[str | None, str | None]]:
    codings = (coding for concept in concepts or () for coding in concept.get("coding") or ())
    return {(coding.get("system"), coding.get("code")) for coding in codings}


def _blocked_places(calendar: Calendar) -> list[Interval]:
    if _actor_places(calendar):
        return union(*(_blocked_place(calendar, place) for place in _actor_places(calendar)))
    places = [_places(calendar, role) for role in _roles(calendar) or (None,)]
    if not all(places):
        return []
    return reduce(intersect, [_blocked_place(calendar, place) for group in places for place in group])


def _blocked_place(calendar: Calendar, place: Json) -> list[Interval]:
    """When a Location or one it is part of is blocked, by the clock of each."""
    return union(*(_closures(each, _own_zone(each) or calendar.zone) for each in _lineage(calendar, place)))


def _closures(resource: Json, zone: ZoneInfo) -> list[Interval]:
    periods = [
        during.get("valuePeriod")
        for extension in extensions(resource, NOT_AVAILABLE)
        for during in extensions(extension, "during")
    ]
    return normalize(span_of(period, zone) for period in periods if period)


# Who is open: weekly hours, who bears them, and what limits them


@dataclass(frozen=True, slots=True)
class _Hours:
    """One availableTime: wall-clock times since midnight of its day; an end past 24 h is on the next day."""

    weekdays: frozenset[int]
    start: timedelta
    end: timedelta
    first: date
    last: date


EVERY_HOUR = _Hours(frozenset(WEEKDAYS.values()), timedelta(0), DAY, date.min, date.max)


@dataclass(frozen=True, slots=True)
class _Source:
    """Weekly hours by the clock of a zone, that count only within a normal list."""

    hours: tuple[_Hours, ...]
    zone: ZoneInfo
    within: list[Interval]

    def open_on(self, day: date) -> list[Interval]:
        """What starts on that day, normal."""
        spans = [
            _between(day, hours.start, hours.end, self.zone)
            for hours in self.hours
            if day.weekday() in hours.weekdays and hours.first <= day <= hours.last
        ]
        return intersect(normalize(spans), self.within)


def _sources(calendar: Calendar, days: Sequence[date]) -> list[_Source]:
    """Who bears weekly hours. Roles theirs, or the services' if no role has any; services theirs where there
    are no roles; Locations theirs where there are neither; a Device can be used whenever its place is open. Hours
    of the Schedule itself come before all."""
    zone = calendar.zone
    own = calendar.parameters.availability
    offered = own or [t for s in calendar.services if s.get("active") is not False for t in _available(s)]
    if calendar.roles:
        by_role = not own and any(map(_available, calendar.roles))
        return [
            _Source(
                _read_hours(_available(role) if by_role else offered, zone),
                zone,
                intersect(
                    normalize([span_of(role.get("period") or {}, zone)]),
                    _open_places(calendar, _places(calendar, role), days),
                ),
            )
            for role in _roles(calendar)
        ]
    places = _places(calendar, None)
    limits = _open_places(calendar, places, days)
    if calendar.services or own:
        return [_Source(_read_hours(offered, zone), zone, limits)]
    if any(name and name.startswith("Device/") for name in _actors(calendar)):
        return [_Source((EVERY_HOUR,), zone, limits)]
    return [_Source(*_place_hours(calendar, place), limits) for place in places]


def _available(resource: Json) -> list[Json]:
    return list(resource.get("availableTime") or ())


def _open_places(calendar: Calendar, places: Sequence[Json], days: Sequence[date]) -> list[Interval]:
    """When the places are open: any of them, or all if they are actors. One without hours is always open."""
    if not places:
        return [ALWAYS]
    common = _blocked_places(calendar)
    each = [
        subtract(_open_place(calendar, place, days), subtract(_blocked_place(calendar, place), common))
        for place in places
    ]
    return reduce(intersect, each) if _actor_places(calendar) else union(*each)


def _open_place(calendar: Calendar, place: Json, days: Sequence[date]) -> list[Interval]:
    weekly, zone = _place_hours(calendar, place)
    if not weekly:
        return [ALWAYS]
    source = _Source(weekly, zone, [ALWAYS])
    around = _days(days[0], days[-1], before=1, after=1)
    return union(*(source.open_on(day) for day in around))


def _place_hours(calendar: Calendar, place: Json) -> tuple[tuple[_Hours, ...], ZoneInfo]:
    """The hoursOfOperation of a Location, else of the nearest it is part of, and the zone they are written
    in."""
    for each in _lineage(calendar, place):
        if each.get("hoursOfOperation"):
            zone = _own_zone(each) or calendar.zone
            return _read_hours(each["hoursOfOperation"], zone, "openingTime", "closingTime"), zone
    return (), calendar.zone


def _roles(calendar: Calendar) -> list[Json]:
    """The roles that count: active, and not of another place than the Schedule's, unless they are its
    actors."""
    here = {name for place in calendar.locations for name in (_name(place), name_reference(place.get("partOf")))}
    actors = _actors(calendar)

    def counts(role: Json) -> bool:
        at = {name_reference(location) for location in role.get("location") or ()}
        elsewhere = bool(_actor_places(calendar) and at) and not at & here
        return role.get("active") is not False and (not elsewhere or _name(role) in actors)

    return [role for role in calendar.roles if counts(role)]


def _places(calendar: Calendar, role: Json | None) -> list[Json]:
    """The Locations where it can take place: the Schedule's own, else the role's; without a role, all that
    are not merely the parent of another."""
    if _actor_places(calendar):
        return _actor_places(calendar)
    if role is not None:
        at = {name_reference(location) for location in role.get("location") or ()}
        return [place for place in calendar.locations if _name(place) in at]
    parents = {name_reference(place.get("partOf")) for place in calendar.locations}
    return [place for place in calendar.locations if _name(place) not in parents]


def sites(calendar: Calendar) -> list[Json]:
    """The Locations where a visit can take place, without those that they are part of."""
    places = (place for role in _roles(calendar) or (None,) for place in _places(calendar, role))
    return list({_name(place): place for place in places}.values())


def _actor_places(calendar: Calendar) -> list[Json]:
    actors = _actors(calendar)
    return [place for place in calendar.locations if _name(place) in actors]


def _actors(calendar: Calendar) -> set[str | None]:
    return {name_reference(actor) for actor in calendar.schedule.get("actor") or ()}


def _lineage(calendar: Calendar, place: Json) -> Iterator[Json]:
    """A Location and those it is part of, the nearest first; a circle ends."""
    by_name = {_name(each): each for each in calendar.locations}
    next_place: Json | None = place
    while next_place is not None:
        yield next_place
        by_name.pop(_name(next_place), None)
        next_place = by_name.get(name_reference(next_place.get("partOf")) or "")


def _name(resource: Json) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}"


def _own_zone(resource: Json) -> ZoneInfo | None:
    zones = (find_zone(each.get("valueCode", each.get("valueString"))) for each in extensions(resource, TIMEZONE))
    return next(filter(None, zones), None)


# Reading hours and overrides


def _read_hours(
    entries: Iterable[Json],
    zone: ZoneInfo,
    start: str = "availableStartTime",
    end: str = "availableEndTime",
) -> tuple[_Hours, ...]:
    """Hours as written. No daysOfWeek is every day; allDay wins over times; an entry that cannot be read is
    none."""
    read: list[_Hours] = []
    for entry in entries:
        all_day = entry.get("allDay") is True
        try:
            bounds = (timedelta(0), DAY) if all_day else _read_bounds(entry.get(start), entry.get(end))
        except ValueError:
            continue
        codes = entry.get("daysOfWeek") or WEEKDAYS
        days = frozenset(WEEKDAYS[code] for code in codes if code in WEEKDAYS)
        read.append(_Hours(days, *bounds, *effective_days(entry, zone)))
    return tuple(read)


def _read_bounds(start: object, end: object) -> tuple[timedelta, timedelta]:
    """Times since midnight; without a start, midnight; without an end, or with 23:59:59, the end of the day;
    an end that is not after the start is on the next day. ValueError for what is no time."""
    opens = timedelta(0) if start is None else read_time(start)
    closes = DAY if end is None else read_time(end)
    if closes >= DAY - SECOND:
        closes = DAY
    return opens, closes if opens < closes else closes + DAY


def effective_days(entry: Json, zone: ZoneInfo) -> tuple[date, date]:
    """The first and the last local day on which the hours are valid."""
    for extension in extensions(entry, EFFECTIVE_PERIOD):
        span = span_of(extension.get("valuePeriod") or {}, zone)
        if not span.start < span.end:
            return date.max, date.min
        return local_day(span.start, zone), local_day(span.end - timedelta.resolution, zone)
    return date.min, date.max


def _overrides(calendar: Calendar) -> dict[date, list[Interval]]:
    """What the Schedule is open on each day it overrides, normal; none is closed."""
    found: dict[date, list[Interval]] = {}
    for extension in extensions(calendar.schedule, OVERRIDE):
        for part in extensions(extension, "date"):
            days = _whole_days(str(part.get("valueDate")))
            if days is None or days[0] != days[1]:
                continue
            opened = [_override_window(window, days[0], calendar) for window in extensions(extension, "window")]
            found[days[0]] = union(found.get(days[0], ()), filter(None, opened))
    return found


def _override_window(window: Json, day: date, calendar: Calendar) -> Interval | None:
    start, end = (
        next((part.get("valueTime") for part in extensions(window, bound)), None) for bound in ("start", "end")
    )
    try:
        return _between(day, *_read_bounds(start, end), calendar.zone)
    except ValueError:
        return None


# Local time


def span_of(period: Json, zone: ZoneInfo, grain: timedelta = timedelta(0)) -> Interval:
    """The time of a Period. Dates are whole local days by their precision, the last included; a missing
    bound, or one that cannot be read, is open; an instant is exact, and as an end it is excluded, or `grain`
    later is."""
    start, end = (str(period.get(bound) or "") for bound in ("start", "end"))
    first, last = _whole_days(start), _whole_days(end)
    exact_end = None if last else _exact(end, zone)
    return Interval(
        first_instant(_wall(first[0]), zone) if first else _exact(start, zone) or EARLIEST,
        last_instant(_wall(last[1], DAY), zone) if last else _later(exact_end, grain) if exact_end else LATEST,
    )


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the clock of the zone shows `wall` (without zone) or more.

    In a fold the first of the two; in a gap the first instant after it.
    """
    before, after = _offsets(wall, zone)
    return _change(wall, before, after, zone) if before < after else _to_utc(wall, before)


def last_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the clock has shown less than `wall` (without zone) for the last time.

    In a fold the second of the two, except where the fold begins; in a gap the first instant after it.
    """
    before, after = _offsets(wall, zone)
    if before < after:
        return _change(wall, before, after, zone)
    if before > after and wall > datetime.min:  # noqa: DTZ901 - a wall clock has no zone
        earlier = _offsets(wall - timedelta.resolution, zone)
        return _to_utc(wall, after if earlier[0] > earlier[1] else before)
    return _to_utc(wall, before)


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """The date that the clock of the zone shows."""
    return local_wall(instant, zone).date()


def local_wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clock of the zone shows, without zone."""
    try:
        return instant.astimezone(zone).replace(tzinfo=None)
    except OverflowError:
        return instant.replace(tzinfo=None)


def add_days(instant: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The same time of the clock so many days later."""
    wall = local_wall(instant, zone)
    return first_instant(_wall(wall.date(), wall - _wall(wall.date()) + days * DAY), zone)


def wall_grid(
    start: datetime, end: datetime, zone: ZoneInfo, step_minutes: int, offset_minutes: int
) -> Iterator[datetime]:
    """The instants in [start, end) of a grid in wall-clock time, in order, all on whole minutes.

    It begins anew at every local midnight, so that 09:00 stays 09:00 when the clock changes. A time that a
    gap skips is none; one that a fold repeats counts once, the first time.
    """
    step, offset = timedelta(minutes=step_minutes), timedelta(minutes=offset_minutes % step_minutes)
    for day in _days(local_day(start, zone), local_day(end, zone), before=1, after=0):
        midnight, following = first_instant(_wall(day), zone), first_instant(_wall(day, DAY), zone)
        if following <= start or midnight >= end:
            continue
        if following - midnight == DAY:
            origin, skip = midnight + offset, max(-(-(start - midnight - offset) // step), 0)
            each = origin + skip * step
            while each < min(end, following) and not each.second:
                yield each
                each += step
            continue
        for number in range(-(-(DAY - offset) // step)):
            wall = _wall(day, offset + number * step)
            before, after = _offsets(wall, zone)
            if before >= after and start <= _to_utc(wall, before) < end and not _to_utc(wall, before).second:
                yield _to_utc(wall, before)


def _between(day: date, start: timedelta, end: timedelta, zone: ZoneInfo) -> Interval:
    """From one wall-clock time of a day to another; empty if a gap swallows it."""
    return Interval(first_instant(_wall(day, start), zone), last_instant(_wall(day, end), zone))


def _days(first: date, last: date, *, before: int, after: int) -> list[date]:
    """The dates from so many days before the first to so many after the last, as far as there are any."""
    low = max(first.toordinal() - before, date.min.toordinal())
    high = min(last.toordinal() + after, date.max.toordinal())
    return [date.fromordinal(number) for number in range(low, high + 1)]


def _wall(day: date, clock: timedelta = timedelta(0)) -> datetime:
    try:
        return datetime.combine(day, time.min) + clock
    except OverflowError:
        return datetime.max  # noqa: DTZ901 - a wall clock has no zone


def _offsets(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """The offsets from UTC before and after a change of the clock; equal where no change touches `wall`,
    rising in a gap, falling in a fold."""
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset()
    return before or timedelta(0), after or timedelta(0)


def _change(wall: datetime, before: timedelta, after: timedelta, zone: ZoneInfo) -> datetime:
    """The instant of the change whose gap `wall` is in, by bisection to the second."""
    low = _to_utc(wall, after).replace(microsecond=0)
    high = _to_utc(wall, before).replace(microsecond=0) + SECOND
    while high - low > SECOND:
        middle = low + (high - low) // SECOND // 2 * SECOND
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _to_utc(wall: datetime, offset: timedelta) -> datetime:
    try:
        return (wall - offset).replace(tzinfo=UTC)
    except OverflowError:
        return LATEST if offset < timedelta(0) else EARLIEST


def _later(instant: datetime, duration: timedelta) -> datetime:
    try:
        return instant + duration
    except OverflowError:
        return LATEST


def _exact(text: str, zone: ZoneInfo) -> datetime | None:
    """The instant of a dateTime; a leap second is the next second; without an offset it is local."""
    leap = text[16:19] == ":60"
    try:
        read = datetime.fromisoformat(f"{text[:16]}:59{text[19:]}" if leap else text)
        read = read.astimezone(UTC) if read.tzinfo else first_instant(read, zone)
        return read + SECOND if leap else read
    except (ValueError, OverflowError):
        return None


def _whole_days(text: str) -> tuple[date, date] | None:
    """The first and the last day of a date, of a month or of a year; None for what is none."""
    try:
        if len(text) == 10:
            return date.fromisoformat(text), date.fromisoformat(text)
        if len(text) == 7:
            first = date.fromisoformat(f"{text}-01")
            after = first.month % 12 + 1
            last = first.replace(day=31) if after == 1 else first.replace(month=after) - DAY
            return first, last
        if len(text) == 4:
            return date.fromisoformat(f"{text}-01-01"), date.fromisoformat(f"{text}-12-31")
    except ValueError:
        pass
    return None
