"""$meta, $meta-add, $meta-delete: the profiles, tags and security labels of a resource
(http://hl7.org/fhir/R4/resource-operations.html, conformance/decisions/0015-base-operations.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.read import compute, existing, is_computed, read
from fhir_server.interactions.update import SETS, identity, refuse_mismatch
from fhir_server.operations.arguments import read_arguments
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Sought, Stored
from fhir_server.scheduling.elements import say
from fhir_server.writing import Server, Unchanged, write

LABELS_MAX = 1000
"""Different profiles, tags or labels of one type that are listed; more are refused (too-costly)."""

Combine: TypeAlias = Callable[[Sequence[Any], Sequence[Any], tuple[str, ...]], list[Any]]
"""(what is there, what is given, what makes two the same) → what is there from now on."""


async def meta(server: Server, request: Request) -> Response:
    """200 with the Meta of the resource; without an id, with the profiles, tags and labels in use of the type, or of
    all types, by system and code, as of now. One round trip."""
    read_arguments(META, request)
    if request.id is None:
        types = [request.type] if request.type else [row.type for row in server.rows.values() if row.contents is None]
        return Response(200, _answer(await _in_use(server, types)))
    resource = (await read(server, replace(request, query=()))).resource or {}
    return Response(200, _answer(resource["meta"]))


async def _in_use(server: Server, types: Sequence[str]) -> Json:
    paths = {"profile": "resource.meta.profile", "security": "index._security", "tag": "index._tag"}
    loads = [(name, Sought(type, {}, path, limit=LABELS_MAX)) for name, path in paths.items() for type in types]
    try:
        groups = await server.store.load([load for _, load in loads])
    except FhirError as refused:
        if refused.issues[0].code != "too-costly":
            raise
        text = f"More is in use than can be listed, {LABELS_MAX} of a kind and type. Ask for one type, or one resource."
        raise FhirError("too-costly", text, status=400) from None
    found: dict[str, set[str]] = {name: set() for name in paths}
    for (name, _), group in zip(loads, groups, strict=True):
        found[name].update(text for text in group if isinstance(text, str))
    labels = {
        name: [coding for text in sorted(found[name]) for coding in _coding(text)] for name in ("security", "tag")
    }
    used = {"profile": sorted(found["profile"]), **labels}
    return {"lastUpdated": say(server.now()), **{name: values for name, values in used.items() if values}}


def _coding(text: str) -> Iterator[Json]:
    """The Coding that an index text `system|code` stands for; none for those that leave the system or the code open."""
    system, _, code = text.partition("|")
    if code and system != "*":
        yield {"system": system, "code": code} if system else {"code": code}


async def meta_add(server: Server, request: Request) -> Response:
    """200 with the Meta after what is given was added; what is there already is left as it is."""
    return await _change(server, request, META_ADD, _added)


async def meta_delete(server: Server, request: Request) -> Response:
    """200 with the Meta after what is given was taken away; what is not there is passed over."""
    return await _change(server, request, META_DELETE, _without)


def _added(known: Sequence[Any], given: Sequence[Any], keys: tuple[str, ...]) -> list[Any]:
    new = {identity(each, keys): each for each in reversed(given)}
    for each in known:
        new.pop(identity(each, keys), None)
    return [*known, *reversed(new.values())]


def _without(known: Sequence[Any], given: Sequence[Any], keys: tuple[str, ...]) -> list[Any]:
    gone = {identity(each, keys) for each in given}
    return [each for each in known if identity(each, keys) not in gone]


async def _change(server: Server, request: Request, operation: Operation, combine: Combine) -> Response:
    """Writes a new version with the Meta so combined; none if that changes nothing. 422 for what is computed."""
    given: Json = read_arguments(operation, request)["meta"][0]
    type, id = str(request.type), str(request.id)
    computed = await compute(server, type, id)

    def propose(before: Stored | None) -> Json | Unchanged:
        refuse_mismatch(request, before)
        if computed and is_computed(server.rows[type], before):
            text = f"{type}/{id} is computed anew whenever it is read, so it keeps no labels; once it is taken it does."
            raise FhirError("business-rule", text, f"{type}.meta")
        known = existing(type, id, before).resource or {}
        combined = {name: combine(known["meta"].get(name, ()), given.get(name, ()), SETS[name]) for name in SETS}
        meta = {name: value for name, value in (known["meta"] | combined).items() if value}
        return Unchanged.UNCHANGED if meta == known["meta"] else {**known, "meta": meta}

    written = await write(server, type, id, propose, who=request.principal, replay=replay_of(request))
    stored = written.stored
    return Response(200, _answer((stored.resource or {})["meta"]), headers={"ETag": f'W/"{stored.version}"'})


def _answer(meta: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": meta}]}


META = Operation(
    code="meta",
    name="Meta",
    title="Profiles, tags and security labels",
    description="Gives the Meta of a resource, with its profiles, tags and security labels; or those in use of a type, "
    "or of all types.",
    resource=("Resource",),
    levels=("system", "type", "instance"),
    affects_state=False,
    parameters=(Parameter("return", "out", 1, "1", "Meta", "The Meta of the resource, or what is in use"),),
    run=meta,
    url="http://hl7.org/fhir/OperationDefinition/Resource-meta",
)

META_ADD = Operation(
    code="meta-add",
    name="MetaAdd",
    title="Add profiles, tags and security labels",
    description="Adds profiles, tags and security labels to a resource; system and code make two the same.",
    resource=("Resource",),
    levels=("instance",),
    affects_state=True,
    parameters=(
        Parameter("meta", "in", 1, "1", "Meta", "What to add: its profile, tag and security"),
        Parameter("return", "out", 1, "1", "Meta", "The Meta of the resource from now on"),
    ),
    run=meta_add,
    url="http://hl7.org/fhir/OperationDefinition/Resource-meta-add",
)

META_DELETE = Operation(
    code="meta-delete",
    name="MetaDelete",
    title="Take away profiles, tags and security labels",
    description="Takes profiles, tags and security labels away from a resource; system and code make two the same.",
    resource=("Resource",),
    levels=("instance",),
    affects_state=True,
    parameters=(
        Parameter("meta", "in", 1, "1", "Meta", "What to take away: its profile, tag and security"),
        Parameter("return", "out", 1, "1", "Meta", "The Meta of the resource from now on"),
    ),
    run=meta_delete,
    url="http://hl7.org/fhir/OperationDefinition/Resource-meta-delete",
)

OPERATIONS = (META, META_ADD, META_DELETE)
