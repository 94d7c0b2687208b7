"""Free time to bookable slots: their names, their grid, why a time is not offered, what room is left.

Nothing here asks for bookings to lie in buffers: buffers belong to claims and need not lie inside the hours.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from fhir_server.plan import Claim
from fhir_server.scheduling.availability import (
    Calendar,
    add_days,
    blocked,
    horizon,
    hours,
    is_active,
    openings,
    wall_grid,
)
from fhir_server.scheduling.intervals import Interval, clip, contains, encloses, normalize, subtract
from fhir_server.scheduling.parameters import find_zone

MINUTE = timedelta(minutes=1)
ID_LENGTH_MAX = 64
_SLOT_ID = re.compile(r"([A-Za-z0-9.-]+)\.([0-9]{8}T[0-9]{4})\.([1-9][0-9]{0,3})")


def slot_id(schedule_id: str, start: datetime, minutes: int) -> str | None:
    """The id of the computed Slot of a Schedule that starts then and lasts so many minutes.

    None if it cannot be named: not on a whole minute of UTC, or longer than an id may be.
    """
    utc = start.astimezone(UTC)
    if utc.second or utc.microsecond or minutes < 1:
        return None
    name = f"{schedule_id}.{utc.year:04}{utc:%m%dT%H%M}.{minutes}"
    return name if len(name) <= ID_LENGTH_MAX else None


def parse_slot_id(id: str) -> tuple[str, datetime, int] | None:
    """(Schedule id, start, minutes) of an id that `slot_id` made, None for any other."""
    match = _SLOT_ID.fullmatch(id)
    if match is None or len(id) > ID_LENGTH_MAX:
        return None
    schedule_id, text, minutes = match.groups()
    try:
        start = datetime.fromisoformat(text).replace(tzinfo=UTC)
        end = start + int(minutes) * MINUTE
    except (ValueError, OverflowError):
        return None
    return schedule_id, start, (end - start) // MINUTE


# The slots of a calendar


def candidates(calendar: Calendar, start: datetime, end: datetime, duration_minutes: int) -> Iterator[Interval]:
    """The slots of that duration in [start, end) that hours and blocks leave, in order.

    Each is wholly inside one free stretch. On a calendar with an alignment they start on its wall-clock grid;
    without, they follow each other from the start of the day's open window, whatever is blocked in it:

    open     [================)        blocked       [=)
    slots    [===)[===)    [===)
    """
    size = duration_minutes * MINUTE
    if size <= timedelta(0) or end <= start:
        return
    if calendar.parameters.alignment_minutes is None:
        shut = blocked(calendar, start, end)
        for opening in openings(calendar, start, end):
            for free in subtract(clip([opening], start, end), shut):
                yield from _slots(_steps(opening, free, size), free, size)
    else:
        for free in stretches(calendar, start, end):
            yield from _slots(_grid(calendar, free.start, free.end), free, size)


def stretches(calendar: Calendar, start: datetime, end: datetime) -> list[Interval]:
    """What hours and blocks leave of [start, end), in order."""
    return subtract(clip(normalize(openings(calendar, start, end)), start, end), blocked(calendar, start, end))


def _slots(starts: Iterator[datetime], free: Interval, size: timedelta) -> Iterator[Interval]:
    """The slots at these starts, as long as they fit into the free stretch."""
    if free.end - free.start < size:
        return
    for start in starts:
        if free.end - start < size:
            return
        yield Interval(start, start + size)


def _steps(opening: Interval, free: Interval, size: timedelta) -> Iterator[datetime]:
    """The starts, in steps of `size` from that of the opening, that are in the free stretch."""
    anchor = _anchor(opening)
    start = anchor + max(-((anchor - free.start) // size), 0) * size
    while start < free.end:
        yield start
        start += size


def _anchor(opening: Interval) -> datetime:
    """The first whole minute of an opening."""
    start = opening.start.replace(second=0, microsecond=0)
    return start if start == opening.start else start + MINUTE


def _grid(calendar: Calendar, start: datetime, end: datetime) -> Iterator[datetime]:
    parameters = calendar.parameters
    zone = find_zone(parameters.alignment_zone) or calendar.zone
    return wall_grid(start, end, zone, parameters.alignment_minutes or 1, parameters.alignment_offset_minutes)


# Why a time is not offered


def refusals(calendar: Calendar, start: datetime, end: datetime, now: datetime) -> list[str]:
    """All the reasons why the rules do not offer [start, end) as one slot, none if they do.

    schedule-inactive, outside-horizon, outside-hours, blocked, off-grid, then one of in-the-past, too-soon,
    too-far. None of the first five if and only if `candidates` for this duration yields it; an empty time is
    outside-hours and off-grid.
    """
    wanted = Interval(start, end)
    weekly = hours(calendar, start, end)
    inside = any(encloses(window, wanted) for window in normalize(weekly))
    reasons = (
        ("schedule-inactive", not is_active(calendar)),
        ("outside-horizon", not encloses(horizon(calendar), wanted)),
        ("outside-hours", not inside),
        ("blocked", bool(blocked(calendar, start, end))),
        ("off-grid", _is_off_grid(calendar, wanted, weekly, inside)),
        ("in-the-past", start < now),
        ("too-soon", now <= start < offered_from(calendar, now)),
        ("too-far", _is_too_far(calendar, start, now)),
    )
    return [code for code, holds in reasons if holds]


def offered_from(calendar: Calendar, now: datetime) -> datetime:
    """The first start that the minimum notice allows."""
    return now + calendar.parameters.notice_minutes_min * MINUTE


def offered_until(calendar: Calendar, now: datetime) -> datetime | None:
    """The end, excluded, of the starts that the booking window allows: the same time of the clock so many
    days from now. None if there is no booking window."""
    days = calendar.parameters.window_days_max
    return None if days is None else add_days(now, days, calendar.zone)


def _is_too_far(calendar: Calendar, start: datetime, now: datetime) -> bool:
    until = offered_until(calendar, now)
    return until is not None and start >= until


def _is_off_grid(calendar: Calendar, wanted: Interval, weekly: Sequence[Interval], inside: bool) -> bool:
    """Judged only where it can be: without an alignment the grid is that of the window it starts in, and a
    slot that runs on into the next day's window is off it."""
    size = wanted.end - wanted.start
    if size <= timedelta(0) or size % MINUTE:
        return True
    if calendar.parameters.alignment_minutes is not None:
        return next(_grid(calendar, wanted.start, wanted.end), None) != wanted.start
    span = horizon(calendar)
    for opening in clip(weekly, span.start, span.end):
        if contains(opening, wanted.start):
            runs_on = inside and opening.end < min(wanted.end, span.end)
            return runs_on or bool((wanted.start - _anchor(opening)) % size)
    return False


