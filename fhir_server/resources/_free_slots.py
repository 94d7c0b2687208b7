"""A Slot search that asks for free ones, as a question to the scheduling engine (docs/find-slots.md)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fhir_server.definitions import Added
from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.plan import ById, Plan, Stored
from fhir_server.scheduling.elements import COMPUTED_TAG, is_computed, say
from fhir_server.scheduling.finding import YEARS, Ask, read_slot, refuse_window
from fhir_server.scheduling.offers import find
from fhir_server.scheduling.policy import Policy
from fhir_server.scheduling.slots import parse_slot_id
from fhir_server.search.demands import demanded, within

IDS_MAX = 20

FREE = frozenset({"*|free", "http://hl7.org/fhir/slotstatus|free"})

NOT_COMPUTED = Issue(
    "informational",
    "Only stored Slots are here: free ones are computed for a search that names a Schedule or bounds `start` on both "
    "sides (start=ge…&start=lt…).",
    ("Slot.start",),
    severity="information",
)

HIDDEN = {"index._tag": f"{COMPUTED_TAG['system']}|{COMPUTED_TAG['code']}", "index.status": "*|free"}
"""Stored Slots that stand for nothing: they were taken and given back, and are computed anew."""


def search(filter: Json, now: datetime, policy: Policy) -> Plan[Added | None]:
    """The computed Slots that a search for free ones can find: those of the Schedules that the filter demands, or of
    all if it bounds their time on both sides. Also the computed Slots whose ids it demands."""
    ids = [id for id in sorted(demanded(filter, "_id") or ()) if parse_slot_id(id)]
    if ids:
        read = []
        for id in (yield from _not_stored(ids)):
            read.append((yield from read_slot(id, now, policy)))
        return Added(tuple(slot for slot in read if slot))
    if not FREE & (demanded(filter, "index.status") or frozenset()):
        return None
    schedules = _schedules(filter)
    start, before = within(filter, "index.start.l")
    _, ended = within(filter, "index.end.l")
    end = min((each for each in (before, ended) if each), default=None)
    if schedules is None and (start is None or end is None):
        return Added((), (NOT_COMPUTED,))
    opens = max(now, start or now)
    if schedules == frozenset() or opens.year not in YEARS or (end or opens).year not in YEARS:
        return None
    closes = end or opens + timedelta(days=policy.window_days_max)
    if closes <= opens:
        return None
    refuse_window(opens, closes, policy)
    ask = Ask(opens, closes + policy.appointment_length_max, schedules or frozenset(), before=closes)
    found = yield from find(ask, now, policy)
    computed = (offer.slot for offer in found.offers if offer.published is None)
    return Added(tuple(computed), () if end else (_note(closes),), found.withheld)


def _not_stored(ids: Sequence[str]) -> Plan[Sequence[str]]:
    """The ids, of many only those that are not stored or stored and free; at most IDS_MAX."""
    if len(ids) > IDS_MAX:
        [found] = yield [ById(frozenset(f"Slot/{id}" for id in ids))]
        taken = {
            one.id for one in found if isinstance(one, Stored) and one.resource and not _is_given_back(one.resource)
        }
        ids = [id for id in ids if id not in taken]
    if len(ids) > IDS_MAX:
        text = f"At most {IDS_MAX} ids of computed Slots can be asked for at once."
        raise FhirError("too-costly", text, "_id", status=400)
    return ids


def _is_given_back(slot: Json) -> bool:
    return is_computed(slot) and slot["status"] == "free"


def _schedules(filter: Json) -> frozenset[str] | None:
    named = demanded(filter, "index.schedule")
    if named is None:
        return None
    ids = {reference.partition("/")[2] for reference in named if reference.startswith(("Schedule/", "*/"))}
    return frozenset(f"Schedule/{id}" for id in ids)


def _note(closes: datetime) -> Issue:
    text = f"Free slots are computed up to {say(closes)}; bound `start` (start=lt…) to look elsewhere."
    return Issue("informational", text, ("Slot.start",), severity="information")
