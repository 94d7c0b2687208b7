"""Why time is not free: the pieces of a window agree with what a booking is refused for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.plan import Claim
from fhir_server.scheduling.explaining import Piece, Reason, pieces, reasons_at
from fhir_server.scheduling.finding import Bookable, claims_on, places_left
from fhir_server.scheduling.offers import Taken
from fhir_server.scheduling.slots import refusals
from tests.scheduling.test_slots import hours, made, not_available, parameters

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
START = datetime(2026, 3, 9, tzinfo=UTC)
SMITH = "Practitioner/smith"
STARTS_ONLY = {"too-far", "day-full"}
"""Reasons that are asked of the start of a visit alone."""


def minute(number: int) -> datetime:
    return START + number * MINUTE


def bookable(**rules: int) -> Bookable:
    opened = [hours("09:00", "12:00"), hours("14:00", "18:00")]
    calendar = made(opened, parameters(**rules), blocks=[not_available("2026-03-09T10:00", "2026-03-09T10:40")])
    return Bookable("Schedule/s", calendar, frozenset({SMITH, "Schedule/s"}))


def taken(on: Bookable, *visits: tuple[int, int], expires: datetime | None = None) -> Taken:
    claims: dict[str, list[Claim]] = {}
    for number, (start, end) in enumerate(sorted(visits)):
        for claim in claims_on(on, minute(start), minute(end), f"Appointment/{number}"):
            claims.setdefault(claim.actor, []).append(
                Claim(
                    claim.actor,
                    claim.start,
                    claim.end,
                    claim.owner,
                    claim.core_start,
                    claim.core_end,
                    claim.pool,
                    claim.capacity,
                    claim.units,
                    expires,
                )
            )
    return Taken(claims, {})


def said(found: list[Piece]) -> list[tuple[str, str, set[str]]]:
    return [(f"{p.start:%H:%M}", f"{p.end:%H:%M}", {reason.cause for reason in p.reasons}) for p in found]


def test_a9_a_day_is_free_or_says_why_not() -> None:
    on = bookable(bufferAfter=15, minimumNotice=60)
    found = pieces(on, START, START + DAY, minute(8 * 60 + 30), taken(on, (11 * 60, 11 * 60 + 30)))
    assert said(found) == [
        ("00:00", "08:30", {"no-rule", "notice"}),
        ("08:30", "09:00", {"no-rule", "notice"}),
        ("09:00", "09:30", {"notice"}),
        ("09:30", "10:00", set()),
        ("10:00", "10:40", {"blocked"}),
        ("10:40", "10:45", set()),
        ("10:45", "11:00", {"buffer"}),
        ("11:00", "11:30", {"booked"}),
        ("11:30", "11:45", {"buffer"}),
        ("11:45", "12:00", set()),
        ("12:00", "14:00", {"no-rule"}),
        ("14:00", "18:00", set()),
        ("18:00", "00:00", {"no-rule"}),
    ]


def test_a9_holds_full_days_and_full_groups_are_told_apart() -> None:
    on = bookable()
    held = pieces(on, minute(540), minute(600), START, taken(on, (540, 570), expires=minute(500)))
    assert said(held) == [("09:00", "09:30", {"held"}), ("09:30", "10:00", set())]
    full = bookable(maximumPerDay=1)
    found = pieces(full, minute(540), minute(600), START, taken(full, (840, 870)))
    assert said(found) == [("09:00", "10:00", {"limit"})]
    group = bookable(capacity=2)
    found = pieces(group, minute(540), minute(600), START, taken(group, (540, 570), (540, 570), (570, 600)))
    assert said(found) == [("09:00", "09:30", {"capacity"}), ("09:30", "10:00", set())]
    assert found[0].reasons == (Reason("practitioner-busy", "capacity"),)


visits = st.lists(st.tuples(st.integers(500, 1000), st.integers(5, 90)), max_size=4)
rules = st.fixed_dictionaries(
    {},
    optional={
        "bufferBefore": st.integers(0, 30),
        "bufferAfter": st.integers(0, 30),
        "minimumNotice": st.integers(0, 900),
        "bookingWindow": st.just(1440),
        "maximumPerDay": st.integers(1, 3),
    },
)


@given(rules, visits, st.integers(0, 700), st.integers(500, 1100), st.integers(1, 60))
def test_a9_pieces_agree_with_the_refusals_of_a_booking(
    chosen: dict[str, int], booked: list[tuple[int, int]], now: int, start: int, minutes: int
) -> None:
    on = bookable(**chosen)
    in_the_way = taken(on, *((opens, opens + length) for opens, length in booked))
    opens, closes = minute(start), minute(start + minutes)
    found = pieces(on, START - DAY, START + 2 * DAY, minute(now), in_the_way)
    assert [a.end for a in found[:-1]] == [b.start for b in found[1:]]
    assert (found[0].start, found[-1].end) == (START - DAY, START + 2 * DAY)
    by_pieces = {
        reason.code
        for piece in found
        for reason in piece.reasons
        if piece.start < closes and opens < piece.end
        if reason.code not in STARTS_ONLY or piece.start <= opens
    }
    refused = set(refusals(on.calendar, opens, closes, minute(now))) - {"off-grid"}
    assert by_pieces & set(refused) == refused
    free = places_left(in_the_way.claims, claims_on(on, opens, closes, "")) > 0
    assert free == by_pieces.isdisjoint({"practitioner-busy", "schedule-full", "day-full"})
    exactly = {reason.code for reason in reasons_at(on, opens, closes, minute(now), in_the_way)} - {"off-grid"}
    begun_in_the_past = {"too-soon"} if "in-the-past" in exactly else set()
    assert by_pieces - begun_in_the_past == exactly
