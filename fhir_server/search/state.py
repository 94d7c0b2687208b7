"""`state` of Appointments: FHIR's status codes, and the words of scheduling products, some of which the clock decides.

A word is a filter on what other parameters have indexed, made when it is asked for, so that nothing in the index grows
old (conformance/decisions/0021-states-and-statistics.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.plan import Sought
from fhir_server.scheduling.holds import REASONS
from fhir_server.scheduling.lifecycle import APPOINTMENT, PRESENT, STATUS_SYSTEM, WORD_SYSTEM, WORDS
from fhir_server.search import token
from fhir_server.search.filters import LAST, Filter, any_of, disjoin, exists
from fhir_server.search.parameters import Frame, Scalar, bad_value, place
from fhir_server.search.step import Step, ids_in
from fhir_server.search.text import split, unescape

MODIFIERS: tuple[str, ...] = ("not",)

NOTHING: Filter = {"_id": {"$in": []}}

CODES: Mapping[str, frozenset[str]] = {
    STATUS_SYSTEM: frozenset(APPOINTMENT),
    WORD_SYSTEM: frozenset(word.code for word in WORDS),
}
"""What can be asked for, by the system of the codes."""


def extract(parameter: SearchParameter, values: Sequence[Any], frame: Frame) -> tuple[list[str], list[Scalar]]:
    """The status: what does not depend on the clock."""
    return token.extract(parameter, values, frame)


def compile(parameter: SearchParameter, modifier: str, values: Sequence[str], _: Frame, now: datetime) -> Filter:
    """The filter for Appointments that are at `now` in any of the states; with `:not`, in none."""
    found = disjoin([_asked(parameter, value, now) for value in values])
    return {"$nor": [found]} if modifier == "not" else found


def _asked(parameter: SearchParameter, value: str, now: datetime) -> Filter:
    """`code`, `system|code` or `system|`; a code that is none finds nothing."""
    system, *rest = (unescape(part) for part in split(value, "|"))
    if len(rest) > 1 or (rest and not system and not rest[0]):
        raise bad_value(parameter, value, "'code', 'system|code' or 'system|'")
    code = rest[0] if rest else system
    systems = [system] if rest else list(CODES)
    if not code:
        return exists(place(parameter), True) if system in CODES else NOTHING
    if not any(code in CODES.get(each, ()) for each in systems):
        return NOTHING
    return TELLING[code](now) if code in TELLING else _status(STATUSES.get(code, code))


def _status(*codes: str) -> Filter:
    return any_of("index.status", [f"*|{code}" for code in codes])


STATUSES: Mapping[str, str] = {word.code: word.status for word in WORDS}

PATIENT_ACCEPTED: Filter = {
    "index.actor-part-status": {
        "$elemMatch": {
            "actor": {"$elemMatch": {"$gte": "Patient/", "$lt": f"Patient/{LAST}"}},
            "part-status": "*|accepted",
        }
    }
}

TELLING: Mapping[str, Callable[[datetime], Filter]] = {
    "held": lambda now: {**_status("pending"), "index.hold-expires.l": {"$gt": now}},
    "expired": lambda now: {
        "$or": [
            {**_status("cancelled"), "index.cancelation-reason": f"{REASONS}|hold-expired"},
            {**_status("pending"), "index.hold-expires.l": {"$lte": now}},
        ]
    },
    "upcoming": lambda now: {**_status("booked"), "index.date.l": {"$gt": now}},
    "patient-confirmed": lambda _: {**_status("booked"), **PATIENT_ACCEPTED},
    "in-progress": lambda _: {
        **_status(*sorted(PRESENT)),
        "_id": Step((Sought("Encounter", _status("in-progress"), "index.appointment", "Appointment/"),), ids_in),
    },
}
"""What tells a word from its status, at an instant. Every other word is its status."""
