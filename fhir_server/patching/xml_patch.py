"""XML Patch on the XML form of a resource (RFC 5261, http://hl7.org/fhir/R4/http.html#patch)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from lxml import etree

from fhir_server import markup
from fhir_server.outcome import FhirError, Json
from fhir_server.patching.limits import OPERATIONS_MAX, PATH_MAX, VISITS_MAX, shorten

ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "add": frozenset({"sel", "pos", "type"}),
    "replace": frozenset({"sel"}),
    "remove": frozenset({"sel", "ws"}),
}
"""What each operation may say."""

POSITIONS = ("prepend", "before", "after")
SPACES = ("before", "after", "both")

_NAME = r"(?:[A-Za-z_][\w\-]*:)?[A-Za-z_][\w\-]*"
_TEXT = r"(?:'[^']*'|\"[^\"]*\")"
_INNER = rf"(?:\.|@{_NAME}|{_NAME}(?:/{_NAME})*(?:/@{_NAME})?)"
_PREDICATE = rf"\[\s*(?:[0-9]{{1,9}}|last\(\)|{_INNER}\s*=\s*{_TEXT})\s*\]"
_STEP = rf"(?:\*|{_NAME})(?:{_PREDICATE})*"
SELECTOR = re.compile(rf"/?{_STEP}(?:/{_STEP})*(?:/@{_NAME}|/text\(\)(?:\[[0-9]{{1,9}}\])?)?", re.ASCII)
"""What `sel` may be: about as much of XPath as RFC 5261 takes, and nothing that could take long."""

_TOKEN = re.compile(rf"(?P<other>{_TEXT}|@{_NAME}|last\(\)|text\(\))|(?P<name>{_NAME})", re.ASCII)

_PARSER = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
)


def apply(raw: bytes, resource: Json) -> Json:
    """The resource after all the operations of the patch, in their order; `resource` itself stays as it is.

    Selectors are relative to the document that has the resource as its root; names in them without a prefix are in the
    default namespace of the patch. Refuses a malformed patch, and a result that is not FHIR's XML, with 400; with 422
    an operation that cannot be done: one that selects more or less than one node, an attribute that is there already.
    """
    operations = _parse(raw)
    document = etree.ElementTree(etree.fromstring(markup.print(resource), _PARSER))
    elements, visits = sum(1 for _ in document.iter()), 0
    for number, operation in enumerate(operations, 1):
        _refuse_malformed(operation, number)
        elements += sum(1 for _ in operation.iterdescendants())
        visits += elements * (1 + operation.attrib["sel"].count("["))
        if visits > VISITS_MAX:
            raise FhirError("too-costly", f"The selectors of a patch look at no more than {VISITS_MAX} elements.")
        _RUN[_local(operation)](document, operation, f"Operation {number} ({_local(operation)})")
    return markup.parse(etree.tostring(document, encoding="utf-8"))


def _parse(raw: bytes) -> list[Any]:
    """The operations, as elements."""
    if b"<!DOCTYPE" in raw:
        raise FhirError("structure", "An XML Patch must have no DOCTYPE, and so no entities.")
    try:
        root = etree.fromstring(raw.decode("utf-8-sig").encode(), _PARSER)
    except UnicodeDecodeError as error:
        raise FhirError("structure", f"An XML Patch must be UTF-8; byte {error.start} is not.") from None
    except etree.XMLSyntaxError as error:
        raise FhirError("structure", f"The XML Patch is not well-formed: {error.msg}.") from None
    if _local(root) != "diff":
        raise FhirError("structure", "The root of an XML Patch must be diff, with add, replace and remove in it.")
    operations = list(root)
    if len(operations) > OPERATIONS_MAX:
        raise FhirError("too-costly", f"A patch has at most {OPERATIONS_MAX} operations.")
    return operations


def _local(element: Any) -> str:
    return str(etree.QName(element).localname)


def _refuse_malformed(operation: Any, number: int) -> None:
    name, given = _local(operation), operation.attrib
    if name not in ATTRIBUTES:
        raise FhirError("structure", f"Operation {number} must be one of {', '.join(ATTRIBUTES)}.")
    if unknown := sorted(set(given) - ATTRIBUTES[name]):
        raise FhirError("structure", f"Operation {number} ({name}) has no attribute {shorten(unknown[0])}.")
    selector = given.get("sel", "")
    if len(selector) > PATH_MAX or not SELECTOR.fullmatch(selector):
        text = (
            f"Operation {number} ({name}) needs a `sel` of at most {PATH_MAX} characters, with steps like f:name, "
            "f:name[2], f:name[f:use/@value='official'], at the end also @value or text()."
        )
        raise FhirError("structure", text)
    if given.get("pos", "before") not in POSITIONS:
        raise FhirError("structure", f"The `pos` of operation {number} must be one of {', '.join(POSITIONS)}.")
    if given.get("ws", "both") not in SPACES:
        raise FhirError("structure", f"The `ws` of operation {number} must be one of {', '.join(SPACES)}.")
    if "type" in given and not re.fullmatch(rf"@{_NAME}", given["type"], re.ASCII):
        raise FhirError("not-supported", f"The `type` of operation {number} must be an attribute's, such as @id.")


def _select(document: Any, operation: Any, what: str) -> Any:
    """The one node that `sel` selects."""
    selector, names = operation.attrib["sel"], dict(operation.nsmap)
    default = names.pop(None, None)
    prefix = "_" * (1 + max(map(len, names), default=0))
    if default:
        names[prefix] = default

    def qualify(token: re.Match[str]) -> str:
        name = token["name"]
        return f"{prefix}:{name}" if name and default and ":" not in name else token[0]

    try:
        path = "/" + _TOKEN.sub(qualify, selector.removeprefix("/"))
        find = etree.XPath(path, namespaces=names, regexp=False, smart_strings=True)
        found: Any = find(document)
    except etree.XPathError:
        raise FhirError("structure", f"{what}: a prefix in {shorten(selector)} is not declared.") from None
    if len(found) != 1:
        text = f"{what}: {shorten(selector)} must select one node, but {len(found) or 'none'} were found."
        hint = "" if found or names else f" Is {markup.FHIR} declared as a namespace?"
        raise FhirError("processing", text + hint)
    return found[0]


def _add(document: Any, operation: Any, what: str) -> None:
    target = _select(document, operation, what)
    if not etree.iselement(target):
        raise FhirError("processing", f"{what}: only to an element can something be added.")
    if "type" in operation.attrib:
        _add_attribute(target, operation, what)
        return
    position = operation.attrib.get("pos")
    if position == "prepend":
        _splice(target, 0, operation, ahead=True)
    elif position is None:
        _splice(target, len(target), operation, ahead=False)
    else:
        parent = _parent(target, what)
        after = position == "after"
        _splice(parent, parent.index(target) + after, operation, ahead=after)


def _add_attribute(target: Any, operation: Any, what: str) -> None:
    name = _qualified(operation, operation.attrib["type"][1:], what)
    if name in target.attrib:
        raise FhirError("processing", f"{what}: the attribute is there already; replace it.")
    target.set(name, _value(operation, what))


def _qualified(operation: Any, name: str, what: str) -> str:
    prefix, mark, local = name.rpartition(":")
    if mark and prefix not in operation.nsmap:
        raise FhirError("structure", f"{what}: the prefix {shorten(prefix)} is not declared.")
    return f"{{{operation.nsmap[prefix]}}}{local}" if mark else local


def _value(operation: Any, what: str) -> str:
    if len(operation):
        raise FhirError("structure", f"{what} must have a text in it, and no elements.")
    return operation.text or ""


def _replace(document: Any, operation: Any, what: str) -> None:
    target = _select(document, operation, what)
    if not etree.iselement(target):
        _set_string(target, _value(operation, what))
        return
    if len(operation) != 1 or any((text or "").strip() for text in (operation.text, operation[0].tail)):
        raise FhirError("structure", f"{what} must have one element in it, to put in the place of another.")
    new = deepcopy(operation[0])
    new.tail = target.tail
    parent: Any = target.getparent()
    if parent is None:
        document._setroot(new)
    else:
        parent.replace(target, new)


def _remove(document: Any, operation: Any, what: str) -> None:
    target = _select(document, operation, what)
    if len(operation) or (operation.text or "").strip():
        raise FhirError("structure", f"{what} must be empty.")
    if not etree.iselement(target):
        _set_string(target, None)
        return
    parent = _parent(target, what)
    index = parent.index(target)
    _set_text_before(parent, index, _text_before(parent, index) + (target.tail or ""))
    parent.remove(target)


_RUN: Mapping[str, Callable[[Any, Any, str], None]] = {"add": _add, "replace": _replace, "remove": _remove}


def _parent(target: Any, what: str) -> Any:
    parent = target.getparent()
    if parent is None:
        raise FhirError("processing", f"{what}: nothing can be beside the resource, and it cannot be removed.")
    return parent


def _set_string(target: Any, value: str | None) -> None:
    """Replaces an attribute or a text, or takes it away if there is no value."""
    holder = target.getparent()
    if not target.is_attribute:
        setattr(holder, "tail" if target.is_tail else "text", value)
    elif value is None:
        del holder.attrib[target.attrname]
    else:
        holder.set(target.attrname, value)


def _splice(parent: Any, index: int, operation: Any, *, ahead: bool) -> None:
    """Puts what is in the operation before the child `index`, ahead of the text that stands there or behind it."""
    new, lead, held = [deepcopy(each) for each in operation], operation.text or "", _text_before(parent, index)
    if not ahead:
        _set_text_before(parent, index, held + lead)
    elif new:
        _set_text_before(parent, index, lead)
        new[-1].tail = (new[-1].tail or "") + held
    else:
        _set_text_before(parent, index, lead + held)
    for offset, each in enumerate(new):
        parent.insert(index + offset, each)


def _text_before(parent: Any, index: int) -> str:
    return (parent[index - 1].tail if index else parent.text) or ""


def _set_text_before(parent: Any, index: int, text: str) -> None:
    if index:
        parent[index - 1].tail = text or None
    else:
        parent.text = text or None
