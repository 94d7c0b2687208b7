"""The server's choices that scheduling depends on; settings fill them, requests never do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fhir_server.outcome import Json
from fhir_server.plan import Stored

UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Policy:
    """Units are in the names. `zone` is used where neither Schedule nor Location names one; `base` is the
    server's own FHIR base, so that absolute references to itself are known."""

    base: str = ""
    zone: ZoneInfo = UTC
    window_days_max: int = 62
    schedules_max: int = 200
    join_window_after_minutes: int = 60
    noshow_waits_for_join_window: bool = True
    encounter_on_arrival: bool = True
    alternatives_count: int = 3
    appointment_hours_max: int = 24

    @property
    def appointment_length_max(self) -> timedelta:
        """No Appointment is longer."""
        return timedelta(hours=self.appointment_hours_max)


@dataclass(frozen=True, slots=True)
class Change:
    """A write that is asked for: `before` is what is stored (None for a create), `after` what is wanted (None
    for a delete). `fresh_id` is an id nobody has used, for a resource that the rules add. `recording` is true
    for imports, which write down what happened instead of booking it."""

    type: str
    id: str
    before: Stored | None
    after: Json | None
    now: datetime
    policy: Policy
    fresh_id: str
    recording: bool = False
