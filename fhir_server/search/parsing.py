"""Query pairs → Query. What is unknown is ignored and named, unless the client asks to be strict
(http://hl7.org/fhir/R4/search.html#errors, conformance/decisions/0006-unknown-search-parameters.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import cast, get_args

from fhir_server.definitions import ResourceDefinition, SearchParameter
from fhir_server.outcome import FhirError, Issue
from fhir_server.search.filters import Filter, conjoin
from fhir_server.search.indexing import sort_path
from fhir_server.search.kinds import KINDS
from fhir_server.search.page import CURSOR, bind, read_cursor
from fhir_server.search.parameters import Frame, parameters, place, supported
from fhir_server.search.query import Pairs, Query, Sort, Total
from fhir_server.search.text import split

RESULT = ("_sort", "_count", "_total", CURSOR, "_format", "_pretty")
"""Parameters about the answer, each at most once; the last two are the business of whoever writes it."""

PARAMETERS_MAX = 100
VALUES_MAX = 100
VALUE_LENGTH_MAX = 1000
SORT_KEYS_MAX = 8

Known = Mapping[str, SearchParameter]


def parse(
    row: ResourceDefinition,
    pairs: Sequence[tuple[str, str]],
    *,
    now: datetime,
    zone: tzinfo,
    base: str,
    strict: bool,
    count_default: int = 50,
    count_max: int = 1000,
) -> Query:
    """The search that decoded query pairs ask for; every refusal is a 400, and all bad conditions are listed.

    Pairs without a value are dropped. `_count` beyond `count_max` is that. `zone` is the one of dates that
    name none; `base` our own base URL; `strict` refuses unknown parameters instead of ignoring them.
    """
    if len(pairs) > PARAMETERS_MAX:
        raise _too_costly(f"A search has at most {PARAMETERS_MAX} parameters, not {len(pairs)}.")
    known = {each.code: each for each in parameters(row) if supported(each)}
    given = [(name, value) for name, value in pairs if value.strip(", ")]
    results = _results(given)
    searched = [pair for pair in given if _is_known(pair[0], known)]
    sort, sort_text, unsorted = _sort(results.get("_sort", ""), known)
    unknown = [name for name, _ in given if name not in RESULT and not _is_known(name, known)]
    ignored = list(dict.fromkeys(unknown + unsorted))
    if strict and ignored:
        raise FhirError.of([_unknown(row.type, name, known, "error") for name in ignored], status=400)
    conditions = _conditions(searched, known, Frame(zone, base), now)
    count = min(_count(results.get("_count", str(count_default))), count_max)
    binding = bind(row.type, sort, tuple(searched))
    mark = results.get(CURSOR)
    return Query(
        type=row.type,
        filter=conjoin(*conditions),
        sort=sort,
        count=count,
        total=_total(results.get("_total", "accurate")),
        cursor=read_cursor(mark, binding, sort) if mark else None,
        used=_used(given, ignored, {"_sort": sort_text, "_count": str(count)}),
        ignored=tuple(ignored),
        binding=binding,
    )


def warnings(row: ResourceDefinition, query: Query) -> tuple[Issue, ...]:
    """One warning per parameter that was ignored, for an outcome entry of the Bundle."""
    known = {each.code: each for each in parameters(row) if supported(each)}
    return tuple(_unknown(row.type, name, known, "warning") for name in query.ignored)


def _results(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    results: dict[str, str] = {}
    for name, value in given:
        code, _, modifier = name.partition(":")
        if code == "_query":
            raise FhirError("not-supported", "There are no named queries here: leave '_query' out.", status=400)
        if code in RESULT and modifier:
            raise FhirError("not-supported", f"'{code}' has no modifiers, so not ':{modifier}'.", status=400)
        if code in results:
            raise FhirError("value", f"'{code}' can be given once only.", status=400)
        if code in RESULT:
            results[code] = value
    return results


def _is_known(name: str, known: Known) -> bool:
    code, _, modifier = name.partition(":")
    return code in known and "." not in modifier


def _conditions(searched: Sequence[tuple[str, str]], known: Known, frame: Frame, now: datetime) -> list[Filter]:
    conditions: list[Filter] = []
    problems: list[Issue] = []
    for name, value in searched:
        code, _, modifier = name.partition(":")
        try:
            conditions.append(_condition(known[code], modifier, value, frame, now))
        except FhirError as refused:
            problems.extend(refused.issues)
    if problems:
        raise FhirError.of(problems, status=400)
    return conditions


def _condition(parameter: SearchParameter, modifier: str, value: str, frame: Frame, now: datetime) -> Filter:
    kind = KINDS[parameter.type]
    values = [each for each in split(value, ",") if each]
    _limit(parameter.code, values)
    if modifier == "missing":
        if value not in ("true", "false"):
            raise FhirError("value", f"'{parameter.code}:missing' is 'true' or 'false'.", status=400)
        return {place(parameter): {"$exists": value == "false"}}
    of_type = "[type]" in kind.modifiers and modifier[:1].isupper()
    if modifier and not of_type and modifier not in kind.modifiers:
        working = ", ".join(f":{each}" for each in ("missing", *kind.modifiers))
        raise FhirError(
            "not-supported",
            f"Search parameter '{parameter.code}' has no modifier ':{modifier}' here. What works: {working}.",
            status=400,
        )
    return kind.compile(parameter, modifier, values, frame, now)


def _limit(code: str, values: Sequence[str]) -> None:
    if len(values) > VALUES_MAX:
        raise _too_costly(f"'{code}' lists at most {VALUES_MAX} values, not {len(values)}.")
    if any(len(value) > VALUE_LENGTH_MAX for value in values):
        raise _too_costly(f"A value of '{code}' has at most {VALUE_LENGTH_MAX} characters.")
    if any("\ud800" <= character <= "\udfff" for value in values for character in value):
        raise FhirError("value", f"A value of '{code}' is no Unicode text.", status=400)


def _sort(text: str, known: Known) -> tuple[Sort, str, list[str]]:
    """The sort, the part of `_sort` that it comes from, and the keys that are unknown."""
    keys = [key.strip() for key in text.split(",") if key.strip()]
    if len(keys) > SORT_KEYS_MAX:
        raise _too_costly(f"'_sort' has at most {SORT_KEYS_MAX} keys, not {len(keys)}.")
    paths: dict[str, int] = {}
    used: list[str] = []
    for key in keys:
        code, direction = key.removeprefix("-"), -1 if key.startswith("-") else 1
        if code in known:
            paths.setdefault(sort_path(known[code], direction), direction)
            used.append(key)
    paths.setdefault("_id", 1)
    ordered = tuple(paths.items())
    last = list(paths).index("_id")
    unknown = [f"_sort={key}" for key in keys if key not in used]
    return ordered[: last + 1], ",".join(used), unknown


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise FhirError("value", f"'_count' is a number from 0 on, not '{text}'.", status=400)
    return int(text)


def _total(text: str) -> Total:
    if text not in get_args(Total):
        raise FhirError("value", f"'_total' is one of {', '.join(get_args(Total))}, not '{text}'.", status=400)
    return cast(Total, text)


def _used(given: Sequence[tuple[str, str]], ignored: Sequence[str], actual: Mapping[str, str]) -> Pairs:
    """The pairs that were not ignored, with what was made of `_sort` and `_count`; `_count` is always
    said."""
    pairs = [(name, actual.get(name, value)) for name, value in given if name not in ignored]
    if "_count" not in dict(pairs):
        pairs.append(("_count", actual["_count"]))
    return tuple((name, value) for name, value in pairs if value)


def _unknown(type: str, name: str, known: Known, severity: str) -> Issue:
    return Issue(
        "not-supported",
        f"'{name}' cannot be searched or sorted by on {type}"
        + (" and was ignored." if severity == "warning" else ".")
        + f" What works: {', '.join(sorted(known))}.",
        severity=severity,
    )


def _too_costly(text: str) -> FhirError:
    return FhirError("too-costly", text, status=400)
