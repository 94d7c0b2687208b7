"""What a person at the terminal can try once the server answers, with times that are free right now."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from fhir_server import demo
from fhir_server.outcome import Json
from fhir_server.settings import WILDCARDS, Settings

START_SECONDS_MAX = 60


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
    find = f"{base}/Schedule/{demo.SCHEDULE}/$find-slots?_count=3"
    found = (_ask(find) or {}).get("entry", [])
    if not found or found[0]["resource"]["resourceType"] != "Slot":
        return lines
    asked = f"slot=Slot/{found[0]['resource']['id']}&patient=Patient/{demo.PATIENT}"
    together = "&".join(f"participant={one}" for one in demo.TOGETHER)
    return [
        *lines,
        "",
        "Find the next times that are free with a practitioner of the demo network:",
        f"  curl '{find}&_pretty=true'",
        "Book the first of them for a patient; with $hold instead of $book it is held for a while:",
        f"  curl -X POST '{base}/Appointment/$book?{asked}&_pretty=true'",
        "A practitioner and a room that are free together; visits by video; who waits for a time that is taken:",
        f"  curl '{base}/Schedule/$find-slots?{together}&_count=2&_pretty=true'",
        f"  curl '{base}/Appointment?service-type=telehealth&state=upcoming&_sort=date&_pretty=true'",
        f"  curl '{base}/Appointment?status=waitlist&_sort=waiting-since&_pretty=true'",
        "",
    ]
