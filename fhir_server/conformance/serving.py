"""What is asked of the definitions over HTTP: /metadata, and the page at the base."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from html import escape

from fhir_server import __version__, document
from fhir_server.conformance.statement import capability_statement, terminology_capabilities
from fhir_server.definitions import Request, Response
from fhir_server.outcome import FhirError, Json
from fhir_server.settings import Settings
from fhir_server.writing import Server

MODES: Mapping[str, Callable[[Settings], Json]] = {
    "full": capability_statement,
    "normative": capability_statement,
    "terminology": terminology_capabilities,
}
"""What `mode` can be (http://hl7.org/fhir/R4/http.html#capabilities); normative may say more than is normative."""


async def capabilities(server: Server, request: Request) -> Response:
    """200 with the CapabilityStatement of this installation, or what else `mode` names; its ETag changes with it."""
    mode = dict(request.query).get("mode", "full")
    if mode not in MODES:
        raise FhirError("not-supported", f"mode={mode} is not supported; {', '.join(MODES)} are.", "mode")
    statement = MODES[mode](server.settings)
    tag = hashlib.sha256(document.print(statement)).hexdigest()[:16]
    return Response(200, statement, headers={"ETag": f'W/"{tag}"'})


def welcome(base: str) -> str:
    """A page that tells a person where they are."""
    links = "".join(
        f'<li><a href="{escape(base)}/{path}">{text}</a></li>'
        for path, text in (
            ("metadata?_pretty=true", "What this server can do (CapabilityStatement)"),
            ("Schedule?_pretty=true", "The Schedules"),
            ("Slot?_pretty=true", "The Slots that are stored"),
            ("Appointment?state=upcoming&amp;_sort=date&amp;_pretty=true", "The Appointments to come"),
            ("Appointment?state=held&amp;_sort=date&amp;_pretty=true", "What is held at the moment"),
            ("Appointment?status=waitlist&amp;_sort=waiting-since&amp;_pretty=true", "The waiting list"),
            ("ConceptMap?_pretty=true", "How other products' status words map onto FHIR's"),
            ("OperationDefinition?_pretty=true", "The operations"),
        )
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>FHIR scheduling server</title>'
        "<style>body{font:1rem/1.6 system-ui;max-width:42rem;margin:3rem auto;padding:0 1rem}code{background:#eee;"
        "padding:.1em .3em}</style>"
        f"<h1>FHIR scheduling server {__version__}</h1>"
        f"<p>A FHIR R4 server for appointments. Its base URL is <code>{escape(base)}</code>.</p><ul>{links}"
        '<li><a href="/openapi.json">The same for programs that do not know FHIR (OpenAPI 3.1)</a></li>'
        '<li><a href="/health/ready">Whether the store answers</a></li></ul>'
    )
