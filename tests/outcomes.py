"""The one way that every refusal is checked."""

from __future__ import annotations

from typing import Any

import httpx


def assert_outcome(response: httpx.Response, status: int, code: str, problem: str | None = None) -> dict[str, Any]:
    """The answer has this status and is an OperationOutcome with such an issue, which is returned."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/fhir+json"), response.headers
    body = response.json()
    assert body["resourceType"] == "OperationOutcome"
    assert all(issue["severity"] and issue["code"] and issue["diagnostics"] for issue in body["issue"])
    found = [issue for issue in body["issue"] if issue["code"] == code and problem in (None, problem_of(issue))]
    assert found, body
    return found[0]


def problem_of(issue: dict[str, Any]) -> str | None:
    return next((coding["code"] for coding in issue.get("details", {}).get("coding", ())), None)


def problems(response: httpx.Response) -> set[str]:
    """Our codes of all the errors in an OperationOutcome."""
    issues = response.json()["issue"]
    return {code for issue in issues if issue["severity"] == "error" and (code := problem_of(issue))}
