"""That whatever an operation answers, in whichever test, is what its rows promise."""

from __future__ import annotations

import httpx

from fhir_server import document, markup
from fhir_server.definitions import Operation
from fhir_server.operations import OPERATIONS
from fhir_server.operations.arguments import faults_of_answer

PARSE = {"application/fhir+json": document.parse, "application/fhir+xml": markup.parse}


async def check_answer(response: httpx.Response) -> None:
    """A hook for clients: fails the test if an operation succeeded with an answer that its rows do not promise."""
    segments = response.request.url.path.split("/")
    parse = PARSE.get(response.headers.get("content-type", "").partition(";")[0])
    if segments[-1].startswith("$") and response.is_success and parse:
        operation = _called(segments)
        faults = faults_of_answer(operation, parse(await response.aread()))
        assert not faults, (operation.code, faults)


def _called(segments: list[str]) -> Operation:
    types = {"Resource", *segments}
    return next(
        row
        for row in OPERATIONS
        if row.code == segments[-1][1:] and (types.intersection(row.resource) or "system" in row.levels)
    )
