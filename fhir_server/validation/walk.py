"""One walk over a resource by the shapes of its types, which lists what is wrong with every element."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from fhir_server.outcome import Issue, Json
from fhir_server.validation import narrative, references
from fhir_server.validation.datatypes import INVARIANTS
from fhir_server.validation.primitives import GRAMMAR
from fhir_server.validation.shapes import PRIMITIVE_EXTENSION, Element, Shape, resource_shape, shape

ISSUES_MAX = 100
"""Problems that are listed. Past them the walk stops looking."""

ELEMENTS_MAX = 20_000
"""Elements of one resource, since what a check costs grows with them."""

DEPTH_MAX = 64
"""Objects inside one another."""

_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class TooManyElements(Exception):
    """The walk was given up: the resource has more than `ELEMENTS_MAX` elements."""


@dataclass(slots=True)
class Findings:
    """What a walk has found: the problems, and the values that start with `#`.

    `root` is the type of the whole resource; `contained` are its contained resources, id to type.
    """

    root: str
    contained: Mapping[str, str]
    issues: list[Issue] = field(default_factory=list)
    local: set[str] = field(default_factory=set)
    elements: int = 0

    @property
    def full(self) -> bool:
        return len(self.issues) >= ISSUES_MAX

    def count(self, more: int) -> None:
        """Counts elements before they are looked at. Raises `TooManyElements` past the limit."""
        self.elements += more
        if self.elements > ELEMENTS_MAX:
            raise TooManyElements

    def add(self, code: str, text: str, expression: str) -> None:
        self.issues.append(Issue(code, text, (expression,)))


def examine(shape: Shape, resource: Json) -> Findings:
    """What a walk finds on a resource of this shape. Raises `TooManyElements`, and nothing else."""
    found = Findings(shape.type, _contained(resource))
    _walk_object(shape, resource, shape.type, 1, found)
    _check_contained(resource, shape.type, found)
    return found


def _contained(resource: Json) -> dict[str, str]:
    """The types of the contained resources by their ids."""
    return {
        each["id"]: each["resourceType"]
        for each in _objects(resource.get("contained"))
        if isinstance(each.get("id"), str) and isinstance(each.get("resourceType"), str)
    }


def _walk_object(shape: Shape, value: Json, path: str, depth: int, found: Findings) -> None:
    found.count(len(value))
    if found.full:
        return
    if depth > DEPTH_MAX:
        found.add("structure", f"nested deeper than {DEPTH_MAX} levels", path)
        return
    for name, child in value.items():
        element = shape.elements.get(name)
        if element is None:
            _walk_other(shape, name, value, path, depth, found)
        elif element.many:
            _walk_array(element, child, value.get(f"_{name}"), f"{path}.{name}", depth, found)
        else:
            _walk_value(element, child, f"{path}.{name}", depth, found)
    _check_presence(shape, value, path, found)
    for invariant in INVARIANTS.get(shape.type, ()):
        if not invariant.holds(value):
            where = f"{path}.{invariant.element}" if invariant.element else path
            found.add("invariant", f"{invariant.key}: {invariant.text}", where)


def _walk_array(element: Element, value: Any, extensions: Any, path: str, depth: int, found: Findings) -> None:
    if not isinstance(value, list) or not value:
        found.add("structure", "this element repeats: it must be an array, and not empty", path)
        return
    found.count(len(value))
    for index, item in enumerate(value):
        if found.full:
            return
        if item is not None:
            _walk_value(element, item, f"{path}[{index}]", depth, found)
        elif not _is_extended(extensions, index):
            found.add("structure", "null is only for a value that has an extension instead", f"{path}[{index}]")


def _is_extended(extensions: Any, index: int) -> bool:
    return isinstance(extensions, list) and index < len(extensions) and isinstance(extensions[index], dict)


def _walk_value(element: Element, value: Any, path: str, depth: int, found: Findings) -> None:
    if element.type in GRAMMAR:
        _check_primitive(element, value, path, found)
    elif not isinstance(value, dict) or not value:
        found.add("structure", "this element must be an object, and not empty", path)
    elif element.model is None:
        _walk_resource(element, value, path, depth, found)
    else:
        _walk_object(shape(element.model), value, path, depth + 1, found)
        if element.type == "Reference":
            _check_reference(element, value, path, found)


def _walk_resource(element: Element, value: Json, path: str, depth: int, found: Findings) -> None:
    """A resource in another one: contained in it, or, in a Bundle, one of its own with what it contains itself."""
    type = value.get("resourceType")
    inner = resource_shape(type) if isinstance(type, str) else None
    if inner is None:
        found.add("structure", "the resourceType must be one of R4's resource types", path)
    elif element.name == "contained":
        _walk_object(inner, value, path, depth + 1, found)
    else:
        outer = found.root, found.contained, found.local
        found.root, found.contained, found.local = inner.type, _contained(value), set()
        _walk_object(inner, value, path, depth + 1, found)
        _check_contained(value, path, found)
        found.root, found.contained, found.local = outer


def _walk_other(shape: Shape, name: str, value: Json, path: str, depth: int, found: Findings) -> None:
    """What is no element of the type: resourceType, the extensions of a primitive, or a mistake."""
    element = shape.elements.get(name[1:]) if name.startswith("_") else None
    if element is not None and element.type in GRAMMAR and not _stands_alone(shape, element):
        _walk_extensions(element, value[name], value.get(element.name), f"{path}.{element.name}", depth, found)
    elif (name != "resourceType" or not shape.is_resource) and not found.full:
        close = get_close_matches(name[:64], shape.elements, 1)
        hint = f"; {close[0]} is one" if close else ""
        where = f"{path}.{name}" if _ELEMENT.fullmatch(name) else path
        found.add("structure", f"not an element of {shape.type}{hint}", where)


def _stands_alone(shape: Shape, element: Element) -> bool:
    """Whether the element has no extensions: it is XHTML, or R4 makes it an attribute in XML."""
    return element.type == "xhtml" or element.name == "id" or (element.name == "url" and shape.type == "Extension")


def _walk_extensions(element: Element, value: Any, primitive: Any, path: str, depth: int, found: Findings) -> None:
    if not element.many:
        _walk_extension(value, primitive, path, depth, found)
    elif not isinstance(value, list) or not value:
        found.add("structure", "the extensions of an element that repeats must be an array, and not empty", path)
    else:
        found.count(len(value))
        primitives = primitive if isinstance(primitive, list) else []
        for index, item in enumerate(value):
            if found.full:
                return
            beside = primitives[index] if index < len(primitives) else None
            if item is not None or beside is None:
                _walk_extension(item, beside, f"{path}[{index}]", depth, found)


def _walk_extension(value: Any, primitive: Any, path: str, depth: int, found: Findings) -> None:
    if not isinstance(value, dict) or not value:
        found.add("structure", "what stands beside a primitive must be an object with id or extension", path)
        return
    _walk_object(PRIMITIVE_EXTENSION, value, path, depth + 1, found)
    if primitive is None and "extension" not in value:
        found.add("invariant", "ele-1: an element must have a value or extensions", path)


def _check_primitive(element: Element, value: Any, path: str, found: Findings) -> None:
    holds, right = GRAMMAR[element.type]
    if not holds(value):
        found.add("value", f"this must be {right}", path)
    elif element.codes and value not in element.codes:
        found.add("code-invalid", f"this must be one of {', '.join(element.codes)}", path)
    elif element.type == "xhtml":
        problem = narrative.fault(value)
        if problem:
            found.add("invariant", problem, path)
    elif isinstance(value, str) and value.startswith("#"):
        found.local.add(value)


def _check_reference(element: Element, value: Json, path: str, found: Findings) -> None:
    problems = references.faults(value, path, element.targets, found.contained, found.root)
    found.issues.extend(problems)


def _check_presence(shape: Shape, value: Json, path: str, found: Findings) -> None:
    """Required elements, choices made once, ele-1. A required primitive needs its value: an extension in its
    place would leave nothing to decide on."""
    for element in shape.required:
        if element.name not in value:
            found.add("required", "this element is required", f"{path}.{element.name}")
    if not shape.is_resource and shape is not PRIMITIVE_EXTENSION and value.keys() == {"id"}:
        found.add("invariant", "ele-1: an element must have more than an id", path)
    if shape.choices:
        made = list(_made(shape, value))
        for choice, required in shape.choices.items():
            times = made.count(choice)
            if times > 1:
                found.add("structure", f"only one type of {choice}[x] may be given", f"{path}.{choice}")
            elif required and not times:
                found.add("required", "this element is required", f"{path}.{choice}")


def _made(shape: Shape, value: Json) -> Iterator[str]:
    for name in {name.removeprefix("_") for name in value}:
        element = shape.elements.get(name)
        if element is not None and element.choice:
            yield element.choice


def _check_contained(resource: Json, where: str, found: Findings) -> None:
    """dom-2 to dom-5, and that the ids of contained resources differ."""
    seen: set[str] = set()
    for index, each in enumerate(_objects(resource.get("contained"))):
        path = f"{where}.contained[{index}]"
        id = each.get("id")
        if isinstance(id, str):
            if id in seen:
                found.add("invariant", "the id of a contained resource must be its own", f"{path}.id")
            seen.add(id)
        if "contained" in each:
            found.add("invariant", "dom-2: a contained resource must not contain others", f"{path}.contained")
        if f"#{id}" not in found.local and not _refers_to_container(each):
            found.add("invariant", "dom-3: a contained resource must be referred to", path)
        meta = each.get("meta")
        for key, names in _CONTAINED_META:
            for name in names:
                if isinstance(meta, dict) and name in meta:
                    text = f"{key}: a contained resource must not have meta.{name}"
                    found.add("invariant", text, f"{path}.meta.{name}")


_CONTAINED_META = (("dom-4", ("versionId", "lastUpdated")), ("dom-5", ("security",)))


def _refers_to_container(value: Any) -> bool:
    pending = [value]
    while pending:
        each = pending.pop()
        if each == "#":
            return True
        if isinstance(each, dict):
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)
    return False


def _objects(value: Any) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
