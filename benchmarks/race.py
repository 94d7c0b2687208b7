"""Many bookers against one or several servers, and then: is anybody booked twice, is anything lost that was promised?

    python benchmarks/race.py                            starts a store and two servers, 64 bookers, 60 s
    python benchmarks/race.py --kill-server 5            the same, and every 5 s one server is killed with SIGKILL
    python benchmarks/race.py --server URL --server URL  against servers that run already (their FHIR bases)

Bookers book, hold, renew, confirm, move, cancel and wait at random: minutes of one day, 5 to 60 minutes long, one or
two of a few practitioners, or a group of three, with or without a room. Holds last a minute, so that in a longer race
many end, and are booked late. Judged are the Appointments and Slots that the servers give back, and with a store that
is known also what is stored once they have ended. It ends with 0 only if nobody is over capacity, every acknowledged
change is there, a Slot is busy if and only if it is taken, as is a claim, and every answer was 200, 201, 409, 412, 422,
or 503 with Retry-After; a connection may break only where servers are killed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from pymongo import MongoClient

from fhir_server.outcome import CANONICAL
from fhir_server.store.embedded import running

Json: TypeAlias = dict[str, Any]

ANSWERS = frozenset({200, 201, 409, 412, 422})
PATIENTS = 200
ROOMS = 2
GROUP = 3
"""Places of the last practitioner's groups."""
HOLD_MINUTES = 1
WAITING_MAX = 1
"""Entries of the waiting list that a booker has at a time."""
WHAT = {"book": 35, "hold": 20, "wait": 10, "confirm": 10, "renew": 5, "move": 10, "cancel": 15}
"""What is tried, and how often."""
EXPIRES = f"{CANONICAL}/StructureDefinition/hold-expires"
START_SECONDS_MAX = 120
SETTLE_SECONDS_MAX = 180
DONE_MIN = {"book 201": 5, "hold 201": 1, "move 200": 1, "wait 201": 1}
"""What a process must have done before it ends, so that a slow machine has raced too."""
LONGER_SECONDS_MAX = 60
ANSWER_SECONDS_MAX = 60
DATABASE = "race"
TAKING = ("booked", "pending")
REASON = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "code": "pat"}]
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What all bookers share. `day` is the midnight at which the day of all bookings begins."""

    servers: tuple[str, ...]
    seconds: float
    processes: int
    bookers: int
    actors: int
    day: datetime
    killing: bool


@dataclass(slots=True)
class Report:
    """What one process saw: answers by what was tried, seconds by answer, and what each Appointment may now be."""

    answers: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    known: dict[str, list[Json]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def appointment(start: datetime, minutes: int, actors: Sequence[str], status: str = "booked") -> Json:
    return {
        "resourceType": "Appointment",
        "status": status,
        "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{start + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}",
        "participant": [{"actor": {"reference": actor}, "status": "accepted"} for actor in actors],
    }


def parameters(**values: object) -> Json:
    given = [{"name": name, f"value{type[0].upper()}{type[1:]}": value} for name, (type, value) in values.items()]
    return {"resourceType": "Parameters", "parameter": given}


def expiry(appointment: Json) -> datetime | None:
    """When the hold ends that an Appointment is."""
    said = (one["valueInstant"] for one in appointment.get("extension", ()) if one["url"] == EXPIRES)
    return next((datetime.fromisoformat(text) for text in said), None)


def clinic(actors: int) -> Iterator[Json]:
    """Practitioners who are there at all hours, with a Schedule that begins at any minute, the last one for groups;
    rooms and patients."""
    minute = {"value": 1, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"}
    alignment = {"url": "alignmentInterval", "valueDuration": minute}
    places = {"url": "capacity", "valuePositiveInt": GROUP}
    kind = {"system": "http://terminology.hl7.org/CodeSystem/location-physical-type", "code": "ro"}
    for number in range(actors):
        name = f"race-{number}"
        yield {"resourceType": "Practitioner", "id": name, "active": True, "name": [{"family": f"Racer {number}"}]}
        yield {
            "resourceType": "PractitionerRole",
            "id": name,
            "active": True,
            "practitioner": {"reference": f"Practitioner/{name}"},
            "availableTime": [{"allDay": True}],
        }
        yield {
            "resourceType": "Schedule",
            "id": name,
            "active": True,
            "actor": [{"reference": f"PractitionerRole/{name}"}],
            "extension": [
                {
                    "url": f"{CANONICAL}/StructureDefinition/scheduling-parameters",
                    "extension": [alignment, places] if number == actors - 1 else [alignment],
                }
            ],
        }
    for number in range(ROOMS):
        named = {"resourceType": "Location", "id": f"race-{number}", "status": "active", "name": f"Room {number}"}
        yield {**named, "physicalType": {"coding": [kind]}}
    for number in range(PATIENTS):
        yield {"resourceType": "Patient", "id": f"race-{number}", "name": [{"family": f"Patient {number}"}]}


def set_up(plan: Plan) -> None:
    with httpx.Client(timeout=30) as http:
        for resource in clinic(plan.actors):
            answer = http.put(f"{plan.servers[0]}/{resource['resourceType']}/{resource['id']}", json=resource)
            answer.raise_for_status()


def book_in_process(plan: Plan, number: int, results: multiprocessing.Queue[Report]) -> None:
    """One process of bookers; puts its report into the queue."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    results.put(asyncio.run(book_together(plan, number)))


