"""The only module that knows HTTP: bodies, negotiation, ETag, Location, Prefer, CORS (http://hl7.org/fhir/R4/http.html)."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from fhir_server import document, markup
from fhir_server.definitions import Request, Response
from fhir_server.interactions.pairs import read_pairs
from fhir_server.interactions.preference import preference
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.scheduling.elements import instant
from fhir_server.settings import Settings

FHIR_JSON, FHIR_XML = "application/fhir+json", "application/fhir+xml"
JSON_TYPES = (FHIR_JSON, "application/json", "text/json", "application/json+fhir")
XML_TYPES = (FHIR_XML, "application/xml", "text/xml", "application/xml+fhir")
FORM = "application/x-www-form-urlencoded"
PAGE = "text/html"

PRINTERS: Mapping[str, Callable[[Json, bool], bytes]] = {
    **{type: document.print for type in JSON_TYPES},
    **{type: markup.print for type in XML_TYPES},
}
"""What an answer can be, by media type. Among equals the client gets the first."""

PARSERS: Mapping[str, Callable[[bytes], Json]] = {
    **{type: document.parse for type in JSON_TYPES},
    **{type: markup.parse for type in XML_TYPES},
}
"""What a resource in a body can be, by media type."""

FORMATS: Mapping[str, str] = {
    **{type: FHIR_JSON for type in (*JSON_TYPES, "json")},
    **{type: FHIR_XML for type in (*XML_TYPES, "xml")},
}
"""What `_format` may say, and the media type of the answer."""

WRITING = ("POST", "PUT", "PATCH")
"""The methods that are answered with what was written, and with where that version is."""

FHIR_VERSIONS = frozenset({"4.0", "4.0.1"})
LONG_BYTES = 200_000
"""A longer body is read beside the event loop, so that others need not wait for it."""

GZIP_BYTES_MIN = 1400
"""A body that fits into one packet is not compressed."""

HEADERS = {
    "Cache-Control": "private, no-cache",
    "Vary": "Accept, Accept-Encoding, Origin",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer: nobody keeps it for others, or uses it again without asking whether it still holds."""

EXPOSED = (
    "Accept-Patch, Allow, Content-Location, Date, ETag, Last-Modified, Location, Retry-After, X-Correlation-Id, "
    "X-Request-Id"
)
"""Headers that a page of another origin may read."""
PREFLIGHT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class _Range:
    """One media range of Accept, or one media type: in lower case, with its parameters."""

    media: str
    parameters: Mapping[str, str]

    @property
    def quality(self) -> float:
        try:
            return float(self.parameters.get("q", "1"))
        except ValueError:
            return 1.0

    @property
    def version_fits(self) -> bool:
        return self.parameters.get("fhirversion", "4.0") in FHIR_VERSIONS


