"""A resource with some of its elements: `_summary` and `_elements`
(http://hl7.org/fhir/R4/search.html#summary, http://hl7.org/fhir/R4/search.html#elements).

What is mandatory and what modifies the meaning stays in every subset, so that a subset is still a valid resource that
cannot be misread; and every subset is tagged SUBSETTED, so that it cannot be taken for the whole
(conformance/decisions/0010-results-of-a-search.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from fhir_server.outcome import Json
from fhir_server.search.results import View
from fhir_server.validation.shapes import Element, Shape, resource_shape, shape

SUBSETTED: Json = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}

ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})

MODIFIERS: Mapping[str, frozenset[str]] = {
    "Device": frozenset({"status"}),
    "HealthcareService": frozenset({"active"}),
    "Location": frozenset({"status"}),
    "Organization": frozenset({"active"}),
    "Patient": frozenset({"active", "deceased", "link"}),
    "Schedule": frozenset({"active"}),
}
"""The modifier elements of R4 that are not mandatory; the models do not say them."""


def cut(resource: Json, view: View) -> Json:
    """The part of the resource that the view asks for, the resource itself if that is all of it."""
    found = resource_shape(resource["resourceType"])
    if view.whole or found is None:
        return resource
    match view.summary:
        case "true":
            kept = _summary(resource, found, _needed(found.type))
        case "text":
            kept = _only(resource, _needed(found.type) | {"text"})
        case "data":
            kept = {name: value for name, value in resource.items() if name.lstrip("_") != "text"}
        case _:
            asked = view.elements_of(found.type)
            if asked is None:
                return resource
            kept = _only(resource, _needed(found.type) | _spelled(found, asked))
    meta = resource.get("meta", {})
    return kept | {"meta": {**meta, "tag": [*meta.get("tag", ()), SUBSETTED]}}


def has_element(type: str, name: str) -> bool:
    """Whether the resource type has an element of this name, which may be a choice with or without its type."""
    found = resource_shape(type)
    return found is not None and (name in found.elements or name.removesuffix("[x]") in found.choices)


def _summary(value: Json, of: Shape, needed: Collection[str]) -> Json:
    """The summary elements and those that are needed; of an element with elements of its own, the same of it."""
    kept: Json = {}
    for name, each in value.items():
        element = of.elements.get(name.removeprefix("_"))
        if element is not None and element.summary:
            kept[name] = _summary_of(each, of, element)
        elif name.removeprefix("_") in needed:
            kept[name] = each
    return kept


def _summary_of(value: object, of: Shape, element: Element) -> object:
    inner = _backbone(of, element)
    if inner is None:
        return value
    if isinstance(value, list):
        return [_summary_of(each, of, element) for each in value]
    return _summary(value, inner, {"id", *(each.name for each in inner.required)}) if isinstance(value, dict) else value


def _backbone(of: Shape, element: Element) -> Shape | None:
    """The shape of an element that is defined within the resource; None for a data type, which is kept whole."""
    inner = shape(element.model) if element.model else None
    return inner if inner is not None and inner.type.startswith(of.type) else None


@cache
def _needed(type: str) -> frozenset[str]:
    """The JSON names of what every subset of a resource type has."""
    of = resource_shape(type)
    assert of is not None
    mandatory = {element.name for element in of.required}
    mandatory |= {element.name for element in of.elements.values() if of.choices.get(element.choice)}
    return ALWAYS | mandatory | _spelled(of, MODIFIERS.get(type, frozenset()))


def _spelled(of: Shape, names: Collection[str]) -> frozenset[str]:
    """The JSON names of elements; a choice without a type stands for those with any."""
    choices = {name.removesuffix("[x]") for name in names}
    return frozenset(each.name for each in of.elements.values() if each.name in names or each.choice in choices)


def _only(resource: Json, names: Collection[str]) -> Json:
    return {name: value for name, value in resource.items() if name.removeprefix("_") in names}