async def book_together(plan: Plan, number: int) -> Report:
    report = Report()
    began = time.monotonic()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, limits=limits) as http:
        bookers = [
            Booker(plan, http, report, random.Random(f"{number}-{each}"))
            for each in range(plan.bookers // plan.processes)
        ]
        await asyncio.gather(*(booker.work(began) for booker in bookers))
    return report


@dataclass(slots=True)
class Booker:
    """One client with its own Appointments: nobody else changes them, so it knows what they must be."""

    plan: Plan
    http: httpx.AsyncClient
    report: Report
    choice: random.Random
    kept: dict[str, Json] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)

    def is_over(self, began: float) -> bool:
        """Whether the time is over, and on a slow machine also that enough was done to have raced at all."""
        late = time.monotonic() - began - self.plan.seconds
        return late > LONGER_SECONDS_MAX or (late > 0 and self.has_raced())

    def has_raced(self) -> bool:
        return all(self.report.answers[what] >= least for what, least in DONE_MIN.items())

    async def work(self, began: float) -> None:
        while not self.is_over(began):
            what = self.choice.choices(tuple(WHAT), tuple(WHAT.values()))[0]
            if what == "wait":
                await self.wait()
            elif what in ("book", "hold") or not (ids := self.changeable(what)):
                await self.book("hold" if what == "hold" else "book")
            else:
                await self.change(what, self.choice.choice(ids))

    def changeable(self, what: str) -> list[str]:
        """Its own Appointments to which that can be done: only holds are confirmed and renewed."""
        held = what in ("confirm", "renew")
        return sorted(id for id, each in self.kept.items() if not held or each["status"] == "pending")

    def anywhere(self) -> Json:
        start = self.plan.day + timedelta(minutes=self.choice.randrange(24 * 60))
        people = self.choice.sample(range(self.plan.actors), min(self.choice.choice((1, 1, 1, 2)), self.plan.actors))
        actors = [f"Practitioner/race-{number}" for number in people]
        actors += [f"Location/race-{self.choice.randrange(ROOMS)}"] if self.choice.random() < 0.2 else []
        patient = f"Patient/race-{self.choice.randrange(PATIENTS)}"
        return appointment(start, self.choice.randrange(5, 61), [patient, *actors])

    async def book(self, what: str) -> None:
        """Where the connection broke, the same key asks again until it is known what became of it."""
        headers = self.key()
        wanted = self.anywhere()
        asked: Json = {"resourceType": "Parameters", "parameter": [{"name": "appointment", "resource": wanted}]}
        asked["parameter"].append({"name": "minutes", "valuePositiveInt": HOLD_MINUTES})
        for _ in range(5):
            if what == "hold":
                answer = await self.ask(what, "POST", "Appointment/$hold", asked, headers)
            else:
                answer = await self.ask(what, "POST", "Appointment", wanted, headers)
            if answer is None or answer.status_code == 503:
                await asyncio.sleep(self.choice.uniform(0.1, 1))
                continue
            if answer.status_code == 201:
                self.learn(answer.json())
            return

    async def wait(self) -> None:
        """Joins the waiting list, or books what it offers."""
        if len(self.waiting) < WAITING_MAX:
            wanted = {name: value for name, value in self.anywhere().items() if name not in ("start", "end")}
            day = {"start": self.plan.day.isoformat(), "end": (self.plan.day + timedelta(days=1)).isoformat()}
            entry = {**wanted, "status": "waitlist", "requestedPeriod": [day], "minutesDuration": 20}
            answer = await self.ask("wait", "POST", "Appointment", entry, self.key())
            if answer is not None and answer.status_code == 201:
                self.waiting.add(answer.json()["id"])
            return
        id = self.choice.choice(sorted(self.waiting))
        answer = await self.ask("look", "GET", f"Appointment/{id}", None, {})
        if answer is None or answer.status_code != 200 or answer.json()["status"] != "pending":
            return
        self.waiting.discard(id)
        answer = await self.ask("accept", "POST", f"Appointment/{id}/$book", None, self.key())
        if answer is not None and answer.status_code == 200:
            self.learn(answer.json())

    async def change(self, what: str, id: str) -> None:
        """Changes one of its own; without an answer it may be either, and is left alone from then on."""
        before = self.kept[id]
        headers = {"If-Match": f'W/"{before["meta"]["versionId"]}"'}
        path, method, body, after = f"Appointment/{id}", "PUT", before, before
        if what == "cancel":
            body = after = {**before, "status": "cancelled", "cancelationReason": REASON}
        elif what == "confirm":
            path, method, body, headers = f"{path}/$book", "POST", {}, self.key()
            after = {**before, "status": "booked"}
        elif what == "renew":
            path, method, headers = f"{path}/$hold", "POST", self.key()
            body = parameters(minutes=("positiveInt", HOLD_MINUTES))
        else:
            anywhere = self.anywhere()
            body = after = {**before, "start": anywhere["start"], "end": anywhere["end"]}
            if self.choice.random() < 0.5:
                path, method = f"{path}/$reschedule", "POST"
                times = {name: ("dateTime", anywhere[name]) for name in ("start", "end")}
                body = parameters(**times)
        answer = await self.ask(f"{what} late" if self.has_ended(before) else what, method, path, body or None, headers)
        if answer is None or answer.status_code == 503:
            del self.kept[id]
            self.report.known[id].append(after)
        elif answer.status_code == 200:
            self.learn(answer.json())
        elif answer.status_code == 412 and not self.has_ended(before):
            self.report.wrong.append(f"Appointment/{id} was changed by somebody else")
        elif self.has_ended(before):
            del self.kept[id]

    def has_ended(self, known: Json) -> bool:
        """Whether it is a hold that somebody may have put away by now."""
        until = expiry(known)
        return until is not None and until <= datetime.now(UTC)

    def key(self) -> Json:
        return {"Idempotency-Key": str(uuid.UUID(int=self.choice.getrandbits(128)))}

    def learn(self, stored: Json) -> None:
        self.report.known[stored["id"]] = [stored]
        if stored["status"] in TAKING:
            self.kept[stored["id"]] = stored
        else:
            self.kept.pop(stored["id"], None)

    async def ask(self, what: str, method: str, path: str, body: Json | None, headers: Json) -> httpx.Response | None:
        """The answer, noted; None if the connection broke."""
        began = time.perf_counter()
        server = self.choice.choice(self.plan.servers)
        try:
            answer = await self.http.request(method, f"{server}/{path}", json=body, headers=headers)
        except httpx.TransportError as error:
            self.report.answers[f"{what} {type(error).__name__}"] += 1
            if not self.plan.killing:
                self.report.wrong.append(f"{what}: {error!r}")
            await asyncio.sleep(self.choice.uniform(0, 0.2))
            return None
        named = f"{what} {answer.status_code}"
        self.report.answers[named] += 1
        self.report.seconds[named].append(time.perf_counter() - began)
        honest = answer.status_code in ANSWERS or (answer.status_code == 503 and "retry-after" in answer.headers)
        if not honest:
            self.report.wrong.append(f"{named}: {answer.text[:500]}")
        return answer


