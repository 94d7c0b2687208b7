"""Quantity parameters (http://hl7.org/fhir/R4/search.html#quantity).

The index of a quantity or a range is a list of {l, h, u}: the numbers it can be, and the texts of its unit as of a
token, where `*|` finds both its code and its unit as written. A quantity with a comparator is a range without end: `<5`
is whatever is less than 5. A time in units of UCUM has {s: {l, h}} besides, in seconds, and is found by any unit of
time; other units are not converted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import inf, nextafter
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.outcome import Json
from fhir_server.search.filters import Filter, beneath, some_element
from fhir_server.search.number import ONE, compare
from fhir_server.search.parameters import Frame, Scalar, bad_value, place
from fhir_server.search.text import split, unescape
from fhir_server.search.token import spellings

MODIFIERS: tuple[str, ...] = ()

UCUM = "http://unitsofmeasure.org"

SECONDS: Mapping[str, Decimal] = {
    "ms": Decimal("0.001"),
    "s": ONE,
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
    "wk": Decimal(604_800),
    "mo": Decimal(2_629_800),
    "a": Decimal(31_557_600),
}
"""The units of time of UCUM in seconds; its month is a twelfth of its year, which has 365.25 days."""

GREATEST = nextafter(inf, 0)
"""Stands for no end: every number that is stored is at most this."""


def extract(_: SearchParameter, values: Sequence[Any], __: Frame) -> tuple[list[Any], list[Scalar]]:
    """The quantities that have a number, and their numbers to sort by: times in seconds."""
    found = [bounds for value in values if (bounds := _bounds(value))]
    numbers = [Decimal(str(one["value"])) * _seconds(one.get("system"), one.get("code"), ONE) for one, _ in found]
    return [_entry(*bounds) for bounds in found], [float(number) for number in numbers]


def compile(parameter: SearchParameter, _: str, values: Sequence[str], __: Frame, ___: datetime) -> Filter:
    """The filter for any of the values: `number`, `number|system|code` or `number||unit`."""
    return some_element(place(parameter), [_sought(parameter, value) for value in values])


def _seconds(system: str | None, code: str | None, otherwise: Decimal) -> Decimal:
    return SECONDS.get(code or "", otherwise) if system == UCUM else otherwise


def _bounds(value: Any) -> tuple[Json, Json] | None:
    """The first and the last of the quantities that it can be; None if it has no number. A range may be open."""
    if value.get("value") is not None:
        return value, value
    low, high = ({} if value.get(end, {}).get("value") is None else value[end] for end in ("low", "high"))
    if not (low or high):
        return None
    return low or {**high, "comparator": "<="}, high or {**low, "comparator": ">="}


def _entry(first: Json, last: Json) -> Filter:
    entry = {**_between(first, last, ONE, ONE), "u": list(dict.fromkeys([*_units(first), *_units(last)]))}
    factors = [_seconds(one.get("system"), one.get("code"), Decimal(0)) for one in (first, last)]
    if all(factors):
        entry["s"] = _between(first, last, *factors)
    return entry


def _between(first: Json, last: Json, *factors: Decimal) -> Filter:
    """From the least that the first can be to the most that the last can be."""
    low, high = (
        _range(Decimal(str(one["value"])) * factor, one.get("comparator", ""))
        for one, factor in zip((first, last), factors, strict=True)
    )
    return {"l": low["l"], "h": high["h"]}


def _range(number: Decimal, comparator: str) -> Filter:
    """The numbers that a number with a comparator can be."""
    exact = min(max(float(number), -GREATEST), GREATEST)
    match comparator:
        case "<":
            return {"l": -GREATEST, "h": nextafter(exact, -inf)}
        case "<=":
            return {"l": -GREATEST, "h": exact}
        case ">":
            return {"l": nextafter(exact, inf), "h": GREATEST}
        case ">=":
            return {"l": exact, "h": GREATEST}
    return {"l": exact, "h": exact}


def _units(value: Any) -> list[str]:
    keys = [*spellings(value.get("system"), value.get("code", "")), *spellings(None, value.get("unit", ""))]
    return [key for key in dict.fromkeys(keys) if not key.startswith("|")]


def _sought(parameter: SearchParameter, value: str) -> Filter:
    number, *unit = (unescape(part) for part in split(value, "|"))
    if len(unit) not in (0, 2):
        raise bad_value(parameter, value, "'number', 'number|system|code' or 'number||unit'")
    if not any(unit):
        return compare(parameter, number)
    if factor := _seconds(unit[0], unit[1], Decimal(0)):
        return beneath("s", compare(parameter, number, factor))
    return {**compare(parameter, number), "u": f"{unit[0] or '*'}|{unit[1]}"}
