"""What an operator can choose: one table of fields, the only reader of the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AliasChoices, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fhir_server.scheduling.policy import Policy

PREFIX = "FHIR_SERVER_"
"""Each field is the environment variable of its name in capitals behind this prefix."""

WILDCARDS = frozenset({"0.0.0.0", "::", ""})
"""Addresses to listen on that no client can connect to, so that the base URL says localhost instead."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no IANA time zone; one is Europe/Berlin") from None
    return name


def _http_base(url: str | None) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no http(s) URL; one is https://fhir.example/fhir")
    return url and url.rstrip("/")


def _known_origins(text: str) -> str:
    for origin in text.split():
        if origin not in ("*", "none") and not re.fullmatch(r"https?://[^/\s]+", origin):
            raise ValueError(f"{origin!r} is no origin; one is https://app.example")
    return text


def _with_room(template: str | None) -> str | None:
    if template is not None and not (template.startswith(("http://", "https://")) and template.count("{room}") == 1):
        raise ValueError(f"{template!r} is no http(s) URL with {{room}} in it; one is https://meet.example/{{room}}")
    return template


MEETING_SECRET_LENGTH_MIN = 16


class Settings(BaseSettings):
    """The settings of one server: what is given by name, else the environment, else the default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, populate_by_name=True, frozen=True, extra="ignore"
    )

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. There is no access control: open it to trusted networks only.",
    )
    port: int = Field(8000, ge=1, le=65535, description="TCP port to listen on.")
    base_url: Annotated[str | None, AfterValidator(_http_base)] = Field(
        None, description="The FHIR base as clients see it. Without it: http://HOST:PORT/fhir."
    )
    workers: int = Field(1, ge=1, le=256, description="Number of server processes on the same port.")
    data: Path = Field(
        Path("data"), description="Directory of the store that the server starts when no MongoDB is given."
    )
    mongodb_uri: str | None = Field(
        None,
        validation_alias=AliasChoices("FHIR_SERVER_MONGODB_URI", "MONGODB_URI"),
        repr=False,
        description="MongoDB to use (a replica set or sharded cluster) instead of a store of our own.",
    )
    database: str = Field(
        "fhir",
        min_length=1,
        max_length=63,
        pattern=r'^[^/\\. "$*<>:|?]+$',
        description="Name of the database.",
    )
    time_zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", description="IANA time zone where neither Schedule nor Location names one."
    )
    create_by_put: bool = Field(True, description="Whether PUT to an unknown id creates the resource.")
    delete_referenced: bool = Field(
        False, description="Whether what other resources refer to can be deleted all the same."
    )
    conditional_delete_max: int = Field(
        100, ge=1, description="Most resources that one conditional delete deletes; 1 allows no more than one match."
    )
    bundle_entries_max: int = Field(2000, ge=1, description="Most entries of a batch or transaction.")
    transaction_deadline_seconds: float = Field(
        60.0, gt=0, le=600, description="Seconds that a transaction Bundle may take before it answers 503."
    )
    search_strict: bool = Field(
        False, description="Whether an unknown search parameter is refused instead of ignored and named."
    )
    count_default: int = Field(50, ge=1, description="Entries on a page if _count does not say.")
    count_max: int = Field(1000, ge=1, description="Entries on a page at most, whatever _count says.")
    included_max: int = Field(1000, ge=1, description="Resources that _include and _revinclude add to a page at most.")
    find_window_days_max: int = Field(
        62, ge=1, le=366, description="Longest window, in days, that free slots are computed for at once."
    )
    schedules_max: int = Field(200, ge=1, description="Most schedules that free slots are computed for at once.")
    join_window_before_minutes: int = Field(
        10, ge=0, le=1440, description="Minutes before the start of a visit by video from which it can be joined."
    )
    meeting_url_template: Annotated[str | None, AfterValidator(_with_room)] = Field(
        None,
        description="Link to a meeting, with {room} where the name of the room goes: https://meet.example/{room}.",
    )
    meeting_secret: str | None = Field(
        None,
        min_length=MEETING_SECRET_LENGTH_MIN,
        repr=False,
        validate_default=True,
        description="What the names of rooms are made with, the same on all servers; needed for links to meetings.",
    )
    join_window_after_minutes: int = Field(
        60, ge=0, description="Minutes after the start of an appointment until its join window closes."
    )
    noshow_waits_for_join_window: bool = Field(
        True, description="Whether an appointment can be a no-show only once its join window has closed."
    )
    hold_minutes: int = Field(15, ge=1, le=1440, description="Minutes that a time is held if the client does not say.")
    hold_minutes_max: int = Field(60, ge=1, le=1440, description="Longest hold, in minutes, that a client can ask for.")
    hold_total_minutes_max: int = Field(
        120, ge=1, le=10_080, description="Minutes that a hold can last in all, however often it is renewed."
    )
    holds_per_client_max: int = Field(10, ge=1, description="Holds that a client, or else a patient, has at a time.")
    holds_anonymous_max: int = Field(200, ge=1, description="Holds at a time that name neither client nor patient.")
    proposal_minutes: int = Field(
        60, ge=1, le=1440, description="Minutes that what `Appointment/$find` proposed can be asked for by its id."
    )
    waitlist_offer_minutes: int = Field(
        60, ge=1, le=10_080, description="Minutes that a time is held for whoever the waiting list offers it to."
    )
    waitlist_round_seconds: int = Field(
        60, ge=1, le=86_400, description="Seconds, at least, between looks for free time for all who wait."
    )
    sweep_seconds: float = Field(
        15.0, ge=0, le=3600, description="Seconds between looks for holds that are over; 0 leaves it to requests."
    )
    series_occurrences_max: int = Field(100, ge=1, le=366, description="Most occurrences of a series.")
    overrides: Literal["allow", "deny"] = Field(
        "allow",
        description="Whether a booking can waive rules with a reason. Everybody can, as long as nobody logs in.",
    )
    encounter_on_arrival: bool = Field(True, description="Whether arrival creates the Encounter.")
    arrival_minutes_max: int = Field(
        2160, ge=0, description="Minutes before the start of an appointment from which a patient can arrive for it."
    )
    cancel_after_start: Literal["refuse", "cascade"] = Field(
        "refuse",
        description="What cancelling an appointment does once its visit has begun: it is refused, or the visit is "
        "cancelled too.",
    )
    booking_deadline_seconds: float = Field(
        5.0, gt=0, le=60, description="Seconds that a write may retry against others before it answers 503."
    )
    body_bytes_max: int = Field(10_000_000, ge=1_000, description="Longest request body, in bytes, expanded.")
    url_bytes_max: int = Field(8_000, ge=100, le=32_000, description="Longest URL of a request, in bytes.")
    headers_max: int = Field(100, ge=10, description="Most headers of a request.")
    header_bytes_max: int = Field(32_000, ge=1_000, le=48_000, description="Longest headers of a request, together.")
    cors_origins: Annotated[str, AfterValidator(_known_origins)] = Field(
        "*",
        description="Origins of web pages that may use the server, with blanks between; * is every one, none no one.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe messages that are logged."
    )
    log_json: bool = Field(False, description="Whether the log is one JSON object per line.")

    @field_validator("meeting_secret")
    @classmethod
    def _keeps_rooms_secret(cls, secret: str | None, others: ValidationInfo) -> str | None:
        if others.data.get("meeting_url_template") and not secret:
            raise ValueError("links to meetings (meeting-url-template) need one")
        return secret

    @property
    def base(self) -> str:
        """The FHIR base URL, without a slash at its end."""
        if self.base_url:
            return self.base_url
        host = "localhost" if self.host in WILDCARDS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/fhir"


def policy(settings: Settings) -> Policy:
    """What scheduling depends on, of these settings."""
    return Policy(
        base=settings.base,
        zone=ZoneInfo(settings.time_zone),
        window_days_max=settings.find_window_days_max,
        schedules_max=settings.schedules_max,
        join_window_after_minutes=settings.join_window_after_minutes,
        noshow_waits_for_join_window=settings.noshow_waits_for_join_window,
        join_window_before_minutes=settings.join_window_before_minutes,
        meeting_url_template=settings.meeting_url_template,
        meeting_secret=settings.meeting_secret or "",
        encounter_on_arrival=settings.encounter_on_arrival,
        arrival_minutes_max=settings.arrival_minutes_max,
        cancel_after_start=settings.cancel_after_start,
        series_occurrences_max=settings.series_occurrences_max,
        overrides_allowed=settings.overrides == "allow",
        hold_minutes=settings.hold_minutes,
        waitlist_offer_minutes=settings.waitlist_offer_minutes,
        hold_minutes_max=settings.hold_minutes_max,
        hold_total_minutes_max=settings.hold_total_minutes_max,
        holds_per_client_max=settings.holds_per_client_max,
        holds_anonymous_max=settings.holds_anonymous_max,
    )


def environment(settings: Settings) -> dict[str, str]:
    """The same settings as environment variables, for processes that read them there."""
    values = settings.model_dump(mode="json", exclude_none=True)
    return {variable(name): str(value) for name, value in values.items()}


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{name.upper()}"
