"""Steps of a filter: how they are resolved, and what a resolved filter demands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.outcome import FhirError
from fhir_server.plan import Found, Sought
from fhir_server.resources import ROWS
from fhir_server.search import Query, Scope, parse, resolve
from fhir_server.search.demands import demanded, within
from fhir_server.search.near import distance_km
from tests.search.rows import BASE, NOW, ask, document

SCOPE = Scope(ROWS, UTC, BASE, NOW)


def run(query: Query, answers: Sequence[Sequence[Sequence[str]]]) -> tuple[Mapping[str, Any], list[list[Sought]]]:
    """The resolved filter when the batches are answered like this, and the batches."""
    plan = resolve(SCOPE, query)
    batches: list[list[Sought]] = []
    left = iter(answers)
    try:
        loads = next(plan)
        while True:
            batches.append([load for load in loads if isinstance(load, Sought)])
            found: Found = next(left)
            loads = plan.send(found)
    except StopIteration as finished:
        assert next(left, None) is None
        return finished.value.filter, batches


def asked(type: str, *pairs: tuple[str, str]) -> Query:
    return parse(SCOPE, type, pairs)


def test_what_has_no_steps_is_resolved_without_a_load() -> None:
    query = asked("Appointment", ("status", "booked"), ("patient", "ann"))
    assert run(query, []) == (query.filter, [])


def test_a_chain_is_resolved_from_its_end() -> None:
    query = asked("Encounter", ("appointment.patient.family", "ash"), ("status", "planned"))
    filter, batches = run(query, [[["ann", "bob"]], [["1"]]])
    assert filter == {"index.appointment": "Appointment/1", "index.status": "*|planned"}
    [[first], [second]] = batches
    assert (first.type, first.path) == ("Patient", "_id")
    assert (second.type, second.filter) == ("Appointment", {"index.patient": {"$in": ["Patient/ann", "Patient/bob"]}})


def test_steps_that_wait_for_none_are_sought_together() -> None:
    query = asked(
        "Appointment",
        ("patient.family", "ash"),
        ("actor.active", "true"),
        ("_has:Encounter:appointment:status", "planned"),
    )
    filter, [batch] = run(query, [[["ann"], [], ["smith"], [], [], ["Appointment/1", "Appointment/2"]]])
    assert [load.type for load in batch] == [
        "Patient", "Patient", "Practitioner", "PractitionerRole", "HealthcareService", "Encounter",
    ]  # fmt: skip
    assert batch[-1].beginning == "Appointment/"
    assert filter == {
        "index.patient": "Patient/ann",
        "index.actor": "Practitioner/smith",
        "_id": {"$in": ["1", "2"]},
    }


def test_a_step_that_finds_nothing_matches_nothing() -> None:
    filter, _ = run(asked("Encounter", ("appointment.patient.family", "ash")), [[[]], [[]]])
    assert filter == {"index.appointment": {"$in": []}}


def test_steps_inside_of_and_or_and_not_are_resolved() -> None:
    text = "not (patient.family eq ash) and (patient.family eq bo or date eq 2026)"
    filter, [batch] = run(asked("Appointment", ("_filter", text)), [[["ann"], ["bob"]]])
    assert len(batch) == 2
    assert filter["$nor"] == [{"index.patient": "Patient/ann"}]
    assert filter["$or"][0] == {"index.patient": "Patient/bob"}


def test_a_slot_that_stands_for_nothing_is_not_sought() -> None:
    _, [[load]] = run(asked("Appointment", ("slot.status", "free")), [[[]]])
    assert set(load.filter) == {"index.status", "$nor"}


@pytest.mark.parametrize(
    ("filter", "values"),
    [
        ({}, None),
        ({"a": 1}, {1}),
        ({"a": {"$in": [1, 2]}}, {1, 2}),
        ({"a": {"$in": []}}, set()),
        ({"a": {"$nin": [1]}}, None),
        ({"b": 1}, None),
        ({"a": {"$in": [1, 2]}, "$and": [{"a": 1}]}, {1}),
        ({"$or": [{"a": 1}, {"a": {"$in": [2, 3]}, "b": 4}]}, {1, 2, 3}),
        ({"$or": [{"a": 1}, {"b": 4}]}, None),
        ({"$and": [{"$or": [{"a": 1}, {"a": 2}]}]}, {1, 2}),
        ({"$nor": [{"a": 1}]}, None),
    ],
)
def test_what_a_filter_demands(filter: dict[str, Any], values: set[int] | None) -> None:
    assert demanded(filter, "a") == values


TEN, NOON = (datetime(2026, 1, 15, hour, tzinfo=UTC) for hour in (10, 12))


@pytest.mark.parametrize(
    ("filter", "bounds"),
    [
        ({}, (None, None)),
        ({"t": {"$gte": TEN}}, (TEN, None)),
        ({"t": {"$gte": TEN, "$lt": NOON}}, (TEN, NOON)),
        ({"t": {"$lte": TEN}}, (None, TEN + timedelta(milliseconds=1))),
        ({"t": {"$gt": TEN}, "$and": [{"t": {"$gte": NOON}}]}, (NOON, None)),
        ({"$or": [{"t": {"$gte": TEN}}, {"t": {"$gte": NOON, "$lt": NOON}}]}, (TEN, None)),
        ({"$or": [{"t": {"$gte": TEN, "$lt": TEN}}, {"t": {"$gte": NOON, "$lt": NOON}}]}, (TEN, NOON)),
        ({"t": {"$exists": True}}, (None, None)),
        ({"t": None}, (None, None)),
    ],
)
def test_between_which_instants_a_filter_finds(filter: dict[str, Any], bounds: tuple[Any, Any]) -> None:
    assert within(filter, "t") == bounds


latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


@given(latitudes, longitudes, latitudes, longitudes, st.floats(0, 21_000))
def test_no_position_within_the_distance_lies_outside_of_the_boxes(
    south: float, west: float, north: float, east: float, distance: float
) -> None:
    place = document({"position": {"latitude": north, "longitude": east}})["index"]["near"]
    query = ask([("near", f"{south:.12f}|{west:.12f}|{distance:.12f}")])
    [step] = query.filter.values()
    boxed = any(
        sought.filter["index.near.y"]["$gte"] <= place["y"] <= sought.filter["index.near.y"]["$lte"]
        and sought.filter["index.near.x"]["$gte"] <= place["x"] <= sought.filter["index.near.x"]["$lte"]
        for sought in step.sought
    )
    near = step.answer([[place["p"]]]) == place["p"]
    assert boxed or not near
    assert near is (
        distance_km((float(f"{south:.12f}"), float(f"{west:.12f}")), (north, east)) <= float(f"{distance:.12f}")
    )


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ((0.0, 0.0), (0.0, 0.0), 0),
        ((0.0, 0.0), (0.0, 1.0), 111.195),
        ((90.0, 0.0), (-90.0, 0.0), 20015.115),
        ((0.0, 179.5), (0.0, -179.5), 111.195),
        ((51.5, -0.12), (48.85, 2.35), 342.5),
    ],
)
def test_distances_are_those_on_a_sphere(one: tuple[float, float], other: tuple[float, float], km: float) -> None:
    assert distance_km(one, other) == pytest.approx(km, rel=0.01)


PIECES = (
    "patient", "actor", "_has", "Appointment", "Practitioner", "Encounter", "status", "date", "name", "identifier",
    "near", "actor-part-status", "length", "_id", "_lastUpdated", "_filter", "_sort", "missing", "text", "of-type",
    "not", ".", ":", ".", ":", "", "x",
)  # fmt: skip
WORDS = (
    "a", "|", "$", ",", "\\", "ge", "2026", "-01", "eq", " ", "(", ")", "[", "]", "\"", "not", "and", "1", "9" * 50,
    "status", ".", "true", "T24:00", "é", "\0", "km", "e999", "-",
)  # fmt: skip
names = st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join)
values = st.lists(st.sampled_from(WORDS), max_size=9).map("".join)


@given(st.sampled_from(sorted(ROWS)), st.lists(st.tuples(names, values), max_size=3))
def test_whatever_is_asked_is_read_or_refused(type: str, pairs: list[tuple[str, str]]) -> None:
    try:
        plan = resolve(SCOPE, parse(SCOPE, type, pairs))
        loads = next(plan)
        while True:
            loads = plan.send([["1|2"] for _ in loads])
    except StopIteration:
        pass
    except FhirError as refused:
        assert 400 <= refused.status < 500
