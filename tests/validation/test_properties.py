"""A check answers whatever it is asked."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import document
from fhir_server.outcome import STATUS_BY_ISSUE, Json
from fhir_server.resources import ROWS
from fhir_server.validation import check
from fhir_server.validation.datatypes import in_order
from fhir_server.validation.shapes import resource_shape

DATA = Path(__file__).parents[1] / "data" / "r4-examples"
EXAMPLES = [document.parse(path.read_bytes()) for path in sorted(DATA.glob("*.json"))]

_TEXT = st.sampled_from(["", "x", "#a", "2026", "free", "Patient/1", "Patient", "a b", "\x00", "T", "$ne"]) | st.text(
    max_size=5
)
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT | st.decimals(places=3, allow_nan=True)
_JSON = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _resources(draw: st.DrawFn) -> Json:
    """An object with the elements of a type, their values anything."""
    type = draw(st.sampled_from(sorted(ROWS)))
    shape = resource_shape(type)
    assert shape is not None
    names = st.sampled_from(sorted(shape.elements) + [f"_{name}" for name in shape.elements]) | _TEXT
    return {"resourceType": type, **draw(st.dictionaries(names, _JSON, max_size=8))}


def _places(value: Any) -> list[tuple[Any, Any]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, child in children for place in ((value, key), *_places(child))]


@st.composite
def _spoiled_examples(draw: st.DrawFn) -> Json:
    """An official example in which something else stands somewhere."""
    resource = copy.deepcopy(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(_places(resource)))
        container[key] = draw(_JSON)
    return resource


@given(_resources() | _spoiled_examples() | st.dictionaries(_TEXT, _JSON, max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_object_is_checked_and_every_problem_has_a_status_and_a_place(resource: Json) -> None:
    before = copy.deepcopy(resource)
    type = resource.get("resourceType")
    row = ROWS[type] if isinstance(type, str) and type in ROWS else ROWS["Slot"]
    for issue in check(row, resource):
        assert issue.code in STATUS_BY_ISSUE
        assert issue.code == "informational" or issue.expression[0].split(".")[0].split("[")[0] == row.type
    assert repr(resource) == repr(before)


_INSTANTS = st.integers(0, 200 * 366 * 86_400).map(lambda s: datetime(1900, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
_OFFSETS = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_PRECISIONS = st.sampled_from([4, 7, 10])


@given(_INSTANTS, st.timedeltas(timedelta(0), timedelta(days=400)), _OFFSETS, _OFFSETS, _PRECISIONS, _PRECISIONS)
@settings(max_examples=200, deadline=None)
def test_a_period_that_can_be_in_order_is_never_refused(
    start: datetime, length: timedelta, here: timezone, there: timezone, coarse: int, coarser: int
) -> None:
    first = start.astimezone(here).isoformat()
    last = (start + length).astimezone(there).isoformat()
    assert in_order(first, last)
    assert in_order(first[:coarse], last)
    assert in_order(first, last[:coarser])
    assert in_order(start.isoformat()[:coarse], (start + length).isoformat()[:coarser])


@given(_INSTANTS, st.timedeltas(timedelta(seconds=1), timedelta(days=400)), _OFFSETS, _OFFSETS)
@settings(max_examples=100, deadline=None)
def test_an_instant_before_another_is_not_its_end(
    start: datetime, length: timedelta, here: timezone, there: timezone
) -> None:
    first = start.astimezone(here).isoformat()
    last = (start + length).astimezone(there).isoformat()
    assert not in_order(last, first)
