"""Many bookers against one or several servers, and then: is anybody booked twice, is anything lost that was promised?

    python benchmarks/race.py                            starts a store and two servers, 64 bookers, 60 s
    python benchmarks/race.py --kill-server 5            the same, and every 5 s one server is killed with SIGKILL
    python benchmarks/race.py --server URL --server URL  against servers that run already (their FHIR bases)

Bookers book, move and cancel at random: minutes of one day, 5 to 60 minutes long, one or two of a few practitioners.
Judged is what the servers say over HTTP: the Appointments themselves, never the store's own bookkeeping. It ends with 0
only if nobody is booked twice, every acknowledged change is there, no Slot stays busy without an Appointment, and every
answer was 200, 201, 409, 412, 422, or 503 with Retry-After; a connection may break only where servers are killed.
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from fhir_server.outcome import CANONICAL
from fhir_server.store.embedded import running

Json: TypeAlias = dict[str, Any]

ANSWERS = frozenset({200, 201, 409, 412, 422})
PATIENTS = 200
START_SECONDS_MAX = 60
SETTLE_SECONDS_MAX = 90
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


def clinic(actors: int) -> Iterator[Json]:
    """Practitioners who are there at all hours, with a Schedule that begins at any minute; and patients."""
    minute = {"value": 1, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"}
    alignment = {"url": "alignmentInterval", "valueDuration": minute}
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
            "extension": [{"url": f"{CANONICAL}/StructureDefinition/scheduling-parameters", "extension": [alignment]}],
        }
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
    until = time.monotonic() + plan.seconds
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=30, limits=limits) as http:
        bookers = [
            Booker(plan, http, report, random.Random(f"{number}-{each}"))
            for each in range(plan.bookers // plan.processes)
        ]
        await asyncio.gather(*(booker.work(until) for booker in bookers))
    return report


@dataclass(slots=True)
class Booker:
    """One client with its own Appointments: nobody else changes them, so it knows what they must be."""

    plan: Plan
    http: httpx.AsyncClient
    report: Report
    choice: random.Random
    kept: dict[str, Json] = field(default_factory=dict)

    async def work(self, until: float) -> None:
        while time.monotonic() < until:
            what = self.choice.choices(("book", "move", "cancel"), (60, 15, 25))[0] if self.kept else "book"
            await (self.book() if what == "book" else self.change(what))

    def anywhere(self) -> Json:
        start = self.plan.day + timedelta(minutes=self.choice.randrange(24 * 60))
        people = self.choice.sample(range(self.plan.actors), min(self.choice.choice((1, 1, 1, 2)), self.plan.actors))
        actors = [f"Practitioner/race-{number}" for number in people]
        patient = f"Patient/race-{self.choice.randrange(PATIENTS)}"
        return appointment(start, self.choice.randrange(5, 61), [patient, *actors])

    async def book(self) -> None:
        """Where the connection broke, the same key asks again until it is known what became of it."""
        headers = {"Idempotency-Key": str(uuid.UUID(int=self.choice.getrandbits(128)))}
        wanted = self.anywhere()
        for _ in range(5):
            answer = await self.ask("book", "POST", "Appointment", wanted, headers)
            if answer is None or answer.status_code == 503:
                await asyncio.sleep(self.choice.uniform(0.1, 1))
                continue
            if answer.status_code == 201:
                self.learn(answer.json())
            return

    async def change(self, what: str) -> None:
        """Moves or cancels one of its own; without an answer it may be either, and is left alone from then on."""
        id = self.choice.choice(sorted(self.kept))
        before = self.kept[id]
        other = {"status": "cancelled", "cancelationReason": REASON}
        if what == "move":
            anywhere = self.anywhere()
            other = {"start": anywhere["start"], "end": anywhere["end"]}
        after = {**before, **other}
        headers = {"If-Match": f'W/"{before["meta"]["versionId"]}"'}
        answer = await self.ask(what, "PUT", f"Appointment/{id}", after, headers)
        if answer is None or answer.status_code == 503:
            del self.kept[id]
            self.report.known[id].append(after)
        elif answer.status_code == 200:
            self.learn(answer.json())
        elif answer.status_code == 412:
            self.report.wrong.append(f"Appointment/{id} was changed by somebody else")

    def learn(self, stored: Json) -> None:
        self.report.known[stored["id"]] = [stored]
        if stored["status"] == "booked":
            self.kept[stored["id"]] = stored
        else:
            self.kept.pop(stored["id"], None)

    async def ask(self, what: str, method: str, path: str, body: Json, headers: Json) -> httpx.Response | None:
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
    """What is wrong, by what the first server says now."""
    server = plan.servers[0]
    with httpx.Client(timeout=60) as http:
        everything = {each["id"]: each for each in found(http, f"{server}/Appointment?_count=1000")}
        busy = list(found(http, f"{server}/Slot?status=busy&_count=1000"))
    booked = [each for each in everything.values() if each["status"] == "booked"]
    wrong = [line for report in reports for line in report.wrong]
    wrong += twice(booked)
    for report in reports:
        wrong += [line for id, may in report.known.items() if (line := differs(id, everything.get(id), may))]
    held = {reference["reference"] for each in booked for reference in each.get("slot", ())}
    wrong += [f"Slot/{slot['id']} is busy for nobody" for slot in busy if f"Slot/{slot['id']}" not in held]
    return wrong


def twice(booked: Sequence[Json]) -> Iterator[str]:
    """The actors who are in two Appointments at once."""
    times: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for each in booked:
        for participant in each["participant"]:
            times[participant["actor"]["reference"]].append((each["start"], each["end"], each["id"]))
    for actor, taken in times.items():
        for (_, end, one), (start, _, other) in itertools.pairwise(sorted(taken)):
            if start < end:
                yield f"{actor} is booked twice: Appointment/{one} and Appointment/{other}"


def differs(id: str, stored: Json | None, may: Sequence[Json]) -> str | None:
    """What was promised of an Appointment and is not so; the last of `may` was not answered, if there are two."""
    if stored is None:
        return f"Appointment/{id} is lost"
    said = [{name: each[name] for name in ("status", "start", "end")} for each in may]
    now = {name: stored[name] for name in ("status", "start", "end")}
    return None if now in said else f"Appointment/{id} is {now}, but was acknowledged as {said[0]}"


@contextmanager
def serving(uri: str, port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A server on the port; the list holds its process, and whoever kills it puts the next one there."""
    processes = [launch(uri, port)]
    try:
        yield processes
    finally:
        processes[0].terminate()
        processes[0].wait()


def launch(uri: str, port: int) -> subprocess.Popen[bytes]:
    chosen = {
        "MONGODB_URI": uri,
        "FHIR_SERVER_DATABASE": "race",
        "FHIR_SERVER_PORT": str(port),
        "FHIR_SERVER_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen((sys.executable, "-m", "fhir_server", "serve"), env={**os.environ, **chosen})
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200:
                return process
        except httpx.TransportError:
            time.sleep(0.1)
        if process.poll() is not None:
            break
    process.kill()
    raise SystemExit("The server did not start.")


def kill_in_turn(
    uri: str, servers: Sequence[tuple[int, list[subprocess.Popen[bytes]]]], seconds: float, over: threading.Event
) -> int:
    """Kills one server after the other and starts it again, until it is over; returns how many."""
    for count, (port, processes) in enumerate(itertools.cycle(servers)):
        if over.wait(seconds):
            return count
        processes[0].kill()
        processes[0].wait()
        processes[0] = launch(uri, port)
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
        return [results.get(timeout=plan.seconds + SETTLE_SECONDS_MAX) for _ in workers]
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
        say(plan, reports, sum(killed), wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
