"""batch and transaction: many requests as one (http://hl7.org/fhir/R4/http.html#transaction).

A batch is its entries one after another, each on its own. A transaction is one write of everything that its entries ask
for, by the same rules as if each came alone (conformance/decisions/0011-transactions.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus

from fhir_server.definitions import Interaction, Request, ResourceDefinition, Response
from fhir_server.interactions import create, delete, patch, update
from fhir_server.interactions.create import replay_of, version_url
from fhir_server.interactions.entries import Entry, read_entries, type_and_id
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.linking import Step, link
from fhir_server.interactions.preference import preference
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.resources import REFERRED_FIRST
from fhir_server.scheduling.elements import say
from fhir_server.writing import Asked, Server, Written, placed, refuse_invalid, write_all

BUNDLE = ResourceDefinition("Bundle", "What many requests come in.", ())

RESOURCES_MAX = 10_000
"""Resources that the answers to the reads and searches of a Bundle hold, about."""

SETTING_UP = frozenset(REFERRED_FIRST[: REFERRED_FIRST.index("Slot")])
"""Types that others depend on: whether a POST or a PUT makes one of these, it is there for the other entries."""


async def bundle(server: Server, request: Request) -> Response:
    """200 with a batch-response or transaction-response, its entries in the order of those of the request.

    A transaction of which one entry is refused is refused as that entry would be, and nothing is written.
    """
    body = _body(server, request)
    entries = read_entries(request, body)
    if body["type"] == "batch":
        answered = _named_once(await _answer_each(server, [_repeatable(request, entry) for entry in entries]))
    else:
        answered = await _transact(server, request, entries)
    response: Json = {"resourceType": "Bundle", "type": f"{body['type']}-response"}
    return Response(200, response | ({"entry": answered} if answered else {}))


def _body(server: Server, request: Request) -> Json:
    body = request.body
    if body is None or body.get("resourceType") != BUNDLE.type:
        raise FhirError("invalid", "The base takes a Bundle of type batch or transaction.", "resourceType")
    listed = body.get("entry", [])
    bare = [_bare(entry) for entry in listed] if isinstance(listed, list) else listed
    refuse_invalid(BUNDLE, {**body, "entry": bare} if bare else body)
    if body["type"] not in ("batch", "transaction"):
        raise FhirError(
            "value", f"A Bundle of type {body['type']} asks for nothing; batch and transaction do.", "Bundle.type"
        )
    if len(bare) > server.settings.bundle_entries_max:
        text = f"A Bundle has at most {server.settings.bundle_entries_max} entries, not {len(bare)}."
        raise FhirError("too-costly", text, "Bundle.entry", status=413)
    return body


def _bare(entry: object) -> object:
    """The entry with a resource that says nothing, since its own is validated when it is written."""
    return (
        {**entry, "resource": {"resourceType": "Parameters"}}
        if isinstance(entry, dict) and "resource" in entry
        else entry
    )


def _repeatable(outer: Request, entry: Entry) -> Entry:
    """The entry with an Idempotency-Key of its own, if the batch has one."""
    key = outer.headers.get("idempotency-key")
    if key is not None and entry.request.method in ("POST", "PATCH"):
        entry.request.headers = {**entry.request.headers, "idempotency-key": f"{key}|{entry.where}"}
        entry.request.fingerprint = outer.fingerprint
    return entry


async def _answer_each(server: Server, entries: Sequence[Entry]) -> list[Json]:
    """The answers of the entries, each on its own. What comes after the deadline, or after `RESOURCES_MAX` resources in
    the answers, is refused."""
    deadline = asyncio.get_running_loop().time() + server.settings.transaction_deadline_seconds
    answered: list[Json] = []
    resources = 0
    for entry in entries:
        if resources >= RESOURCES_MAX:
            text = f"The answers hold {resources} resources already; ask for the rest in another Bundle."
            answered.append(_refused(FhirError("too-costly", text)))
        elif asyncio.get_running_loop().time() > deadline:
            text = "The time of the Bundle is over; ask for the rest in another one."
            answered.append(_refused(FhirError("timeout", text)))
        else:
            answered.append(await _answer_alone(server, entry))
            resources += len(answered[-1].get("resource", {}).get("entry", ())) + ("resource" in answered[-1])
        await asyncio.sleep(0)
    return answered


async def _answer_alone(server: Server, entry: Entry) -> Json:
    """What an entry is answered as if it had come alone."""
    if entry.refused:
        return _refused(entry.refused)
    try:
        return _as_entry(entry.request, await server.dispatch(entry.request))
    except FhirError as refused:
        return _refused(refused)


def _refused(refused: FhirError) -> Json:
    return {"response": {"status": status_line(refused.status), "outcome": operation_outcome(refused.issues)}}


def _as_entry(request: Request, response: Response) -> Json:
    """An answer as the entry of a Bundle."""
    said: Json = {"status": status_line(response.status)}
    for element, header in (("location", "Location"), ("etag", "ETag")):
        if header in response.headers:
            said[element] = response.headers[header]
    resource = response.resource
    if resource is None or request.method == "HEAD":
        return {"response": said}
    if resource["resourceType"] == "OperationOutcome" and (response.versioned or request.method == "DELETE"):
        return {"response": said | {"outcome": resource}}
    if not response.versioned:
        return {"resource": resource, "response": said}
    said["lastModified"] = resource["meta"]["lastUpdated"]
    url = f"{request.base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "resource": resource, "response": said}


def status_line(code: int) -> str:
    """The status of an answer as an entry says it."""
    return f"{code} {HTTPStatus(code).phrase}"


async def _transact(server: Server, request: Request, entries: Sequence[Entry]) -> list[Json]:
    """The answers of a transaction: its writes at once, then its reads, each of which is answered on its own."""
    if refused := next((entry.refused for entry in entries if entry.refused), None):
        raise refused
    writes = [entry for entry in entries if entry.request.method not in ("GET", "HEAD")]

    async def ask() -> Sequence[Asked]:
        groups = await asyncio.gather(*(_steps(server, entry) for entry in writes))
        steps = [step for group in groups for step in group]
        _refuse_twice(steps)
        return _in_order(await link(server, steps))

    replay, seconds = replay_of(request), server.settings.transaction_deadline_seconds
    written = await write_all(
        server, ask, who=request.principal, intent=intent_of(request), replay=replay, deadline_seconds=seconds
    )
    by_place: dict[str, list[Written]] = {}
    for each in written:
        by_place.setdefault(each.where, []).append(each)
    reads = [entry for entry in entries if entry.request.method in ("GET", "HEAD")]
    read = dict(zip((entry.where for entry in reads), await _answer_each(server, reads), strict=True))
    return _named_once(
        [
            read[entry.where] if entry.where in read else _say_written(server, entry, by_place.get(entry.where, []))
            for entry in entries
        ]
    )


def _named_once(answered: list[Json]) -> list[Json]:
    """The entries; of those about the same resource only the first keeps its fullUrl (bdl-7)."""
    known: set[str] = set()
    for entry in answered:
        if (url := entry.get("fullUrl")) in known:
            del entry["fullUrl"]
        known.add(str(url))
    return answered


async def _steps(server: Server, entry: Entry) -> Sequence[Step]:
    """The writes that an entry asks for: one, or for a conditional delete any number."""
    request = replace(entry.request)
    request.type, request.id = type_and_id(entry, tuple(server.rows))
    try:
        if request.method == "DELETE":
            asked = await delete.asked(server, request)
        else:
            asked = [await ASKED[request.method](server, request)]
    except FhirError as refused:
        raise placed(refused, entry.where, request.type) from None
    return [Step(entry, request, replace(each, where=entry.where)) for each in asked]


ASKED: Mapping[str, Callable[[Server, Request], Awaitable[Asked]]] = {
    "POST": create.asked,
    "PUT": update.asked,
    "PATCH": patch.asked,
}


def _refuse_twice(steps: Sequence[Step]) -> None:
    """Refuses two entries that write the same resource, or make one because nothing meets the same condition. What a
    conditional create has found is not written."""
    seen: set[str] = set()
    for step in steps:
        for named in () if step.keeps else (step.asked.reference, *step.asked.sole):
            if named in seen:
                text = f"{step.asked.reference} is written by more than one entry, which a transaction cannot do."
                raise FhirError("duplicate", text, step.entry.where, status=400)
            seen.add(named)


def _in_order(asked: Sequence[Asked]) -> list[Asked]:
    """R4's order: deletions, then POST, then PUT and PATCH. What others depend on goes before them whatever its method,
    and is deleted after them."""
    ranks = {type: rank for rank, type in enumerate(REFERRED_FIRST)}

    def place(each: Asked) -> tuple[int, int]:
        rank = ranks.get(each.type, len(ranks))
        if each.method == "DELETE":
            return 0, -rank
        if each.type in SETTING_UP:
            return 1, rank
        return (2 if each.method == "POST" else 3), rank

    return sorted(asked, key=place)


def _say_written(server: Server, entry: Entry, written: Sequence[Written]) -> Json:
    """The answer of an entry that wrote: as it would have been alone."""
    wanted = preference(entry.request, "return")
    if entry.request.method == "DELETE":
        gone = [each for each in written if not each.unchanged]
        etag = {"etag": f'W/"{gone[0].stored.version}"'} if len(gone) == 1 else {}
        said: Json = {"status": status_line(204)} | etag
        return {
            "response": said
            | ({"outcome": operation_outcome([delete.deleted(gone)])} if wanted == "OperationOutcome" else {})
        }
    one = written[0]
    stored = one.stored
    reference = f"{stored.type}/{stored.id}"
    response: Json = {
        "status": status_line(one.status),
        "location": version_url(server, stored),
        "etag": f'W/"{stored.version}"',
        "lastModified": stored.resource["meta"]["lastUpdated"] if stored.resource else say(stored.updated),
    }
    if wanted == "OperationOutcome":
        done = "unchanged" if one.unchanged else "created" if one.status == 201 else "updated"
        response["outcome"] = operation_outcome(
            [Issue("informational", f"{reference}: {done}.", severity="information")]
        )
    body = {"resource": stored.resource} if wanted not in ("minimal", "OperationOutcome") and stored.resource else {}
    return {"fullUrl": f"{server.base}/{reference}", **body, "response": response}


INTERACTION = Interaction("transaction", "system", "POST", "", bundle)

BATCH = Interaction("batch", "system", "POST", "", bundle)
