"""A process that books, holds, renews, books late, moves and cancels at random as fast as it can, and says what was
acknowledged.

    python -m tests.store.booker URI DATABASE SECONDS SEED

prints a line for each acknowledged change: `Appointment-id version`. On a slow machine it goes on past its seconds
until it has booked enough to count. It ends with 0 if every answer was an acknowledgement, a lost race or a 503.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fhir_server.outcome import FhirError
from fhir_server.plan import Decision
from fhir_server.resources import ROWS
from fhir_server.store import LostRace, Store
from tests.store.bookings import GROUP, NINE, booking, cancelling, holding

TASKS = 8
BOOKED_MIN = 12
SECONDS_MAX = 45.0
ACTORS = ("Practitioner/1", "Practitioner/2", GROUP, "Location/1")
HOLDS = (0.3, 1.0, 600.0)
"""Seconds that a hold lasts: some end while others wait for their time, and are renewed or booked late."""

WHAT = {"book": 45, "hold": 20, "renew": 5, "confirm": 10, "move": 10, "cancel": 10}
"""What is tried, and how often."""

BEGIN = NINE.replace(hour=20)

Times = tuple[datetime, datetime, Sequence[str]]


def anywhere(choice: random.Random) -> Times:
    """A time to the second, in a night across midnight, and one or two of the actors, together."""
    start = BEGIN + timedelta(seconds=choice.randrange(8 * 3600))
    actors = choice.sample(ACTORS, choice.choice((1, 1, 2)))
    return start, start + timedelta(seconds=choice.randrange(300, 3600)), actors


def over(began: float, seconds: float, told: Counter[str]) -> bool:
    """Whether the time is over, and on a slow machine also that enough was booked to have raced at all."""
    passed = time.monotonic() - began
    return passed > SECONDS_MAX or (passed > seconds and told["book"] >= BOOKED_MIN)


def decide(what: str, id: str, asked: Times, version: int, choice: random.Random, now: datetime) -> Decision:
    """A hold that is renewed or booked may be over by now: then its time must still be free."""
    if what == "cancel":
        return cancelling(id, *asked, version)
    if what in ("hold", "renew"):
        return holding(id, *asked, version, now + timedelta(seconds=choice.choice(HOLDS)))
    return booking(id, *asked, version)


async def book_on(store: Store, name: str, choice: random.Random, seconds: float, told: Counter[str]) -> None:
    """Books, holds, moves and cancels until the race is over. An Appointment is only touched by its own task."""
    kept: dict[str, tuple[int, Times]] = {}
    number, began = 0, time.monotonic()
    while not over(began, seconds, told):
        what = choice.choices(tuple(WHAT), tuple(WHAT.values()))[0] if kept else "book"
        number += 1
        id = f"{name}-{number}" if what in ("book", "hold") else choice.choice(sorted(kept))
        version, times = kept.get(id, (0, None))
        asked = times if times and what != "move" else anywhere(choice)
        decision = decide(what, id, asked, version, choice, datetime.now(UTC))
        try:
            written = (await store.transact(decision))[0]
        except LostRace:
            told["lost"] += 1
        except FhirError as error:
            assert error.status == 503, error
            told["unavailable"] += 1
            kept.pop(id, None)
        else:
            told[what] += 1
            print(id, written.version, flush=True)
            kept[id] = (written.version, asked)
            if what == "cancel":
                del kept[id]


async def main(uri: str, database: str, seconds: float, seed: str) -> None:
    store = await Store.open(uri, database, ROWS, base="http://localhost/fhir")
    told: Counter[str] = Counter()
    tasks = (book_on(store, f"{seed}-{n}", random.Random(f"{seed}-{n}"), seconds, told) for n in range(TASKS))
    await asyncio.gather(*tasks)
    await store.close()
    print(dict(told), file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
