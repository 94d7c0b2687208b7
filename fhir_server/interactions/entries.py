"""The entries of a Bundle as requests (http://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.request)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

from fhir_server.definitions import Request
from fhir_server.interactions.intent import TOKEN_HEADER
from fhir_server.interactions.pairs import read_pairs
from fhir_server.outcome import FhirError, Json
from fhir_server.scheduling.elements import instant

HEADERS: Mapping[str, str] = {
    "ifMatch": "if-match",
    "ifNoneMatch": "if-none-match",
    "ifNoneExist": "if-none-exist",
}
"""The elements of an entry's request that stand for headers."""

INHERITED = frozenset({"prefer", "accept", TOKEN_HEADER})
"""Headers of the Bundle that count for its entries."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: where it stands, what it asks for, the URL that other entries know it by, and why it cannot be asked
    for, if so."""

    where: str
    request: Request
    full_url: str
    refused: FhirError | None = None


def read_entries(outer: Request, body: Json) -> list[Entry]:
    """The entries of a Bundle that is valid but for its resources."""
    return [_read(outer, f"Bundle.entry[{index}]", entry) for index, entry in enumerate(body.get("entry", ()))]


def _read(outer: Request, where: str, entry: Json) -> Entry:
    full_url = entry.get("fullUrl", "")
    try:
        return Entry(where, _request(outer, where, entry), full_url)
    except FhirError as refused:
        return Entry(where, Request("", outer.base, ""), full_url, refused)


def _request(outer: Request, where: str, entry: Json) -> Request:
    if "request" not in entry:
        text = "An entry of a batch or transaction needs request.method and request.url."
        raise FhirError("required", text, f"{where}.request")
    said = entry["request"]
    path, _, query = _below_base(outer.base, said["url"], where).partition("?")
    segments = tuple(unquote(segment) for segment in path.split("/"))
    request = Request(
        method=said["method"],
        base=outer.base,
        path=f"/{'/'.join(segments)}",
        query=read_pairs(query),
        headers={name: value for name, value in outer.headers.items() if name in INHERITED} | dict(_headers(said)),
        principal=outer.principal,
    )
    resource = entry.get("resource")
    if resource is None or request.method in ("GET", "HEAD", "DELETE"):
        return request
    if not isinstance(resource, dict):
        raise FhirError("structure", "The resource of an entry is an object.", f"{where}.resource")
    if request.method == "PATCH" and resource.get("resourceType") == "Binary":
        request.media, request.raw = _binary(resource, where)
    else:
        request.body, request.media = resource, "application/fhir+json"
    return request


def _below_base(base: str, url: str, where: str) -> str:
    """The part of an entry's URL below our base; `Type/id` and `/Type/id` are that as they are."""
    below = url.removeprefix(base.rstrip("/") + "/") if url.startswith(base) else url
    if "://" in below.partition("?")[0] or below.startswith("urn:"):
        text = f"The URL of an entry is relative, like Patient/1, or below {base}."
        raise FhirError("value", text, f"{where}.request.url")
    return below.removeprefix("/")


def _headers(said: Json) -> Iterator[tuple[str, str]]:
    for element, header in HEADERS.items():
        if element in said:
            yield header, said[element]
    if "ifModifiedSince" in said:
        yield "if-modified-since", format_datetime(instant(said["ifModifiedSince"]), usegmt=True)


def _binary(resource: Json, where: str) -> tuple[str, bytes]:
    """The media type and bytes of a patch in a Binary."""
    data: Any = resource.get("data", "")
    try:
        return str(resource.get("contentType", "")).partition(";")[0].strip().lower(), base64.b64decode(data)
    except (binascii.Error, TypeError, ValueError):
        raise FhirError("value", "Binary.data is base64.", f"{where}.resource.data") from None


def type_and_id(entry: Entry, types: Sequence[str]) -> tuple[str, str | None]:
    """What the URL of a write names: a type, and an id unless there is a condition instead. Refuses what names neither,
    such as an operation."""
    type, *rest = entry.request.path.removeprefix("/").split("/")
    method, id = entry.request.method, rest[0] if rest else None
    where = f"{entry.where}.request.url"
    if "$" in entry.request.path:
        text = f"{entry.request.path} is an operation; those can be called in a batch, not in a transaction."
        raise FhirError("not-supported", text, where)
    if type not in types:
        raise FhirError("not-found", f"{type or 'The base'} is no type that can be written.", where)
    if len(rest) > 1 or (id is not None and (method == "POST" or id[:1] in ("", "_"))):
        right = "Type" if method == "POST" else "Type/id or Type?condition"
        text = f"In a transaction, {method} is for {right}."
        raise FhirError("not-supported", text, where)
    return type, id