# What room is left


def room_left(claims: Sequence[Claim], wanted: Claim) -> int:
    """How many units still fit for wanted.actor in [wanted.start, wanted.end), never less than 0.

    `claims` are those of this actor, sorted by start; those of wanted.owner do not count. Others share the
    time only in the same pool and with overlapping cores, and then what counts is how many are there at once:

    claims  [==1==)  [==1==)      at most 2 at once, of 3
               [==1===)
    """
    near = claims[: bisect_left(claims, wanted.end, key=lambda claim: claim.start)]
    others = [claim for claim in near if wanted.start < claim.end and claim.owner != wanted.owner]
    if not all(_shares(claim, wanted) for claim in others):
        return 0
    return max(wanted.capacity - _at_once(others, wanted), 0)


def _shares(claim: Claim, wanted: Claim) -> bool:
    """True if both can be there at once; cores that only their buffers bring together collide."""
    return (
        wanted.pool is not None
        and claim.pool == wanted.pool
        and claim.capacity > 0
        and claim.core_start < wanted.core_end
        and wanted.core_start < claim.core_end
    )


def _at_once(claims: Sequence[Claim], wanted: Claim) -> int:
    """The most units at one instant of wanted's core; an end comes before a start at the same instant."""
    changes = sorted(
        change
        for claim in claims
        for change in (
            (max(claim.core_start, wanted.core_start), claim.units),
            (claim.core_end, -claim.units),
        )
    )
    most = present = 0
    for _, units in changes:
        present += units
        most = max(most, present)
    return most
