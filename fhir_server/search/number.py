"""Number parameters (http://hl7.org/fhir/R4/search.html#number).

The index of a number is a list of {l, h}: the lowest and the highest number that it can be, which differ only for a
quantity with a comparator. What is searched for stands for the numbers that round to it: 100 is [99.5, 100.5); with an
ordering prefix it is exactly itself.

    T             [====]
    eq          [========)
    gt                |=====>     ge: the same, and the number itself
    lt        <=====|             le: the same, and the number itself
    sa         |====>
    eb                  <=====|
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.search.filters import Filter, some_element
from fhir_server.search.parameters import Frame, Scalar, bad_value, place
from fhir_server.search.text import unescape

MODIFIERS: tuple[str, ...] = ()

NUMBER = re.compile(r"(eq|ne|gt|ge|lt|le|sa|eb|ap)?([+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?)", re.ASCII)

ONE = Decimal(1)

COMPARISONS: Mapping[str, Callable[[float, float, float], Filter]] = {
    "eq": lambda low, _, high: {"l": {"$gte": low}, "h": {"$lt": high}},
    "ne": lambda low, _, high: {"$or": [{"l": {"$lt": low}}, {"h": {"$gte": high}}]},
    "gt": lambda _, number, __: {"h": {"$gt": number}},
    "ge": lambda _, number, __: {"h": {"$gte": number}},
    "lt": lambda _, number, __: {"l": {"$lt": number}},
    "le": lambda _, number, __: {"l": {"$lte": number}},
    "sa": lambda _, number, __: {"l": {"$gt": number}},
    "eb": lambda _, number, __: {"h": {"$lt": number}},
    "ap": lambda low, _, high: {"l": {"$lte": high}, "h": {"$gte": low}},
}


def extract(_: SearchParameter, values: Sequence[Any], __: Frame) -> tuple[list[Any], list[Scalar]]:
    """The numbers, and the same to sort by."""
    numbers = [float(value) for value in values]
    return [{"l": number, "h": number} for number in numbers], list(numbers)


def compile(parameter: SearchParameter, _: str, values: Sequence[str], __: Frame, ___: datetime) -> Filter:
    """The filter for any of the values; 400 for what is no number."""
    conditions = [compare(parameter, unescape(value)) for value in values]
    return some_element(place(parameter), conditions)


def compare(parameter: SearchParameter, value: str, unit: Decimal = ONE) -> Filter:
    """The condition on `l` and `h` that a number of these units, with or without a prefix, stands for; `ap` is within a
    tenth."""
    found = NUMBER.fullmatch(value)
    if found is None or not isfinite(float(found[2])):
        raise bad_value(parameter, value, "a number like 5.40, with or without a prefix (ge5.40)")
    prefix, number = found[1] or "eq", Decimal(found[2])
    exponent = number.as_tuple().exponent
    margin = Decimal(5).scaleb(exponent - 1 if isinstance(exponent, int) else 0)
    if prefix == "ap":
        margin = max(margin, abs(number) / 10)
    return COMPARISONS[prefix](*(float(each * unit) for each in (number - margin, number, number + margin)))