def _range(text: str) -> _Range:
    media, *parameters = (part.strip() for part in text.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return _Range(media.lower(), {name.strip().lower(): value.strip(' "').lower() for name, _, value in pairs})


async def receive(http: HttpRequest, settings: Settings, path: str) -> Request:
    """The request as FHIR means it; `path` is below the base.

    Refuses what is too long (413, 414, 431), an answer in no format of ours (406), a body in none (415), and what is
    not FHIR's JSON or XML (400).
    """
    _refuse_oversize(http, settings)
    request = Request(
        method=http.method,
        base=settings.base,
        path=path,
        query=read_pairs(http.url.query),
        headers=_headers(http),
    )
    if http.method not in ("GET", "HEAD", "DELETE"):
        body = await _read_body(http, settings)
        request.fingerprint = hashlib.sha256(http.url.query.encode() + b"\n" + body).hexdigest()
        if len(body) > LONG_BYTES:
            await asyncio.to_thread(_read_into, request, body)
        elif body:
            _read_into(request, body)
        http.scope["parameters"] = request.query
    if negotiate(http) is None:
        text = f"Answers are {FHIR_JSON} or {FHIR_XML} of FHIR 4.0; ask for one with Accept or `_format`."
        raise FhirError("not-supported", text, status=406)
    return request


def _headers(http: HttpRequest) -> dict[str, str]:
    """The headers by lower-case name; those that are sent twice are one list (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in http.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _refuse_oversize(http: HttpRequest, settings: Settings) -> None:
    url = len(http.scope.get("raw_path") or b"") + len(http.scope["query_string"])
    if url > settings.url_bytes_max:
        text = f"A URL has at most {settings.url_bytes_max} bytes; POST to _search takes longer searches in its body."
        raise FhirError("too-long", text, status=414)
    headers = http.scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > settings.headers_max or size > settings.header_bytes_max:
        text = f"A request has at most {settings.headers_max} headers of {settings.header_bytes_max} bytes together."
        raise FhirError("too-long", text, status=431)


async def _read_body(http: HttpRequest, settings: Settings) -> bytes:
    """The whole body, expanded, counted while it comes, so that a long one is refused before it is kept."""
    encoding = http.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", *_GZIP):
        text = f"The Content-Encoding of a body can be gzip, not {encoding}."
        raise FhirError("not-supported", text, status=415, headers={"Accept-Encoding": "gzip"})
    expand = _Expanding(settings.body_bytes_max) if encoding in _GZIP else None
    body = bytearray()
    try:
        async for chunk in http.stream():
            body += expand(chunk) if expand else chunk
            if len(body) > settings.body_bytes_max:
                raise FhirError("too-long", f"A body has at most {settings.body_bytes_max} bytes.")
    except ClientDisconnect:
        raise FhirError("structure", "The connection ended before the body did.") from None
    if expand and body and not expand.complete:
        raise FhirError("structure", "The body is not gzip as its Content-Encoding says: its end is missing.")
    return bytes(body)


_GZIP = ("gzip", "x-gzip")


class _Expanding:
    """Expands gzip piece by piece, never to much more than `bytes_max` altogether."""

    def __init__(self, bytes_max: int) -> None:
        self.left = bytes_max + 1
        self.inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def __call__(self, chunk: bytes) -> bytes:
        try:
            expanded = self.inner.decompress(chunk, self.left) if self.left else b""
        except zlib.error:
            raise FhirError("structure", "The body is not gzip as its Content-Encoding says.") from None
        if self.inner.unused_data:
            raise FhirError("structure", "Something follows the gzip in the body.")
        self.left -= len(expanded)
        return expanded

    @property
    def complete(self) -> bool:
        return self.inner.eof


def _read_into(request: Request, body: bytes) -> None:
    """What the body says, in the field of the request that is for it, by its Content-Type."""
    given = _range(request.headers.get("content-type", ""))
    request.media = given.media
    if given.parameters.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise FhirError("not-supported", "The body must be UTF-8.", status=415)
    if not given.version_fits:
        raise FhirError("not-supported", "The body must be of FHIR 4.0.", status=415)
    if request.path.endswith("/_search"):
        if given.media != FORM:
            raise _unsupported(given, (FORM,))
        request.query = [*request.query, *read_pairs(body)]
    elif given.media in PARSERS:
        request.body = PARSERS[given.media](body)
    elif request.method == "PATCH":
        request.raw = body
    else:
        raise _unsupported(given, (FHIR_JSON, FHIR_XML))


def _unsupported(given: _Range, known: Sequence[str]) -> FhirError:
    text = f"The body must be {' or '.join(known)}, not {given.media or 'untyped'}."
    return FhirError("not-supported", text, status=415)


def _asked(http: HttpRequest, name: str) -> str | None:
    """The first value of a parameter in the URL or a form, read leniently, since refusals are spelled by it too."""
    pairs = http.scope.get("parameters") or parse_qsl(http.url.query)
    return next((value for key, value in pairs if key == name), None)


def negotiate(http: HttpRequest) -> str | None:
    """The media type of the answer, None if the client takes none of ours. `_format` goes before Accept; a `+` in it
    may have become a blank. Who prefers HTML gets JSON that a browser shows."""
    asked = _asked(http, "_format")
    if asked is not None:
        wanted = _range(asked.replace(" ", "+"))
        return FORMATS.get(wanted.media) if wanted.version_fits else None
    best = _preferred_media(http)
    return "application/json" if best == PAGE else best


def _preferred_media(http: HttpRequest) -> str | None:
    """What Accept asks for most, HTML included; None if it takes nothing of ours."""
    accepted = [_range(part) for part in ",".join(http.headers.getlist("accept")).split(",") if part.strip()]
    if not accepted:
        return FHIR_JSON
    qualities = {media: _quality(media, accepted) for media in (*PRINTERS, PAGE)}
    best = max(qualities, key=lambda media: qualities[media])
    return best if qualities[best] > 0 else None


def _quality(media: str, accepted: list[_Range]) -> float:
    """How much the client wants a media type: as the most specific range that it is in says (RFC 9110, 12.5.1)."""
    family = media.partition("/")[0]
    for range in (media, f"{family}/*", "*/*", "*"):
        found = [one.quality for one in accepted if one.media == range and one.version_fits]
        if found:
            return max(found)
    return 0.0


def wants_page(http: HttpRequest) -> bool:
    """Whether this is a person with a browser who asks for nothing in particular: a GET without a query."""
    return http.method in ("GET", "HEAD") and not http.url.query and _is_browser(http)


def _is_browser(http: HttpRequest) -> bool:
    return _preferred_media(http) == PAGE


def finish(request: Request, response: Response) -> Response:
    """The answer as HTTP has it: headers from meta, 304 where the client has it already, the resource that Prefer
    asks for."""
    resource = response.resource
    if resource is None:
        return response
    headers = dict(response.headers)
    if response.versioned:
        headers |= _version_headers(request, response.status, resource)
    if request.method in ("GET", "HEAD") and response.status == 200 and _has_it(request.headers, headers):
        return Response(304, headers=headers)
    if request.method in WRITING and response.versioned:
        resource = _preferred(request, response.status, resource)
    return Response(response.status, resource, response.versioned, headers)


def _version_headers(request: Request, status: int, resource: Json) -> dict[str, str]:
    meta = resource["meta"]
    updated = instant(meta["lastUpdated"])
    headers = {
        "ETag": f'W/"{meta["versionId"]}"',
        "Last-Modified": format_datetime(updated.replace(microsecond=0), usegmt=True),
    }
    url = f"{request.base}/{resource['resourceType']}/{resource['id']}/_history/{meta['versionId']}"
    if status == 201:
        headers["Location"] = url
    elif request.method in WRITING:
        headers["Content-Location"] = url
    return headers


def _has_it(asked: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Whether a conditional read can be answered with 304, by the headers of the request and those of the answer;
    If-None-Match goes before If-Modified-Since."""
    tags = asked.get("if-none-match")
    if tags is not None:
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "ETag" in headers and ("*" in known or headers["ETag"].removeprefix("W/") in known)
    since = asked.get("if-modified-since")
    if since is None or "Last-Modified" not in headers:
        return False
    try:
        return parsedate_to_datetime(headers["Last-Modified"]) <= parsedate_to_datetime(since)
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


def refuse(error: FhirError) -> Response:
    """The answer that says an error: its OperationOutcome."""
    return Response(error.status, operation_outcome(error.issues), headers=dict(error.headers))


def send(http: HttpRequest, settings: Settings, response: Response) -> HttpResponse:
    """The answer over HTTP, in the format that the client takes; in JSON if it takes none."""
    headers = {**HEADERS, **response.headers, **_cors(http, settings, response)}
    if response.resource is None:
        return HttpResponse(None, response.status, headers)
    media = negotiate(http) or FHIR_JSON
    pretty = (_asked(http, "_pretty") or ("true" if _is_browser(http) else "")) == "true"
    body = PRINTERS[media](response.resource, pretty)
    return _packed(http, body, response.status, headers, f"{media}; charset=utf-8")


def send_document(http: HttpRequest, settings: Settings, body: bytes, tag: str) -> HttpResponse:
    """200 with JSON that is no resource; 304 if the client has the one of this tag."""
    response = Response(200, headers={"ETag": f'W/"{tag}"'})
    headers = {**HEADERS, **response.headers, **_cors(http, settings, response)}
    if _has_it(http.headers, headers):
        return HttpResponse(None, 304, headers)
    return _packed(http, body, 200, headers, "application/json")


def _packed(http: HttpRequest, body: bytes, status: int, headers: Mapping[str, str], media: str) -> HttpResponse:
    """The answer, compressed if that is worth while and the client takes it."""
    if len(body) >= GZIP_BYTES_MIN and _takes_gzip(http):
        body = gzip.compress(body, compresslevel=3, mtime=0)
        headers = {**headers, "Content-Encoding": "gzip"}
    return HttpResponse(body, status, headers, media_type=media)


def _takes_gzip(http: HttpRequest) -> bool:
    accepted = {range.media: range.quality for range in map(_range, http.headers.get("accept-encoding", "").split(","))}
    return accepted.get("gzip", accepted.get("*", 0.0)) > 0


def _cors(http: HttpRequest, settings: Settings, response: Response) -> dict[str, str]:
    """What lets a page of another origin use the answer (https://fetch.spec.whatwg.org/#http-cors-protocol)."""
    origin = http.headers.get("origin")
    allowed = {*settings.cors_origins.split()} - {"none"}
    if origin is None or not ("*" in allowed or origin in allowed):
        return {}
    headers = {
        "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
        "Access-Control-Expose-Headers": EXPOSED,
    }
    asked = http.headers.get("access-control-request-headers", "")
    if http.method == "OPTIONS" and "access-control-request-method" in http.headers:
        headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}", asked):
            headers["Access-Control-Allow-Headers"] = asked
    return headers
