"""Query pairs → Query. What is unknown is ignored and named, unless the client asks to be strict
(http://hl7.org/fhir/R4/search.html#errors, conformance/decisions/0006-unknown-search-parameters.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast, get_args

from fhir_server.definitions import PROTOCOL, SearchParameter
from fhir_server.outcome import FhirError, Issue
from fhir_server.search.conditions import Unknown, condition, limited, too_costly
from fhir_server.search.filtering import filter_by
from fhir_server.search.filters import Filter, conjoin
from fhir_server.search.indexing import sort_path
from fhir_server.search.page import bind
from fhir_server.search.parameters import known, sortable
from fhir_server.search.query import Pairs, Query, Sort, Total
from fhir_server.search.scope import Scope

ONCE = ("_sort", "_count", "_total", *PROTOCOL)
"""Parameters about the answer, each at most once; those of the protocol are the business of whoever writes it."""

RESULTS = frozenset({"_include", "_revinclude", "_summary", "_elements", "_type", "_contained"})
"""Parameters about the answer that `results` reads; they are passed through."""

REFUSED: Mapping[str, str] = {
    "_query": "There are no named queries here",
    "_text": "The narrative is not searched",
    "_content": "The whole of a resource is not searched as a text",
    "_list": "There are no Lists here",
    "_containedType": "Contained resources are found with the resource that they are in",
}
"""Parameters of R4 that would change what is found, so that they cannot be ignored, and why they do not work."""

PARAMETERS_MAX = 100
SORT_KEYS_MAX = 8


def parse(scope: Scope, type: str, pairs: Sequence[tuple[str, str]]) -> Query:
    """The search of a type that decoded query pairs ask for; every refusal is a 400, and all bad conditions are listed.

    It is of the first page (`page.turn`), and its filter is to be resolved before it is run (`resolve`). Pairs without
    a value are dropped. Parameters about the answer that have nothing to do with the order or the size of a page are
    left to `results`.
    """
    said = sum(name != "_count" for name, _ in pairs)
    if said > PARAMETERS_MAX:
        raise too_costly(f"A search has at most {PARAMETERS_MAX} parameters beside '_count', not {said}.")
    given = [(name, value) for name, value in pairs if value.strip(", ")]
    results = _results(given)
    conditions = _conditions(scope, type, [pair for pair in given if not _is_result(pair[0])])
    sort, sort_text, unsorted = _sort(results.get("_sort", ""), known(scope.rows[type]))
    unknown = {name: found for (name, _), found in conditions if isinstance(found, Unknown)} | {
        f"_sort={key}": Unknown(f"{type} has no search parameter '{key.removeprefix('-')}' to sort by.")
        for key in unsorted
    }
    if scope.strict and unknown:
        raise FhirError.of([_issue(name, each, "error") for name, each in unknown.items()], status=400)
    searched = tuple(pair for pair, found in conditions if not isinstance(found, Unknown))
    count = min(_count(results.get("_count", str(scope.count_default))), scope.count_max)
    return Query(
        type=type,
        filter=limited(conjoin(*(found for _, found in conditions if not isinstance(found, Unknown)))),
        sort=sort,
        count=count,
        total=_total(results.get("_total", "accurate")),
        cursor=None,
        used=_used(given, unknown, {"_sort": sort_text, "_count": str(count)}),
        ignored=tuple(unknown),
        notes=tuple(_issue(name, each, "warning") for name, each in unknown.items()),
        binding=bind(type, sort, searched),
    )


def _conditions(
    scope: Scope, type: str, given: Sequence[tuple[str, str]]
) -> list[tuple[tuple[str, str], Filter | Unknown]]:
    """Each pair with its filter; those that are refused are refused together."""
    conditions: list[tuple[tuple[str, str], Filter | Unknown]] = []
    problems: list[Issue] = []
    for name, value in given:
        try:
            conditions.append(((name, value), _condition(scope, type, name, value)))
        except FhirError as refused:
            problems.extend(refused.issues)
    if problems:
        raise FhirError.of(problems, status=400)
    return conditions


def _condition(scope: Scope, type: str, name: str, value: str) -> Filter | Unknown:
    if name == "_filter":
        return filter_by(scope, type, value)
    code, _, modifier = name.partition(":")
    if code in REFUSED:
        raise FhirError("not-supported", f"{REFUSED[code]}: leave '{code}' out.", status=400)
    if code == "_filter":
        raise FhirError("not-supported", f"'_filter' has no modifiers, so not ':{modifier}'.", status=400)
    return condition(scope, type, name, value)


def _issue(name: str, unknown: Unknown, severity: str) -> Issue:
    was = "was ignored" if severity == "warning" else "cannot be searched or sorted by"
    return Issue("not-supported", f"'{name}' {was}: {unknown.why}", severity=severity)


def _is_result(name: str) -> bool:
    return name in ONCE or name.partition(":")[0] in RESULTS


def _results(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    results: dict[str, str] = {}
    for name, value in given:
        code, _, modifier = name.partition(":")
        if code == "_contained" and value != "false":
            text = "Contained resources are found with the resource that they are in: '_contained' can be false only."
            raise FhirError("not-supported", text, status=400)
        if code in ONCE and modifier:
            raise FhirError("not-supported", f"'{code}' has no modifiers, so not ':{modifier}'.", status=400)
        if code in results:
            raise FhirError("value", f"'{code}' can be given once only.", status=400)
        if code in ONCE:
            results[code] = value
    return results


def _sort(text: str, known: Mapping[str, SearchParameter]) -> tuple[Sort, str, list[str]]:
    """The sort, the part of `_sort` that it comes from, and the keys that are unknown."""
    keys = [key.strip() for key in text.split(",") if key.strip()]
    if len(keys) > SORT_KEYS_MAX:
        raise too_costly(f"'_sort' has at most {SORT_KEYS_MAX} keys, not {len(keys)}.")
    paths: dict[str, int] = {}
    used: list[str] = []
    for key in keys:
        code, direction = key.removeprefix("-"), -1 if key.startswith("-") else 1
        if code in known and not sortable(known[code]):
            raise FhirError("not-supported", f"'_sort': '{code}' has no value to sort by.", status=400)
        if code in known:
            paths.setdefault(sort_path(known[code], direction), direction)
            used.append(key)
    paths.setdefault("_id", 1)
    ordered = tuple(paths.items())
    last = list(paths).index("_id")
    unknown = [key for key in keys if key not in used]
    return ordered[: last + 1], ",".join(used), unknown


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise FhirError("value", f"'_count' is a number from 0 on, not '{text}'.", status=400)
    return int(text)


def _total(text: str) -> Total:
    if text not in get_args(Total):
        raise FhirError("value", f"'_total' is one of {', '.join(get_args(Total))}, not '{text}'.", status=400)
    return cast(Total, text)


def _used(given: Sequence[tuple[str, str]], ignored: Mapping[str, Unknown], actual: Mapping[str, str]) -> Pairs:
    """The pairs that were not ignored, with what was made of `_sort` and `_count`; `_count` is always
    said."""
    pairs = [(name, actual.get(name, value)) for name, value in given if name not in ignored]
    if "_count" not in dict(pairs):
        pairs.append(("_count", actual["_count"]))
    return tuple((name, value) for name, value in pairs if value)
