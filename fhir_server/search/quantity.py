"""Quantity parameters (http://hl7.org/fhir/R4/search.html#quantity).

The index of a quantity is a list of {v, u}: its number, and the texts of its unit as of a token, where `*|`
finds both its code and its unit as written. Units are not converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.search.filters import Filter, some_element
from fhir_server.search.number import compare
from fhir_server.search.parameters import Frame, Scalar, bad_value, place
from fhir_server.search.text import split, unescape
from fhir_server.search.token import spellings

MODIFIERS: tuple[str, ...] = ()


def extract(_: SearchParameter, values: Sequence[Any], __: Frame) -> tuple[list[Any], list[Scalar]]:
    """The quantities that have a number, and their numbers to sort by."""
    found = [value for value in values if value.get("value") is not None]
    return [{"v": float(value["value"]), "u": _units(value)} for value in found], [
        float(value["value"]) for value in found
    ]


def compile(parameter: SearchParameter, _: str, values: Sequence[str], __: Frame, ___: datetime) -> Filter:
    """The filter for any of the values: `number`, `number|system|code` or `number||unit`."""
    return some_element(place(parameter), [_sought(parameter, value) for value in values])


def _units(value: Any) -> list[str]:
    keys = [*spellings(value.get("system"), value.get("code", "")), *spellings(None, value.get("unit", ""))]
    return [key for key in dict.fromkeys(keys) if not key.startswith("|")]


def _sought(parameter: SearchParameter, value: str) -> Filter:
    number, *unit = (unescape(part) for part in split(value, "|"))
    if len(unit) not in (0, 2):
        raise bad_value(parameter, value, "'number', 'number|system|code' or 'number||unit'")
    condition = compare(parameter, number)
    if any(unit):
        condition["u"] = f"{unit[0] or '*'}|{unit[1]}"
    return condition
