"""update: a new version under a known id, or the first under the client's (http://hl7.org/fhir/R4/http.html#update)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions.conditional import meeting
from fhir_server.interactions.intent import intent_of
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.subset import SUBSETTED
from fhir_server.writing import Asked, Server, fresh_id, write_all

_ETAG = re.compile(r'(?:W/)?"([^"]*)"')

SETS: Mapping[str, tuple[str, ...]] = {"profile": (), "security": ("system", "code"), "tag": ("system", "code")}
"""The elements of meta that are sets, and what makes an element of one the same as another."""


async def update(server: Server, request: Request) -> Response:
    """200, or 201 for a first version. 400 if the body's id is not the URL's, 412 if If-Match is not the current
    version, 405 for an unknown id where clients may not choose ids.

    Without an id in the URL, of what meets the condition: none is created, several are 412.
    """

    async def ask() -> Sequence[Asked]:
        return [await asked(server, request)]

    written = (
        await write_all(server, ask, named=reference(request), who=request.principal, intent=intent_of(request))
    )[0]
    return Response(written.status, written.stored.resource, versioned=True)


def reference(request: Request) -> str | None:
    """The resource that the URL names, None if it says a condition."""
    return f"{request.type}/{request.id}" if request.id else None


async def asked(server: Server, request: Request) -> Asked:
    """The body as the next version of what the URL names by id or by a condition."""
    type, body = str(request.type), body_of(request)
    if request.id is None:
        return await _conditional(server, request, body)
    if body.get("id") != request.id:
        raise FhirError("invalid", f"The body's id must be the URL's: {request.id}.", f"{type}.id")

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        if before is None:
            _refuse_choosing(server, f"{type}/{request.id}")
        return merge_meta(before, body)

    return Asked(type, request.id, propose)


async def _conditional(server: Server, request: Request, body: Json) -> Asked:
    type, given = str(request.type), body.get("id")
    met = await meeting(server, type, request.query, 1)
    if met.ids and given not in (None, met.ids[0]):
        text = f"The condition is met by {type}/{met.ids[0]}, but the body's id is {given}."
        raise FhirError("invalid", text, f"{type}.id")

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        if not met.ids and before and before.resource is not None:
            text = f"Nothing meets the condition, but {type}/{given}, which the body names, exists."
            raise FhirError("conflict", text, f"{type}.id")
        if not met.ids and given is not None:
            _refuse_choosing(server, f"{type}/{given}")
        return merge_meta(before, body)

    if met.ids or given is not None:
        return Asked(type, met.ids[0] if met.ids else str(given), propose, sole=met.sole)
    return Asked(type, fresh_id(), propose, new=True, sole=met.sole)


def _refuse_choosing(server: Server, reference: str) -> None:
    if not server.settings.create_by_put:
        text = f"{reference} does not exist, and clients do not choose ids here."
        raise FhirError("not-supported", text, status=405)


def merge_meta(before: Stored | None, body: Json) -> Json:
    """The body with the profiles, tags and security labels that the resource has already; an update adds to these sets,
    and only `$meta-delete` takes away (http://hl7.org/fhir/R4/resource.html#Meta)."""
    known = ((before and before.resource) or {}).get("meta", {})
    meta = body.get("meta", {})
    if not isinstance(meta, dict):
        return body
    merged = {name: union(known[name], meta.get(name, []), keys) for name, keys in SETS.items() if name in known}
    return {**body, "meta": {**meta, **merged}} if merged else body


def union(known: Sequence[Any], given: Any, keys: Sequence[str]) -> Any:
    """Both sets as one; of what is the same the given one counts. What is no list is left for the validation."""
    if not isinstance(given, list):
        return given
    same = {identity(each, keys) for each in given}
    return [*(each for each in known if identity(each, keys) not in same), *given]


def identity(value: Any, keys: Sequence[str]) -> Any:
    """What makes an element of a set the same as another."""
    return tuple(value.get(key) for key in keys) if keys and isinstance(value, dict) else str(value)


def body_of(request: Request) -> Json:
    """The resource in the body, of the type in the URL."""
    if request.body is None:
        raise FhirError("required", f"The body must be a {request.type}.")
    found = request.body.get("resourceType")
    if found != request.type:
        raise FhirError("invalid", f"The body is a {found}, the URL says {request.type}.", "resourceType")
    if _is_subset(request.body):
        text = "This is a subset (meta.tag SUBSETTED): written, the resource would lose the rest. Read all of it first."
        raise FhirError("business-rule", text, f"{request.type}.meta.tag")
    return request.body


def _is_subset(resource: Json) -> bool:
    """Whether a resource is what `_summary` or `_elements` left of it (http://hl7.org/fhir/R4/search.html#summary)."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return isinstance(tags, list) and any(isinstance(tag, dict) and SUBSETTED.items() <= tag.items() for tag in tags)


def refuse_mismatch(request: Request, before: Stored | None) -> None:
    """Refuses with 412 if the current version is not one that If-Match names, or If-None-Match: * meets one."""
    current = before.version if before and before.resource is not None else None
    wanted = request.headers.get("if-match")
    if wanted is not None and wanted.strip() != "*" and str(current) not in _ETAG.findall(wanted):
        said = f'the current version is W/"{current}"' if current else "there is no current version"
        raise FhirError("conflict", f"If-Match is {wanted}, but {said}. Read it again.", status=412)
    if wanted is not None and current is None:
        raise FhirError("conflict", "If-Match is given, but there is no current version.", status=412)
    if request.headers.get("if-none-match", "").strip() == "*" and current is not None:
        raise FhirError("duplicate", "If-None-Match: * is given, but the resource exists.", status=412)


INTERACTION = Interaction("update", "instance", "PUT", "/{type}/{id}", update)

CONDITIONAL = Interaction("update", "type", "PUT", "/{type}", update, conditional=True)
