"""How finding free time grows: questions to the store and seconds, for one Schedule and for many with many bookings.

    python benchmarks/find.py                                  100 Schedules, 30 days, 20,000 bookings
    python benchmarks/find.py --schedules 20 --bookings 500    fewer
    python benchmarks/find.py --questions window next          not all that can be asked
    python benchmarks/find.py --mongodb URI                    on a MongoDB that runs already, in a database `find`

Starts a store and asks the whole application, over HTTP within the process. It ends with 0 only if the questions are as
many for all Schedules as for one. Bookings are written as the claims they leave, not one by one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from fhir_server.app import create
from fhir_server.plan import Claim, Write
from fhir_server.settings import Settings
from fhir_server.store import counted
from fhir_server.store.documents import pieces, version_of
from fhir_server.store.embedded import running
from fhir_server.writing import Server

Json: TypeAlias = dict[str, Any]

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 30
HALF_HOUR = timedelta(minutes=30)
WORKDAYS = [MONDAY + timedelta(days=day) for day in range(DAYS) if (MONDAY + timedelta(days=day)).weekday() < 5]
STARTS = [day + timedelta(hours=8) + number * HALF_HOUR for day in WORKDAYS for number in range(20)]
"""When a visit can begin: 08:00 to 18:00 on weekdays."""

WINDOW = f"start={MONDAY:%Y-%m-%dT%H:%M:%SZ}&end={MONDAY + timedelta(days=DAYS):%Y-%m-%dT%H:%M:%SZ}"
DAY = f"start={MONDAY:%Y-%m-%dT%H:%M:%SZ}&end={MONDAY + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
QUESTIONS = {
    "window": f"/Schedule/$find-slots?location=Location/main&_count=1000&{WINDOW}",
    "next": "/Schedule/$find-slots?location=Location/main&_count=5",
    "joint": f"/Schedule/$find-slots?participant=PractitionerRole?location=Location/main&_count=1000&{WINDOW}",
    "places": f"/Location/$find-available?location=Location/main&{WINDOW}",
    "intervals": f"/Schedule/$availability?location=Location/main&explain=true&{DAY}",
}

DEADLINE_SECONDS = 600
"""Longer than a server may be told to wait for a store."""


def people(ids: range) -> Iterator[Json]:
    """Practitioners of the clinic, each with a role and a Schedule."""
    hours = {"daysOfWeek": ["mon", "tue", "wed", "thu", "fri"], "availableStartTime": "08:00:00"}
    for id in (f"p{number}" for number in ids):
        yield {"resourceType": "Practitioner", "id": id, "active": True}
        yield {
            "resourceType": "PractitionerRole",
            "id": id,
            "active": True,
            "practitioner": {"reference": f"Practitioner/{id}"},
            "location": [{"reference": "Location/main"}],
            "availableTime": [{**hours, "availableEndTime": "18:00:00"}],
        }
        yield {"resourceType": "Schedule", "id": id, "actor": [{"reference": f"PractitionerRole/{id}"}]}


def claims(ids: range, each: int) -> Iterator[Claim]:
    """What `each` bookings on every Schedule leave, spread over the month."""
    for number in ids:
        for start in STARTS[:: max(1, len(STARTS) // each)][:each]:
            owner, end = f"Appointment/{number}-{start:%d%H%M}", start + HALF_HOUR
            day, pool = start.replace(hour=0, minute=0), f"Schedule/p{number}"
            for actor in (f"Practitioner/p{number}", pool):
                yield Claim(actor, start, end, owner, start, end, pool)
            following = day + timedelta(days=1)
            yield Claim(f"{pool}#day", day, following, owner, day, following, pool, 1_000_000)


async def fill(server: Server, ids: range, each: int) -> None:
    """Writes the people and the claims of their bookings as the store keeps them."""
    db, frame = server.store.db, server.store.frame
    for one in people(ids):
        write = Write(one["resourceType"], one["id"], one, 0)
        row = server.rows[write.type]
        document = version_of(row, write, 1, MONDAY, one, first=True, zone=frame.zone, base=frame.base)
        await db[write.type].insert_one(document)
    documents = [piece for claim in claims(ids, each) for piece in pieces(claim)]
    for first in range(0, len(documents), 5000):
        await db["claims"].insert_many(documents[first : first + 5000])


async def ask(client: httpx.AsyncClient, questions: Sequence[str]) -> dict[str, Json]:
    """Of each question how many commands it took, how many seconds, and how much was found."""
    found = {}
    for name in questions:
        began = time.perf_counter()
        with counted() as commands:
            answer = await client.get(QUESTIONS[name])
        answer.raise_for_status()
        body = answer.json()
        size = body.get("total", len(body.get("entry", body.get("parameter", ()))))
        found[name] = {"commands": len(commands), "seconds": round(time.perf_counter() - began, 3), "found": size}
    return found


async def measure(
    uri: str, schedules: int, bookings: int, questions: Sequence[str]
) -> tuple[dict[str, Json], dict[str, Json]]:
    """The figures for one Schedule, and for all of them. The machine may be slow."""
    settings = Settings(mongodb_uri=uri, database="find", log_level="warning")
    settings = settings.model_copy(update={"booking_deadline_seconds": DEADLINE_SECONDS})
    app = create(settings, lambda: MONDAY)
    each = min(bookings // schedules, len(STARTS))
    transport = httpx.ASGITransport(app)
    base = f"{settings.base}/"
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=base, timeout=None) as client,
    ):
        place = {"resourceType": "Location", "id": "main", "status": "active"}
        (await client.put("/Location/main", json=place)).raise_for_status()
        await fill(app.state.server, range(1), each)
        (await client.get(QUESTIONS["next"])).raise_for_status()
        one = await ask(client, questions)
        await fill(app.state.server, range(1, schedules), each)
        return one, await ask(client, questions)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=100)
    parser.add_argument("--bookings", type=int, default=20_000)
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS), help="all of them")
    parser.add_argument("--data", type=Path, help="directory of the store, if it is to be kept")
    parser.add_argument("--mongodb", help="an empty MongoDB instead of a store of its own")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        uri = arguments.mongodb or stack.enter_context(running(folder))
        one, many = asyncio.run(measure(uri, arguments.schedules, arguments.bookings, arguments.questions))
    print(json.dumps({"one": one, "many": many}, indent=1))
    return 0 if all(one[name]["commands"] == many[name]["commands"] for name in arguments.questions) else 1


if __name__ == "__main__":
    sys.exit(main())
