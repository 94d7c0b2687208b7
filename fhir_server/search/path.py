"""The subset of FHIRPath that R4's search expressions for these types use
(http://hl7.org/fhir/R4/fhirpath.html).

expression := comparison ('and' comparison)*
comparison := union ('!=' literal)?
union      := typed ('|' typed)*
typed      := path ('as' type)?
path       := (Type | '(' expression ')') ('.' step)*
step       := element | 'where(' criterion ')' | 'as(' type ')' | 'exists()'
criterion  := 'resolve() is' Type | element '=' literal
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from fhir_server.outcome import Json


@dataclass(frozen=True, slots=True)
class Node:
    """A value on the way; `type` is known for elements with a choice of types only."""

    value: Any
    type: str | None = None


Evaluate: TypeAlias = Callable[[list[Node]], list[Node]]

TOKEN = re.compile(r"\s*(?:([A-Za-z_][A-Za-z0-9_]*)|('[^']*')|(!=|[().|=]))")

TARGET = re.compile(r"(?:.*/)?([A-Z][A-Za-z]*)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")

LITERALS = {"true": True, "false": False}

CHOICES = (
    "Boolean", "DateTime", "Date", "Instant", "Period", "Timing", "String", "Integer", "Decimal", "Quantity",
    "Age", "Range", "Reference", "CodeableConcept", "Uri", "Canonical",
)  # fmt: skip
"""Types that the name of an element with a choice of types may end with in JSON."""


@cache
def compile_path(expression: str) -> Callable[[Json], list[Any]]:
    """A function from a resource to the values that the expression selects from it, arrays flattened.

    Raises ValueError for anything outside the subset, so that a row cannot silently index nothing.
    """
    parser = _Parser(expression)
    evaluate = parser.expression()
    parser.end()
    return lambda resource: [node.value for node in evaluate([Node(resource)])]


@cache
def element(expression: str) -> str:
    """The name of the element that a plain path ends with; empty for any other expression."""
    return expression.rpartition(".")[2] if re.fullmatch(r"[A-Za-z]+(\.[A-Za-z]+)+", expression) else ""


def target_type(reference: Any) -> str | None:
    """The type that a Reference points to, by its URL or else by what it says itself; nothing is resolved."""
    if not isinstance(reference, dict):
        return None
    url = TARGET.fullmatch(str(reference.get("reference", "")))
    return url[1] if url else reference.get("type")


class _Parser:
    """Recursive descent over the tokens of one expression; each method returns how to evaluate its rule."""

    __slots__ = ("at", "text", "tokens")

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens = list(_tokens(text))

    def expression(self) -> Evaluate:
        found = self.comparison()
        while self.take("and"):
            found = _both(found, self.comparison())
        return found

    def comparison(self) -> Evaluate:
        found = self.union()
        return _differs(found, self.literal()) if self.take("!=") else found

    def union(self) -> Evaluate:
        found = self.typed()
        while self.take("|"):
            found = _either(found, self.typed())
        return found

    def typed(self) -> Evaluate:
        found = self.path()
        return _chain(found, _of_type(self.name())) if self.take("as") else found

    def path(self) -> Evaluate:
        if self.take("("):
            found = self.expression()
            self.expect(")")
        else:
            if not self.name()[0].isupper():
                raise self.refuse("a path must start with the name of a type")
            found = _same
        while self.take("."):
            found = _chain(found, self.step())
        return found

    def step(self) -> Evaluate:
        name = self.name()
        if not self.take("("):
            return _child(name)
        if name == "where":
            found = self.criterion()
        elif name == "as":
            found = _of_type(self.name())
        elif name == "exists":
            found = _exists
        else:
            raise self.refuse(f"the function {name}() is not known here")
        self.expect(")")
        return found

    def criterion(self) -> Evaluate:
        name = self.name()
        if name != "resolve":
            self.expect("=")
            return _where_equal(name, self.literal())
        for token in ("(", ")", "is"):
            self.expect(token)
        return _where_target(self.name())

    def literal(self) -> Any:
        token = self.next()
        if token[:1] == "'":
            return token[1:-1]
        if token not in LITERALS:
            raise self.refuse(f"'{token}' is not a literal")
        return LITERALS[token]

    def name(self) -> str:
        token = self.next()
        if not token.isidentifier():
            raise self.refuse(f"a name was expected, not '{token}'")
        return token

    def next(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1] if self.at <= len(self.tokens) else ""

    def take(self, token: str) -> bool:
        found = self.at < len(self.tokens) and self.tokens[self.at] == token
        self.at += found
        return found

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.refuse(f"'{token}' was expected")

    def end(self) -> None:
        if self.at != len(self.tokens):
            raise self.refuse(f"'{self.tokens[self.at]}' was not expected")

    def refuse(self, why: str) -> ValueError:
        return ValueError(f"Search expression '{self.text}': {why}")


def _tokens(text: str) -> Iterator[str]:
    at, text = 0, text.strip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"Search expression '{text}': '{text[at:]}' cannot be read")
        yield match[match.lastindex or 0]
        at = match.end()


def _same(nodes: list[Node]) -> list[Node]:
    return nodes


def _exists(nodes: list[Node]) -> list[Node]:
    return [Node(bool(nodes))]


def _chain(first: Evaluate, then: Evaluate) -> Evaluate:
    return lambda nodes: then(first(nodes))


def _either(one: Evaluate, other: Evaluate) -> Evaluate:
    return lambda nodes: one(nodes) + other(nodes)


def _both(one: Evaluate, other: Evaluate) -> Evaluate:
    """Conjunction of FHIRPath: nothing where a side is nothing and no side is false."""

    def evaluate(nodes: list[Node]) -> list[Node]:
        truths = [_truth(one(nodes)), _truth(other(nodes))]
        if False in truths:
            return [Node(False)]
        return [] if None in truths else [Node(True)]

    return evaluate


def _truth(nodes: list[Node]) -> bool | None:
    return None if not nodes else nodes[0].value is not False


def _differs(found: Evaluate, literal: Any) -> Evaluate:
    def evaluate(nodes: list[Node]) -> list[Node]:
        values = [node.value for node in found(nodes)]
        return [Node(values != [literal])] if values else []

    return evaluate


def _of_type(name: str) -> Evaluate:
    wanted = name[0].upper() + name[1:]
    return lambda nodes: [node for node in nodes if node.type in (None, wanted)]


def _where_equal(name: str, literal: Any) -> Evaluate:
    child = _child(name)
    return lambda nodes: [node for node in nodes if [each.value for each in child([node])] == [literal]]


def _where_target(name: str) -> Evaluate:
    return lambda nodes: [node for node in nodes if target_type(node.value) == name]


def _child(name: str) -> Evaluate:
    choices = tuple((name + choice, choice) for choice in CHOICES)

    def evaluate(nodes: list[Node]) -> list[Node]:
        return [found for node in nodes if isinstance(node.value, dict) for found in children(node.value)]

    def children(value: Json) -> Iterator[Node]:
        if name in value:
            yield from _flatten(value[name], None)
            return
        for key, choice in choices:
            if key in value:
                yield from _flatten(value[key], choice)

    return evaluate


def _flatten(value: Any, choice: str | None) -> Iterator[Node]:
    for each in value if isinstance(value, list) else (value,):
        if each is not None:
            yield Node(each, choice)
