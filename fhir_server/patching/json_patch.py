"""JSON Patch on a resource (RFC 6902, http://hl7.org/fhir/R4/http.html#patch)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed
from jsonpointer import JsonPointer, JsonPointerException

from fhir_server import document
from fhir_server.outcome import FhirError, Json
from fhir_server.patching.limits import DEPTH_MAX, MOVED_MAX, OPERATIONS_MAX, shorten

NEEDED: Mapping[str, tuple[str, ...]] = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "from"),
    "copy": ("path", "from"),
    "test": ("path", "value"),
}
"""The members of each operation."""


def apply(raw: bytes, resource: Json) -> Json:
    """The resource after all the operations of the patch, in their order; `resource` itself stays as it is.

    Arrays and objects that the patch leaves empty are left out. Refuses a malformed patch with 400, an operation that
    cannot be done (a test that fails, a place that does not exist) with 422.
    """
    operations = _parse(raw)
    for number, operation in enumerate(operations, 1):
        _refuse_malformed(operation, number)
    patched: Any = document.parse(document.print(resource))
    moved = 0
    for number, operation in enumerate(operations, 1):
        moved += _refuse_deep(operation, patched, number)
        if moved > MOVED_MAX:
            raise FhirError("too-costly", f"A patch moves and copies at most {MOVED_MAX} elements.")
        patched = _run(operation, patched, number)
    return _as_resource(patched)


def _parse(raw: bytes) -> list[Any]:
    try:
        patch = json.loads(
            raw.decode("utf-8-sig"),
            object_pairs_hook=_members,
            parse_float=_number,
            parse_int=_number,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise FhirError("structure", f"A JSON Patch must be UTF-8; byte {error.start} is not.") from None
    except json.JSONDecodeError as error:
        text = f"The JSON Patch is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise FhirError("structure", text) from None
    except RecursionError:
        raise FhirError("structure", f"A JSON Patch is nested at most {DEPTH_MAX} levels.") from None
    if not isinstance(patch, list):
        raise FhirError("structure", "A JSON Patch must be an array of operations.")
    if len(patch) > OPERATIONS_MAX:
        raise FhirError("too-costly", f"A patch has at most {OPERATIONS_MAX} operations.")
    return patch


def _members(pairs: list[tuple[str, Any]]) -> Json:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise FhirError("structure", "A name is repeated in an object of the JSON Patch.")
    return members


def _number(spelled: str) -> int | Decimal:
    """Every digit is kept; what cannot be stored is refused in the result."""
    if len(spelled) < 19 and spelled.lstrip("-").isdigit() and spelled != "-0":
        return int(spelled)
    try:
        return Decimal(spelled)
    except InvalidOperation:
        raise FhirError("value", "A number of the JSON Patch has too large an exponent.") from None


def _refuse_constant(name: str) -> None:
    raise FhirError("structure", f"{name} is not JSON.")


def _refuse_malformed(operation: Any, number: int) -> None:
    if not isinstance(operation, dict):
        raise FhirError("structure", f"Operation {number} of the JSON Patch must be an object.")
    op = operation.get("op")
    if not isinstance(op, str) or op not in NEEDED:
        raise FhirError("structure", f"Operation {number} needs an `op`, one of {', '.join(NEEDED)}.")
    for member in NEEDED[op]:
        if member not in operation:
            raise FhirError("structure", f"Operation {number} ({op}) needs `{member}`.")
        if member != "value":
            _refuse_malformed_pointer(operation[member], f"The `{member}` of operation {number} ({op})")
    if _measure(operation.get("value"))[1] > DEPTH_MAX:
        raise FhirError("structure", f"The value of operation {number} is nested deeper than {DEPTH_MAX} levels.")


def _refuse_malformed_pointer(pointer: Any, what: str) -> None:
    try:
        if not isinstance(pointer, str):
            raise JsonPointerException
        JsonPointer(pointer)
    except JsonPointerException:
        text = f"{what} must be a JSON Pointer, such as /name/0/family; ~0 stands for ~, ~1 for /."
        raise FhirError("structure", text) from None


def _refuse_deep(operation: Json, whole: Any, number: int) -> int:
    """Refuses what would be nested too deeply; returns how many elements the operation moves or copies."""
    moving = operation["op"] in ("move", "copy")
    value = JsonPointer(operation["from"]).resolve(whole, None) if moving else operation.get("value")
    size, depth = _measure(value)
    if len(JsonPointer(operation["path"]).parts) + depth > DEPTH_MAX:
        raise FhirError("processing", f"Operation {number} reaches deeper than {DEPTH_MAX} levels.")
    return size if moving else 0


def _measure(value: Any) -> tuple[int, int]:
    """How many values are in a value, itself included, and how deep they are nested; no more than is needed."""
    size, depth, pending = 0, 0, [(value, 0)]
    while pending and size <= MOVED_MAX and depth <= DEPTH_MAX:
        each, level = pending.pop()
        size, depth = size + 1, max(depth, level)
        children = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        pending.extend((child, level + 1) for child in children)
    return size, depth


def _run(operation: Json, whole: Any, number: int) -> Any:
    op, path = operation["op"], shorten(operation["path"]) or "the whole"
    try:
        return JsonPatch([operation]).apply(whole, in_place=True)
    except JsonPatchTestFailed:
        text = f"Operation {number} (test {path}) failed: the value there is another, or there is none."
    except (JsonPatchException, JsonPointerException):
        source = f" from {shorten(operation['from'])}" if "from" in NEEDED[op] else ""
        text = f"Operation {number} ({op} {path}{source}) cannot be done: {_REASONS[op]}"
    raise FhirError("processing", text)


_REASONS: Mapping[str, str] = {
    "add": "there is no such object or array to add to. To add to an element that is not there yet, add the element.",
    "remove": "there is nothing at this path.",
    "replace": "there is nothing at this path; add it.",
    "move": "there is nothing at `from`, or nothing that `path` could be in.",
    "copy": "there is nothing at `from`, or nothing that `path` could be in.",
}


def _as_resource(patched: Any) -> Json:
    """The result as if it had been sent, so that it is refused for the same reasons."""
    if not isinstance(patched, dict):
        raise FhirError("structure", "The patch leaves no resource: its result is not an object.")
    try:
        return document.parse(document.print({name: kept for name, kept in _kept(patched)}))
    except TypeError:
        text = "A text of the JSON Patch has half a surrogate pair, which is no character."
        raise FhirError("value", text) from None


def _kept(members: Json) -> list[tuple[str, Any]]:
    """The members, at any depth without the empty arrays and objects."""
    pruned = [(name, (_prune_beside if name[:1] == "_" else _prune)(value)) for name, value in members.items()]
    return [(name, value) for name, value in pruned if value not in ([], {})]


def _prune_beside(value: Any) -> Any:
    """The extensions of the primitives of an array keep their places: null stands for none."""
    if not isinstance(value, list):
        return _prune(value)
    items = [_prune(item) or None for item in value]
    return items if any(items) else []


def _prune(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(_kept(value))
    if isinstance(value, list):
        return [item for item in map(_prune, value) if item not in ([], {})]
    return value
