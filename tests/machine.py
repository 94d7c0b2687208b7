"""A clinic in which everything happens in any order, over HTTP, beside a model of it that is as obvious as can be.

    python -m tests.machine --examples 500 --steps 50        starts a store of its own, or uses MONGODB_URI

After each step: the server's answer was the model's; every Appointment is as the model has it; what is claimed is what
the Appointments and the EHR's Slots take, and nothing else; nobody is over capacity at any minute; and what is found is
every time that the model can book, minute by minute, and no other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fhir_server.operations import OPERATIONS
from fhir_server.outcome import CANONICAL
from fhir_server.scheduling import holds
from fhir_server.settings import Settings
from fhir_server.store.embedded import running
from tests.clinic import REASON, Json, location, organization, patient, practitioner, role, room, schedule
from tests.model import DAY, DAYS, Calendar, Model, Published, Visit, claims
from tests.outcomes import problems
from tests.recurring import template
from tests.served import opened

MIDNIGHT = datetime.fromisoformat("2026-03-03T00:00:00+00:00")
"""Minute 0 of the model: a Tuesday."""

OPENS = 8 * 60
PATIENTS = ("ann", "bob", "cleo")
ASKING = "dora"
"""A patient who only asks, and so has never anything else at a time."""
MORNING = ((9 * 60, 11 * 60),)
HOURS = (MORNING, ((9 * 60 + 30, 10 * 60 + 30),), ((9 * 60, 9 * 60 + 40), (10 * 60, 12 * 60)), ())
LEAVE: tuple[tuple[tuple[int, int], ...], ...] = ((), ((9 * 60 + 30, 10 * 60),), ((DAY, 2 * DAY),))
"""What availability is edited to: weekly hours, and blocks."""

CALENDARS = {
    "smith": Calendar("smith", "Practitioner/smith", 20, MORNING, step=10, after=10),
    "jones": Calendar("jones", "Practitioner/jones", 30, ((9 * 60, 10 * 60 + 30),), capacity=3),
    "room": Calendar("room", "Location/room", 20, ((8 * 60, 12 * 60),), step=10),
}
"""Dr Smith sees one at a time, with a buffer, Dr Jones groups of three; both may want the room."""

HELD_MAX = 120
"""The minutes that a hold lasts in all."""

STATIC = frozenset({"Organization", "Location", "Practitioner", "PractitionerRole", "Schedule", "Patient"})

CODES = frozenset(one.code for one in OPERATIONS)


def moment(minute: int) -> datetime:
    return MIDNIGHT + timedelta(minutes=minute)


def spell(minute: int) -> str:
    return f"{moment(minute):%Y-%m-%dT%H:%M:%SZ}"


def minute_of(text: str) -> int:
    return int((datetime.fromisoformat(text) - MIDNIGHT) // timedelta(minutes=1))


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}:00"


def hours_of(windows: Iterable[tuple[int, int]], opens: str, closes: str) -> list[Json]:
    days = ["tue", "wed"]
    return [{"daysOfWeek": days, opens: clock(start), closes: clock(end)} for start, end in windows]


def world() -> Iterator[Json]:
    """What the rules come from; only Dr Smith's role is ever edited."""
    yield organization()
    yield location("main")
    closed = ("openingTime", "closingTime")
    yield {**room("room"), "hoursOfOperation": hours_of(CALENDARS["room"].windows, *closed)}
    for name in (*PATIENTS, ASKING):
        yield patient(name)
    for name in ("smith", "jones"):
        yield practitioner(name)
        yield smith() if name == "smith" else role(name, **role_of(CALENDARS[name]))
    actors = {"smith": "PractitionerRole/smith", "jones": "PractitionerRole/jones", "room": "Location/room"}
    for name, calendar in CALENDARS.items():
        cut = {"duration": calendar.duration, "bufferAfter": calendar.after, "capacity": calendar.capacity}
        cut |= {"alignmentInterval": calendar.step} if calendar.step else {}
        yield schedule(name, actor=[{"reference": actors[name]}], parameters=cut)


