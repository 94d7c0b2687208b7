"""FHIR's XML, strictly and safely read, and printed in R4's order (http://hl7.org/fhir/R4/xml.html).

Both ways go by the shapes of the types, so that XML and JSON say the same: numbers digit by digit, a Narrative's XHTML
letter by letter (conformance/decisions/0012-xml-by-shapes.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import zip_longest
from typing import Any, NoReturn
from xml.parsers import expat

from fhir_server import document
from fhir_server.outcome import FhirError, Json
from fhir_server.validation.primitives import GRAMMAR
from fhir_server.validation.shapes import PRIMITIVE_EXTENSION, Element, Shape, resource_shape, shape

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
SCHEMA_LOCATION = "http://www.w3.org/2001/XMLSchema-instance schemaLocation"

ELEMENTS_MAX = 250_000
"""Elements of one document, since each is kept until all are read; so many `=` as well, since all attributes of an
element are read in one go."""

PREFIXES_MAX = 100
"""Namespace prefixes of one document, since each is looked for in its XHTML."""

_BLANK = " \t\r\n"
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TAG = re.compile(rb"<([^\s/>]+)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


def parse(body: bytes) -> Json:
    """The resource that `body` spells, as `document.parse` gives it for the same in JSON.

    Refused with 400: what is not UTF-8 or not well-formed; a DOCTYPE, and with it every entity; processing
    instructions; other namespaces, elements, attributes and text than FHIR's; an empty value or element; an element
    twice that does not repeat; a value that is not of its element's type; the nesting that JSON has not either. With
    413: more than `ELEMENTS_MAX` elements or attributes. Comments and `xsi:schemaLocation` are skipped.
    """
    root = _Reader(body).read()
    return _read_resource(root, root.name if _NAME.fullmatch(root.name) else "Resource", 1)


def print(resource: Json, pretty: bool = False) -> bytes:
    """The XML in UTF-8 of a valid resource: elements in R4's order, decimals digit by digit."""
    printer = _Printer(pretty)
    printer.line(0, '<?xml version="1.0" encoding="UTF-8"?>')
    printer.resource(0, resource, f' xmlns="{FHIR}"')
    return printer.text().encode()


@dataclass(slots=True)
class _Node:
    """An element as it was sent; `markup` is the whole of it if it is XHTML."""

    name: str
    attributes: dict[str, str]
    children: list[_Node] = field(default_factory=list)
    markup: str = ""


