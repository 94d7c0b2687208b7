"""JSON Patch, by itself (RFC 6902)."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import document
from fhir_server.outcome import FhirError
from fhir_server.patching.json_patch import apply
from fhir_server.patching.limits import OPERATIONS_MAX
from tests.clinic import BUILDERS, patient
from tests.patches import Json, json_patch

ANN = patient()


def refused(raw: bytes, status: int, resource: Json = ANN) -> str:
    """The text of the refusal, which must have this status; the resource stays as it was."""
    before = copy.deepcopy(resource)
    with pytest.raises(FhirError) as caught:
        apply(raw, resource)
    assert caught.value.status == status, caught.value
    assert resource == before
    return caught.value.issues[0].text


@pytest.mark.parametrize(
    ("operations", "changed"),
    [
        ([{"op": "add", "path": "/gender", "value": "female"}], {"gender": "female"}),
        ([{"op": "add", "path": "/active", "value": False}], {"active": False}),
        (
            [{"op": "add", "path": "/name/0/given/-", "value": "Bo"}],
            {"name": [{"family": "Ash", "given": ["Ann", "Bo"]}]},
        ),
        (
            [{"op": "add", "path": "/name/0/given/0", "value": "Bo"}],
            {"name": [{"family": "Ash", "given": ["Bo", "Ann"]}]},
        ),
        ([{"op": "remove", "path": "/name/0/given"}], {"name": [{"family": "Ash"}]}),
        (
            [{"op": "replace", "path": "/name/0/family", "value": "Oak"}],
            {"name": [{"family": "Oak", "given": ["Ann"]}]},
        ),
        (
            [{"op": "copy", "from": "/name/0/family", "path": "/name/0/text"}],
            {"name": [{"family": "Ash", "given": ["Ann"], "text": "Ash"}]},
        ),
        (
            [{"op": "move", "from": "/name/0/family", "path": "/name/0/text"}],
            {"name": [{"given": ["Ann"], "text": "Ash"}]},
        ),
        ([{"op": "test", "path": "/name/0/given", "value": ["Ann"]}], {}),
        ([], {}),
        (
            [
                {"op": "add", "path": "/telecom", "value": []},
                {"op": "add", "path": "/telecom/-", "value": {"value": "1"}},
            ],
            {"telecom": [{"value": "1"}]},
        ),
        ([{"op": "test", "path": "", "value": ANN}], {}),
        ([{"op": "replace", "path": "", "value": {**ANN, "active": False}}], {"active": False}),
        ([{"op": "remove", "path": "/active", "comment": "members that are not known are ignored"}], {"active": None}),
    ],
)
def test_operations_change_the_resource(operations: list[Json], changed: Json) -> None:
    expected = {name: value for name, value in {**ANN, **changed}.items() if value is not None}
    assert apply(json_patch(*operations), ANN) == expected


def test_pointers_escape_tilde_and_slash() -> None:
    assert "cannot be done" in refused(json_patch({"op": "remove", "path": "/a~1b~0c"}), 422)
    assert "~0 stands for ~" in refused(json_patch({"op": "remove", "path": "/a~2"}), 400)


def test_what_a_patch_leaves_empty_is_left_out() -> None:
    emptied = [{"op": "remove", "path": "/name/0/given/0"}, {"op": "remove", "path": "/name/0/family"}]
    assert "name" not in apply(json_patch(*emptied), ANN)


def test_extensions_of_primitives_keep_their_places() -> None:
    extension = {"extension": [{"url": "http://example.org", "valueCode": "a"}]}
    name = {"given": ["Ann", "Bo"], "_given": [extension, extension]}
    patched = apply(json_patch({"op": "remove", "path": "/name/0/_given/0/extension"}), {**ANN, "name": [name]})
    assert patched["name"] == [{"given": ["Ann", "Bo"], "_given": [None, extension]}]
    both = [{"op": "remove", "path": f"/name/0/_given/{index}/extension"} for index in (0, 1)]
    assert apply(json_patch(*both), {**ANN, "name": [name]})["name"] == [{"given": ["Ann", "Bo"]}]


def test_parts_that_are_the_same_are_still_two() -> None:
    name = {"family": "Ash"}
    patched = apply(json_patch({"op": "remove", "path": "/name/1/family"}), patient(name=[name, name, {"text": "x"}]))
    assert patched["name"] == [{"family": "Ash"}, {"text": "x"}]


def test_decimals_keep_their_digits() -> None:
    place = document.parse(b'{"resourceType":"Location","position":{"longitude":-83.6945691000,"latitude":42.0}}')
    added = apply(b'[{"op":"add","path":"/position/altitude","value":1.50}]', place)
    assert document.print(added).endswith(b'{"longitude":-83.6945691000,"latitude":42.0,"altitude":1.50}}')


def test_numbers_are_tested_by_value_and_literals_by_themselves() -> None:
    place = {"resourceType": "Location", "position": {"latitude": Decimal("42.0")}}
    apply(json_patch({"op": "test", "path": "/position/latitude", "value": 42}), place)
    assert "failed" in refused(json_patch({"op": "test", "path": "/active", "value": 1}), 422)


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "test", "path": "/active", "value": False}, "Operation 1 (test /active) failed"),
        ({"op": "test", "path": "/nothing", "value": False}, "Operation 1 (test /nothing) failed"),
        ({"op": "remove", "path": "/gender"}, "nothing at this path"),
        ({"op": "remove", "path": ""}, "remove the whole"),
        ({"op": "replace", "path": "/gender", "value": "male"}, "nothing at this path; add it"),
        ({"op": "replace", "path": "/name/1", "value": {}}, "nothing at this path"),
        ({"op": "replace", "path": "/name/-", "value": {}}, "nothing at this path"),
        ({"op": "add", "path": "/telecom/-", "value": {}}, "add the element"),
        ({"op": "add", "path": "/name/2", "value": {}}, "no such object or array"),
        ({"op": "add", "path": "/active/x", "value": 1}, "no such object or array"),
        ({"op": "move", "from": "/gender", "path": "/language"}, "nothing at `from`"),
        ({"op": "move", "from": "/name", "path": "/name/0/x"}, "cannot be done"),
        ({"op": "copy", "from": "/name/-", "path": "/x"}, "nothing at `from`"),
        ({"op": "copy", "from": "/name/" + "9" * 5000, "path": "/x"}, "nothing at `from`"),
        ({"op": "remove", "path": "/x" * 65}, "deeper than 64"),
    ],
)
def test_what_cannot_be_done_is_unprocessable(operation: Json, why: str) -> None:
    assert why in refused(json_patch(operation), 422)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"[", "not JSON"),
        (b"\xff", "UTF-8"),
        (b"{}", "array of operations"),
        (b"[NaN]", "NaN"),
        (b"[1]", "must be an object"),
        (b'[{"op":"add","op":"add"}]', "repeated"),
        (b'[{"op":"add","path":"/x","value":1e9999999999999999999}]', "exponent"),
        (b"[" * 100_000, "nested"),
        (b'[{"op":"add","path":"/x","value":' + b"[" * 100 + b"]" * 100 + b"}]", "nested"),
        (json_patch({"path": "/x"}), "needs an `op`"),
        (json_patch({"op": "delete", "path": "/x"}), "add, remove, replace, move, copy, test"),
        (json_patch({"op": ["add"], "path": "/x"}), "needs an `op`"),
        (json_patch({"op": "add", "path": "/x"}), "needs `value`"),
        (json_patch({"op": "remove"}), "needs `path`"),
        (json_patch({"op": "move", "path": "/x"}), "needs `from`"),
        (json_patch({"op": "remove", "path": "x"}), "JSON Pointer"),
        (json_patch({"op": "remove", "path": 1}), "JSON Pointer"),
        (json_patch({"op": "move", "path": "/x", "from": ["/y"]}), "JSON Pointer"),
        (json_patch({"op": "add", "path": "/gender", "value": None}), "null"),
        (json_patch({"op": "add", "path": "/gender", "value": ""}), "empty string"),
        (json_patch({"op": "add", "path": "/gender", "value": "\ud800"}), "surrogate"),
        (json_patch({"op": "add", "path": "/gender", "value": "\u0001"}), "control character"),
        (json_patch({"op": "add", "path": "/x", "value": 10**40}), "34 digits"),
        (json_patch({"op": "replace", "path": "", "value": "x"}), "leaves no resource"),
    ],
)
def test_what_is_malformed_is_a_bad_request(raw: bytes, why: str) -> None:
    assert why in refused(raw, 400)


def test_a_malformed_operation_is_refused_before_any_is_done() -> None:
    assert "Operation 2" in refused(json_patch({"op": "remove", "path": "/nothing"}, {"op": "nothing"}), 400)


def test_operations_are_limited() -> None:
    operation = {"op": "test", "path": "/active", "value": True}
    assert apply(json_patch(*[operation] * OPERATIONS_MAX), ANN) == ANN
    assert "1000 operations" in refused(json_patch(*[operation] * (OPERATIONS_MAX + 1)), 422)


def test_copies_of_copies_come_to_an_end() -> None:
    copies = [{"op": "copy", "from": "/name", "path": f"/name/{index}/x"} for index in [0] * 60]
    assert "deeper than 64" in refused(json_patch(*copies), 422)
    doubled = [{"op": "copy", "from": "", "path": f"/x{index}"} for index in range(40)]
    assert "100000 elements" in refused(json_patch(*doubled), 422)


def test_moves_do_not_nest_without_end() -> None:
    moves = []
    for index in range(80):
        moves += [{"op": "add", "path": f"/x{index}", "value": {}}]
        moves += [{"op": "move", "from": f"/x{index - 1}" if index else "/name", "path": f"/x{index}/in"}]
    assert "deeper than 64" in refused(json_patch(*moves), 422)


def _places(value: Any, path: str = "") -> list[str]:
    """The pointers of everything in a resource that can be removed."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, child in children:
        found += [f"{path}/{key}", *_places(child, f"{path}/{key}")]
    return found


@given(st.data())
def test_what_is_removed_and_added_again_is_as_it_was(data: st.DataObject) -> None:
    resource = BUILDERS[data.draw(st.sampled_from(sorted(BUILDERS)))]("mine")
    path = data.draw(st.sampled_from(_places(resource)))
    value: Any = resource
    for step in path.split("/")[1:]:
        value = value[int(step) if isinstance(value, list) else step]
    there_and_back = [{"op": "remove", "path": path}, {"op": "add", "path": path, "value": value}]
    assert apply(json_patch(*there_and_back), resource) == resource
    added = [{"op": "add", "path": "/extension", "value": [{"url": "http://example.org", "valueString": "x"}]}]
    away = [{"op": "remove", "path": "/extension"}]
    bare = {name: value for name, value in resource.items() if name != "extension"}
    assert apply(json_patch(*added, *away), bare) == bare
    assert json.loads(document.print(apply(json_patch(*added), bare)))["extension"]
