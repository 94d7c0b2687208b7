"""How the tests of the doors ask: Parameters by name, in JSON or XML."""

from __future__ import annotations

import json
from typing import Any

import httpx

from fhir_server import document, markup

Json = dict[str, Any]

FORMATS = {"json": "application/fhir+json", "xml": "application/fhir+xml"}


def parameters(*given: tuple[str, Any]) -> Json:
    """Parameters of (name, value): a resource, or {"valueReference": …}."""
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": name, "resource": value} if "resourceType" in value else {"name": name, **value}
            for name, value in given
        ],
    }


def reference(text: str) -> Json:
    return {"valueReference": {"reference": text}}


def period(start: str, end: str) -> tuple[tuple[str, Json], tuple[str, Json]]:
    return ("start", {"valueDateTime": start}), ("end", {"valueDateTime": end})


async def post(client: httpx.AsyncClient, path: str, body: Json, format: str = "json") -> httpx.Response:
    """POSTs the body in the format, and asks for the answer in it."""
    media = FORMATS[format]
    content = json.dumps(body).encode() if format == "json" else markup.print(body, False)
    return await client.post(path, content=content, headers={"content-type": media, "accept": media})


def said(response: httpx.Response) -> Json:
    """What an answer says, in whichever format."""
    if response.headers["content-type"].startswith(FORMATS["xml"]):
        return json.loads(document.print(markup.parse(response.content), False))  # type: ignore[no-any-return]
    return response.json()  # type: ignore[no-any-return]


def matches(bundle: Json) -> list[Json]:
    """The resources that a searchset found."""
    assert bundle["resourceType"] == "Bundle"
    return [entry["resource"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]


def outcomes(bundle: Json) -> list[Json]:
    """The OperationOutcomes in a searchset."""
    assert bundle["resourceType"] == "Bundle"
    return [entry["resource"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "outcome"]
