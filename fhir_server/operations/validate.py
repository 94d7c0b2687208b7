"""$validate: what a write would be refused for, without writing (http://hl7.org/fhir/R4/resource-operation-validate.html)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fhir_server import validation
from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions import create, delete, update
from fhir_server.interactions.read import read
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.writing import Server, rehearse

MODES = ("create", "update", "delete", "profile")
"""http://hl7.org/fhir/R4/valueset-resource-validation-mode.html"""

ALL_OK = Issue("informational", "All OK: nothing was found to be wrong.", severity="information")


async def validate(server: Server, request: Request) -> Response:
    """200 with an OperationOutcome, whether the resource is valid or not: the issues, or that there are none.

    The resource is the one given, else the one stored at the instance. Structure, bindings and invariants are always
    checked; a mode adds what the same create, update or delete would be refused for now. 400 only where the request
    itself makes no sense, 404 where there is nothing to check.
    """
    arguments = read_arguments(OPERATION, request)
    mode, profile = _one(arguments, "mode"), _one(arguments, "profile")
    given: Json | None = _one(arguments, "resource")
    _refuse_senseless(request, mode, profile, given)
    if mode == "delete":
        issues = await _refusals(server, request, mode, None)
    else:
        resource = given or (await read(server, replace(request, query=()))).resource or {}
        issues = validation.check(server.rows[str(request.type)], resource)
        if mode in ("create", "update") and not any(issue.severity == "error" for issue in issues):
            issues += await _refusals(server, request, mode, resource)
        issues += _unknown_profiles(str(request.type), resource, profile)
    return Response(200, operation_outcome(issues or [ALL_OK]))


def _one(arguments: Arguments, name: str) -> Any:
    return next(iter(arguments[name]), None)


def _refuse_senseless(request: Request, mode: str | None, profile: str | None, given: Json | None) -> None:
    if mode is not None and mode not in MODES:
        raise _senseless("mode", f"mode is one of {', '.join(MODES)}, not {mode}.")
    if mode in ("update", "delete", "profile") and request.id is None:
        raise _senseless("mode", f"mode={mode} is for an instance: {request.type}/[id]/$validate.")
    if mode == "profile" and given is not None:
        raise _senseless("resource", "mode=profile is about what is stored; leave the resource out.")
    if mode == "profile" and profile is None:
        raise _senseless("profile", "mode=profile needs a profile.")
    if given is None and request.id is None:
        raise _senseless("resource", "Give a resource, alone as the body or as the parameter `resource`.")


def _senseless(name: str, text: str) -> FhirError:
    return FhirError("invalid", text, f"Parameters.parameter.where(name='{name}')")


async def _refusals(server: Server, request: Request, mode: str, resource: Json | None) -> list[Issue]:
    """What the interaction would be refused for now; that the server cannot answer at present is no such thing."""
    asked = {"create": _create, "update": _update, "delete": delete.asked}[mode]
    try:
        for each in await asked(server, replace(request, body=resource)):
            await rehearse(server, each)
    except FhirError as refused:
        if refused.status >= 500:
            raise
        return list(refused.issues)
    return []


async def _create(server: Server, request: Request) -> Sequence[Any]:
    return [await create.asked(server, replace(request, id=None))]


async def _update(server: Server, request: Request) -> Sequence[Any]:
    return [await update.asked(server, request)]


def _unknown_profiles(type: str, resource: Json, profile: str | None) -> list[Issue]:
    """That a profile other than R4's own of the type was not checked: an error for the one that was asked for, a
    warning for each that the resource claims."""
    base = f"http://hl7.org/fhir/StructureDefinition/{type}"
    known = (base, f"{base}|4.0.1")
    if profile is not None:
        text = f"The profile {profile} is not known here; nothing was checked against it. What is known: {base}."
        where = "Parameters.parameter.where(name='profile')"
        return [] if profile in known else [Issue("not-supported", text, (where,))]
    meta = resource.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    return [
        Issue(
            "not-supported",
            "This profile is not known here; nothing was checked against it.",
            (f"{type}.meta.profile[{index}]",),
            severity="warning",
        )
        for index, one in enumerate(claimed if isinstance(claimed, list) else ())
        if one not in known
    ]


OPERATION = Operation(
    code="validate",
    name="Validate",
    title="Validate a resource",
    description="Says what is wrong with a resource, and with a mode what a create, update or delete would be refused "
    "for at present. Nothing is written.",
    resource=("Resource",),
    levels=("type", "instance"),
    affects_state=False,
    parameters=(
        Parameter("resource", "in", 0, "1", "Resource", "The resource; on an instance, what is stored if not given"),
        Parameter("mode", "in", 0, "1", "code", "create, update, delete or profile; general checks if not given"),
        Parameter("profile", "in", 0, "1", "uri", "The profile to check against: R4's own of the type is known"),
        Parameter("return", "out", 1, "1", "OperationOutcome", "The issues; one informational if there are none"),
    ),
    run=validate,
    url="http://hl7.org/fhir/OperationDefinition/Resource-validate",
)
