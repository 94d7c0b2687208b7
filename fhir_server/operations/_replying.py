"""The shape of the reply to $hold and $book: as the client that asks like that expects it
(conformance/decisions/0023-doors.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from fhir_server.definitions import Request, Response
from fhir_server.interactions.bundle import status_line
from fhir_server.interactions.create import version_url
from fhir_server.interactions.preference import preference
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.plan import ById, Stored
from fhir_server.scheduling.visit import slots_of
from fhir_server.writing import Server, Written

Shape: TypeAlias = Literal["resource", "searchset", "transaction"]
"""The Appointment itself; a searchset Bundle with it; a transaction-response Bundle with it and its Slots."""

SEARCHSET = frozenset({"appointment-reference", "appointment-resource", "appt-id", "patient-id", "appointmentNote"})
"""Parameter names of IHE, Argonaut and Epic only, who expect a searchset Bundle, of a refusal too."""

CHOICES: Mapping[str, Shape] = {"resource": "resource", "searchset": "searchset", "transaction": "transaction"}


def shape_of(request: Request) -> Shape:
    """The shape that `Prefer: reply=` chooses, else the one that goes with the names of the parameters, whatever is
    wrong with them.

    `appt-resource` is Argonaut's and gematik's: for $book, where it is not beside names of Argonaut's alone, gematik's.
    """
    chosen = CHOICES.get(preference(request, "reply") or "")
    if chosen:
        return chosen
    given = _given(request)
    names = {name for name, _ in given}
    if names & SEARCHSET or any(name in ("appointment", "patient") and _is_identifier(one) for name, one in given):
        return "searchset"
    if "appt-resource" in names and request.path.endswith("/$hold"):
        return "searchset"
    return "transaction" if any(name == "appointment" and _has_slots(one) for name, one in given) else "resource"


def _given(request: Request) -> list[tuple[str, Json]]:
    """The parameters by name as they came, nothing of them checked; a resource that stands alone is `appointment`."""
    body = request.body or {}
    if body.get("resourceType") != "Parameters":
        return [("appointment", {"resource": body}), *((name, {}) for name, _ in request.query)]
    said = body.get("parameter")
    several = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return [*((str(one.get("name")), one) for one in several), *((name, {}) for name, _ in request.query)]


def _is_identifier(parameter: Json) -> bool:
    reference = parameter.get("valueReference")
    return "valueIdentifier" in parameter or (isinstance(reference, dict) and "reference" not in reference)


def _has_slots(parameter: Json) -> bool:
    """Whether an Appointment came with its Slots in it, as those that Medplum's $find proposes."""
    resource = parameter.get("resource")
    contained = resource.get("contained") if isinstance(resource, dict) else None
    several = contained if isinstance(contained, list) else ()
    return any(isinstance(one, dict) and one.get("resourceType") == "Slot" for one in several)


async def reply(server: Server, shape: Shape, written: Written, status: int, headers: Mapping[str, str]) -> Response:
    """The answer that says what was written; `status` is that of the plain resource."""
    resource = written.stored.resource or {}
    if shape == "resource":
        return Response(status, resource, versioned=True, headers=dict(headers))
    if shape == "searchset":
        entry = {"fullUrl": _url(server, written.stored), "resource": resource, "search": {"mode": "match"}}
        return Response(200, _searchset([entry], 1), headers=dict(headers))
    wanted = frozenset(slots_of(resource, server.policy))
    [found] = await server.store.load([ById(wanted)])
    slots = [one for one in found if isinstance(one, Stored)]
    entries = [_entry(server, written.stored, status), *(_entry(server, slot, 201) for slot in slots)]
    return Response(
        201, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}, headers=dict(headers)
    )


def refuse(shape: Shape, refused: FhirError, held: bool) -> Response:
    """The refusal in a searchset Bundle with nothing else in it, each reason fatal; any other shape is no Bundle.

    The HTTP status is what it would be without the Bundle. A hold also says `not-found` (IHE ITI-116).
    """
    if shape != "searchset":
        raise refused
    gone = Issue("not-found", "The appointment is not available to be held.", ("Appointment",), severity="fatal")
    issues = [replace(one, severity="fatal") if one.severity == "error" else one for one in refused.issues]
    outcome = operation_outcome([gone, *issues] if held and refused.status != 400 else issues)
    entry = {"resource": outcome, "search": {"mode": "outcome"}}
    return Response(refused.status, _searchset([entry], 0), headers=dict(refused.headers))


def _searchset(entries: Sequence[Json], total: int) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "total": total, "entry": list(entries)}


def _entry(server: Server, stored: Stored, status: int) -> Json:
    meta = (stored.resource or {})["meta"]
    said = {"status": status_line(status), "location": version_url(server, stored)}
    said |= {"etag": f'W/"{meta["versionId"]}"', "lastModified": meta["lastUpdated"]}
    return {"fullUrl": _url(server, stored), "resource": stored.resource, "response": said}


def _url(server: Server, stored: Stored) -> str:
    return f"{server.base}/{stored.type}/{stored.id}"
