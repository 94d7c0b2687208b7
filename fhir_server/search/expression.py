"""The grammar of `_filter` (http://hl7.org/fhir/R4/search_filter.html).

filter     := term (('and' | 'or') term)*           from left to right, neither before the other
term       := 'not' '(' filter ')' | '(' filter ')' | path operator value
path       := name ('[' filter ']' '.' path | '.' path)?
value      := a JSON string | characters other than blanks, ')' and ']'
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TypeAlias

from fhir_server.outcome import FhirError

LENGTH_MAX = 4000
COMPARISONS_MAX = 100
DEPTH_MAX = 16
"""Parentheses, brackets and changes between `and` and `or` inside each other."""

OPERATORS = (
    "eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb",
    "pr", "po", "ss", "sb", "in", "ni", "re",
)  # fmt: skip

BLANK = re.compile(r"\s*")
NAME = re.compile(r"[_A-Za-z][-_0-9A-Za-z]*")
TOKEN = re.compile(r"[^\s)\]]+")
NEGATION = re.compile(r"not(?=\s*\()")
OPENING = re.compile(r"\(")
STRING = json.JSONDecoder()
JOINING = re.compile(r"(and|or)(?=[\s(])")


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a path; `filter` is what must hold of the resource that it leads to."""

    code: str
    filter: Expression | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`at` is where it stands in the text, counted from 1."""

    path: tuple[Name, ...]
    operator: str
    value: str
    at: int


@dataclass(frozen=True, slots=True)
class Joined:
    """`word` is `and` or `or`."""

    word: str
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """The opposite of an expression."""

    part: Expression


Expression: TypeAlias = Comparison | Joined | Negated


def read(text: str) -> Expression:
    """The expression that the text spells; 400 with the position of what is wrong."""
    if len(text) > LENGTH_MAX:
        raise FhirError("too-costly", f"'_filter' has at most {LENGTH_MAX} characters, not {len(text)}.", status=400)
    parser = _Parser(text)
    found = parser.filter(0)
    parser.end()
    return found


class _Parser:
    """Recursive descent over the text; each method reads its rule from `at` on."""

    __slots__ = ("at", "comparisons", "text")

    def __init__(self, text: str) -> None:
        self.text, self.at, self.comparisons = text, 0, 0

    def filter(self, depth: int) -> Expression:
        if depth > DEPTH_MAX:
            text = f"'_filter' has at most {DEPTH_MAX} filters inside each other."
            raise FhirError("too-costly", text, status=400)
        found = self.term(depth)
        while word := self.take(JOINING):
            following = self.term(depth)
            if isinstance(found, Joined) and found.word == word:
                found = Joined(word, (*found.parts, following))
            else:
                depth += 1
                found = Joined(word, (found, following))
            if depth > DEPTH_MAX:
                text = f"'_filter' changes between 'and' and 'or' at most {DEPTH_MAX} times."
                raise FhirError("too-costly", text, status=400)
        return found

    def term(self, depth: int) -> Expression:
        if self.take(NEGATION):
            self.expect("(")
            found = self.filter(depth + 1)
            self.expect(")")
            return Negated(found)
        if self.take(OPENING):
            found = self.filter(depth + 1)
            self.expect(")")
            return found
        return self.comparison(depth)

    def comparison(self, depth: int) -> Comparison:
        self.comparisons += 1
        if self.comparisons > COMPARISONS_MAX:
            text = f"'_filter' has at most {COMPARISONS_MAX} comparisons."
            raise FhirError("too-costly", text, status=400)
        self.skip()
        at = self.at + 1
        path = self.path(depth)
        self.skip()
        start = self.at
        operator = self.take(TOKEN)
        if operator not in OPERATORS:
            self.at = start
            raise self.refuse(f"one of {', '.join(OPERATORS)}")
        return Comparison(path, operator, self.value(), at)

    def path(self, depth: int) -> tuple[Name, ...]:
        names: list[Name] = []
        while True:
            found = NAME.match(self.text, self.at)
            if found is None:
                raise self.refuse("the name of a search parameter, 'not' or '('")
            self.at = found.end()
            within = None
            if self.next_is("["):
                within = self.filter(depth + 1)
                self.expect("]")
            names.append(Name(found[0], within))
            if not self.next_is("."):
                break
        if within is not None:
            raise self.refuse("'.' and what is asked of what the filter in brackets finds")
        return tuple(names)

    def value(self) -> str:
        self.skip()
        if not self.text.startswith('"', self.at):
            if found := self.take(TOKEN):
                return found
            raise self.refuse("a value")
        try:
            value, self.at = STRING.raw_decode(self.text, self.at)
        except ValueError:
            raise self.refuse("a JSON string") from None
        if self.at < len(self.text) and not self.text[self.at].isspace() and self.text[self.at] not in ")]":
            raise self.refuse("a blank after the string")
        return str(value)

    def next_is(self, character: str) -> bool:
        """Whether this character is next; it is read if so."""
        found = self.text.startswith(character, self.at)
        self.at += found
        return found

    def take(self, pattern: re.Pattern[str]) -> str:
        """What is next if it is of this form, blanks before it skipped; else nothing."""
        self.skip()
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def skip(self) -> None:
        found = BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def expect(self, token: str) -> None:
        self.skip()
        if not self.text.startswith(token, self.at):
            raise self.refuse(f"'{token}'")
        self.at += 1

    def end(self) -> None:
        self.skip()
        if self.at != len(self.text):
            raise self.refuse("'and', 'or' or the end")

    def refuse(self, right: str) -> FhirError:
        found = f"'{self.text[self.at : self.at + 20]}'" if self.at < len(self.text) else "the end"
        text = f"'_filter', position {self.at + 1}: expected {right}, not {found}."
        return FhirError("value", text, status=400)
