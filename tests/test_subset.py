"""What is left of a resource by `_summary` and `_elements`, compared with R4's own element definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhir_server.resources import ROWS
from fhir_server.search.results import View
from fhir_server.subset import SUBSETTED, cut
from fhir_server.validation.shapes import Element, Shape, resource_shape, shape

R4: dict[str, dict[str, list[str]]] = json.loads((Path(__file__).parent / "data" / "r4-summary.json").read_text())

every_type = pytest.mark.parametrize("type", sorted(R4))


def whole(type: str) -> dict[str, Any]:
    """A resource with a value in every element, those of its backbone elements included."""
    of = resource_shape(type)
    assert of is not None
    return {"resourceType": type, **_values(of), "meta": {"versionId": "1"}}


def _values(of: Shape) -> dict[str, Any]:
    return {name: _value(of, element) for name, element in of.elements.items()}


def _value(of: Shape, element: Element) -> Any:
    inner = shape(element.model) if element.model else None
    value: Any = _values(inner) if inner and inner is not of and inner.type.startswith(of.type) else "x"
    return [value] if element.many else value


def paths(value: dict[str, Any], of: Shape) -> set[str]:
    """The paths of the elements as R4 writes them."""
    found = set()
    for name, each in value.items():
        if name == "resourceType":
            continue
        element = of.elements[name]
        path = f"{element.choice}[x]" if element.choice else name
        found.add(path)
        first = each[0] if isinstance(each, list) else each
        if isinstance(first, dict) and element.model and name != "meta":
            found |= {f"{path}.{inner}" for inner in paths(first, shape(element.model))}
    return found


def kept(type: str, view: View) -> set[str]:
    of = resource_shape(type)
    assert of is not None
    return paths(cut(whole(type), view), of)


def needed(type: str) -> set[str]:
    return {"id", "meta", *R4[type]["mandatory"], *R4[type]["modifier"]}


def top(found: set[str]) -> set[str]:
    return {path for path in found if "." not in path}


@every_type
def test_a_summary_is_what_r4_marks_and_what_is_mandatory_or_modifies_the_meaning(type: str) -> None:
    found = kept(type, View("true"))
    summary = set(R4[type]["summary"])
    assert top(found) == top(summary) | needed(type)
    nested = {path for path in found if "." in path and path.partition(".")[0] in summary}
    marked = {path for path in summary if "." in path and path.partition(".")[0] in summary}
    extra = {path for path in nested - marked if not path.endswith(".id")}
    assert marked <= nested
    assert extra <= {"link.other", "link.type", "participant.status"}


@every_type
def test_a_text_is_with_what_is_mandatory_or_modifies_the_meaning(type: str) -> None:
    assert top(kept(type, View("text"))) == needed(type) | {"text"}


@every_type
def test_data_is_all_but_the_text(type: str) -> None:
    assert top(kept(type, View("data"))) == top(kept(type, View())) - {"text"}


@every_type
def test_elements_are_those_that_are_named_and_what_must_be_there(type: str) -> None:
    assert top(kept(type, View(elements=("contained",)))) == needed(type) | {"contained"}


def test_the_types_that_have_modifiers_beyond_those_of_the_definitions_here_are_known() -> None:
    assert set(ROWS) - set(R4) == {"Organization"}
    assert "active" in kept("Organization", View("text"))


def test_a_mandatory_element_that_is_no_summary_is_kept_whole() -> None:
    actor = {"actor": {"reference": "Patient/1"}, "status": "accepted", "period": {"start": "2026"}}
    resource = {"resourceType": "Appointment", "status": "proposed", "participant": [actor]}
    assert cut(resource, View("true"))["participant"] == [actor]


def test_extensions_of_a_primitive_go_with_it() -> None:
    resource = {"resourceType": "Patient", "_birthDate": {"id": "b"}, "gender": "male", "_gender": {"id": "g"}}
    assert {"_birthDate", "birthDate", "_gender"} & set(cut(resource, View(elements=("birthDate",)))) == {"_birthDate"}
    assert "_birthDate" in cut(resource, View("true"))


@pytest.mark.parametrize("name", ["multipleBirth", "multipleBirth[x]", "multipleBirthInteger", "Patient.multipleBirth"])
def test_a_choice_can_be_named_with_and_without_its_type(name: str) -> None:
    resource = {"resourceType": "Patient", "multipleBirthInteger": 2, "gender": "male"}
    found = cut(resource, View(elements=(name,)))
    assert "multipleBirthInteger" in found
    assert "gender" not in found


def test_every_subset_is_tagged_beside_the_tags_it_has_and_the_resource_stays_as_it_is() -> None:
    tag = {"system": "http://example.org", "code": "x"}
    resource = {"resourceType": "Patient", "id": "1", "meta": {"versionId": "3", "tag": [tag]}, "gender": "male"}
    for view in (View("true"), View("text"), View("data"), View(elements=("name",))):
        assert cut(resource, view)["meta"] == {"versionId": "3", "tag": [tag, SUBSETTED]}
    assert resource["meta"] == {"versionId": "3", "tag": [tag]}
    for view in (View(), View("count"), View(elements=("Slot.status",))):
        assert cut(resource, view) == resource
