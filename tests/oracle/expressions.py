"""A `_filter` as a tree, which is written out for the server (http://hl7.org/fhir/R4/search_filter.html)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Test:
    """One comparison; `path` may be chained."""

    path: str
    operator: str
    value: str

    __test__ = False

    def __str__(self) -> str:
        return f"{self.path} {self.operator} {json.dumps(self.value, ensure_ascii=False)}"


@dataclass(frozen=True)
class Through:
    """A chain whose target must satisfy something else besides."""

    code: str
    inner: Expression
    rest: Test

    def __str__(self) -> str:
        return f"{self.code}[{self.inner}].{self.rest}"


@dataclass(frozen=True)
class Not:
    inner: Expression

    def __str__(self) -> str:
        return f"not ({self.inner})"


@dataclass(frozen=True)
class All:
    """Without parentheses on the left: what is written first is evaluated first."""

    left: Expression
    right: Expression

    def __str__(self) -> str:
        return f"{self.left} and ({self.right})"


@dataclass(frozen=True)
class One:
    left: Expression
    right: Expression

    def __str__(self) -> str:
        return f"{self.left} or ({self.right})"


Expression: TypeAlias = "Test | Through | Not | All | One"
