"""FHIRPath Patch: a Parameters resource with operations on a resource (http://hl7.org/fhir/R4/fhirpatch.html)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server import validation
from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import FhirError, Json
from fhir_server.patching.limits import DEPTH_MAX, OPERATIONS_MAX, shorten
from fhir_server.patching.path import Walk, locate, locate_list
from fhir_server.patching.tree import Node, print_tree, read_element, read_resource
from fhir_server.validation.shapes import Element, Shape, resource_shape, shape

PARTS: Mapping[str, tuple[str, ...]] = {
    "add": ("path", "name", "value"),
    "insert": ("path", "index", "value"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}
"""The parts of each type of operation, `type` itself apart. Each is needed, and no other is known."""

TYPES: Mapping[str, tuple[str, ...]] = {
    "type": ("valueCode", "valueString"),
    "path": ("valueString",),
    "name": ("valueString", "valueCode"),
    "index": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
    "source": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
    "destination": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
}
"""How the parts other than `value` are given."""

ALIKE: tuple[frozenset[str], ...] = (
    frozenset({"string", "code", "id", "markdown", "xhtml"}),
    frozenset({"uri", "url", "canonical", "uuid", "oid"}),
    frozenset({"integer", "positiveInt", "unsignedInt"}),
    frozenset({"Quantity", "Age", "Count", "Distance", "Duration"}),
)
"""Types of one family: a value of one is taken for any other, as the whole resource is validated afterwards."""

_PARAMETERS = ResourceDefinition("Parameters", "A patch.", ())


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its parts by name, and its place in the patch for a refusal to name."""

    type: str
    parts: Mapping[str, Any]
    value: Json
    where: str

    @property
    def path(self) -> str:
        return str(self.parts["path"])

    def refuse(self, why: str) -> FhirError:
        """That the operation cannot be done on this resource."""
        return FhirError("processing", f"{self.type} {shorten(self.path)}: {why}", self.where)


def apply(patch: Json, resource: Json) -> Json:
    """The resource after all the operations of the patch, in their order; `resource` itself stays as it is.

    Refuses a malformed patch with 400; with 422 an operation that cannot be done: a path that selects more or less than
    one element, an element that the type does not have, a value of the wrong type.
    """
    operations = _read_operations(patch)
    walk = Walk(read_resource(resource))
    for operation in operations:
        _RUN[operation.type](walk, operation)
    return print_tree(walk.root)


def _read_operations(patch: Json) -> list[Operation]:
    if patch.get("resourceType") != "Parameters":
        text = "A FHIRPath Patch is a Parameters resource; a JSON Patch is application/json-patch+json."
        raise FhirError("invalid", text, "resourceType")
    parameters = patch.get("parameter", ())
    if isinstance(parameters, list) and len(parameters) > OPERATIONS_MAX:
        raise FhirError("too-costly", f"A patch has at most {OPERATIONS_MAX} operations.", "Parameters.parameter")
    issues = validation.check(_PARAMETERS, patch)
    if issues:
        raise FhirError.of(issues, status=400)
    return [_read_operation(each, f"Parameters.parameter[{index}]") for index, each in enumerate(parameters)]


def _read_operation(parameter: Json, where: str) -> Operation:
    if parameter["name"] != "operation":
        raise FhirError("invalid", "Each parameter of a FHIRPath Patch must have the name operation.", where)
    parts: dict[str, Json] = {}
    for part in parameter.get("part", ()):
        if part["name"] in parts:
            raise FhirError("invalid", f"The part {shorten(part['name'])} is given twice.", where)
        parts[part["name"]] = part
    type = _read_part(parts, "type", where)
    if type not in PARTS:
        raise FhirError("value", f"The type of an operation must be one of {', '.join(PARTS)}.", where)
    if parts.keys() != {"type", *PARTS[type]}:
        raise FhirError("invalid", f"The parts of {type} must be type, {', '.join(PARTS[type])}.", where)
    read = {name: _read_part(parts, name, where) for name in PARTS[type] if name != "value"}
    return Operation(type, read, parts.get("value", {}), where)


def _read_part(parts: Mapping[str, Json], name: str, where: str) -> Any:
    given = [parts[name][key] for key in TYPES[name] if key in parts[name]] if name in parts else []
    if not given:
        raise FhirError("required", f"An operation needs the part {name} as a {TYPES[name][0]}.", where)
    return given[0]


def _add(walk: Walk, operation: Operation) -> None:
    holder = _one(walk, operation)
    name = operation.parts["name"]
    node, element = _build(operation, operation.value, holder.shape, name)
    if not element.many and any(True for _ in holder.children(element.choice or element.name)):
        raise operation.refuse(f"{holder.type}.{name} is there already and does not repeat; replace it.")
    _put(operation, holder, node, element)


