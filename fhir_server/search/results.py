"""Parameters about the answer: _include, _revinclude, _summary, _elements, _type and the cursor
(http://hl7.org/fhir/R4/search.html#return). `_sort`, `_count` and `_total` are the search's own (`parsing`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

from fhir_server.outcome import FhirError, Issue
from fhir_server.search import include
from fhir_server.search.include import Include
from fhir_server.search.page import CURSOR
from fhir_server.search.query import Pairs
from fhir_server.search.scope import Scope

Summary: TypeAlias = Literal["true", "text", "data", "count", "false"]

HasElement: TypeAlias = Callable[[str, str], bool]
"""Whether a type has an element of this name."""

INCLUDES_MAX = 50
ELEMENTS_MAX = 100

ONCE = ("_summary", "_elements", "_type", CURSOR)


@dataclass(frozen=True, slots=True)
class View:
    """How much of each resource is wanted. `elements` are names, or `Type.name` for one type only; none are all."""

    summary: Summary = "false"
    elements: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.summary == "false" and not self.elements

    def elements_of(self, type: str) -> frozenset[str] | None:
        """The names of the elements of this type that are wanted, None for all."""
        names = {name for name in self.elements if "." not in name}
        names |= {name.removeprefix(f"{type}.") for name in self.elements if name.startswith(f"{type}.")}
        return frozenset(names) or None

    @property
    def included(self) -> View:
        """The view of what is included: an element counts for it only if its type is said."""
        return replace(self, elements=tuple(name for name in self.elements if "." in name))


@dataclass(frozen=True, slots=True)
class Results:
    """What is asked of the answer. `pairs` are the query's without the cursor and without what is ignored, of which
    `notes` are the warnings."""

    view: View
    includes: tuple[Include, ...]
    types: tuple[str, ...]
    cursor: str | None
    pairs: Pairs
    notes: tuple[Issue, ...]

    @property
    def counts(self) -> bool:
        """Whether the total alone is wanted."""
        return self.view.summary == "count"


def parse(
    scope: Scope,
    pairs: Sequence[tuple[str, str]],
    types: Sequence[str],
    has_element: HasElement,
    *,
    choice: Sequence[str],
) -> Results:
    """What the query pairs ask of the answer of a search over `types`, unless `_type` names some of `choice`.

    What names nothing is ignored and named, or refused if the scope is strict. Refuses with 400 what cannot be read
    and what R4 does not allow together.
    """
    given = [(name, value) for name, value in pairs if value.strip(", ")]
    said = _once(given)
    _limit("includes", sum(name.partition(":")[0] in include.NAMES for name, _ in given), INCLUDES_MAX)
    chosen = _types(said["_type"], choice) if choice and "_type" in said else tuple(types)
    notes: list[Issue] = []
    kept: list[tuple[str, str]] = []
    includes: list[Include] = []
    elements: tuple[str, ...] = ()
    for name, value in given:
        if name.partition(":")[0] in include.NAMES:
            read = include.read(scope, name, value, chosen)
            if isinstance(read, Issue):
                notes.append(read)
                continue
            includes.append(read)
        elif name == "_elements":
            elements, unknown = _elements(scope, value, chosen, has_element)
            notes += unknown
            value = ",".join(elements)
        elif name == "_type" and not choice:
            notes.append(_warning("'_type' is for searches over several types and was ignored."))
            continue
        if name != CURSOR and value:
            kept.append((name, value))
    if scope.strict and notes:
        raise FhirError.of([replace(note, severity="error") for note in notes], status=400)
    view = View(_summary(said.get("_summary", "false")), elements)
    _refuse_together(view, includes)
    return Results(view, tuple(dict.fromkeys(includes)), chosen, said.get(CURSOR), tuple(kept), tuple(notes))


def view_of(scope: Scope, pairs: Sequence[tuple[str, str]], type: str, has_element: HasElement) -> View:
    """How much of the one resource of a read is wanted. What names no element is ignored, or refused if the scope is
    strict."""
    said = _once([pair for pair in pairs if pair[1].strip(", ")])
    elements, unknown = _elements(scope, said.get("_elements", ""), (type,), has_element)
    if scope.strict and unknown:
        raise FhirError.of([replace(note, severity="error") for note in unknown], status=400)
    view = View(_summary(said.get("_summary", "false")), elements)
    if view.summary == "count":
        raise FhirError("value", "'_summary=count' is for searches: one resource has no count.", status=400)
    _refuse_together(view, ())
    return view


def _once(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, value in pairs:
        code, _, modifier = name.partition(":")
        if code in ONCE and modifier:
            raise FhirError("not-supported", f"'{code}' has no modifiers, so not ':{modifier}'.", status=400)
        if code in said:
            raise FhirError("value", f"'{code}' can be given once only.", status=400)
        if code in ONCE:
            said[code] = value
    return said


def _summary(text: str) -> Summary:
    if text not in get_args(Summary):
        right = ", ".join(get_args(Summary))
        raise FhirError("value", f"'_summary' is one of {right}, not '{text}'.", status=400)
    return cast(Summary, text)


def _types(text: str, choice: Sequence[str]) -> tuple[str, ...]:
    asked = _names(text)
    for type in asked:
        if type not in choice:
            right = ", ".join(choice)
            raise FhirError("not-supported", f"'_type': {type} cannot be searched here, only {right}.", status=400)
    return asked


def _elements(
    scope: Scope, text: str, types: Sequence[str], has_element: HasElement
) -> tuple[tuple[str, ...], list[Issue]]:
    """The names that are elements, and a warning for each that is none."""
    known: list[str] = []
    unknown: list[Issue] = []
    names = _names(text)
    _limit("names in '_elements'", len(names), ELEMENTS_MAX)
    for name in names:
        type, _, element = name.rpartition(".")
        if any(has_element(each, element) for each in types if not type) or (
            type in scope.rows and has_element(type, element)
        ):
            known.append(name)
        else:
            of = type or " or ".join(types)
            unknown.append(_warning(f"'_elements': {name} was ignored: there is no such element at the top of {of}."))
    return tuple(known), unknown


def _refuse_together(view: View, includes: Sequence[Include]) -> None:
    if view.elements and view.summary in ("true", "text", "data"):
        raise FhirError("value", "'_elements' and '_summary' cannot be used together.", status=400)
    if includes and view.summary == "text":
        text = "'_summary=text' cannot be used together with '_include' or '_revinclude'."
        raise FhirError("value", text, status=400)


def _limit(what: str, count: int, most: int) -> None:
    if count > most:
        raise FhirError("too-costly", f"A search has at most {most} {what}, not {count}.", status=400)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _warning(text: str) -> Issue:
    return Issue("not-supported", text, severity="warning")
