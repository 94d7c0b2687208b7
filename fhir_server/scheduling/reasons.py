"""Why appointments are cancelled: HL7's example codes, IHE's, and which of them say that it was the patient
(http://hl7.org/fhir/R4/valueset-appointment-cancellation-reason.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhir_server.outcome import Json

HL7 = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
IHE = "https://profiles.ihe.net/ITI/Scheduling/CodeSystem/status-reason"
STATUS_REASON = "https://profiles.ihe.net/ITI/Scheduling/StructureDefinition/extension-status-reason"
"""IHE's extension of Appointment: why it has its status (ITI-117)."""

HL7_OF_IHE: Mapping[str, str] = {
    "abnormal-results": "prov-labs",
    "cms-auth": "oth-cms",
    "deceased": "pat-dec",
    "discharged": "prov-dch",
    "disgruntled": "pat-ucp",
    "equip-unavail": "maint",
    "financial": "oth-fin",
    "hospitalized": "prov-hosp",
    "improper-iv": "oth-iv",
    "improved": "pat-fb",
    "interpreter-unavail": "oth-int",
    "meeting": "prov-edu",
    "moved": "pat-mv",
    "needs-tests": "prov",
    "new-provider": "pat-ucp",
    "no-show": "pat",
    "other": "other",
    "patient-cancel": "pat",
    "personal": "prov-pers",
    "plan-changes": "prov-onc",
    "pregnant": "pat-preg",
    "prep-incomplete": "meds-inc",
    "prep-unavail": "oth-mu",
    "refused": "pat",
    "room-unavial": "oth-room",
    "scheduling-error": "oth-oerr",
    "staff-cancel": "prov",
    "terminated": "pat-mt",
    "transportation": "pat-lt",
    "wait-list": "pat-swl",
    "walk-in-error": "oth-swie",
    "weather": "oth-weath",
}
"""Each of IHE's codes, spelled as IHE does, and the nearest of HL7's."""

NOT_OF_THE_PATIENT = frozenset({"pat-dec"})
"""Reasons that are about the patient and cannot come from the patient."""


def is_of_the_patient(reason: Json) -> bool:
    """Whether the reason says that the patient called it off."""
    return any(code.partition("-")[0] == "pat" and code not in NOT_OF_THE_PATIENT for code in _codes(reason))


def complete(appointment: Json) -> Json:
    """A cancelled Appointment; one that says why in IHE's extension only gets the same as its cancelationReason, with
    HL7's code beside."""
    if appointment["status"] != "cancelled" or "cancelationReason" in appointment:
        return appointment
    said = (each for each in appointment.get("extension") or () if each.get("url") == STATUS_REASON)
    concept = next((each["valueCodeableConcept"] for each in said if "valueCodeableConcept" in each), None)
    if not concept:
        return appointment
    added = [{"system": HL7, "code": code} for code in dict.fromkeys(_of_ihe(concept))]
    reason = {**concept, "coding": [*concept.get("coding", ()), *added]} if added else concept
    return {**appointment, "cancelationReason": reason}


def _of_ihe(concept: Json) -> Iterator[str]:
    codings = (coding for coding in concept.get("coding", ()) if coding.get("system") == IHE)
    return (HL7_OF_IHE[code] for coding in codings if (code := coding.get("code")) in HL7_OF_IHE)


def _codes(concept: Json) -> Iterator[str]:
    """HL7's codes for the reason."""
    codings = (coding for coding in concept.get("coding", ()) if coding.get("system") == HL7)
    yield from (str(coding.get("code")) for coding in codings)
    yield from _of_ihe(concept)
