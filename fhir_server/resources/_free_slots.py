"""A Slot search that asks for free ones, as a question to the scheduling engine (docs/find-slots.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from fhir_server.definitions import Added
from fhir_server.outcome import FhirError, Issue
from fhir_server.plan import Plan
from fhir_server.scheduling.elements import COMPUTED_TAG, is_computed, say, target
from fhir_server.scheduling.finding import YEARS, Ask, find, read_slot, refuse_window
from fhir_server.scheduling.policy import Policy
from fhir_server.scheduling.slots import parse_slot_id
from fhir_server.search.date import PREFIX, parse_span
from fhir_server.search.text import split

IDS_MAX = 20

FREE = frozenset({"free", "http://hl7.org/fhir/slotstatus|free"})

HIDDEN = {"index._tag": f"{COMPUTED_TAG['system']}|{COMPUTED_TAG['code']}", "index.status": "*|free"}
"""Stored Slots that stand for nothing: they were taken and given back, and are computed anew."""


def search(pairs: Sequence[tuple[str, str]], now: datetime, policy: Policy) -> Plan[Added | None]:
    """The computed Slots that a search for free ones can find: those of the named Schedules, or of all if the
    search bounds `start` on both sides. Also the computed Slots whose ids `_id` names."""
    ids = [id for name, value in pairs if name == "_id" for id in split(value, ",") if parse_slot_id(id)]
    if len(ids) > IDS_MAX:
        raise FhirError(
            "too-costly", f"At most {IDS_MAX} ids of computed Slots can be asked for at once.", "_id", status=400
        )
    if ids:
        read = []
        for id in ids:
            read.append((yield from read_slot(id, now, policy)))
        return Added(tuple(filter(None, read)))
    if not any(name == "status" and FREE.intersection(split(value, ",")) for name, value in pairs):
        return None
    schedules = frozenset(_schedules(pairs, policy))
    start, end = _window(pairs, policy)
    if not schedules and (start is None or end is None):
        return None
    opens = max(now, start or now)
    if opens.year not in YEARS or (end or opens).year not in YEARS:
        return None
    closes = end or opens + timedelta(days=policy.window_days_max)
    if closes <= opens:
        return None
    refuse_window(opens, closes, policy)
    ask = Ask(opens, closes + policy.appointment_length_max, schedules)
    found = yield from find(ask, now, policy)
    computed = (offer.slot for offer in found.offers if offer.start < closes and is_computed(offer.slot))
    return Added(tuple(computed), () if end else (_note(closes),), found.withheld)


def _schedules(pairs: Sequence[tuple[str, str]], policy: Policy) -> Iterator[str]:
    for name, value in pairs:
        if name in ("schedule", "schedule:Schedule"):
            for text in split(value, ","):
                literal = text if "/" in text else f"Schedule/{text}"
                if found := target({"reference": literal}, policy.base):
                    yield found


def _window(pairs: Sequence[tuple[str, str]], policy: Policy) -> tuple[datetime | None, datetime | None]:
    """The first and last instants at which a Slot may start, as far as the search bounds them."""
    lows, highs = [], []
    for name, value in pairs:
        match = PREFIX.fullmatch(value) if name == "start" else None
        span = parse_span(match[2], policy.zone) if match else None
        if match is None or span is None:
            continue
        prefix = match[1] or "eq"
        if prefix in ("eq", "ge", "gt", "sa"):
            lows.append(span.low if prefix in ("eq", "ge") else span.high)
        if prefix in ("eq", "le", "lt", "eb"):
            highs.append(span.high if prefix in ("eq", "le") else span.low)
    return max(lows, default=None), min(highs, default=None)


def _note(closes: datetime) -> Issue:
    text = f"Free slots are computed up to {say(closes)}; bound `start` (start=lt…) to look elsewhere."
    return Issue("informational", text, ("Slot.start",), severity="information")
