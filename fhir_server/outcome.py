"""What went wrong, in FHIR's words: Issue, FhirError, OperationOutcome (http://hl7.org/fhir/R4/operationoutcome.html)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

CANONICAL = "https://fhir-scheduling.example"
"""Base of every canonical URL that this project defines: extensions, operations, concept maps, problem codes."""

PROBLEMS = f"{CANONICAL}/CodeSystem/problem"
"""Code system of our own stable codes for refused bookings and transitions."""

STATUS_BY_ISSUE: Mapping[str, int] = {
    "invalid": 400,
    "structure": 400,
    "required": 400,
    "value": 400,
    "invariant": 422,
    "code-invalid": 422,
    "business-rule": 422,
    "not-supported": 400,
    "too-long": 413,
    "too-costly": 422,
    "not-found": 404,
    "deleted": 410,
    "conflict": 409,
    "duplicate": 409,
    "multiple-matches": 412,
    "lock-error": 503,
    "transient": 503,
    "throttled": 429,
    "timeout": 503,
    "login": 401,
    "forbidden": 403,
    "exception": 500,
    "processing": 422,
    "extension": 422,
    "informational": 200,
}
"""One table: issue code (http://hl7.org/fhir/R4/valueset-issue-type.html) to HTTP status."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem: what was wrong and what would be right, for the client's developer.

    `code` is of the issue-type value set; `problem` is a code of ours in `PROBLEMS`, stable for programs;
    `expression` names the elements in FHIRPath.
    """

    code: str
    text: str
    expression: tuple[str, ...] = ()
    problem: str | None = None
    severity: str = "error"
    extension: tuple[Json, ...] = ()


ISSUES_MAX = 100
"""Issues that one answer lists."""


@dataclass(slots=True)
class FhirError(Exception):
    """A request refused. The status follows from the first issue unless `status` says otherwise."""

    issues: tuple[Issue, ...]
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    def __init__(
        self,
        issue: str,
        text: str,
        expression: str | Iterable[str] = (),
        *,
        problem: str | None = None,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        expressions = (expression,) if isinstance(expression, str) else tuple(expression)
        self._set((Issue(issue, text, expressions, problem),), status, headers)

    @classmethod
    def of(cls, issues: Iterable[Issue], *, status: int = 0, headers: Mapping[str, str] | None = None) -> FhirError:
        """One error that lists all the issues; there must be at least one."""
        error = cls.__new__(cls)
        error._set(tuple(issues), status, headers)
        return error

    def _set(self, issues: tuple[Issue, ...], status: int, headers: Mapping[str, str] | None) -> None:
        if len(issues) > ISSUES_MAX:
            more = Issue("informational", f"There are {len(issues) - ISSUES_MAX} more.", severity="information")
            issues = (*issues[:ISSUES_MAX], more)
        Exception.__init__(self, "; ".join(issue.text for issue in issues))
        self.issues = issues
        self.status = status or STATUS_BY_ISSUE[issues[0].code]
        self.headers = headers or {}


def operation_outcome(issues: Iterable[Issue]) -> Json:
    """The OperationOutcome that says these issues."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]}


_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def _text(text: str) -> str:
    """The text without the characters that FHIR's strings cannot have, which a client may have sent."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _issue(issue: Issue) -> Json:
    said: Json = {"severity": issue.severity, "code": issue.code}
    text = _text(issue.text)
    if issue.extension:
        said = {"extension": list(issue.extension), **said}
    if issue.problem:
        said["details"] = {"coding": [{"system": PROBLEMS, "code": issue.problem}], "text": text}
    said["diagnostics"] = text
    if expressions := [_text(each) for each in issue.expression if each]:
        said["expression"] = expressions
    return said
