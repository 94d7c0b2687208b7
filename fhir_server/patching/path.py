"""FHIRPath to places in a resource, as far as a patch needs it (http://hl7.org/fhir/R4/fhirpath.html,
http://hl7.org/fhir/R4/fhirpatch.html).

expression := conjunction ('or' conjunction)*
conjunction := equality ('and' equality)*
equality   := typed (('=' | '!=') typed)?
typed      := term (('is' | 'as') type)?
term       := (literal | '(' expression ')' | '$this' | name | function) ('[' number ']' | '.' (name | function))*
function   := name '(' (expression | type)? ')'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias

from fhir_server.outcome import FhirError
from fhir_server.patching.limits import NESTING_MAX, PATH_MAX, VISITS_MAX, shorten
from fhir_server.patching.tree import Node
from fhir_server.validation.shapes import Element


@dataclass(slots=True)
class Walk:
    """A walk through the tree below `root`, with what it has looked at so far."""

    root: Node
    visited: int = 0

    def visit(self, items: Sequence[Any]) -> None:
        """Counts, and refuses paths that look at more than `VISITS_MAX` elements."""
        self.visited += 1 + len(items)
        if self.visited > VISITS_MAX:
            raise FhirError("too-costly", f"The paths of a patch look at no more than {VISITS_MAX} elements.")


Items: TypeAlias = list[Any]
"""A collection of FHIRPath: nodes, and the values of literals and comparisons."""

Evaluate: TypeAlias = Callable[[Walk, Items], Items]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path; `name` if it just goes to an element of that name."""

    run: Evaluate
    name: str = ""


def _step(change: Callable[[Items], Items], name: str = "") -> Step:
    """A step that looks at nothing but what it is given."""
    return Step(lambda _, items: change(items), name)


def locate(walk: Walk, path: str, where: str) -> list[Node]:
    """The elements that the path selects, in their order. Refuses with 400 what is not such a path."""
    items = _follow(_parse(path, where), walk, [walk.root])
    if not all(isinstance(item, Node) for item in items):
        raise FhirError("invalid", f"The path {shorten(path)} does not select elements, but a value.", where)
    return items


def locate_list(walk: Walk, path: str, where: str) -> tuple[Node, Element]:
    """The list that the path selects, which may be empty: the one element that has it, and what it is a list of."""
    *steps, last = _parse(path, where)
    if not last.name:
        text = f"The path {shorten(path)} must end with the name of an element that repeats."
        raise FhirError("invalid", text, where)
    holders = [item for item in _follow(steps, walk, [walk.root]) if isinstance(item, Node)]
    if len(holders) != 1:
        text = f"The path {shorten(path)} must select one list, but what it is in was found {len(holders)} times."
        raise FhirError("processing", text, where)
    element = holders[0].shape.elements.get(last.name)
    if element is None or not element.many:
        text = f"The path {shorten(path)} is no list: {holders[0].type}.{last.name} does not repeat."
        raise FhirError("processing", text, where)
    return holders[0], element


def _follow(steps: Sequence[Step], walk: Walk, items: Items) -> Items:
    for step in steps:
        items = step.run(walk, items)
        walk.visit(items)
    return items


def _parse(path: str, where: str) -> list[Step]:
    if len(path) > PATH_MAX:
        raise FhirError("too-long", f"A path has at most {PATH_MAX} characters.", where, status=400)
    parser = _Parser(path, where)
    steps = parser.expression()
    parser.end()
    return steps


TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*|`[^`]+`|\$this)"
    r"|(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?)"
    r"|(?P<date>@T?[0-9][0-9:.TZ+\-]*)"
    r"|(?P<mark>!=|[().\[\]=]))",
    re.ASCII,
)

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


class _Parser:
    """Recursive descent over the tokens of one path; each method returns the steps of its rule."""

    __slots__ = ("at", "depth", "path", "tokens", "where")

    def __init__(self, path: str, where: str) -> None:
        self.path, self.where, self.at, self.depth = path, where, 0, 0
        self.tokens = list(self.read())

    def read(self) -> Iterator[tuple[str, str]]:
        at, text = 0, self.path.rstrip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                self.refuse(f"'{text[at : at + 20]}' cannot be read")
            yield str(match.lastgroup), match[str(match.lastgroup)]
            at = match.end()

    def expression(self) -> list[Step]:
        self.depth += 1
        if self.depth > NESTING_MAX:
            self.refuse(f"more than {NESTING_MAX} brackets inside one another")
        sides = [self.conjunction()]
        while self.take("or"):
            sides.append(self.conjunction())
        self.depth -= 1
        return [_combine(_or, *sides)] if len(sides) > 1 else sides[0]

    def conjunction(self) -> list[Step]:
        sides = [self.equality()]
        while self.take("and"):
            sides.append(self.equality())
        return [_combine(_and, *sides)] if len(sides) > 1 else sides[0]

    def equality(self) -> list[Step]:
        found = self.typed()
        for mark, compare in (("=", _equal), ("!=", _different)):
            if self.take(mark):
                return [_combine(compare, found, self.typed())]
        return found

    def typed(self) -> list[Step]:
        found = self.term()
        if self.take("as"):
            return [*found, _of_type(self.type())]
        return [*found, _is_type(self.type())] if self.take("is") else found

    def term(self) -> list[Step]:
        steps = self.first()
        while True:
            if self.take("["):
                steps.append(_at(self.index()))
                self.expect("]")
            elif self.take("."):
                steps.append(self.step(self.name()))
            else:
                return steps

    def first(self) -> list[Step]:
        if self.take("("):
            steps = self.expression()
            self.expect(")")
            return [Step(lambda walk, items: _follow(steps, walk, items))]
        kind, token = self.next()
        if kind in ("text", "number", "date"):
            return [_literal(_value(kind, token))]
        if token in ("true", "false"):
            return [_literal(token == "true")]
        if token == "$this":
            return [_SAME]
        if kind != "name":
            self.refuse(f"'{token}' was not expected" if token else "it ends too early")
        return [_of_root(token)] if token[0].isupper() else [self.step(token)]

    def step(self, name: str) -> Step:
        if not self.take("("):
            return _child(name.strip("`"))
        if name in _PLAIN:
            found = _PLAIN[name]
        elif name in _TYPED:
            found = _TYPED[name](self.type())
        elif name in _FILTERS:
            found = _FILTERS[name](self.expression())
        else:
            self.refuse(f"the function {name}() is not known here; there are {', '.join(sorted(_FUNCTIONS))}")
        self.expect(")")
        return found

    def type(self) -> str:
        name = self.name()
        return self.name() if name in ("FHIR", "System") and self.take(".") else name

    def index(self) -> int:
        kind, token = self.next()
        if kind != "number" or not token.isdecimal():
            self.refuse("an index must be a whole number")
        return int(token[:9])

    def name(self) -> str:
        kind, token = self.next()
        if kind != "name" or token == "$this":
            self.refuse(f"a name was expected, not '{token}'" if token else "it ends too early")
        return token

    def next(self) -> tuple[str, str]:
        self.at += 1
        return self.tokens[self.at - 1] if self.at <= len(self.tokens) else ("", "")

    def take(self, token: str) -> bool:
        found = self.at < len(self.tokens) and self.tokens[self.at][1] == token
        self.at += found
        return found

    def expect(self, token: str) -> None:
        if not self.take(token):
            self.refuse(f"'{token}' was expected")

    def end(self) -> None:
        if self.at != len(self.tokens):
            self.refuse(f"'{self.tokens[self.at][1]}' was not expected")

    def refuse(self, why: str) -> NoReturn:
        raise FhirError("invalid", f"The path {shorten(self.path)} is not understood: {why}.", self.where)


