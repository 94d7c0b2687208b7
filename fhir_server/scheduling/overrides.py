"""Rules that staff waive for one booking, with a reason that is written down
(conformance/decisions/0024-who-changes-and-overrides.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from fhir_server.outcome import CANONICAL, FhirError, Issue
from fhir_server.plan import Claim
from fhir_server.scheduling.checks import CONFLICT_TEXTS, TIME_TEXTS
from fhir_server.scheduling.policy import Intent, Policy

OVERRIDABLE = frozenset({*TIME_TEXTS, *(code for code, _ in CONFLICT_TEXTS.values()), "slot-not-free", "form-required"})
"""What staff may waive: when something is possible, who is taken and what is asked, never who somebody is."""

OVERRIDABLE_MARK = f"{CANONICAL}/StructureDefinition/overridable"
"""The extension of an issue that says that it may be waived."""

REASONS = f"{CANONICAL}/CodeSystem/override-reason"
REASON_TEXTS = {
    "clinical-need": "The patient needs it then, for medical reasons",
    "emergency": "It is an emergency",
    "import": "It was arranged elsewhere and is taken over",
    "patient-request": "The patient asks for it",
    "walk-in": "The patient has come without an appointment",
}


def refuse(intent: Intent, policy: Policy) -> None:
    """Refuses overrides that this server does not allow, that say no reason, or of what cannot be waived."""
    if not intent.overrides:
        return
    if not policy.overrides_allowed:
        text = "This server does not allow overrides (setting overrides)."
        raise FhirError("forbidden", text, "override", problem="override-not-allowed")
    if unknown := sorted(intent.overrides - OVERRIDABLE):
        text = f"{', '.join(unknown)} cannot be overridden; what can is {', '.join(sorted(OVERRIDABLE))}, or all."
        raise FhirError("value", text, "override", problem="not-overridable", status=422)
    reason = intent.override_reason or {}
    if not reason.get("text") and not any(coding.get("code") for coding in reason.get("coding", ())):
        text = f"An override needs a reason: give override-reason, a code of {REASONS} or a text."
        raise FhirError("required", text, "override-reason", problem="reason-required", status=422)


def standing(problems: Sequence[Issue], intent: Intent) -> list[Issue]:
    """The problems that are not waived."""
    return [one for one in problems if one.problem not in intent.overrides & OVERRIDABLE]


def force(wanted: Sequence[Claim], full: Collection[Claim], taken: Mapping[str, Sequence[Claim]]) -> tuple[Claim, ...]:
    """The wanted claims; those for which there is no room are taken against others, and what the visit has against
    others already stays so."""
    had = [one for each in taken.values() for one in each if one.forced]
    return tuple(replace(claim, forced=claim in full or any(map(claim.renews, had))) for claim in wanted)


def mark(issue: Issue) -> Issue:
    """The problem, saying that it may be waived if it may."""
    if issue.problem not in OVERRIDABLE:
        return issue
    return replace(issue, extension=(*issue.extension, {"url": OVERRIDABLE_MARK, "valueBoolean": True}))
