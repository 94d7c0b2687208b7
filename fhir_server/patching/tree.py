"""A resource as a tree of elements, so that a primitive and its extensions are one place (http://hl7.org/fhir/R4/json.html)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from fhir_server.outcome import Json
from fhir_server.validation.primitives import GRAMMAR
from fhir_server.validation.shapes import PRIMITIVE_EXTENSION, Element, Shape, resource_shape, shape


@dataclass(slots=True, eq=False)
class Node:
    """An element: `type` is FHIR's name, `shape` what may be below it. A primitive has a `value`, and below it at most
    an id and extensions. `below` has lists by JSON name, never empty ones; `name` is this node's own in its parent."""

    type: str
    shape: Shape
    value: Any = None
    below: dict[str, list[Node]] = field(default_factory=dict)
    parent: Node | None = None
    name: str = ""

    @property
    def is_primitive(self) -> bool:
        return self.shape is PRIMITIVE_EXTENSION

    @property
    def depth(self) -> int:
        """How many elements this one is in."""
        return 0 if self.parent is None else 1 + self.parent.depth

    def children(self, name: str) -> Iterator[Node]:
        """The elements of this name as FHIRPath has it: `deceased` is any type of deceased[x]."""
        for found, nodes in self.below.items():
            if name in (found, self.shape.elements[found].choice):
                yield from nodes

    def put(self, node: Node, name: str, index: int | None = None) -> None:
        """Adds a node below this one, at the end of its list unless `index` says where."""
        nodes = self.below.setdefault(name, [])
        nodes.insert(len(nodes) if index is None else index, node)
        node.parent, node.name = self, name

    def remove(self) -> None:
        """Takes this node out of the tree, and what it leaves empty above it but the root."""
        assert self.parent is not None
        parent, nodes = self.parent, self.parent.below[self.name]
        nodes.remove(self)
        if not nodes:
            del parent.below[self.name]
        if parent.parent is not None and parent.value is None and not parent.below:
            parent.remove()


def read_resource(resource: Json) -> Node:
    """The tree of a valid resource."""
    found = resource_shape(resource["resourceType"])
    assert found is not None
    return _fill(Node(found.type, found), resource)


def read_element(element: Element, value: Any, beside: Any) -> Node:
    """The tree of one element: `beside` is what stands under its name with an underscore, if it is a primitive."""
    if element.type in GRAMMAR:
        return _fill(Node(element.type, PRIMITIVE_EXTENSION, value), beside or {})
    if element.model is None:
        return read_resource(value)
    return _fill(Node(element.type, shape(element.model)), value)


def _fill(node: Node, members: Json) -> Node:
    for name, element in node.shape.elements.items():
        value, beside = members.get(name), members.get(f"_{name}")
        if value is None and beside is None:
            continue
        pairs = zip_longest(value or (), beside or ()) if element.many else ((value, beside),)
        for each, extended in pairs:
            node.put(read_element(element, each, extended), name)
    return node


def print_tree(node: Node) -> Json:
    """The JSON of an element that is no primitive, or of what stands beside a primitive."""
    members: Json = {"resourceType": node.type} if node.shape.is_resource else {}
    for name, nodes in node.below.items():
        many = node.shape.elements[name].many
        if not nodes[0].is_primitive:
            printed = [print_tree(each) for each in nodes]
            members[name] = printed if many else printed[0]
            continue
        values = [each.value for each in nodes]
        beside = [print_tree(each) or None for each in nodes]
        if any(value is not None for value in values):
            members[name] = values if many else values[0]
        if any(beside):
            members[f"_{name}"] = beside if many else beside[0]
    return members
