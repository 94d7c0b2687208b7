"""The grammar of R4's primitive types (http://hl7.org/fhir/R4/datatypes.html#primitive)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite

STRING_MAX = 1024 * 1024
"""Characters of a string."""

_INTEGER_MIN, _INTEGER_MAX = -(2**31), 2**31 - 1

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")

_YEAR, _MONTH, _DAY = r"(?!0000)[0-9]{4}", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DATE = re.compile(rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY})?)?", re.ASCII)
_DATE_TIME = re.compile(rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY}(?:T{_CLOCK}{_ZONE})?)?)?", re.ASCII)
_INSTANT = re.compile(rf"{_YEAR}-{_MONTH}-{_DAY}T{_CLOCK}{_ZONE}", re.ASCII)


def _spelled(pattern: str) -> Callable[[object], bool]:
    matches = re.compile(pattern).fullmatch
    return lambda value: isinstance(value, str) and matches(value) is not None and not _CONTROL.search(value)


def _text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= STRING_MAX and not _CONTROL.search(value)


def _within(low: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= _INTEGER_MAX


def _decimal(value: object) -> bool:
    if type(value) is float:
        return isfinite(value)
    return type(value) is int or (isinstance(value, Decimal) and value.is_finite())


def _base64(value: object) -> bool:
    if not isinstance(value, str):
        return False
    letters = re.sub(r"[ \t\r\n]+", "", value)
    return letters != "" and len(letters) % 4 == 0 and re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", letters) is not None


def _calendar(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    """Whether a value has the pattern and is a day, or an instant, that exists within the years 1 to 9999."""

    def exists(value: object) -> bool:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            return False
        try:
            if "T" in value:
                datetime.fromisoformat(value).astimezone(UTC)
            elif len(value) == 10:
                date.fromisoformat(value)
        except (ValueError, OverflowError):
            return False
        return True

    return exists


_NO_LEAP_SECOND = ", as 2026-03-02T09:00:00Z; seconds go up to 59"

GRAMMAR: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "boolean": (lambda value: value is True or value is False, "true or false, without quotes"),
    "integer": (_within(_INTEGER_MIN), "a whole number of 32 bits, without quotes"),
    "unsignedInt": (_within(0), "a whole number from 0 to 2147483647, without quotes"),
    "positiveInt": (_within(1), "a whole number from 1 to 2147483647, without quotes"),
    "decimal": (_decimal, "a number, without quotes"),
    "string": (_text, "a text of 1 to 1048576 characters, without control characters"),
    "markdown": (_text, "a text of 1 to 1048576 characters, without control characters"),
    "xhtml": (_text, "XHTML in a string"),
    "code": (_spelled(r"\S+(?: \S+)*"), "a code: no blanks around it, single blanks inside"),
    "id": (_spelled(r"[A-Za-z0-9\-.]{1,64}"), "an id: 1 to 64 letters A-Z a-z, digits, '-' and '.'"),
    "uri": (_spelled(r"\S+"), "a URI, without blanks"),
    "url": (_spelled(r"\S+"), "a URL, without blanks"),
    "canonical": (_spelled(r"\S+"), "a canonical URL, without blanks"),
    "oid": (_spelled(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+"), "an OID as in urn:oid:1.2.3"),
    "uuid": (
        _spelled(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
        "a UUID as in urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
    ),
    "base64Binary": (_base64, "base64 (RFC 4648)"),
    "date": (_calendar(_DATE), "a date: YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": (
        _calendar(_DATE_TIME),
        f"a dateTime: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with a zone{_NO_LEAP_SECOND}",
    ),
    "instant": (_calendar(_INSTANT), f"an instant: YYYY-MM-DDThh:mm:ss with a zone{_NO_LEAP_SECOND}"),
    "time": (_spelled(_CLOCK), "a time: hh:mm:ss from 00:00:00 to 23:59:59, without a zone"),
}
"""Type name → whether a value is one, and what would be right. R4's grammar allows a leap second; a server
that compares instants cannot keep one, so it is refused rather than moved."""
