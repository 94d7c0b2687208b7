"""The only module that knows HTTP: bodies, negotiation, ETag, Location, Prefer (http://hl7.org/fhir/R4/http.html)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import parse_qsl

from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from fhir_server import document
from fhir_server.definitions import Request, Response
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.scheduling.elements import instant
from fhir_server.settings import Settings

FHIR_JSON = "application/fhir+json"
JSON_TYPES = frozenset({FHIR_JSON, "application/json", "text/json", "application/json+fhir"})
FIELDS_MAX = 1000

FORM = "application/x-www-form-urlencoded"
FORMATS = JSON_TYPES | {"json"}
"""What `_format` may say."""


async def receive(http: HttpRequest, settings: Settings) -> Request:
    """The request as FHIR means it. Refuses a body that is too long (413), not JSON (415) or not FHIR's JSON (400)."""
    path = http.path_params
    request = Request(
        method=http.method,
        base=settings.base,
        path=http.url.path,
        type=path.get("type"),
        id=path.get("id"),
        version=path.get("version"),
        query=_pairs(http.url.query),
        headers={name.lower(): value for name, value in http.headers.items()},
    )
    negotiate(request)
    if http.method in ("GET", "HEAD", "DELETE"):
        return request
    body = await _read_body(http, settings)
    media = _media(request.headers.get("content-type", ""))
    request.fingerprint = hashlib.sha256(http.url.query.encode() + b"\n" + body).hexdigest()
    _refuse_encodings(request)
    if media == FORM and http.url.path.endswith("/_search"):
        request.query = [*request.query, *_pairs(body.decode("utf-8", "replace"))]
    elif body:
        if media not in JSON_TYPES:
            raise FhirError("not-supported", f"The body must be {FHIR_JSON}, not {media or 'untyped'}.", status=415)
        request.body = document.parse(body)
    return request


async def _read_body(http: HttpRequest, settings: Settings) -> bytes:
    """The whole body, counted while it comes, so that a long one is refused before it is kept."""
    body = bytearray()
    async for chunk in http.stream():
        body += chunk
        if len(body) > settings.body_bytes_max:
            text = f"A body has at most {settings.body_bytes_max} bytes."
            raise FhirError("too-long", text)
    return bytes(body)


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise FhirError("too-costly", f"A request has at most {FIELDS_MAX} parameters.", status=400) from None


def _refuse_encodings(request: Request) -> None:
    """Refuses with 415 what is not plain UTF-8."""
    header = request.headers.get("content-type", "").lower().replace(" ", "").replace('"', "")
    charset = header.partition("charset=")[2].partition(";")[0]
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if charset not in ("", "utf-8", "utf8") or encoding != "identity":
        raise FhirError("not-supported", "The body must be UTF-8 without a Content-Encoding.", status=415)


def _media(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def negotiate(request: Request) -> None:
    """Refuses with 406 if the client takes no JSON. `_format` goes before Accept."""
    asked = next((value for name, value in request.query if name == "_format"), None)
    if asked is not None:
        if _media(asked.replace(" ", "+")) not in FORMATS:
            raise FhirError("not-supported", f"`_format` can only be json here, not {asked}.", status=406)
        return
    accepted = [part.strip() for part in request.headers.get("accept", "*/*").split(",") if part.strip()]
    wanted = {_media(part) for part in accepted if not _refused(part)}
    if accepted and wanted.isdisjoint(JSON_TYPES | {"*/*", "*", "application/*", "text/*"}):
        raise FhirError("not-supported", f"Answers are {FHIR_JSON} only.", status=406)


def _refused(part: str) -> bool:
    quality = next((p.strip()[2:] for p in part.split(";")[1:] if p.strip().startswith("q=")), "1")
    return quality.rstrip("0").rstrip(".") in ("", "0")


def preference(request: Request, name: str) -> str | None:
    """The value of a preference in `Prefer` (RFC 7240), None if it is not given."""
    for part in request.headers.get("prefer", "").replace(";", ",").split(","):
        key, _, value = part.strip().partition("=")
        if key.lower() == name:
            return value.strip('" ')
    return None


def send(request: Request, response: Response) -> HttpResponse:
    """The answer over HTTP: headers from meta, 304 where the client has it already, the body that Prefer asks for."""
    headers = dict(response.headers)
    resource = response.resource
    if response.versioned and resource is not None:
        headers |= _version_headers(request, response.status, resource)
        if request.method in ("GET", "HEAD") and _has_it(request, headers):
            return HttpResponse(status_code=304, headers=headers)
    if resource is not None and request.method in ("POST", "PUT", "PATCH") and response.versioned:
        resource = _preferred(request, response.status, resource)
    if resource is None:
        return HttpResponse(status_code=response.status, headers=headers)
    pretty = any(name == "_pretty" and value == "true" for name, value in request.query)
    body = document.print(resource, pretty=pretty)
    return HttpResponse(body, response.status, headers, media_type=f"{FHIR_JSON}; charset=utf-8")


def _version_headers(request: Request, status: int, resource: Json) -> dict[str, str]:
    meta = resource["meta"]
    updated = instant(meta["lastUpdated"])
    headers = {
        "ETag": f'W/"{meta["versionId"]}"',
        "Last-Modified": format_datetime(updated.replace(microsecond=0), usegmt=True),
    }
    if status == 201:
        url = f"{request.base}/{resource['resourceType']}/{resource['id']}/_history/{meta['versionId']}"
        headers["Location"] = url
    return headers


def _has_it(request: Request, headers: dict[str, str]) -> bool:
    """Whether a conditional read can be answered with 304; If-None-Match goes before If-Modified-Since."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in known or headers["ETag"].removeprefix("W/") in known
    since = request.headers.get("if-modified-since")
    try:
        return since is not None and parsedate_to_datetime(headers["Last-Modified"]) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False


def _preferred(request: Request, status: int, resource: Json) -> Json | None:
    match preference(request, "return"):
        case "minimal":
            return None
        case "OperationOutcome":
            done = "created" if status == 201 else "updated"
            text = f"{resource['resourceType']}/{resource['id']} was {done}."
            return operation_outcome([Issue("informational", text, severity="information")])
    return resource


def refuse(error: FhirError, *, pretty: bool = False) -> HttpResponse:
    """The OperationOutcome of an error over HTTP."""
    return outcome(error.status, error.issues, dict(error.headers), pretty=pretty)


def outcome(
    status: int, issues: Iterable[Issue], headers: dict[str, str] | None = None, *, pretty: bool = False
) -> HttpResponse:
    """An OperationOutcome over HTTP with this status."""
    body = document.print(operation_outcome(issues), pretty=pretty)
    return HttpResponse(body, status, headers, media_type=f"{FHIR_JSON}; charset=utf-8")