class _Reader:
    """From bytes to nodes, by one pass of a parser that is told of no document type."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.path: list[_Node] = []
        self.root: _Node | None = None
        self.count = 0
        self.scope: dict[str | None, list[str]] = {}
        self.declared: dict[str | None, str] = {}
        self.outside: dict[str | None, str] = {}
        self.xhtml_start = self.xhtml_depth = 0
        parser = self.parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.characters
        parser.StartNamespaceDeclHandler = self.declare
        parser.EndNamespaceDeclHandler = lambda prefix: self.scope[prefix].pop()
        parser.XmlDeclHandler = self.refuse_encoding
        parser.StartDoctypeDeclHandler = lambda *_: self.refuse("a DOCTYPE is not allowed")
        parser.ProcessingInstructionHandler = lambda *_: self.refuse("processing instructions are not allowed")

    def read(self) -> _Node:
        try:
            self.body.decode()
            if b"\0" in self.body:
                self.refuse("not XML in UTF-8: NUL is no character of it")
            if self.body.count(b"=") > ELEMENTS_MAX:
                raise FhirError("too-long", f"more than {ELEMENTS_MAX} attributes in one document")
            self.parser.Parse(self.body, True)
        except UnicodeDecodeError as error:
            raise FhirError("structure", f"not XML in UTF-8: byte {error.start} is not") from None
        except expat.ExpatError as error:
            where = f"line {error.lineno}, column {error.offset + 1}"
            raise FhirError("structure", f"not XML in UTF-8: {expat.ErrorString(error.code)} at {where}") from None
        assert self.root is not None
        return self.root

    def refuse(self, text: str) -> NoReturn:
        where = f"line {self.parser.CurrentLineNumber}, column {self.parser.CurrentColumnNumber + 1}"
        raise FhirError("structure", f"{text}; {where}", ".".join(node.name for node in self.path) or ())

    def refuse_encoding(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if (encoding or "utf-8").lower() not in ("utf-8", "us-ascii"):
            self.refuse("XML must be UTF-8")

    def declare(self, prefix: str | None, namespace: str | None) -> None:
        self.scope.setdefault(prefix, []).append(namespace or "")
        if len(self.scope) > PREFIXES_MAX:
            self.refuse(f"more than {PREFIXES_MAX} namespace prefixes in one document")
        self.declared[prefix] = namespace or ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        declared, self.declared = self.declared, {}
        if self.xhtml_depth:
            self.xhtml_depth += 1
            return
        namespace, _, local = name.rpartition(" ")
        if namespace not in (FHIR, XHTML):
            self.refuse(f"elements must be in the namespace {FHIR}")
        self.count += 1
        if self.count > ELEMENTS_MAX:
            raise FhirError("too-long", f"more than {ELEMENTS_MAX} elements in one document")
        node = _Node(local, attributes)
        if self.path:
            self.path[-1].children.append(node)
        else:
            self.root = node
        self.path.append(node)
        if len(self.path) > document.DEPTH_MAX + 1:
            raise FhirError("structure", document.TOO_DEEP, self.path[0].name)
        if namespace == XHTML:
            self.xhtml_depth, self.xhtml_start = 1, self.parser.CurrentByteIndex
            known = {prefix: namespaces[-1] for prefix, namespaces in self.scope.items() if namespaces}
            self.outside = {prefix: uri for prefix, uri in known.items() if prefix not in declared}

    def end(self, _name: str) -> None:
        if self.xhtml_depth:
            self.xhtml_depth -= 1
            if self.xhtml_depth:
                return
            self.path[-1].markup = self.markup(self.parser.CurrentByteIndex)
        self.path.pop()

    def markup(self, last_tag: int) -> str:
        """XHTML letter by letter, and the namespaces that it takes from outside."""
        tag = _TAG.match(self.body, self.xhtml_start)
        assert tag is not None
        if not self.body.startswith(b"</" + tag[1], last_tag):
            self.refuse("XHTML must not be empty")
        inside = self.body[tag.end() : self.body.index(b">", last_tag) + 1].decode()
        name = tag[0].decode()
        used = {
            prefix: namespace
            for prefix, namespace in self.outside.items()
            if (f"{prefix}:" in inside or name.startswith(f"<{prefix}:") if prefix else namespace == XHTML)
        }
        declared = (f" xmlns{f':{prefix}' if prefix else ''}={_quote(uri)}" for prefix, uri in used.items())
        return name + "".join(declared) + inside

    def characters(self, text: str) -> None:
        if not self.xhtml_depth and text.strip(_BLANK):
            self.refuse("text between elements is not allowed; values are in the attribute value")


def _read_resource(node: _Node, path: str, depth: int) -> Json:
    inner = None if node.markup else resource_shape(node.name)
    if inner is None:
        raise FhirError("structure", "this must be one of R4's resource types", path)
    return _read_object(inner, node, path, depth)


def _read_object(inner: Shape, node: _Node, path: str, depth: int) -> Json:
    """The JSON of an element that has elements; `depth` is what it would be in JSON."""
    if depth > document.DEPTH_MAX:
        raise FhirError("structure", document.TOO_DEEP, path)
    found: Json = {"resourceType": inner.type} if inner.is_resource else {}
    found |= _attributes(node, _attributes_of(inner), path)
    for child in node.children:
        element = inner.elements.get(child.name)
        if element is None or element.name in _attributes_of(inner) or bool(child.markup) != (element.type == "xhtml"):
            raise _unknown(inner, child, path)
        where = f"{path}.{element.name}"
        if element.many:
            where = f"{where}[{len(found.get(element.name, ()))}]"
        elif element.name in found or f"_{element.name}" in found:
            raise FhirError("structure", "this element does not repeat", where)
        _read_element(found, element, child, where, depth + 1 + element.many)
    found = {name: value for name, value in found.items() if not _is_gap(value)}
    if not found:
        raise FhirError("structure", "an empty element must be left out", path)
    return found


def _read_element(found: Json, element: Element, node: _Node, path: str, depth: int) -> None:
    """Adds to `found` what the element says, and what stands beside it if it is a primitive."""
    if element.type == "xhtml":
        found[element.name] = node.markup
    elif element.type in GRAMMAR:
        _keep(found, element, element.name, _read_primitive(element, node, path))
        _keep(found, element, f"_{element.name}", _read_beside(node, path, depth))
    elif element.model is not None:
        _keep(found, element, element.name, _read_object(shape(element.model), node, path, depth))
    else:
        _attributes(node, (), path)
        if len(node.children) != 1:
            raise FhirError("structure", "there must be exactly one resource in this element", path)
        _keep(found, element, element.name, _read_resource(node.children[0], path, depth))


def _keep(found: Json, element: Element, name: str, value: Any) -> None:
    if element.many:
        found.setdefault(name, []).append(value)
    elif value is not None:
        found[name] = value


def _is_gap(value: Any) -> bool:
    return isinstance(value, list) and all(each is None for each in value)


def _read_primitive(element: Element, node: _Node, path: str) -> Any:
    """The value as JSON has it; None if there is only something beside it."""
    text = _attributes(node, ("value", "id"), path).get("value")
    if text is None:
        if not node.children:
            raise FhirError("structure", "this element needs a value", path)
        return None
    match element.type:
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "integer" | "unsignedInt" | "positiveInt" if _WHOLE.fullmatch(text):
            return int(text)
        case "decimal" if _DECIMAL.fullmatch(text):
            return document.read_number(text, path)
        case "boolean" | "integer" | "unsignedInt" | "positiveInt" | "decimal":
            raise FhirError("value", f"this must be {GRAMMAR[element.type][1].removesuffix(_IN_JSON)}", path)
    return text


_IN_JSON = ", without quotes"


def _read_beside(node: _Node, path: str, depth: int) -> Json | None:
    """The id and the extensions of a primitive, which JSON has under the name with an underscore."""
    if not node.children and "id" not in node.attributes:
        return None
    beside = _Node(node.name, {name: value for name, value in node.attributes.items() if name == "id"}, node.children)
    return _read_object(PRIMITIVE_EXTENSION, beside, path, depth)


def _attributes_of(inner: Shape) -> tuple[str, ...]:
    """The elements that are attributes in XML."""
    if inner.is_resource:
        return ()
    return ("id", "url") if inner.type == "Extension" else ("id",)


def _attributes(node: _Node, allowed: tuple[str, ...], path: str) -> dict[str, str]:
    for name, value in node.attributes.items():
        if name not in (*allowed, SCHEMA_LOCATION):
            known = f"; {' and '.join(allowed)} can be" if allowed else ""
            where = f"{path}.@{name}" if _NAME.fullmatch(name) else path
            raise FhirError("structure", f"this attribute is not allowed here{known}", where)
        if not value:
            raise FhirError("value", "an attribute must not be empty", path)
    return {name: value for name, value in node.attributes.items() if name != SCHEMA_LOCATION}


def _unknown(inner: Shape, node: _Node, path: str) -> FhirError:
    if node.markup or node.name == "div":
        return FhirError("structure", f"XHTML can only be in Narrative.div, in the namespace {XHTML}", path)
    close = get_close_matches(node.name[:64], inner.elements, 1)
    hint = f"; {close[0]} is one" if close and close[0] not in _attributes_of(inner) else ""
    where = f"{path}.{node.name}" if _NAME.fullmatch(node.name) else path
    return FhirError("structure", f"not an element of {inner.type}{hint}", where)


class _Printer:
    """Lines of XML: one for each element if it is to be pretty, else one for all."""

    def __init__(self, pretty: bool) -> None:
        self.pretty = pretty
        self.lines: list[str] = []

    def text(self) -> str:
        return ("\n" if self.pretty else "").join(self.lines)

    def line(self, level: int, text: str) -> None:
        self.lines.append(f"{'  ' * level}{text}" if self.pretty else text)

    def resource(self, level: int, resource: Json, attributes: str = "") -> None:
        inner = resource_shape(resource["resourceType"])
        if inner is None:
            raise ValueError(f"{resource['resourceType']} is no resource type of R4")
        self.wrap(level, inner.type, attributes, inner, resource)

    def wrap(self, level: int, name: str, attributes: str, inner: Shape, value: Json) -> None:
        """An element with its elements inside; a short tag if there are none."""
        before = len(self.lines)
        self.line(level, f"<{name}{attributes}>")
        self.elements(level + 1, inner, value)
        if len(self.lines) == before + 1:
            self.lines[-1] = f"{self.lines[-1][:-1]}/>"
        else:
            self.line(level, f"</{name}>")

    def elements(self, level: int, inner: Shape, value: Json) -> None:
        names = {name.removeprefix("_") for name in value}
        if unknown := names - inner.elements.keys() - {"resourceType"}:
            raise ValueError(f"{inner.type} has no element {', '.join(sorted(unknown))}")
        names.difference_update(_attributes_of(inner))
        for element in (element for name, element in inner.elements.items() if name in names):
            for one, beside in _each(element, value.get(element.name), value.get(f"_{element.name}")):
                self.element(level, element, one, beside)

    def element(self, level: int, element: Element, value: Any, beside: Json | None) -> None:
        name = element.name
        if element.type == "xhtml":
            self.line(level, _PROLOGUE.sub("", value))
        elif element.type in GRAMMAR:
            spelled = "" if value is None else f" value={_quote(_spell(value))}"
            extended = beside or {}
            self.wrap(level, name, _attribute(extended, "id") + spelled, PRIMITIVE_EXTENSION, extended)
        elif element.model is not None:
            inner = shape(element.model)
            self.wrap(level, name, "".join(_attribute(value, one) for one in _attributes_of(inner)), inner, value)
        else:
            self.line(level, f"<{name}>")
            self.resource(level + 1, value)
            self.line(level, f"</{name}>")


_PROLOGUE = re.compile(r"\s*<\?xml\b[^>]*\?>")
"""An XML declaration, which XHTML may begin with that stands alone."""


def _each(element: Element, value: Any, beside: Any) -> Iterator[tuple[Any, Json | None]]:
    """The values with what stands beside each."""
    if element.many:
        yield from zip_longest(value or (), beside or ())
    else:
        yield value, beside


def _attribute(value: Json, name: str) -> str:
    return f" {name}={_quote(value[name])}" if name in value else ""


def _spell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_SPECIAL = re.compile('[&<>"\t\n\r]|[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')


def _quote(text: str) -> str:
    """The text as the value of an attribute. What XML cannot say, as U+FFFF, becomes U+FFFD."""
    return '"' + _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text) + '"'
