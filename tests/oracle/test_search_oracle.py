"""The server answers random searches of random resources as a slow, obvious evaluation does (oracle.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fhir_server.resources import ROWS
from fhir_server.search.parameters import parameters, supported
from tests.emitted import Emitted
from tests.oracle.clinics import IDS
from tests.oracle.comparing import Served, compare, compare_many, served
from tests.oracle.elements import ELEMENTS, ELSEWHERE, Json
from tests.oracle.oracle import World
from tests.oracle.queries import Query, look

PAIRS = 400
"""Searches of one clinic; `python -m tests.oracle` asks more, of more clinics."""


@pytest.fixture(scope="module")
def clinic(mongodb_uri: str, emitted: Emitted) -> Iterator[Served]:
    with served(mongodb_uri, 1, emitted) as one:
        yield one


@pytest.fixture(scope="module")
def full(mongodb_uri: str, emitted: Emitted) -> Iterator[Served]:
    """A server with a value for every search parameter and a resource at either end of every reference."""
    with served(mongodb_uri, 1, emitted, everything=True) as one:
        yield one


def claimed(full: Served, type: str) -> Json:
    rest = full.runner.run(full.client.get("/metadata")).json()["rest"][0]
    return next(one for one in rest["resource"] if one["type"] == type)


def test_the_server_answers_as_the_oracle(clinic: Served) -> None:
    assert len(clinic.world.resources) > 30
    assert compare_many(clinic, 1, PAIRS) >= PAIRS


def test_a_difference_is_seen_and_shown(clinic: Served) -> None:
    query = Query("Patient", (("_id:missing", "false"),))
    compare(clinic, query)
    others = [one for one in clinic.world.resources if one["resourceType"] != "Patient"]
    without = World(others, clinic.world.zone, clinic.world.base, clinic.world.now)
    with pytest.raises(AssertionError, match=r"query:  Patient\?_id:missing=false"):
        compare(replace(clinic, world=without), query)


def test_the_oracle_knows_every_parameter_that_works() -> None:
    for type, row in ROWS.items():
        works = {each.code for each in parameters(row) if supported(each)}
        assert set(ELEMENTS[type]) == works - ELSEWHERE, type


SEARCHED = {
    "context-quantity": "30",
    "context-type-quantity": "age$30",
    "context-type-value": "task$A",
    "hold-expires": "2099",
    "near": "47.1|8.2|1|km",
    "originating-appointment": "Appointment/a",
    "phonetic": "Miller",
    "state": "cancelled",
    "waiting-since": "2026-03-02",
}
"""How to ask for what the oracle does not evaluate."""


@pytest.mark.parametrize("type", list(ROWS))
def test_every_parameter_that_is_claimed_finds_a_resource_with_a_value(full: Served, type: str) -> None:
    there = look(full.world).texts
    for code in (one["name"] for one in claimed(full, type)["searchParam"]):
        if code in ELSEWHERE:
            answer = full.ask(Query(type, ((code, SEARCHED[code]),)))
            assert answer.ids, (code, answer.text)
            continue
        values = list(dict.fromkeys(there[type, code]))
        assert values, f"nothing has a value for {code}: see clinics.BESIDES"
        query = Query(type, ((code, values[0]),))
        compare(full, query)
        assert full.ask(query).ids, query


@pytest.mark.parametrize("type", list(ROWS))
def test_every_include_that_is_claimed_brings_a_resource_at_the_other_end(full: Served, type: str) -> None:
    claims = claimed(full, type)
    for name, key in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
        for value in claims.get(key, ()):
            brought = next(filter(None, (brings(full, type, id, name, value) for id in IDS)), set())
            assert brought, (type, name, value)
            source = value.partition(":")[0]
            assert brought == {source} or key == "searchInclude" or source == "*", value


def brings(full: Served, type: str, id: str, name: str, value: str) -> set[str]:
    """The types of what is included with one match."""
    asked = full.client.get(f"/{type}", params={"_id": id, name: value, "_count": "1000"})
    entries = full.runner.run(asked).json().get("entry", ())
    return {one["resource"]["resourceType"] for one in entries if one["search"]["mode"] == "include"}
