"""`_filter` → Filter: its comparisons mean what the same parameters mean alone, on the same index
(http://hl7.org/fhir/R4/search_filter.html).

`ne` of a string, token, reference or URI finds what has a value, none of which is equal. Texts are compared folded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from fhir_server.definitions import SearchParameter
from fhir_server.outcome import FhirError
from fhir_server.search import composite, date
from fhir_server.search.conditions import (
    CHAIN_LENGTH_MAX,
    NO_TERMINOLOGY,
    Unknown,
    chain,
    limited,
    refuse_oversized,
    too_costly,
)
from fhir_server.search.expression import Comparison, Expression, Joined, Name, Negated, read
from fhir_server.search.filters import Filter, conjoin, disjoin, exists, none_of, starting_with
from fhir_server.search.kinds import kind_of
from fhir_server.search.parameters import BY_CODE, known, place
from fhir_server.search.scope import Scope
from fhir_server.search.string import folded_value, part
from fhir_server.search.text import unescape

TERMINOLOGICAL = ("ss", "sb", "in", "ni")

Test: TypeAlias = Callable[[Scope, SearchParameter, str], Filter]


def filter_by(scope: Scope, type: str, text: str) -> Filter:
    """The filter for a `_filter`; it may hold steps. What it cannot mean is a 400, unknown parameters too: nothing of
    an expression can be ignored."""
    found = _compile(scope, type, read(text), 0)
    if isinstance(found, Unknown):
        raise FhirError("not-supported", f"'_filter': {found.why}", status=400)
    return limited(found)


def _compile(scope: Scope, type: str, expression: Expression, length: int) -> Filter | Unknown:
    match expression:
        case Negated(part):
            found = _compile(scope, type, part, length)
            return found if isinstance(found, Unknown) else {"$nor": [found]}
        case Joined(word, parts):
            filters: list[Filter] = []
            for each in parts:
                found = _compile(scope, type, each, length)
                if isinstance(found, Unknown):
                    return found
                filters.append(found)
            return conjoin(*filters) if word == "and" else disjoin(filters)
        case Comparison(path):
            return _compile_path(scope, type, path, expression, length)


def _compile_path(
    scope: Scope, type: str, path: tuple[Name, ...], comparison: Comparison, length: int
) -> Filter | Unknown:
    if length > CHAIN_LENGTH_MAX:
        raise too_costly(f"A chain has at most {CHAIN_LENGTH_MAX} steps.")
    name, *rest = path
    if not rest:
        return _compare(scope, type, name.code, comparison)

    def ask(target: str) -> Filter | Unknown:
        found = _compile_path(scope, target, tuple(rest), comparison, length + 1)
        if name.filter is None or isinstance(found, Unknown):
            return found
        within = _compile(scope, target, name.filter, length + 1)
        return within if isinstance(within, Unknown) else conjoin(within, found)

    return chain(scope, type, name.code, "", ask)


def _compare(scope: Scope, type: str, code: str, comparison: Comparison) -> Filter | Unknown:
    parameter = known(scope.rows[type]).get(code)
    if parameter is None:
        works = ", ".join(sorted(known(scope.rows[type])))
        return Unknown(f"{type} has no search parameter '{code}' here. What works: {works}.")
    operator, value = comparison.operator, comparison.value
    refuse_oversized(code, [value])
    if operator == "pr":
        if value not in ("true", "false"):
            raise _refuse(comparison, f"'{code} pr' is 'true' or 'false', not '{value}'.")
        return exists(place(parameter), value == "true")
    if operator in TERMINOLOGICAL:
        raise _refuse(comparison, f"'{code} {operator}' cannot be told: {NO_TERMINOLOGY}.")
    if parameter.components:
        tests: Mapping[str, Test] = {"eq": partial(_composed, type)}
    else:
        tests = TESTS["_id" if code == "_id" else code if code in BY_CODE else parameter.type]
    if operator not in tests:
        works = ", ".join((*tests, "pr"))
        raise _refuse(comparison, f"'{code}' cannot be compared by '{operator}'. What works: {works}.")
    return tests[operator](scope, parameter, value)


def _refuse(comparison: Comparison, text: str) -> FhirError:
    return FhirError("not-supported", f"'_filter', position {comparison.at}: {text}", status=400)


def _same(scope: Scope, parameter: SearchParameter, value: str) -> Filter:
    """As the parameter with this value would have it."""
    return kind_of(parameter).compile(parameter, "", [value], scope.frame, scope.now)


def _composed(type: str, scope: Scope, parameter: SearchParameter, value: str) -> Filter:
    return composite.compile(parameter, [value], scope.frame, scope.now, known(scope.rows[type]))


def _differs(scope: Scope, parameter: SearchParameter, value: str) -> Filter:
    [(path, condition)] = _same(scope, parameter, value).items()
    return none_of(path, condition["$in"] if isinstance(condition, dict) else [condition])


def _prefixed(operator: str) -> Test:
    """As the parameter with this prefix would have it."""
    return lambda scope, parameter, value: _same(scope, parameter, f"{operator}{value}")


def _overlaps(scope: Scope, parameter: SearchParameter, value: str) -> Filter:
    return date.overlapping(parameter, value, scope.frame)


def _text_equals(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return {f"{place(parameter)}.f": folded_value(parameter, value)}


def _text_differs(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return none_of(f"{place(parameter)}.f", [folded_value(parameter, value)])


def _text_contains(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return {f"{place(parameter)}.f": {"$regex": part(parameter, folded_value(parameter, value))}}


def _text_begins(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return starting_with(f"{place(parameter)}.n", folded_value(parameter, value))


def _text_ends(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return {f"{place(parameter)}.f": {"$regex": f"{part(parameter, folded_value(parameter, value))}$"}}


def _text_compares(operator: str) -> Test:
    return lambda _, parameter, value: {
        f"{place(parameter)}.f": {"$elemMatch": {operator: folded_value(parameter, value)}}
    }


def _code_begins(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return disjoin([starting_with(place(parameter), f"{system}|{code}") for system, code in _codes(value)])


def _code_matches(pattern: str) -> Test:
    """The filter for codes of the pattern, in which `{}` stands for the value."""
    return lambda _, parameter, value: disjoin(
        [
            {place(parameter): {"$regex": rf"^{re.escape(system)}\|{pattern.format(part(parameter, code))}"}}
            for system, code in _codes(value)
        ]
    )


def _codes(value: str) -> tuple[tuple[str, str], ...]:
    """The code as it stands in the index: of any system, and in lower case where case does not count."""
    return ("*", unescape(value)), ("~", unescape(value).lower())


def _uri_begins(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return starting_with(place(parameter), unescape(value))


def _uri_contains(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return {place(parameter): {"$regex": part(parameter, unescape(value))}}


def _uri_ends(_: Scope, parameter: SearchParameter, value: str) -> Filter:
    return {place(parameter): {"$regex": f"{part(parameter, unescape(value))}$"}}


EQUALITY: Mapping[str, Test] = {"eq": _same, "ne": _differs}

ORDER: Mapping[str, Test] = {
    operator: _prefixed(operator) for operator in ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
}

TESTS: Mapping[str, Mapping[str, Test]] = {
    "_id": EQUALITY,
    "string": {
        "eq": _text_equals,
        "ne": _text_differs,
        "co": _text_contains,
        "sw": _text_begins,
        "ew": _text_ends,
        "gt": _text_compares("$gt"),
        "lt": _text_compares("$lt"),
        "ge": _text_compares("$gte"),
        "le": _text_compares("$lte"),
    },
    "token": {**EQUALITY, "co": _code_matches(".*{}"), "sw": _code_begins, "ew": _code_matches(".*{}$")},
    "reference": {**EQUALITY, "re": _same},
    "uri": {**EQUALITY, "co": _uri_contains, "sw": _uri_begins, "ew": _uri_ends},
    "date": {**ORDER, "po": _overlaps},
    "number": ORDER,
    "quantity": ORDER,
    "phonetic": {"eq": _same},
    "near": {"eq": _same},
    "state": {"eq": _same},
}
"""What each kind of parameter can be asked; `pr` can be asked of all."""
