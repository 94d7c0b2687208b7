"""The links of a resource: what may be the URL of another one (http://hl7.org/fhir/R4/http.html#transaction)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from fhir_server.outcome import Json
from fhir_server.validation.shapes import PRIMITIVE_EXTENSION, Element, Shape, resource_shape, shape

Change: TypeAlias = Callable[[str, bool], str]
"""From a link, and whether it is the literal reference of a Reference, to what it becomes."""

LINKS = frozenset({"uri", "url", "oid", "uuid"})
"""The data types that are links. A canonical is none: it names a definition, wherever that is."""

IN_NARRATIVE = re.compile(r"""(\s(?:href|src)\s*=\s*)(["'])(.*?)\2""")


def rewrite(resource: Json, change: Change) -> Json:
    """The resource with every link changed: references, elements of type uri, url, oid and uuid, `href` and `src` in
    narratives, all of that in contained resources too. What is no element of its type stays, for the validation."""
    found = resource_shape(str(resource.get("resourceType")))
    return _rewrite(found, resource, change) if found else resource


def _rewrite(of: Shape, value: Json, change: Change) -> Json:
    return {
        name: _beside(each, change) if name.startswith("_") else _element(of, of.elements.get(name), each, change)
        for name, each in value.items()
    }


def _beside(value: Any, change: Change) -> Any:
    """What stands beside a primitive: the links in its extensions."""
    if isinstance(value, list):
        return [_beside(each, change) for each in value]
    return _rewrite(PRIMITIVE_EXTENSION, value, change) if isinstance(value, dict) else value


def _element(of: Shape, element: Element | None, value: Any, change: Change) -> Any:
    if isinstance(value, list):
        return [_element(of, element, each, change) for each in value]
    if element is None:
        return value
    if isinstance(value, str):
        return _text(of, element, value, change)
    if not isinstance(value, dict):
        return value
    if element.type == "Resource":
        return rewrite(value, change)
    return _rewrite(shape(element.model), value, change) if element.model else value


def _text(of: Shape, element: Element, value: str, change: Change) -> str:
    if of.type == "Reference" and element.name == "reference":
        return change(value, True)
    if of.type == "Narrative" and element.name == "div":
        return IN_NARRATIVE.sub(lambda found: f"{found[1]}{found[2]}{change(found[3], False)}{found[2]}", value)
    return change(value, False) if element.type in LINKS else value
