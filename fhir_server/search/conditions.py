"""One condition of a search → Filter: a parameter, a chain of them, or `_has`
(http://hl7.org/fhir/R4/search.html#chaining, http://hl7.org/fhir/R4/search.html#has)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions import ResourceDefinition, SearchParameter
from fhir_server.outcome import FhirError
from fhir_server.plan import Sought
from fhir_server.search import composite
from fhir_server.search.filters import Filter, exists, one_of
from fhir_server.search.kinds import kind_of
from fhir_server.search.parameters import known, place
from fhir_server.search.path import element
from fhir_server.search.scope import Scope
from fhir_server.search.step import Step, ids_in, loads_in
from fhir_server.search.text import split

CHAIN_LENGTH_MAX = 8
"""Steps of one chain, `_has` included: each is a round trip to the store."""

FOUND_MAX = 10_000
"""What a step may find; more is refused."""

LOADS_MAX = 100
"""What a condition may have sought in all: a chain without types is sought in each type that it may lead to."""

VALUES_MAX = 100
VALUE_LENGTH_MAX = 1000

NO_TERMINOLOGY = "a search knows neither value sets nor hierarchies of codes; ValueSet/$expand lists the codes of one"

WHY_REFUSED: Mapping[tuple[str, str], str] = {
    **{("token", modifier): NO_TERMINOLOGY for modifier in ("in", "not-in", "above", "below")},
    **{("reference", modifier): "there are no hierarchies of resources here" for modifier in ("above", "below")},
}
"""Why modifiers of R4 do not work, by the type of parameter and the modifier."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why a name is no search parameter: the condition is ignored or, if the search is strict, refused."""

    why: str


def condition(scope: Scope, type: str, name: str, value: str, length: int = 0) -> Filter | Unknown:
    """The filter for one condition on resources of a type; it may hold steps. `length` counts the steps before it."""
    if length > CHAIN_LENGTH_MAX:
        raise too_costly(f"A chain has at most {CHAIN_LENGTH_MAX} steps.")
    if name.startswith("_has:"):
        return _reverse(scope, type, name, value, length)
    first, dot, rest = name.partition(".")
    code, _, modifier = first.partition(":")
    if dot:
        return chain(scope, type, code, modifier, lambda target: condition(scope, target, rest, value, length + 1))
    parameter = known(scope.rows[type]).get(code)
    if parameter is None:
        return _unknown(scope.rows[type], code)
    return _compare(scope, scope.rows[type], parameter, modifier, value)


def chain(
    scope: Scope, type: str, code: str, modifier: str, ask: Callable[[str], Filter | Unknown]
) -> Filter | Unknown:
    """The filter for references to resources that meet what is asked of a type; without a modifier, of every type that
    the reference may lead to and that knows what is asked. `Schedule.…` is taken for `schedule.…`."""
    parameters = known(scope.rows[type])
    parameter = parameters.get(code) or parameters.get(code[:1].lower() + code[1:])
    if parameter is None:
        return _unknown(scope.rows[type], code)
    if parameter.type != "reference":
        return Unknown(f"'{code}' of {type} is no reference, so nothing can be chained to it.")
    targets = _targets(scope, parameter, modifier)
    filters, others = _asked(targets, ask)
    if not filters and len(others) == 1:
        return others[0]
    if not filters:
        served = f"none of {', '.join(targets)} has what is chained to it" if targets else "none of that is served here"
        return Unknown(f"'{code}' of {type} refers to {modifier or _named(parameter)}: {served}.")
    sought = tuple(Sought(target, filter, "_id", limit=FOUND_MAX) for target, filter in filters.items())
    return limited({place(parameter): Step(sought, _refer_to(tuple(filters)))})


def limited(filter: Filter) -> Filter:
    """The filter, unless it needs too much to be sought: then a 400."""
    if sum(1 for _ in loads_in(filter)) > LOADS_MAX:
        text = f"This would have to be sought in more than {LOADS_MAX} places."
        raise too_costly(f"{text} Name the types in the chains (actor:Practitioner.name).")
    return filter


def refuse_oversized(code: str, values: Sequence[str]) -> None:
    """Refuses an OR list that is too long or has a value that is, or that is no text."""
    if len(values) > VALUES_MAX:
        raise too_costly(f"'{code}' lists at most {VALUES_MAX} values, not {len(values)}.")
    if any(len(value) > VALUE_LENGTH_MAX for value in values):
        raise too_costly(f"A value of '{code}' has at most {VALUE_LENGTH_MAX} characters.")
    if any("\ud800" <= character <= "\udfff" for value in values for character in value):
        raise FhirError("value", f"A value of '{code}' is no Unicode text.", status=400)


def too_costly(text: str) -> FhirError:
    return FhirError("too-costly", text, status=400)


