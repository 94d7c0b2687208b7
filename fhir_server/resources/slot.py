"""A slot of time on a Schedule that may be available for booking (http://hl7.org/fhir/R4/slot.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import Computed, ResourceDefinition, SearchParameter
from fhir_server.outcome import CANONICAL, Issue, Json
from fhir_server.resources import _free_slots
from fhir_server.resources._shared import date, hold_expires, out_of_order, reference, token
from fhir_server.scheduling import published
from fhir_server.scheduling.finding import read_slot
from fhir_server.scheduling.holds import hold_problems


def _start_before_end(resource: Json) -> Sequence[Issue]:
    return out_of_order(resource, strictly=True)


SLOT_END = SearchParameter("end", "date", "Slot.end", f"{CANONICAL}/SearchParameter/Slot-end", "When the slot ends")
"""Ours: R4 has none, and a client needs it to ask for what ends in time."""


ROW = ResourceDefinition(
    type="Slot",
    description="A slot of time on a Schedule that may be available for booking.",
    search=(
        hold_expires("Slot"),
        token("appointment-type", "Slot.appointmentType", "The style of appointment that may be booked"),
        SLOT_END,
        token("identifier", "Slot.identifier", "An identifier of the slot"),
        reference("schedule", "Slot.schedule", "The Schedule that the slot is in", "Schedule"),
        token("service-category", "Slot.serviceCategory", "The broad category of the service"),
        token("service-type", "Slot.serviceType", "The type of appointments that can be booked"),
        token("specialty", "Slot.specialty", "The specialty that the service requires"),
        date("start", "Slot.start", "When the slot starts"),
        token("status", "Slot.status", "Whether the slot is free or busy, and how", system="slotstatus"),
    ),
    invariants=(_start_before_end, hold_problems),
    rules=published.decide,
    computed=Computed(read_slot, _free_slots.search, _free_slots.HIDDEN),
)