def found(http: httpx.Client, url: str | None) -> Iterator[Json]:
    """All resources of a search, page by page."""
    while url:
        answer = http.get(url)
        answer.raise_for_status()
        bundle = answer.json()
        yield from (entry["resource"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match")
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)


def judge(plan: Plan, reports: Sequence[Report]) -> list[str]:
    """What is wrong, by what the first server says now. Holds that are over are put away by the first look."""
    server = plan.servers[0]
    with httpx.Client(timeout=60) as http:
        busy = list(found(http, f"{server}/Slot?status=busy,busy-tentative&_count=1000"))
        everything = {each["id"]: each for each in found(http, f"{server}/Appointment?_count=1000")}
    taking = [each for each in everything.values() if each["status"] in TAKING]
    wrong = [line for report in reports for line in report.wrong]
    wrong += overfull(taking, places_of(plan))
    for report in reports:
        wrong += [line for id, may in report.known.items() if (line := differs(id, everything.get(id), may))]
    held = {reference["reference"] for each in taking for reference in each.get("slot", ())}
    left = [slot["id"] for slot in busy if f"Slot/{slot['id']}" not in held]
    with httpx.Client(timeout=60) as http:
        still = [id for id in left if http.get(f"{server}/Slot/{id}").json()["status"].startswith("busy")]
    return [*wrong, *(f"Slot/{id} is busy for nobody" for id in still)]


def places_of(plan: Plan) -> Mapping[str, int]:
    return {f"Practitioner/race-{plan.actors - 1}": GROUP}


def judge_stored(uri: str, plan: Plan) -> list[str]:
    """What is wrong in the store, whose servers have ended: who is over capacity, and where what is claimed, or a Slot
    of who sees one at a time, is not what the Appointments take. Holds that are over are nothing."""
    now = datetime.now(UTC)
    with MongoClient[Json](uri, tz_aware=True) as client:
        db = client[DATABASE]
        found = db["Appointment"].find({"resource.status": {"$in": TAKING}})
        taking = [each for one in found if not has_expired(each := {**one["resource"], "id": one["_id"]}, now)]
        claims = [(one["actor"], one["owner"], one["claim"]) for one in db["claims"].find()]
        slots = {f"Slot/{one['_id']}": one["resource"] for one in db["Slot"].find()}
    expected = {(actor, f"Appointment/{each['id']}", *times(each)) for each in taking for actor in actors_of(each)}
    claimed = {
        (actor, owner, claim["core_start"], claim["core_end"])
        for actor, owner, claim in claims
        if "#" not in actor
        and not actor.startswith("Schedule/")
        and (claim["expires"] is None or claim["expires"] > now)
    }
    group = f"Schedule/race-{plan.actors - 1}"
    named = {one["reference"] for each in taking for one in each.get("slot", ())}
    single = {name for name in named if name not in slots or slots[name]["schedule"]["reference"] != group}
    busy = {name for name, slot in slots.items() if slot["status"].startswith("busy") and not has_expired(slot, now)}
    return [
        *overfull(taking, places_of(plan)),
        *(f"not claimed: {one}" for one in expected - claimed),
        *(f"claimed by nobody: {one}" for one in claimed - expected),
        *(f"{one} is taken and not busy" for one in single - busy),
        *(f"{one} is busy for nobody" for one in busy - named),
    ]


def actors_of(appointment: Json) -> Iterator[str]:
    return (one["actor"]["reference"] for one in appointment["participant"])


def times(appointment: Json) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(appointment["start"]), datetime.fromisoformat(appointment["end"])


def overfull(taking: Sequence[Json], places: Mapping[str, int]) -> Iterator[str]:
    """The actors who are at more places at once than they have: one, but for groups, whose visits share a room."""
    changes: dict[str, list[tuple[datetime, int, str]]] = defaultdict(list)
    for each in taking:
        start, end = times(each)
        for actor in actors_of(each):
            changes[actor] += [(start, 1, each["id"]), (end, -1, each["id"])]
    with_whom = {each["id"]: frozenset(actors_of(each)) for each in taking}
    for actor, sequence in changes.items():
        present: set[str] = set()
        for _, change, id in sorted(sequence):
            present = present | {id} if change > 0 else present - {id}
            groups = places.keys() & frozenset.intersection(*(with_whom[one] for one in present)) if present else ()
            most = max((places[one] for one in groups if actor == one or actor.startswith("Location/")), default=1)
            if len(present) > most:
                yield f"{actor} is booked twice: {', '.join(f'Appointment/{one}' for one in sorted(present))}"


def differs(id: str, stored: Json | None, may: Sequence[Json]) -> str | None:
    """What was promised of an Appointment and is not so; the last of `may` was not answered, if there are two. A hold
    may have ended."""
    if stored is None:
        return f"Appointment/{id} is lost"
    said = [{name: each[name] for name in ("status", "start", "end")} for each in may]
    said += [
        {**one, "status": "cancelled"}
        for one, each in zip(said, may, strict=True)
        if has_expired(each, datetime.now(UTC))
    ]
    now = {name: stored[name] for name in ("status", "start", "end")}
    return None if now in said else f"Appointment/{id} is {now}, but was acknowledged as {said[0]}"


def has_expired(hold: Json, now: datetime) -> bool:
    """Whether the Appointment or Slot is a hold that is over by then."""
    until = expiry(hold)
    return hold["status"] in ("pending", "busy-tentative") and until is not None and until <= now


@contextmanager
def serving(uri: str, port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A server that begins on the port; the list holds its process, and whoever kills it puts the next one there."""
    processes = [launch(uri, port)]
    try:
        yield processes
    finally:
        processes[0].terminate()
        processes[0].wait()


def launch(uri: str, port: int) -> subprocess.Popen[bytes]:
    chosen = {
        "MONGODB_URI": uri,
        "FHIR_SERVER_DATABASE": DATABASE,
        "FHIR_SERVER_PORT": str(port),
        "FHIR_SERVER_LOG_LEVEL": "warning",
    }
    return subprocess.Popen((sys.executable, "-m", "fhir_server", "serve"), env={**os.environ, **chosen})


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit("The server did not start.")


def stop(servers: Sequence[tuple[int, list[subprocess.Popen[bytes]]]]) -> None:
    for _, processes in servers:
        processes[0].terminate()
        processes[0].wait()


def kill_in_turn(
    uri: str, servers: Sequence[tuple[int, list[subprocess.Popen[bytes]]]], seconds: float, over: threading.Event
) -> int:
    """Kills one server after the other and starts it again, until it is over; returns how many. Each pause is a little
    longer than the one before, so that a slow machine gets on between them."""
    for count, (port, processes) in enumerate(itertools.cycle(servers)):
        if over.wait(seconds * (1 + count / 4)):
            return count
        processes[0].kill()
        processes[0].wait()
        processes[0] = launch(uri, port)
        wait_until_ready(port, processes[0])
    return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def race(plan: Plan) -> list[Report]:
    """Runs the bookers, each process on its own, and collects what they saw."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Report] = context.Queue()
    workers = [
        context.Process(target=book_in_process, args=(plan, number, results)) for number in range(plan.processes)
    ]
    for worker in workers:
        worker.start()
    try:
        return [results.get(timeout=plan.seconds + LONGER_SECONDS_MAX + SETTLE_SECONDS_MAX) for _ in workers]
    finally:
        for worker in workers:
            worker.join(10)
            worker.kill()


def say(plan: Plan, reports: Sequence[Report], killed: int, wrong: Sequence[str]) -> None:
    answers: Counter[str] = sum((report.answers for report in reports), Counter())
    took = {name: [s for report in reports for s in report.seconds.get(name, ())] for name in answers}
    milliseconds = {
        name: {
            "p50": round(statistics.median(times) * 1000),
            "p95": round(sorted(times)[int(len(times) * 0.95)] * 1000),
        }
        for name, times in took.items()
        if times
    }
    summary = {
        "bookers": plan.bookers,
        "processes": plan.processes,
        "servers": len(plan.servers),
        "servers killed": killed,
        "seconds": plan.seconds,
        "answers": dict(sorted(answers.items())),
        "answers a second": round(sum(answers.values()) / plan.seconds, 1),
        "milliseconds": milliseconds,
        "wrong": len(wrong),
    }
    print(json.dumps(summary, indent=2))
    for line in wrong[:20]:
        print(line, file=sys.stderr)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", action="append", default=[], help="FHIR base of a server that runs; repeatable")
    parser.add_argument("--servers", type=int, default=2, help="how many servers to start if none is named")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--bookers", type=int, default=64)
    parser.add_argument("--actors", type=int, default=5)
    parser.add_argument("--kill-server", type=float, metavar="SECONDS", help="kill a server this often")
    parser.add_argument("--data", type=Path, help="directory of the store that is started; a temporary one if none")
    return parser.parse_args()


def main() -> int:
    chosen = options()
    day = (datetime.now(UTC) + timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0)
    with ExitStack() as stack:
        started: list[tuple[int, list[subprocess.Popen[bytes]]]] = []
        uri = ""
        if not chosen.server:
            data = chosen.data or stack.enter_context(tempfile.TemporaryDirectory())
            uri = os.environ.get("MONGODB_URI") or stack.enter_context(running(data))
            ports = [free_port() for _ in range(chosen.servers)]
            started = [(port, stack.enter_context(serving(uri, port))) for port in ports]
            for port, processes in started:
                wait_until_ready(port, processes[0])
        servers = tuple(chosen.server) or tuple(f"http://127.0.0.1:{port}/fhir" for port, _ in started)
        shared = (chosen.seconds, chosen.processes, chosen.bookers, chosen.actors, day)
        plan = Plan(servers, *shared, bool(chosen.kill_server))
        set_up(plan)
        over = threading.Event()
        killed: list[int] = []
        killer = threading.Thread(
            target=lambda: killed.append(kill_in_turn(uri, started, chosen.kill_server, over)), daemon=True
        )
        if chosen.kill_server and started:
            killer.start()
        reports = race(plan)
        over.set()
        if killer.is_alive():
            killer.join()
        wrong = judge(plan, reports)
        if started:
            stop(started)
            wrong += judge_stored(uri, plan)
        say(plan, reports, sum(killed), wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
