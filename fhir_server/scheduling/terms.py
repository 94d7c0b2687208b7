"""The terms of a Schedule that a Slot on it shows: several Schedules for one service each have their own."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.outcome import CANONICAL, Json
from fhir_server.scheduling.availability import Calendar
from fhir_server.scheduling.parameters import CALENDAR, REQUIRED_FORM, extensions

TERMS = f"{CANONICAL}/StructureDefinition/terms"
PRICE = f"{CANONICAL}/StructureDefinition/price"


def terms_of(calendar: Calendar) -> Json | None:
    """The extension for Slots of this calendar: its name and kind, until when, how long and how much a visit
    is, what is to be filled in. None if nothing is said."""
    schedule = calendar.schedule
    parts = [part for extension in extensions(schedule, CALENDAR) for part in extension.get("extension", ())]
    prices = (each.get("valueMoney") for each in extensions(schedule, PRICE))
    said: list[Json] = [{"url": "price", "valueMoney": price} for price in prices if price]
    forms = [each for one in (schedule, *_services(calendar)) for each in extensions(one, REQUIRED_FORM)]
    said += [{**part, "url": "form"} for each in forms for part in extensions(each, "questionnaire")]
    if not parts and not said:
        return None
    minutes = {"value": calendar.parameters.duration_minutes, "unit": "min", "code": "min"}
    duration = {"url": "duration", "valueDuration": {**minutes, "system": "http://unitsofmeasure.org"}}
    horizon = schedule.get("planningHorizon")
    period = [{"url": "period", "valuePeriod": horizon}] if horizon else []
    return {"url": TERMS, "extension": [*parts, duration, *period, *said]}


def _services(calendar: Calendar) -> Iterator[Json]:
    """The services that every visit on this calendar is for: those that the Schedule names, or the only one."""
    named = [f"/{actor.get('reference', '')}" for actor in calendar.schedule.get("actor", ())]
    for service in calendar.services:
        reference = f"/HealthcareService/{service['id']}"
        if len(calendar.services) == 1 or any(each.endswith(reference) for each in named):
            yield service
