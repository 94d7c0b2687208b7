"""Locations by distance (http://hl7.org/fhir/R4/location.html#positional).

The index of a position is {y, x, p}: latitude, longitude, and both as a text. What is near lies in a box first and
within the distance on the great circle then, so it is a step: the positions in the box are sought.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import asin, cos, degrees, isfinite, pi, radians, sin, sqrt
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.plan import Sought
from fhir_server.search.filters import Filter, disjoin, one_of
from fhir_server.search.number import NUMBER
from fhir_server.search.parameters import Frame, Scalar, bad_value, place
from fhir_server.search.step import Step
from fhir_server.search.text import split, unescape

MODIFIERS: tuple[str, ...] = ()

EARTH_RADIUS_KM = 6371.0088
"""The mean radius."""

DISTANCE_KM_DEFAULT = 50.0

KILOMETRES: Mapping[str, float] = {"km": 1.0, "m": 0.001, "[mi_us]": 1.609347218694438, "[mi_i]": 1.609344}
"""The units of distance, of UCUM."""

LEEWAY_DEGREES = 1e-6
"""By how much a box is larger than it must be, so that rounding leaves nobody out."""


def extract(_: SearchParameter, values: Sequence[Any], __: Frame) -> tuple[Any, list[Scalar]]:
    """The position; one without both coordinates is none."""
    for value in values:
        if value.get("latitude") is not None and value.get("longitude") is not None:
            latitude, longitude = float(value["latitude"]), float(value["longitude"])
            return {"y": latitude, "x": longitude, "p": f"{latitude}|{longitude}"}, []
    return None, []


def compile(parameter: SearchParameter, _: str, values: Sequence[str], __: Frame, ___: datetime) -> Filter:
    """The filter for any of the values: `latitude|longitude`, `|distance` and `|units` after it if they are said."""
    return disjoin([_around(parameter, value) for value in values])


def distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The distance on the great circle between two positions, each its latitude and longitude in degrees."""
    (south, west), (north, east) = (tuple(map(radians, each)) for each in (one, other))
    chord = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin((east - west) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))


def _around(parameter: SearchParameter, value: str) -> Filter:
    latitude, longitude, distance = _read(parameter, value)
    path = place(parameter)
    boxes = [
        {f"{path}.y": {"$gte": south, "$lte": north}, f"{path}.x": {"$gte": west, "$lte": east}}
        for south, north, west, east in _boxes(latitude, longitude, distance)
    ]

    def answer(found: Sequence[Sequence[str]]) -> Any:
        positions = ((text, text.split("|")) for text in sorted({text for texts in found for text in texts}))
        return one_of(
            [text for text, (y, x) in positions if distance_km((latitude, longitude), (float(y), float(x))) <= distance]
        )

    return {f"{path}.p": Step(tuple(Sought("Location", box, f"{path}.p") for box in boxes), answer)}


def _read(parameter: SearchParameter, value: str) -> tuple[float, float, float]:
    """Latitude, longitude and the distance in km."""
    texts = [unescape(part) for part in split(value, "|")]
    latitude, longitude, distance, units = (*texts, "", "")[:4] if 2 <= len(texts) <= 4 else ("",) * 4
    numbers = [_number(text) for text in (latitude, longitude, distance or "0")]
    if (
        None in numbers
        or (units and units not in KILOMETRES)
        or abs(numbers[0] or 0) > 90
        or abs(numbers[1] or 0) > 180
    ):
        right = f"'latitude|longitude|distance|units' in degrees, the units one of {', '.join(KILOMETRES)}"
        raise bad_value(parameter, value, right)
    north, east, far = (number or 0.0 for number in numbers)
    if far < 0:
        raise bad_value(parameter, value, "a distance of 0 or more")
    return north, east, far * KILOMETRES[units or "km"] if distance else DISTANCE_KM_DEFAULT


def _number(text: str) -> float | None:
    found = NUMBER.fullmatch(text)
    number = float(found[2]) if found and not found[1] else None
    return number if number is not None and isfinite(number) else None


def _boxes(latitude: float, longitude: float, distance: float) -> Iterator[tuple[float, float, float, float]]:
    """South, north, west and east of what holds the whole circle: two boxes where it crosses the date line, all
    longitudes where it reaches a pole."""
    angle = distance / EARTH_RADIUS_KM
    reach = degrees(min(angle, pi)) + LEEWAY_DEGREES
    south, north = latitude - reach, latitude + reach
    if south <= -90 or north >= 90:
        yield max(south, -90.0), min(north, 90.0), -180.0, 180.0
        return
    width = degrees(asin(min(1.0, sin(angle) / cos(radians(latitude))))) + LEEWAY_DEGREES
    west, east = longitude - width, longitude + width
    yield south, north, max(west, -180.0), min(east, 180.0)
    if west < -180:
        yield south, north, west + 360, 180.0
    if east > 180:
        yield south, north, -180.0, east - 360
