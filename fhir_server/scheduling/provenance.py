"""What is written down of a change that has a reason: who, why, and which rules were waived
(http://hl7.org/fhir/R4/provenance.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.outcome import CANONICAL, Issue, Json
from fhir_server.plan import Write
from fhir_server.scheduling.elements import kind, say, target
from fhir_server.scheduling.policies import PATIENT
from fhir_server.scheduling.policy import Change

WAIVED = f"{CANONICAL}/StructureDefinition/waived"
OPERATIONS = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
AGENTS = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def record(change: Change, waived: Sequence[Issue]) -> tuple[Write, ...]:
    """The Provenance of the version that the change makes; none if it has no reason and nothing was waived."""
    reasons = [change.intent.reason, change.intent.override_reason if waived else None]
    given = [one for one in reasons if one]
    if not given:
        return ()
    version = (change.before.version if change.before else 0) + 1
    codes = dict.fromkeys(issue.problem for issue in waived)
    told: Json = {
        "resourceType": "Provenance",
        "extension": [{"url": WAIVED, "valueCode": code} for code in codes],
        "target": [{"reference": f"{change.type}/{change.id}/_history/{version}"}],
        "recorded": say(change.now),
        "reason": given,
        "activity": {"coding": [{"system": OPERATIONS, "code": "UPDATE" if change.before else "CREATE"}]},
        "agent": [{"type": {"coding": [{"system": AGENTS, "code": "author"}]}, "who": _who(change)}],
    }
    told = {name: value for name, value in told.items() if value}
    return (Write("Provenance", change.fresh_id, told, 0, method="POST"),)


def _who(change: Change) -> Json:
    """Who asked for it, as far as it is known."""
    if change.intent.by == PATIENT:
        actors = (one.get("actor") for one in (change.after or {}).get("participant", ()))
        for actor in actors:
            found = target(actor, change.policy.base)
            if found and kind(found) == "Patient":
                return {"reference": found}
    return {"display": change.intent.client or "unknown"}
