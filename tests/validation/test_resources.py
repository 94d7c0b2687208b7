"""The rows say what R4 publishes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fhir_server.resources import ROWS
from fhir_server.validation.shapes import Shape, resource_shape, shape

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = json.loads((DATA / "r4-search-parameters.json").read_text())
ELEMENTS = json.loads((DATA / "r4-elements.json").read_text())


def test_the_folder_is_the_registry_in_order() -> None:
    assert list(ROWS) == sorted(ROWS)
    assert {"Schedule", "Slot", "Appointment", "Encounter", "Patient", "Organization"} <= set(ROWS)
    assert all(type == row.type for type, row in ROWS.items())


@pytest.mark.parametrize("key", PUBLISHED)
def test_a_search_parameter_of_r4_is_declared_as_published(key: str) -> None:
    type, code = key.split()
    (declared,) = [parameter for parameter in ROWS[type].search if parameter.code == code]
    said = [declared.type, declared.expression, declared.url, sorted(declared.target)]
    assert said == PUBLISHED[key]


def test_codes_are_unique_in_their_type() -> None:
    for row in ROWS.values():
        codes = [parameter.code for parameter in row.search]
        assert len(codes) == len(set(codes))
        assert not [code for code in codes if code.startswith("_")]


def _shape_at(path: str) -> tuple[Shape, str]:
    type, *steps, name = path.split(".")
    here = resource_shape(type)
    assert here is not None
    for step in steps:
        model = here.elements[step].model
        assert model is not None
        here = shape(model)
    return here, name


@pytest.mark.parametrize("path", ELEMENTS)
def test_an_element_of_the_models_is_as_r4_defines_it(path: str) -> None:
    here, name = _shape_at(path)
    published = ELEMENTS[path]
    if name.endswith("[x]"):
        for type in published["types"]:
            assert here.elements[f"{name[:-3]}{type[0].upper()}{type[1:]}"].choice == name[:-3]
        return
    element = here.elements[name]
    assert f"{int(element.required)}..{'*' if element.many else 1}" == published["cardinality"]
    assert sorted(element.codes) == sorted(published.get("codes", []))
    assert sorted(element.targets) == published.get("targets", [])


def test_the_models_have_no_element_that_r4_does_not_define() -> None:
    for type in {path.split(".")[0] for path in ELEMENTS}:
        defined = {path.split(".")[1].removesuffix("[x]") for path in ELEMENTS if path.startswith(f"{type}.")}
        here = resource_shape(type)
        assert here is not None
        assert {element.choice or name for name, element in here.elements.items()} == defined
