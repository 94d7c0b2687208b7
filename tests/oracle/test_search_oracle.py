"""The server answers random searches of random resources as a slow, obvious evaluation does (oracle.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fhir_server.resources import ROWS
from fhir_server.search.parameters import parameters, supported
from tests.oracle.comparing import Served, compare, compare_many, served
from tests.oracle.elements import ELEMENTS, ELSEWHERE
from tests.oracle.oracle import World
from tests.oracle.queries import Query

PAIRS = 400
"""Searches of one clinic; `python -m tests.oracle` asks more, of more clinics."""


@pytest.fixture(scope="module")
def clinic(mongodb_uri: str) -> Iterator[Served]:
    with served(mongodb_uri, 1) as one:
        yield one


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
