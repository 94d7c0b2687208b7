"""The invariants of R4's data types, as a table (http://hl7.org/fhir/R4/datatypes.html)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite

from fhir_server.outcome import Json

UCUM = "http://unitsofmeasure.org"


@dataclass(frozen=True, slots=True)
class Invariant:
    """`holds` says whether a value of the type keeps it; `element` is where to look ("" is the value)."""

    key: str
    element: str
    text: str
    holds: Callable[[Json], bool]


def _has(value: Json, *elements: str) -> bool:
    return any(value.get(element) is not None or f"_{element}" in value for element in elements)


def _needs(element: str, *others: str) -> Callable[[Json], bool]:
    """That `element` is only there together with each of the others."""
    return lambda value: not _has(value, element) or all(_has(value, other) for other in others)


def _number(value: Json, element: str) -> Decimal | int | float | None:
    number = value.get(element)
    return number if isinstance(number, Decimal | int | float) and isfinite(number) else None


def _not_negative(element: str) -> Callable[[Json], bool]:
    return lambda value: (_number(value, element) or 0) >= 0


def _ucum(value: Json) -> bool:
    return not _has(value, "system") or value.get("system") == UCUM


def _measure(value: Json) -> bool:
    return (_has(value, "code") or not _has(value, "value")) and _ucum(value)


def _count(value: Json) -> bool:
    number = _number(value, "value")
    return _measure(value) and value.get("code") in (None, "1") and (number is None or number == int(number))


def _range(value: Json) -> bool:
    low, high = value.get("low"), value.get("high")
    if not isinstance(low, dict) or not isinstance(high, dict):
        return True
    if any(low.get(element) != high.get(element) for element in ("system", "code", "unit")):
        return True
    least, most = _number(low, "value"), _number(high, "value")
    return least is None or most is None or least <= most


def _simple(*elements: str) -> Callable[[Json], bool]:
    """That the quantities are SimpleQuantities: without comparator."""
    quantities = elements
    return lambda value: (
        not any(
            isinstance(quantity := value.get(element), dict) and _has(quantity, "comparator") for element in quantities
        )
    )


def in_order(start: object, end: object) -> bool:
    """Whether `start` can be at or before `end`, both of any precision, with or without a zone.

    Both are read generously: a shorter one is compared by what it says, and a date beside an instant may be
    in any zone. What cannot be read is in order.
    """
    if not isinstance(start, str) or not isinstance(end, str):
        return True
    if "T" not in start and "T" not in end:
        said = min(len(start), len(end))
        return start[:said] <= end[:said]
    try:
        return _earliest(start) <= _latest(end)
    except (ValueError, OverflowError):
        return True


def _earliest(text: str) -> datetime:
    if "T" in text:
        return datetime.fromisoformat(text).astimezone(UTC)
    return datetime.fromisoformat((text + "-01-01")[:10]).replace(tzinfo=UTC) - timedelta(hours=14)


def _latest(text: str) -> datetime:
    if "T" in text:
        return datetime.fromisoformat(text).astimezone(UTC)
    days = {4: 366, 7: 31}.get(len(text), 1)
    first = datetime.fromisoformat((text + "-01-01")[:10]).replace(tzinfo=UTC)
    return first + timedelta(days=days, hours=12)


def _timed(value: Json) -> bool:
    when = value.get("when")
    meals = {"C", "CM", "CD", "CV"}
    return not _has(value, "offset") or (
        isinstance(when, list) and not any(isinstance(code, str) and code in meals for code in when)
    )


_QUANTITY = Invariant("qty-3", "system", "a quantity with a code needs the system", _needs("code", "system"))

INVARIANTS: Mapping[str, tuple[Invariant, ...]] = {
    "Period": (
        Invariant(
            "per-1",
            "",
            "start must not be after end",
            lambda value: in_order(value.get("start"), value.get("end")),
        ),
    ),
    "ContactPoint": (Invariant("cpt-2", "system", "a contact with a value needs a system", _needs("value", "system")),),
    "Attachment": (Invariant("att-1", "contentType", "data needs a contentType", _needs("data", "contentType")),),
    "Quantity": (_QUANTITY,),
    "Age": (
        _QUANTITY,
        Invariant(
            "age-1",
            "",
            "an age needs a positive value with a UCUM code",
            lambda value: _measure(value) and (_number(value, "value") or 1) > 0,
        ),
    ),
    "Count": (_QUANTITY, Invariant("cnt-3", "", "a count is a whole number with the UCUM code 1", _count)),
    "Distance": (_QUANTITY, Invariant("dis-1", "", "a distance needs a UCUM code", _measure)),
    "Duration": (
        _QUANTITY,
        Invariant(
            "drt-1",
            "",
            "a code needs a value and the system of UCUM",
            lambda value: not _has(value, "code") or (value.get("system") == UCUM and _has(value, "value")),
        ),
    ),
    "Range": (
        Invariant("rng-2", "", "low must not be more than high", _range),
        Invariant("sqty-1", "", "low and high must not have a comparator", _simple("low", "high")),
    ),
    "Ratio": (
        Invariant(
            "rat-1",
            "",
            "numerator and denominator must be given both, or neither and an extension",
            lambda value: (
                _has(value, "numerator") == _has(value, "denominator") and _has(value, "numerator", "extension")
            ),
        ),
    ),
    "SampledData": (Invariant("sqty-1", "origin", "origin must not have a comparator", _simple("origin")),),
    "Expression": (
        Invariant(
            "exp-1",
            "",
            "an expression or a reference must be given",
            lambda value: _has(value, "expression", "reference"),
        ),
    ),
    "TimingRepeat": (
        Invariant("tim-1", "durationUnit", "a duration needs its unit", _needs("duration", "durationUnit")),
        Invariant("tim-2", "periodUnit", "a period needs its unit", _needs("period", "periodUnit")),
        Invariant("tim-4", "duration", "duration must not be negative", _not_negative("duration")),
        Invariant("tim-5", "period", "period must not be negative", _not_negative("period")),
        Invariant("tim-6", "periodMax", "periodMax needs a period", _needs("periodMax", "period")),
        Invariant("tim-7", "durationMax", "durationMax needs a duration", _needs("durationMax", "duration")),
        Invariant("tim-8", "countMax", "countMax needs a count", _needs("countMax", "count")),
        Invariant("tim-9", "offset", "offset needs a when that is not C, CM, CD or CV", _timed),
        Invariant(
            "tim-10",
            "timeOfDay",
            "timeOfDay and when exclude one another",
            lambda value: not (_has(value, "timeOfDay") and _has(value, "when")),
        ),
    ),
    "Extension": (
        Invariant(
            "ext-1",
            "",
            "an extension must have either a value or extensions",
            lambda value: _has(value, "extension") != any(name.lstrip("_").startswith("value") for name in value),
        ),
    ),
}
