"""FHIR's JSON, strictly read and printed as it was sent (http://hl7.org/fhir/R4/json.html)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from fhir_server.outcome import FhirError, Json

DEPTH_MAX = 64
"""Objects and arrays inside one another, the resource itself included."""

ELEMENTS_MAX = 500_000
"""Commas, objects and arrays of one document, since reading takes time and memory by their number. A Bundle of ten
megabytes has some 300,000."""

DIGITS_MAX = 34
EXPONENT_MIN, EXPONENT_MAX = -6176, 6111
"""The decimals that Decimal128 holds digit by digit."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}")
_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def parse(body: bytes) -> Json:
    """The object that `body` spells, decimals as `Decimal` with every digit.

    Refused with 400: what is not UTF-8 (a byte order mark is skipped), not JSON, not an object; a repeated
    name; null outside an array; an empty string, array or object; NaN and Infinity; more than `DIGITS_MAX`
    digits; characters that FHIR's strings exclude; nesting deeper than `DEPTH_MAX`. With 413: more than
    `ELEMENTS_MAX`.
    """
    if sum(body.count(sign) for sign in (b",", b"{", b"[")) > ELEMENTS_MAX:
        raise FhirError("too-long", f"more than {ELEMENTS_MAX} elements in one document")
    repeated: list[tuple[Json, str]] = []

    def gather(pairs: list[tuple[str, Any]]) -> Json:
        members = dict(pairs)
        if len(members) != len(pairs):
            repeated.append(
                (members, next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1))
            )
        return members

    try:
        document = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=gather,
            parse_float=_number,
            parse_int=_number,
            parse_constant=lambda name: _Refused("structure", f"{name} is not JSON"),
        )
    except UnicodeDecodeError as error:
        raise FhirError("structure", f"JSON must be UTF-8; byte {error.start} is not") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise FhirError("structure", f"not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise FhirError("structure", TOO_DEEP, "Resource") from None
    if not isinstance(document, dict):
        patch = "; a JSON Patch is sent as application/json-patch+json" if isinstance(document, list) else ""
        raise FhirError("structure", f"the JSON must be an object with a resourceType{patch}", "Resource")
    type = document.get("resourceType")
    root = type if isinstance(type, str) and _TYPE.fullmatch(type) else "Resource"
    _refuse_malformed(document, root, {id(members): name for members, name in repeated})
    return document


def print(resource: Json, pretty: bool = False) -> bytes:
    """The JSON of a resource in UTF-8: elements in their order, decimals digit by digit."""
    return orjson.dumps(resource, default=_spell, option=orjson.OPT_INDENT_2 if pretty else None)


TOO_DEEP = f"nested deeper than {DEPTH_MAX} levels"


@dataclass(frozen=True, slots=True)
class _Refused:
    """Stands where a number cannot, until the walk knows the path."""

    code: str
    text: str


def _number(spelled: str) -> int | Decimal | _Refused:
    """An int if that says it all, else a Decimal; nothing that could not be stored digit by digit."""
    if len(spelled) < 19 and spelled.lstrip("-").isdigit() and spelled != "-0":
        return int(spelled)
    digits = spelled.lower().partition("e")[0].lstrip("-").replace(".", "").lstrip("0")
    if len(digits) > DIGITS_MAX:
        return _Refused("value", f"the number has more than {DIGITS_MAX} digits")
    try:
        value = Decimal(spelled)
        exponent = value.as_tuple().exponent
    except InvalidOperation:
        exponent = "n"
    if not isinstance(exponent, int) or not EXPONENT_MIN <= exponent <= EXPONENT_MAX:
        return _Refused("value", f"the number's exponent is not from {EXPONENT_MIN} to {EXPONENT_MAX}")
    if str(value) == spelled and INTEGER_MIN <= value <= INTEGER_MAX and exponent == 0 and value:
        return int(value)
    return value


def read_number(spelled: str, path: str) -> int | Decimal:
    """The number as `parse` reads it, of an element at `path`; `spelled` must be a number of JSON."""
    number = _number(spelled)
    if isinstance(number, _Refused):
        raise FhirError(number.code, number.text, path)
    return number


def _refuse_malformed(document: Json, root: str, repeated: dict[int, str]) -> None:
    """Walk everything once, in order, without recursion; `repeated` has names of members by object id."""
    pending: list[tuple[Any, str, int]] = [(document, root, 1)]
    while pending:
        value, path, depth = pending.pop()
        if isinstance(value, _Refused):
            raise FhirError(value.code, value.text, path)
        if isinstance(value, str):
            if not value or _UNPRINTABLE.search(value):
                raise FhirError("value", _text_of_bad_string(value), path)
        elif isinstance(value, dict | list):
            if not value:
                raise FhirError("structure", "empty arrays and objects must be left out", path)
            if depth > DEPTH_MAX:
                raise FhirError("structure", TOO_DEEP, root)
            if id(value) in repeated:
                raise FhirError("structure", "a name is repeated", _child(path, repeated[id(value)]))
            children = [(child, where, depth + 1) for child, where in _children(value, path)]
            pending.extend(reversed(children))


def _children(value: Json | list[Any], path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, dict):
        for name, child in value.items():
            where = _child(path, name)
            if child is None:
                raise FhirError("structure", "null is only for gaps in arrays of primitive values", where)
            if _UNPRINTABLE.search(name):
                raise FhirError("structure", "a name has a character that JSON in FHIR excludes", where)
            yield child, where
        return
    if all(child is None for child in value):
        raise FhirError("structure", "an array must not consist of null", path)
    yield from ((child, f"{path}[{index}]") for index, child in enumerate(value))


def _child(path: str, name: str) -> str:
    """The expression of a member; names that are no element names are not repeated to the client."""
    return f"{path}.{name}" if _ELEMENT.fullmatch(name) else path


def _text_of_bad_string(value: str) -> str:
    if not value:
        return "an empty string must be left out"
    return "the text has half a surrogate pair, or a control character that ends no line and is no tab"


def _spell(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} is not JSON")