def role_of(calendar: Calendar) -> Json:
    times = hours_of(calendar.windows, "availableStartTime", "availableEndTime")
    return {"practitioner": {"reference": calendar.actor}, "availableTime": times}


def smith() -> Json:
    return role("smith", **role_of(CALENDARS["smith"]))


@dataclass
class Site:
    """One server for all examples, with a clock of its own, and a loop for functions that do not wait."""

    loop: asyncio.AbstractEventLoop
    client: httpx.AsyncClient
    time: list[datetime]
    seen: dict[str, Json] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    """How often there was a step, an answer by what was asked, and an offer to who waits."""

    def ask(self, method: str, path: str, body: Json | None = None, **query: Any) -> httpx.Response:
        answer = self.loop.run_until_complete(self.client.request(method, path, json=body, params=query or None))
        *_, last = (part for part in path.split("/") if part[:1].isupper() or part[:1] == "$")
        self.told[f"{method} {last} {answer.status_code}"] += 1
        return answer

    def put(self, resource: Json) -> httpx.Response:
        return self.ask("PUT", f"/{resource['resourceType']}/{resource['id']}", resource)

    def empty(self) -> None:
        """Nothing is booked, and nobody has edited anything."""
        server = self.client.app.state.server  # type: ignore[attr-defined]

        async def clear() -> None:
            names = [name for name in await server.store.db.list_collection_names() if name not in STATIC]
            await asyncio.gather(*(server.store.db[name].delete_many({}) for name in names))

        self.loop.run_until_complete(clear())
        server.store.guards.known.clear()
        server.settled.until = server.freed.looked = None
        server.freed.take()
        self.seen.clear()

    def claimed(self) -> dict[str, set[tuple[str, int, int]]]:
        """By owner what is claimed of the time to come, of people and rooms."""
        db = self.client.app.state.server.store.db  # type: ignore[attr-defined]
        found: dict[str, set[tuple[str, int, int]]] = {}
        now = self.time[0]
        for piece in self.loop.run_until_complete(db["claims"].find().to_list(None)):
            claim = piece["claim"]
            over = claim["core_end"] <= now or (claim["expires"] is not None and claim["expires"] <= now)
            if (
                not over
                and piece["actor"].startswith(("Practitioner/", "Patient/", "Location/"))
                and "#" not in piece["actor"]
            ):
                times = tuple(int((claim[each] - MIDNIGHT) // timedelta(minutes=1)) for each in ("start", "end"))
                found.setdefault(piece["owner"], set()).add((piece["actor"], *times))
        return found


@contextmanager
def site(uri: str) -> Iterator[Site]:
    """A server on a database of its own, which is dropped in the end."""
    loop, stack, time = asyncio.new_event_loop(), AsyncExitStack(), [moment(OPENS)]
    chosen = Settings(mongodb_uri=uri, database=f"machine_{uuid.uuid4().hex}", sweep_seconds=0, holds_per_client_max=99)
    try:
        client = loop.run_until_complete(opened(stack, chosen, lambda: time[0], None))
        made = Site(loop, client, time)
        for resource in world():
            made.put(resource).raise_for_status()
        yield made
        store = client.app.state.server.store  # type: ignore[attr-defined]
        loop.run_until_complete(store.db.client.drop_database(store.db.name))
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()


STARTS = st.builds(
    lambda day, minute: day * DAY + minute,
    st.integers(0, DAYS - 1),
    st.integers(8 * 60 // 10 + 5, 72).map(lambda n: n * 10),
)
LENGTHS = st.sampled_from((20, 20, 30, 30, 40, 60))
WHO = st.sampled_from(("smith", "smith", "jones"))
WHOSE = st.sampled_from(PATIENTS)
ANY = st.integers(0, 99)


class Machine(RuleBasedStateMachine):
    """The rules: what people, an EHR and the clock do. `site` is set before it runs."""

    site: Site

    @initialize()
    def begin(self) -> None:
        self.site.time[0] = moment(OPENS)
        self.site.empty()
        self.site.put(smith()).raise_for_status()
        self.model = Model(dict(CALENDARS), OPENS)

    # What is asked for

    def wanted(self, visit: Visit) -> Json:
        actors = [f"Patient/{visit.patient}", self.model.calendars[visit.who].actor]
        actors += ["Location/room"] if visit.room else []
        return {
            "resourceType": "Appointment",
            "status": visit.status,
            "start": spell(visit.start),
            "end": spell(visit.end),
            "participant": [{"actor": {"reference": actor}, "status": "accepted"} for actor in actors],
        }

    def operate(self, path: str, *parameters: Json) -> httpx.Response:
        return self.site.ask("POST", path, {"resourceType": "Parameters", "parameter": list(parameters)})

    def expect(self, answer: httpx.Response, refused: int) -> bool:
        """Whether it was done, as the model said it would be."""
        assert answer.status_code in ((refused,) if refused else (200, 201)), (refused, answer.status_code, answer.text)
        return not refused

    def chosen(self, number: int, *statuses: str) -> str:
        found = self.those(*statuses)
        return found[number % len(found)]

    def those(self, *statuses: str) -> list[str]:
        found = [id for id, visit in self.model.visits.items() if visit.status in statuses]
        return sorted(found, key=list(self.model.visits).index)

    def settle_in(self, id: str, visit: Visit) -> None:
        """The visit is booked in the model, on the Slot that the EHR offers at its time if there is one."""
        on = visit.on or self.model.free_slot(self.model.calendars[visit.who], visit.start, visit.end)
        self.model.visits[id] = replace(visit, on=on)
        if on:
            self.model.published[on] = replace(self.model.published[on], status="busy")

    def on_offer(self, visit: Visit) -> Visit:
        return replace(visit, on=self.model.free_slot(self.model.calendars[visit.who], visit.start, visit.end))

    # Holds and bookings

    @rule(start=STARTS, minutes=LENGTHS, patient=WHOSE, who=WHO, room=st.booleans())
    def hold(self, start: int, minutes: int, patient: str, who: str, room: bool) -> None:
        visit, now = self.on_offer(Visit("proposed", start, start + minutes, patient, who, room)), self.model.now
        refused = self.model.refused(visit)
        answer = self.operate("/Appointment/$hold", {"name": "appointment", "resource": self.wanted(visit)})
        if self.expect(answer, refused):
            self.settle_in(answer.json()["id"], replace(visit, status="pending", since=now, expires=now + 15))

    @precondition(lambda self: self.those("pending"))
    @rule(number=ANY, minutes=st.sampled_from((5, 15, 40)))
    def renew(self, number: int, minutes: int) -> None:
        """A hold ends at another time: two hours after it began at the latest, and what the waiting list offers never
        later than it said."""
        id = self.chosen(number, "pending")
        visit, until = self.model.visits[id], self.model.now + minutes
        longer = until > (visit.expires or 0) if visit.waits else until > visit.since + HELD_MAX
        answer = self.operate(f"/Appointment/{id}/$hold", {"name": "minutes", "valuePositiveInt": minutes})
        if self.expect(answer, 422 if longer else 0):
            self.model.change(id, expires=until)

    @rule(
        start=STARTS,
        minutes=LENGTHS,
        patient=WHOSE,
        who=WHO,
        room=st.booleans(),
        door=st.sampled_from(("create", "update", "book")),
    )
    def book(self, start: int, minutes: int, patient: str, who: str, room: bool, door: str) -> None:
        visit = self.on_offer(Visit("booked", start, start + minutes, patient, who, room))
        refused, body = self.model.refused(visit), self.wanted(visit)
        if door == "update":
            answer = self.site.put({**body, "id": f"own-{len(self.model.visits)}"})
        else:
            answer = self.site.ask("POST", "/Appointment" if door == "create" else "/Appointment/$book", body)
        if self.expect(answer, refused):
            self.settle_in(answer.json()["id"], visit)

    @rule(number=ANY, patient=WHOSE, who=st.sampled_from(tuple(CALENDARS)))
    def book_what_is_found(self, number: int, patient: str, who: str) -> None:
        found = self.found().get(who)
        if not found or who == "room":
            return
        start, end = sorted(found)[number % len(found)]
        visit = self.on_offer(Visit("booked", start, end, patient, who))
        slot = {"name": "slot", "valueReference": {"reference": f"Slot/{found[start, end]['id']}"}}
        whose = {"name": "patient", "valueReference": {"reference": f"Patient/{patient}"}}
        refused = self.model.refused(visit)
        assert refused in (0, 409), "only the patient can be elsewhere"
        answer = self.operate("/Appointment/$book", slot, whose)
        if self.expect(answer, refused):
            self.settle_in(answer.json()["id"], visit)

    @rule(start=STARTS, minutes=LENGTHS, who=WHO, room=st.booleans())
    def ask_why(self, start: int, minutes: int, who: str, room: bool) -> None:
        """A time is found or refused, and why is said in the codes that a booking would be refused with."""
        visit = self.on_offer(Visit("booked", start, start + minutes, ASKING, who, room))
        reasons = set().union(*(self.reasons(one.id, start, minutes) for one in self.model.calendars_of(visit)))
        answer = self.site.ask("POST", "/Appointment/$validate-booking", self.wanted(visit))
        self.expect(answer, 0)
        assert problems(answer) == reasons
        assert bool(reasons) == bool(self.model.refused(visit)), reasons
        assert bool(reasons) != self.is_found(visit), reasons

    def is_found(self, visit: Visit) -> bool:
        """Whether all who take part are found together at that time."""
        query = {"start": spell(visit.start), "end": spell(visit.end), "duration": visit.end - visit.start}
        actors = [one.actor for one in self.model.calendars_of(visit)]
        bundle = self.site.ask("GET", "/Schedule/$find-slots", **query, participant=actors).json()
        slots = [entry["resource"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]
        assert {(one["start"], one["end"]) for one in slots} <= {(query["start"], query["end"])}
        return bool(slots)

    def reasons(self, calendar: str, start: int, minutes: int) -> set[str]:
        """Why a time of a calendar is not free."""
        query = {"at": spell(start), "duration": minutes}
        said = self.site.ask("GET", f"/Schedule/{calendar}/$availability", **query).json()["parameter"][0]["part"]
        return {one["valueCodeableConcept"]["coding"][0]["code"] for one in said if one["name"] == "reason"}

    @precondition(lambda self: self.those("pending", "cancelled"))
    @rule(number=ANY)
    def confirm(self, number: int) -> None:
        """A hold, or what the waiting list offers, is booked; one that is over as if it were asked for now."""
        id = self.chosen(number, "pending", "cancelled")
        visit = self.model.visits[id]
        late = visit.status == "cancelled"
        if late and visit.expires is None:
            return
        refused = self.model.refused(visit, (id,)) if late else 0
        if self.expect(self.site.ask("POST", f"/Appointment/{id}/$book"), refused):
            self.settle_in(id, replace(visit, status="booked", expires=None, waits=False))

    @precondition(lambda self: self.those("pending", "booked"))
    @rule(number=ANY, start=STARTS, minutes=LENGTHS, door=st.sampled_from(("PUT", "$reschedule")))
    def move(self, number: int, start: int, minutes: int, door: str) -> None:
        id = self.chosen(number, "pending", "booked")
        visit = self.model.visits[id]
        moved = replace(visit, start=start, end=start + minutes, on=None)
        if visit.waits or (moved.start, moved.end) == (visit.start, visit.end):
            return
        refused = self.model.refused(self.on_offer(moved), (id,))
        times = {"start": spell(moved.start), "end": spell(moved.end)}
        if door == "PUT" or door.removeprefix("$") not in CODES:
            answer = self.site.put({**self.site.seen[id], **times})
        else:
            given = ({"name": name, "valueDateTime": value} for name, value in times.items())
            answer = self.operate(f"/Appointment/{id}/$reschedule", *given)
        if self.expect(answer, refused):
            self.model.give_back(id)
            self.settle_in(id, moved)

    @precondition(lambda self: self.those("pending", "booked"))
    @rule(number=ANY, who=WHO, room=st.booleans(), door=st.sampled_from(("PUT", "$reassign")))
    def reassign(self, number: int, who: str, room: bool, door: str) -> None:
        """Somebody else, or another place, at the same time: whoever comes new must be open and free."""
        id = self.chosen(number, "pending", "booked")
        visit = self.model.visits[id]
        if visit.waits or visit.start < self.model.now or (visit.who, visit.room) == (who, room):
            return
        other = replace(visit, who=who, room=room, on=visit.on if who == visit.who else None)
        other = other if who == visit.who else self.on_offer(other)
        own = {one.id for one in self.model.calendars_of(visit)}
        new = {one.id for one in self.model.calendars_of(other)} - own
        refused = self.model.refused(other, (id,), asked=new)
        if visit.room == room and door == "$reassign":
            comer = {"name": "to", "valueReference": {"reference": self.model.calendars[who].actor}}
            answer = self.operate(f"/Appointment/{id}/$reassign", comer)
        else:
            answer = self.site.put({**self.site.seen[id], "participant": self.wanted(other)["participant"]})
        if self.expect(answer, refused):
            if other.on != visit.on:
                self.model.give_back(id)
            self.settle_in(id, other)

    @precondition(lambda self: self.those("pending", "booked"))
    @rule(number=ANY, door=st.sampled_from(("$cancel", "PUT", "entered-in-error")))
    def cancel(self, number: int, door: str) -> None:
        id = self.chosen(number, "pending", "booked")
        if door == "$cancel":
            answer = self.operate(
                f"/Appointment/{id}/$cancel", {"name": "cancelationReason", "valueCodeableConcept": REASON}
            )
        elif door == "PUT":
            answer = self.site.put({**self.site.seen[id], "status": "cancelled", "cancelationReason": REASON})
        else:
            answer = self.site.put({**self.site.seen[id], "status": "entered-in-error"})
        self.expect(answer, 0)
        self.model.give_back(id)
        status = door if door == "entered-in-error" else "cancelled"
        self.model.change(id, status=status, expires=None, waits=False)

    @precondition(lambda self: self.those("pending"))
    @rule(number=ANY)
    def release(self, number: int) -> None:
        """A hold is given up; who was offered the time waits on."""
        id = self.chosen(number, "pending")
        self.expect(self.site.ask("POST", f"/Appointment/{id}/$release"), 0)
        self.model.give_back(id)
        self.model.change(id, status="cancelled", expires=None)

    @precondition(lambda self: self.in_series())
    @rule(number=ANY, scope=st.sampled_from(("following", "all")))
    def cancel_series(self, number: int, scope: str) -> None:
        """The whole of a series that is still to come, or what follows."""
        id = self.in_series()[number % len(self.in_series())]
        named = self.model.visits[id]
        answer = self.operate(
            f"/Appointment/{id}/$cancel",
            {"name": "cancelationReason", "valueCodeableConcept": REASON},
            {"name": "scope", "valueCode": scope},
        )
        self.expect(answer, 0)
        for other in self.in_series():
            visit = self.model.visits[other]
            with_it = visit.series == named.series and visit.start > self.model.now
            if other == id or (with_it and (scope == "all" or visit.number > named.number)):
                self.model.give_back(other)
                self.model.change(other, status="cancelled")

    def in_series(self) -> list[str]:
        return [id for id in self.those("booked") if self.model.visits[id].series]

    @precondition(lambda self: self.those("cancelled"))
    @rule(number=ANY)
    def undo_cancelling(self, number: int) -> None:
        id = self.chosen(number, "cancelled")
        visit = self.model.visits[id]
        if visit.expires is not None:
            return
        refused = self.model.refused(visit, (id,), waived=("off-grid",))
        undone = {name: value for name, value in self.site.seen[id].items() if name != "cancelationReason"}
        if self.expect(self.site.put({**undone, "status": "booked"}), refused):
            self.settle_in(id, replace(visit, status="booked"))

    @rule(start=STARTS, minutes=LENGTHS, patient=WHOSE, who=WHO)
    def book_series(self, start: int, minutes: int, patient: str, who: str) -> None:
        """The same time on both days, or neither."""
        first = Visit("booked", start % DAY, start % DAY + minutes, patient, who)
        both = [self.on_offer(one) for one in (first, replace(first, start=first.start + DAY, end=first.end + DAY))]
        answers = {self.model.refused(one) for one in both} - {0}
        asked, series = (
            {**self.wanted(first), "extension": [template("d", occurrenceCount=2)]},
            len(self.model.visits) + 1,
        )
        answer = self.operate("/Appointment/$book", {"name": "appointment", "resource": asked})
        if self.expect(answer, max(answers, default=0)):
            for at, (entry, visit) in enumerate(zip(answer.json()["entry"], both, strict=True)):
                self.settle_in(entry["resource"]["id"], replace(visit, series=series, number=at))

    @rule(patient=WHOSE, who=WHO)
    def wait(self, patient: str, who: str) -> None:
        """Joins the waiting list; whether a time is offered is seen when the Appointments are compared. Among those who
        have waited equally long the id decides, so that it must be the same in each run."""
        visit = Visit("waitlist", 0, 0, patient, who, waits=True)
        body = {name: value for name, value in self.wanted(visit).items() if name not in ("start", "end")}
        period = {"start": spell(0), "end": spell(DAYS * DAY)}
        id = f"waits-{len(self.model.visits):03}"
        answer = self.site.put({**body, "id": id, "requestedPeriod": [period], "minutesDuration": 20})
        self.expect(answer, 0)
        self.model.visits[id] = visit

    # The visit itself

    @precondition(lambda self: self.those("booked", "arrived"))
    @rule(number=ANY)
    def arrive_or_finish(self, number: int) -> None:
        id = self.chosen(number, "booked", "arrived")
        status = {"booked": "arrived", "arrived": "fulfilled"}[self.model.visits[id].status]
        self.expect(self.site.put({**self.site.seen[id], "status": status}), 0)
        self.model.change(id, status=status)

    @precondition(lambda self: self.those("booked"))
    @rule(number=ANY)
    def miss(self, number: int) -> None:
        """Nobody came; that is only known an hour after the start."""
        id = self.chosen(number, "booked")
        early = self.model.now < self.model.visits[id].start + 60
        if self.expect(self.site.put({**self.site.seen[id], "status": "noshow"}), 422 if early else 0):
            self.model.change(id, status="noshow")

    @precondition(lambda self: self.those("noshow"))
    @rule(number=ANY)
    def undo_missing(self, number: int) -> None:
        """Somebody came after all: the visit is booked as it was, where nobody has taken its time."""
        id = self.chosen(number, "noshow")
        visit = self.model.visits[id]
        refused = self.model.refused(visit, (id,), waived=("off-grid", "in-the-past"))
        if self.expect(self.site.put({**self.site.seen[id], "status": "booked"}), refused):
            self.settle_in(id, replace(visit, status="booked"))

    # Rules, the EHR and the clock

    @rule(windows=st.sampled_from(HOURS), leave=st.sampled_from(LEAVE))
    def edit_availability(self, windows: tuple[tuple[int, int], ...], leave: tuple[tuple[int, int], ...]) -> None:
        """New hours and leave; the bookings that they strand are listed and stay."""
        parameters = [self.window(start, end) for start, end in windows]
        parameters += [self.block(start, end) for start, end in leave]
        parameters += [{"name": "clear", "valueCode": "availableTime"}] if not windows else []
        parameters += [{"name": "clear", "valueCode": "notAvailable"}] if not leave else []
        answer = self.operate("/PractitionerRole/smith/$set-availability", *parameters)
        self.expect(answer, 0)
        self.model.calendars["smith"] = replace(self.model.calendars["smith"], windows=windows, leave=leave)
        listed = next(one["resource"] for one in answer.json()["parameter"] if one["name"] == "stranded")
        entries = [entry for entry in listed.get("entry", ()) if entry["search"]["mode"] == "match"]
        assert {entry["resource"]["id"] for entry in entries} == self.model.stranded("smith")

    def window(self, start: int, end: int) -> Json:
        times = {"availableStartTime": clock(start), "availableEndTime": clock(end)}
        days = [{"name": "daysOfWeek", "valueCode": day} for day in ("tue", "wed")]
        return {"name": "availableTime", "part": [*days, *({"name": k, "valueTime": v} for k, v in times.items())]}

    def block(self, start: int, end: int) -> Json:
        during = {"name": "during", "valuePeriod": {"start": spell(start), "end": spell(end)}}
        return {"name": "notAvailable", "part": [{"name": "description", "valueString": "Leave"}, during]}

    @rule(start=STARTS, minutes=LENGTHS, status=st.sampled_from(("free", "busy")))
    def publish(self, start: int, minutes: int, status: str) -> None:
        """The EHR offers a time of Dr Smith's, or takes one."""
        id = f"ehr-{len(self.model.published)}"
        if start < self.model.now:
            return
        slot = Published("smith", start, start + minutes, status)
        self.expect(self.site.put(self.slot(id, slot)), 0)
        self.model.published[id] = slot

    @precondition(lambda self: self.model.published)
    @rule(number=ANY, status=st.sampled_from(("free", "busy")))
    def restate(self, number: int, status: str) -> None:
        """The EHR frees or takes its Slot; one that is booked it can only leave busy."""
        id = sorted(self.model.published)[number % len(self.model.published)]
        slot = self.model.published[id]
        if slot.end <= self.model.now or (slot.start, slot.end) in {
            (one.start, one.end) for other, one in self.model.published.items() if other != id
        }:
            return
        booked = [one for one in self.model.live().values() if one.on == id]
        if any(one.status == "pending" for one in booked):
            return
        refused = 409 if booked and status == "free" else 0
        changed = replace(slot, status=status)
        if self.expect(self.site.put(self.slot(id, changed)), refused):
            self.model.published[id] = changed

    def slot(self, id: str, slot: Published) -> Json:
        times = {"start": spell(slot.start), "end": spell(slot.end)}
        schedule = {"reference": f"Schedule/{slot.calendar}"}
        return {"resourceType": "Slot", "id": id, "schedule": schedule, "status": slot.status, **times}

    @rule(minutes=st.sampled_from((5, 10, 15, 30, 60, 90, DAY)))
    def let_time_pass(self, minutes: int) -> None:
        now = min(self.model.now + minutes, DAYS * DAY)
        self.site.time[0] = moment(now)
        self.model.pass_to(now)

    # What must hold after each step

    @invariant()
    def everything_agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        self.site.told["steps"] += 1
        self.compare_appointments()
        assert not differences(self.site.claimed(), claims(self.model))
        assert not self.model.over_capacity()
        found = {
            who: {times: self.places(slot) for times, slot in slots.items()} for who, slots in self.found().items()
        }
        for who, calendar in self.model.calendars.items():
            assert not differences(found.get(who, {}), self.model.offered(calendar)), who

    def compare_appointments(self) -> None:
        bundle = self.site.ask("GET", "/Appointment", _count=1000).json()
        stored = {entry["resource"]["id"]: entry["resource"] for entry in bundle.get("entry", ())}
        self.site.seen = stored
        for id, visit in list(self.model.visits.items()):
            if visit.waits and visit.status == "cancelled":
                self.model.change(id, status="waitlist", start=0, end=0, on=None, expires=None)
        for id, visit in list(self.model.visits.items()):
            if visit.status == "waitlist" and stored[id]["status"] == "pending":
                self.adopt(id, stored[id])
        said = {
            id: (visit.status, visit.start, visit.end, visit.who, visit.room) for id, visit in self.model.visits.items()
        }
        assert not differences({id: self.read(one) for id, one in stored.items()}, said)

    def adopt(self, id: str, offered: Json) -> None:
        """A time is offered to one who waits: it must be one that could be booked."""
        expires = holds.expires_of(offered)
        assert expires is not None and expires > self.site.time[0]
        status, start, end, who, room = self.read(offered)
        visit = Visit(status, start, end, self.model.visits[id].patient, who, room, waits=True)
        visit = replace(visit, expires=int((expires - MIDNIGHT) // timedelta(minutes=1)))
        assert self.model.refused(self.on_offer(visit), (id,)) == 0
        self.settle_in(id, self.on_offer(visit))
        self.site.told["offers"] += 1

    def read(self, appointment: Json) -> tuple[str, int, int, str, bool]:
        actors = {one["actor"]["reference"] for one in appointment["participant"]}
        who = next(name for name in ("smith", "jones") if actors & {f"Practitioner/{name}", f"PractitionerRole/{name}"})
        start, end = (minute_of(appointment[each]) if each in appointment else 0 for each in ("start", "end"))
        return appointment["status"], start, end, who, "Location/room" in actors

    def found(self) -> dict[str, dict[tuple[int, int], Json]]:
        """By calendar and time the Slots that are found."""
        query = {"start": spell(0), "end": spell(DAYS * DAY), "_count": 1000}
        bundle = self.site.ask("GET", "/Schedule/$find-slots", **query, schedule=list(CALENDARS)).json()
        found: dict[str, dict[tuple[int, int], Json]] = {}
        for entry in bundle.get("entry", ()):
            if entry["search"]["mode"] == "match":
                slot = entry["resource"]
                times = minute_of(slot["start"]), minute_of(slot["end"])
                found.setdefault(slot["schedule"]["reference"].removeprefix("Schedule/"), {})[times] = slot
        return found

    def places(self, slot: Json) -> int:
        """The places that a Slot says are left; one where it does not say."""
        url = f"{CANONICAL}/StructureDefinition/remaining-places"
        said = [one["valueUnsignedInt"] for one in slot.get("extension", ()) if one["url"] == url]
        return next(iter(said), 1)


def differences(stored: Mapping[Any, object], expected: Mapping[Any, object]) -> dict[Any, tuple[object, object]]:
    """By key what the server has and what the model has, where it is not the same."""
    every = {**stored, **expected}
    return {key: (stored.get(key), expected.get(key)) for key in every if stored.get(key) != expected.get(key)}


def run(uri: str, examples: int, steps: int, *, random: bool = False, shrink: bool = False) -> Counter[str]:
    """Runs the machine and returns how often what was done; `random` begins elsewhere each time, `shrink` looks for the
    shortest way to a difference."""
    phases = (Phase.generate, *((Phase.shrink,) if shrink else ()))
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not random,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    with site(uri) as at:
        run_state_machine_as_test(type("Run", (Machine,), {"site": at}), settings=chosen)
        return at.told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--shrink", action="store_true", help="look for the shortest way to a difference, for minutes")
    chosen = parser.parse_args()
    os.environ.setdefault("FHIR_SERVER_LOG_LEVEL", "error")
    with ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory())
        uri = os.environ.get("MONGODB_URI") or stack.enter_context(running(data))
        told = run(uri, chosen.examples, chosen.steps, random=True, shrink=chosen.shrink)
    print(json.dumps(dict(sorted(told.items())), indent=2))
    print(f"{chosen.examples} examples of up to {chosen.steps} steps: no difference", file=sys.stderr)


if __name__ == "__main__":
    main()