def _insert(walk: Walk, operation: Operation) -> None:
    holder, element = locate_list(walk, operation.path, operation.where)
    length, index = len(holder.below.get(element.name, ())), operation.parts["index"]
    if not 0 <= index <= length:
        raise operation.refuse(f"the index must be from 0 to {length}, the length of the list.")
    node, _ = _build(operation, operation.value, holder.shape, element.name)
    _put(operation, holder, node, element, index)


def _delete(walk: Walk, operation: Operation) -> None:
    found = locate(walk, operation.path, operation.where)
    if len(found) > 1:
        raise operation.refuse(f"{len(found)} elements were found, but only one can be deleted at a time.")
    for node in found:
        _parent(node, operation)
        node.remove()


def _replace(walk: Walk, operation: Operation) -> None:
    old = _one(walk, operation)
    parent = _parent(old, operation)
    choice = parent.shape.elements[old.name].choice
    new, element = _build(operation, operation.value, parent.shape, choice or old.name)
    index = parent.below[old.name].index(old)
    parent.below[old.name].pop(index)
    if not parent.below[old.name]:
        del parent.below[old.name]
    _put(operation, parent, new, element, index)


def _move(walk: Walk, operation: Operation) -> None:
    holder, element = locate_list(walk, operation.path, operation.where)
    nodes = holder.below.get(element.name, [])
    source, destination = operation.parts["source"], operation.parts["destination"]
    if not (0 <= source < len(nodes) and 0 <= destination < len(nodes)):
        raise operation.refuse(f"the list has {len(nodes)} elements; source and destination must be among them.")
    nodes.insert(destination, nodes.pop(source))


_RUN: Mapping[str, Callable[[Walk, Operation], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


def _one(walk: Walk, operation: Operation) -> Node:
    found = locate(walk, operation.path, operation.where)
    if len(found) != 1:
        raise operation.refuse(f"the path must select one element, but {len(found) or 'none'} were found.")
    return found[0]


def _parent(node: Node, operation: Operation) -> Node:
    if node.parent is None:
        raise operation.refuse("a patch changes elements of the resource, not the whole; use DELETE or PUT.")
    return node.parent


def _put(operation: Operation, holder: Node, node: Node, element: Element, index: int | None = None) -> None:
    if holder.depth >= DEPTH_MAX:
        raise operation.refuse(f"it is nested deeper than {DEPTH_MAX} levels.")
    holder.put(node, element.name, index)


def _build(operation: Operation, given: Json, into: Shape, name: str) -> tuple[Node, Element]:
    """The element `name` of a type as a value, parts or a resource says it, and what it is in that type."""
    if "resource" in given:
        element = _element(operation, into, name, "Resource")
        return read_resource(given["resource"]), element
    if "part" in given:
        return _build_from_parts(operation, given, into, name)
    key = next((key.lstrip("_") for key in given if key.lstrip("_").startswith("value")), None)
    if key is None:
        raise FhirError("required", f"{shorten(name)} needs a value[x], a resource or parts.", operation.where)
    sent = _PART.elements[key]
    element = _element(operation, into, name, sent.type)
    as_sent = read_element(sent, given.get(key), given.get(f"_{key}"))
    node = Node(element.type, shape(element.model) if element.model else as_sent.shape, as_sent.value)
    for below, nodes in as_sent.below.items():
        for each in nodes:
            node.put(each, below)
    return node, element


def _build_from_parts(operation: Operation, given: Json, into: Shape, name: str) -> tuple[Node, Element]:
    element = into.elements.get(name)
    if element is None or element.model is None:
        raise operation.refuse(f"{into.type}.{shorten(name)} is no element that can be given in parts.")
    node = Node(element.type, shape(element.model))
    for part in given["part"]:
        child, below = _build(operation, part, node.shape, part["name"])
        if not below.many and any(True for _ in node.children(below.choice or below.name)):
            raise operation.refuse(f"{element.type}.{part['name']} is given twice and does not repeat.")
        node.put(child, below.name)
    return node, element


def _element(operation: Operation, into: Shape, name: str, type: str) -> Element:
    """The element of `into` that has this name, or the name before [x], and takes values of this type."""
    named = [each for each in into.elements.values() if name.removesuffix("[x]") in (each.name, each.choice)]
    if not named:
        raise operation.refuse(f"{into.type} has no element {shorten(name)}.")
    for same in (lambda one: one == type, lambda one: any({one, type} <= family for family in ALIKE)):
        for element in named:
            if same(element.type):
                return element
    types = " or ".join(sorted(each.type for each in named))
    raise operation.refuse(f"{into.type}.{name} is a {types}, but the value is a {type}.")


def _part_shape() -> Shape:
    parameters = resource_shape("Parameters")
    assert parameters is not None
    model = parameters.elements["parameter"].model
    assert model is not None
    return shape(model)


_PART = _part_shape()
