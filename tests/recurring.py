"""Builders of Appointments that recur."""

from __future__ import annotations

from typing import Any

from fhir_server.scheduling.recurrence import DAYS_OF_WEEK, TEMPLATE, UCUM, WEEK_OF_MONTH
from tests.clinic import Json, appointment

VALUES = {
    "timezone": lambda code: ("valueCodeableConcept", {"coding": [{"code": code}]}),
    "recurrenceType": lambda code: ("valueCodeableConcept", {"coding": [{"system": UCUM, "code": code}]}),
    "nthWeekOfMonth": lambda code: ("valueCoding", {"system": WEEK_OF_MONTH, "code": code}),
    "dayOfWeek": lambda code: ("valueCoding", {"system": DAYS_OF_WEEK, "code": code}),
}


def part(name: str, value: Any) -> Json:
    """A part of the template: by its name, else by the type of the value; of a dict, with parts."""
    if isinstance(value, dict):
        return {"url": name, "extension": [part(*each) for each in value.items()]}
    if name in VALUES:
        element, said = VALUES[name](value)
        return {"url": name, element: said}
    element = {bool: "valueBoolean", int: "valuePositiveInt", str: "valueDate"}[type(value)]
    return {"url": name, element: value}


def template(recurrenceType: str = "wk", **parts: Any) -> Json:
    """A recurrenceTemplate; a list is the same part several times."""
    pairs = [("recurrenceType", recurrenceType)]
    pairs += [(name, each) for name, value in parts.items() for each in (value if isinstance(value, list) else [value])]
    return {"url": TEMPLATE, "extension": [part(*each) for each in pairs]}


def recurring(start: str, recurrenceType: str = "wk", more: Json | None = None, **parts: Any) -> Json:
    """An Appointment that recurs; `more` is of the Appointment, the rest of its template."""
    return appointment(start, extension=[template(recurrenceType, **parts)], **(more or {}))
