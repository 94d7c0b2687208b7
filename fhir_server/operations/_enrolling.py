"""Patients who are named without a reference: one who has a record is matched, for another one is made, together with
the booking (docs/doors.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fhir_server.interactions.conditional import meeting
from fhir_server.outcome import FhirError, Json
from fhir_server.search.query import Pairs
from fhir_server.writing import Asked, Server, fresh_id

PATIENTS_MAX = 50
"""Patients without a reference that one request may name."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A Patient as it would be recorded; `local` is how the Appointment refers to it if it is contained there."""

    resource: Json
    local: str | None = None


async def match(server: Server, patient: Json) -> tuple[str | None, dict[str, int]]:
    """The reference of the one Patient here with one of these identifiers, else of the one with exactly this name,
    birth date and one of these telecoms; and what ties it to the moment that there is none (plan.Decision.sole).

    Refuses with 412 to choose among several.
    """
    sole: dict[str, int] = {}
    for condition in _conditions(patient):
        met = await meeting(server, "Patient", condition, 1)
        if met.ids:
            return f"Patient/{met.ids[0]}", {}
        sole |= met.sole
    return None, sole


def _conditions(patient: Json) -> Iterator[Pairs]:
    identifiers = [f"{escaped(one['system'])}|{escaped(one['value'])}" for one in _full(patient, "identifier")]
    if identifiers:
        yield (("identifier", ",".join(identifiers)),)
    name = next((one for one in patient.get("name", ()) if "family" in one and one.get("given")), None)
    telecoms = [escaped(one["value"]) for one in patient.get("telecom", ()) if "value" in one]
    if name and telecoms and "birthDate" in patient:
        given = [("given:exact", escaped(one)) for one in name["given"] if isinstance(one, str)]
        family = ("family:exact", escaped(name["family"]))
        yield (family, *given, ("birthdate", patient["birthDate"]), ("telecom", ",".join(telecoms)))


def _full(patient: Json, element: str) -> list[Json]:
    return [one for one in patient.get(element, ()) if "system" in one and "value" in one]


_SPECIAL = re.compile(r"([,|$\\])")


def escaped(text: str) -> str:
    """A text as a search value (http://hl7.org/fhir/R4/search.html#escaping)."""
    return _SPECIAL.sub(r"\\\1", text)


async def enroll(server: Server, newcomers: Sequence[Newcomer]) -> tuple[list[str], list[Asked]]:
    """The reference of each of them, in order, and the writes that make those who have no record."""
    if len(newcomers) > PATIENTS_MAX:
        raise FhirError("too-costly", f"At most {PATIENTS_MAX} patients can be described.", "patient-resource")
    references: list[str] = []
    asked: list[Asked] = []
    for place, newcomer in enumerate(newcomers):
        same = next((one for one in range(place) if newcomers[one].resource == newcomer.resource), None)
        found, sole = (references[same], {}) if same is not None else await match(server, newcomer.resource)
        if found is None:
            made = {name: value for name, value in newcomer.resource.items() if name != "id"}
            asked.append(_made(made, sole))
            found = asked[-1].reference
        references.append(found)
    return references, asked


def _made(patient: Json, sole: dict[str, int]) -> Asked:
    return Asked("Patient", fresh_id(), lambda _: patient, "POST", new=True, sole=sole)


async def identified(server: Server, identifier: Json, type: str) -> str:
    """The reference of the one resource of the type with this Identifier; 422 if there is none, 412 if several."""
    value = escaped(str(identifier.get("value", "")))
    text = f"{escaped(identifier['system'])}|{value}" if "system" in identifier else value
    met = await meeting(server, type, (("identifier", text),), 1)
    if not met.ids:
        problem = f"{type.lower()}-unknown"
        raise FhirError("not-found", f"No {type} here has this identifier.", type, problem=problem, status=422)
    return f"{type}/{met.ids[0]}"
