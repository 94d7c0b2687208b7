"""What a person at the terminal can try once the server answers, with times that are free right now."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from fhir_server import demo
from fhir_server.outcome import Json
from fhir_server.settings import WILDCARDS, Settings

START_SECONDS_MAX = 60
DAYS_AHEAD = 7


def say_what_to_try(settings: Settings, say: Callable[[str], None]) -> None:
    """Waits until the server is ready, then says where it is and how to find and book a time."""
    root = _root(settings)
    deadline = time.monotonic() + START_SECONDS_MAX
    while _ask(f"{root}/health/ready") is None:
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)
    for line in _lines(root, settings):
        say(line)


def _root(settings: Settings) -> str:
    """Where this machine reaches the server, whatever name clients know it by."""
    host = "127.0.0.1" if settings.host in WILDCARDS else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _ask(url: str) -> Json | None:
    """The JSON at a URL; None if there is no good answer."""
    try:
        with urlopen(url, timeout=5) as answer:
            found: Json = json.load(answer)
            return found
    except (URLError, OSError, ValueError):
        return None


def _lines(root: str, settings: Settings) -> list[str]:
    base = f"{root}{urlsplit(settings.base).path}"
    lines = [
        "",
        f"The FHIR server answers at {settings.base} (Ctrl-C stops it).",
        f"  in a browser   {root}/",
        f"  what it can    {base}/metadata",
    ]
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = (f"{today + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (1, 1 + DAYS_AHEAD))
    find = f"{base}/Schedule/{demo.SCHEDULE}/$find-slots?start={start}&end={end}&_count=3"
    found = (_ask(find) or {}).get("entry", [])
    if not found:
        return lines
    booking = json.dumps(_booking(found[0]["resource"]))
    return [
        *lines,
        "",
        "Find times that are free with a practitioner of the demo network in the coming week:",
        f"  curl '{find}'",
        "Book the first of them for a patient:",
        f"  curl -X POST '{base}/Appointment' -H 'Content-Type: application/fhir+json' -d '{booking}'",
        "",
    ]


def _booking(slot: Json) -> Json:
    """The Appointment that books a Slot for the patient of the demo network."""
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "slot": [{"reference": f"Slot/{slot['id']}"}],
        "start": slot["start"],
        "end": slot["end"],
        "participant": [
            {"actor": {"reference": f"{type}/{id}"}, "status": "accepted"}
            for type, id in (("Patient", demo.PATIENT), ("Practitioner", demo.PRACTITIONER))
        ],
    }
