"""The terms of a Schedule that a Slot on it shows: several Schedules for one service each have their own."""

from __future__ import annotations

from fhir_server.outcome import CANONICAL, Json
from fhir_server.scheduling.availability import Calendar
from fhir_server.scheduling.parameters import CALENDAR, REQUIRED_FORM, extensions

TERMS = f"{CANONICAL}/StructureDefinition/terms"
PRICE = f"{CANONICAL}/StructureDefinition/price"


def terms_of(calendar: Calendar) -> Json | None:
    """The extension for Slots of this calendar: its name and kind, until when, how long and how much a visit
    is, what is to be filled in. None if the Schedule says nothing of its own."""
    schedule = calendar.schedule
    parts = [part for extension in extensions(schedule, CALENDAR) for part in extension.get("extension", ())]
    prices = (each.get("valueMoney") for each in extensions(schedule, PRICE))
    said: list[Json] = [{"url": "price", "valueMoney": price} for price in prices if price]
    forms = [part for each in extensions(schedule, REQUIRED_FORM) for part in extensions(each, "questionnaire")]
    said += [{**part, "url": "form"} for part in forms]
    if not parts and not said:
        return None
    minutes = {"value": calendar.parameters.duration_minutes, "unit": "min", "code": "min"}
    duration = {"url": "duration", "valueDuration": {**minutes, "system": "http://unitsofmeasure.org"}}
    horizon = schedule.get("planningHorizon")
    period = [{"url": "period", "valuePeriod": horizon}] if horizon else []
    return {"url": TERMS, "extension": [*parts, duration, *period, *said]}
