"""The server's choices that scheduling depends on; settings fill them, requests never do."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    join_window_before_minutes: int = 10
    meeting_url_template: str | None = None
    meeting_secret: str = field(default="", repr=False)
    encounter_on_arrival: bool = True
    arrival_minutes_max: int = 2160
    cancel_after_start: str = "refuse"
    alternatives_count: int = 3
    hold_minutes: int = 15
    hold_minutes_max: int = 60
    hold_total_minutes_max: int = 120
    holds_per_client_max: int = 10
    holds_anonymous_max: int = 200
    appointment_hours_max: int = 24
    waitlist_offer_minutes: int = 60
    series_occurrences_max: int = 100
    overrides_allowed: bool = True

    @property
    def appointment_length_max(self) -> timedelta:
        """No Appointment is longer."""
        return timedelta(hours=self.appointment_hours_max)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a request says beside the resource. `recording` is true for imports, which write down what happened instead
    of booking it. `token` is that of the owner of a hold; `client` is who asks, whose holds are counted together.
    `overrides` are the problems that staff waive, and `override_reason` the CodeableConcept that says why; `by` is who
    acts (`policies.ACTORS`), None if it does not say, and `reason` the CodeableConcept that says why. `series` is
    true for what is done to the Appointments of a series together. `asking` is true for who asks to book, and gets a
    `pending` Appointment where a Schedule wants to confirm it. `offering` is true for what the waiting list holds."""

    recording: bool = False
    token: str | None = None
    client: str | None = None
    overrides: frozenset[str] = frozenset()
    override_reason: Json | None = None
    by: str | None = None
    reason: Json | None = None
    series: bool = False
    asking: bool = False
    offering: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A write that is asked for: `before` is what is stored (None for a create), `after` what is wanted (None
    for a delete). `fresh_id` is an id nobody has used, for a resource that the rules add."""

    type: str
    id: str
    before: Stored | None
    after: Json | None
    now: datetime
    policy: Policy
    fresh_id: str
    intent: Intent = Intent()

    @property
    def recording(self) -> bool:
        """Whether it is written down what happened elsewhere: rules about notice and the past do not apply."""
        return self.intent.recording
