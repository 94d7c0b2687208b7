"""The parameters that say who changes an Appointment and which rules are waived, the same in all operations
(conformance/decisions/0024-who-changes-and-overrides.md)."""

from __future__ import annotations

from dataclasses import replace

from fhir_server.definitions import Parameter
from fhir_server.operations.arguments import Arguments
from fhir_server.outcome import FhirError
from fhir_server.scheduling.overrides import OVERRIDABLE
from fhir_server.scheduling.policies import ACTORS
from fhir_server.scheduling.policy import Intent

ALL = "all"

OVERRIDING = (
    Parameter(
        "override",
        "in",
        0,
        "*",
        "code",
        "A problem that staff waive, or `all` that can be waived; needs override-reason",
    ),
    Parameter(
        "override-reason",
        "in",
        0,
        "1",
        "CodeableConcept",
        "Why rules are waived: emergency, walk-in, clinical-need, patient-request or import, or a text",
    ),
)

BY = Parameter("by", "in", 0, "1", "code", "Who does it: `patient`, who is bound by cut-offs, or `staff`")

REASON = Parameter("reason", "in", 0, "1", "CodeableConcept", "Why; it is kept in a Provenance")

TOKEN = Parameter("token", "in", 0, "1", "string", "The token of the hold, if it is held; also as header X-Hold-Token")


def intending(intent: Intent, arguments: Arguments) -> Intent:
    """What the request says, with what these parameters say, as far as the operation has them."""
    given = {name: next(iter(arguments.get(name, ())), None) for name in ("by", "reason", "token", "override-reason")}
    if given["by"] not in (None, *ACTORS):
        text = f"by is {' or '.join(ACTORS)}, not {given['by']}."
        raise FhirError("value", text, "Parameters.parameter.where(name='by')")
    codes = frozenset(arguments.get("override", ()))
    return replace(
        intent,
        by=given["by"],
        reason=given["reason"],
        token=given["token"] or intent.token,
        overrides=codes - {ALL} | (OVERRIDABLE if ALL in codes else frozenset()),
        override_reason=given["override-reason"],
    )