def _value(kind: str, token: str) -> Any:
    if kind == "number":
        return Decimal(token)
    if kind == "date":
        return token[1:].removeprefix("T")
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPED.get(m[2], m[2]), token[1:-1])


def _literal(value: Any) -> Step:
    return _step(lambda _: [value])


_SAME = _step(lambda items: items)


def _of_root(type: str) -> Step:
    """The name of a type at the start of a path is the resource itself, if it is one of that type."""
    bases = ("DomainResource", "Resource")
    return Step(lambda walk, items: [item for item in items if item is walk.root and type in (item.type, *bases)])


def _child(name: str) -> Step:
    return _step(lambda items: [child for item in _nodes(items) for child in item.children(name)], name)


def _nodes(items: Items) -> Iterator[Node]:
    return (item for item in items if isinstance(item, Node))


def _at(index: int) -> Step:
    return _step(lambda items: items[index : index + 1])


def _combine(combine: Callable[..., Items], *sides: list[Step]) -> Step:
    return Step(lambda walk, items: combine(*(_follow(side, walk, items) for side in sides)))


def _equal(one: Items, other: Items) -> Items:
    """Equality of FHIRPath: nothing where a side is nothing."""
    return [[_compared(item) for item in one] == [_compared(item) for item in other]] if one and other else []


def _different(one: Items, other: Items) -> Items:
    return [not equal for equal in _equal(one, other)]


def _compared(item: Any) -> Any:
    """What equality compares: the values of primitives, true not being 1; of other elements that they are the same."""
    value = item.value if isinstance(item, Node) and item.is_primitive else item
    return ("boolean", value) if isinstance(value, bool) else value


def _and(*sides: Items) -> Items:
    truths = [_truth(side) for side in sides]
    return [False] if False in truths else [] if None in truths else [True]


def _or(*sides: Items) -> Items:
    truths = [_truth(side) for side in sides]
    return [True] if True in truths else [] if None in truths else [False]


def _truth(items: Items) -> bool | None:
    """What a collection says as a condition: nothing at all, or its only item unless that is false."""
    if not items:
        return None
    item = items[0]
    return (item.value if isinstance(item, Node) and item.is_primitive else item) is not False


def _where(criterion: list[Step]) -> Step:
    return Step(lambda walk, items: [item for item in items if _truth(_follow(criterion, walk, [item]))])


def _extension(url: list[Step]) -> Step:
    """Short for extension.where(url = …)."""
    criterion = [_combine(_equal, [_child("url")], url)]

    def run(walk: Walk, items: Items) -> Items:
        return [each for node in _nodes(items) for each in _where(criterion).run(walk, [*node.children("extension")])]

    return Step(run)


def _single(items: Items) -> Items:
    if len(items) > 1:
        raise FhirError("processing", f"single() was given {len(items)} elements.")
    return items


def _of_type(type: str) -> Step:
    return _step(lambda items: [node for node in _nodes(items) if _is(node, type)])


def _is_type(type: str) -> Step:
    return _step(lambda items: [_is(node, type) for node in _nodes(items)])


def _is(node: Node, type: str) -> bool:
    return node.type[:1].lower() + node.type[1:] == type[:1].lower() + type[1:]


_PLAIN: Mapping[str, Step] = {
    "first": _step(lambda items: items[:1]),
    "last": _step(lambda items: items[-1:]),
    "single": _step(_single),
    "exists": _step(lambda items: [bool(items)]),
    "empty": _step(lambda items: [not items]),
    "not": _step(lambda items: [not _truth(items)] if items else []),
}

_TYPED: Mapping[str, Callable[[str], Step]] = {"ofType": _of_type, "as": _of_type, "is": _is_type}

_FILTERS: Mapping[str, Callable[[list[Step]], Step]] = {"where": _where, "extension": _extension}

_FUNCTIONS = (*_PLAIN, *_TYPED, *_FILTERS)