def _reverse(scope: Scope, type: str, name: str, value: str, length: int) -> Filter | Unknown:
    parts = name.split(":", 3)
    if len(parts) < 4 or not all(parts):
        text = f"'{name}' is not of the form _has:<type>:<its reference parameter>:<its search parameter>."
        raise FhirError("value", text, status=400)
    _, source, code, rest = parts
    row = scope.rows.get(source)
    if row is None or row.contents:
        return Unknown(f"{source} is not stored here.")
    parameter = known(row).get(code)
    if parameter is None:
        return _unknown(row, code)
    if parameter.type != "reference" or type not in (parameter.target or (type,)):
        return Unknown(f"'{code}' of {source} is no reference to {type}.")
    filter = condition(scope, source, rest, value, length + 1)
    if isinstance(filter, Unknown):
        return filter
    sought = Sought(source, filter, place(parameter), beginning=f"{type}/", limit=FOUND_MAX)
    return limited({"_id": Step((sought,), ids_in)})


def _targets(scope: Scope, parameter: SearchParameter, modifier: str) -> list[str]:
    """The types that a chain may lead to; 400 for a modifier that is none of the reference's."""
    if modifier and not modifier[0].isupper():
        text = f"'{parameter.code}:{modifier}' cannot be chained; a type can be named there (:{_named(parameter)})."
        raise FhirError("not-supported", text, status=400)
    if modifier and parameter.target and modifier not in parameter.target:
        text = f"'{parameter.code}' never refers to {modifier}, only to {', '.join(parameter.target)}."
        raise FhirError("not-supported", text, status=400)
    types = (modifier,) if modifier else parameter.target or tuple(scope.rows)
    return [type for type in types if type in scope.rows and not scope.rows[type].contents]


def _asked(targets: Sequence[str], ask: Callable[[str], Filter | Unknown]) -> tuple[dict[str, Filter], list[Unknown]]:
    """The filters of the types for which the question has a meaning, and why the others do not know it. A 400 where it
    is known but has no meaning (a modifier that does not fit) counts only if it has a meaning for no type."""
    filters: dict[str, Filter] = {}
    others: list[Unknown] = []
    refused: FhirError | None = None
    for target in targets:
        try:
            found = ask(target)
        except FhirError as error:
            if error.issues[0].code != "not-supported":
                raise
            refused = error
        else:
            if isinstance(found, Unknown):
                others.append(found)
            else:
                filters[target] = found
    if refused and not filters:
        raise refused
    return filters, others


def _refer_to(types: Sequence[str]) -> Callable[[Sequence[Sequence[str]]], Any]:
    def answer(found: Sequence[Sequence[str]]) -> Any:
        return one_of([f"{type}/{id}" for type, ids in zip(types, found, strict=True) for id in ids])

    return answer


def _compare(scope: Scope, row: ResourceDefinition, parameter: SearchParameter, modifier: str, value: str) -> Filter:
    values = [each for each in split(value, ",") if each]
    refuse_oversized(parameter.code, values)
    working = modifiers(parameter)
    of_type = "[type]" in working and modifier[:1].isupper()
    if modifier and not of_type and modifier not in working:
        raise _refused(parameter, modifier, working)
    if modifier == "missing":
        if value not in ("true", "false"):
            raise FhirError("value", f"'{parameter.code}:missing' is 'true' or 'false'.", status=400)
        return exists(place(parameter), value == "false")
    if parameter.components:
        return composite.compile(parameter, values, scope.frame, scope.now, known(row))
    return kind_of(parameter).compile(parameter, modifier, values, scope.frame, scope.now)


def modifiers(parameter: SearchParameter) -> tuple[str, ...]:
    """The modifiers that work on the parameter; `[type]` stands for the name of a resource type."""
    if parameter.components:
        return ()
    if parameter.code == "_id":
        return "missing", "not"
    works = kind_of(parameter).modifiers
    return ("missing", *(each for each in works if each != "of-type" or element(parameter.expression) == "identifier"))


def _refused(parameter: SearchParameter, modifier: str, working: Sequence[str]) -> FhirError:
    why = WHY_REFUSED.get((parameter.type, modifier))
    text = f"Search parameter '{parameter.code}' has no modifier ':{modifier}' here{f': {why}' if why else ''}."
    works = ", ".join(f":{each}" for each in working) or "none"
    return FhirError("not-supported", f"{text} What works: {works}.", status=400)


def _unknown(row: ResourceDefinition, code: str) -> Unknown:
    return Unknown(f"{row.type} has no search parameter '{code}' here. What works: {', '.join(sorted(known(row)))}.")


def _named(parameter: SearchParameter) -> str:
    return " or ".join(parameter.target) or "any type"
