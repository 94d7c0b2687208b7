"""The codes that are ours (problems, tags, the words of other scheduling products) and what FHIR's codes for them are
(http://hl7.org/fhir/R4/codesystem.html, http://hl7.org/fhir/R4/conceptmap.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhir_server import RELEASED, __version__
from fhir_server.outcome import CANONICAL, PROBLEMS, Json
from fhir_server.scheduling import overrides, reasons
from fhir_server.scheduling.elements import COMPUTED_TAG
from fhir_server.scheduling.explaining import AVAILABILITY_CAUSES, CAUSES
from fhir_server.scheduling.holds import REASON_TEXTS, REASONS
from fhir_server.scheduling.lifecycle import APPOINTMENT, STATUS_SYSTEM, WORD_SYSTEM, WORDS, Word
from fhir_server.scheduling.problems import PROBLEM_TEXTS

STATUS_SET = "http://hl7.org/fhir/ValueSet/appointmentstatus"
WORD_SET = f"{CANONICAL}/ValueSet/appointment-word"


def publish(type: str, id: str) -> Json:
    """The elements that every definition of ours begins with."""
    return {
        "resourceType": type,
        "id": id,
        "url": f"{CANONICAL}/{type}/{id}",
        "version": __version__,
        "name": "".join(part.capitalize() for part in id.replace(".", "-").split("-")),
        "status": "active",
        "experimental": False,
        "date": RELEASED,
        "publisher": "FHIR scheduling server",
    }


def code_systems() -> Iterator[Json]:
    """Our CodeSystems; each has a ValueSet of all its codes."""
    yield _code_system(
        PROBLEMS,
        "Why a booking or a change was refused",
        "The stable codes in OperationOutcome.issue.details.",
        dict(sorted(PROBLEM_TEXTS.items())),
    )
    yield _code_system(
        AVAILABILITY_CAUSES,
        "Why a time is not free",
        "What $availability says of time that is not free.",
        CAUSES,
    )
    yield _code_system(
        COMPUTED_TAG["system"],
        "Tags of this server",
        "What this server says of a resource in meta.tag.",
        {COMPUTED_TAG["code"]: "Computed from the Schedule's rules"},
    )
    yield _code_system(
        REASONS,
        "Why an appointment was cancelled, beside FHIR's own reasons",
        "Codes for Appointment.cancelationReason that HL7's code system does not have.",
        REASON_TEXTS,
    )
    yield _code_system(
        overrides.REASONS,
        "Why rules were waived for a booking",
        "Codes for the parameter override-reason and Provenance.reason.",
        overrides.REASON_TEXTS,
    )
    yield _code_system(
        WORD_SYSTEM,
        "Appointment status words of scheduling products",
        "What other products call the state of an appointment.",
        {word.code: word.display for word in WORDS},
    )


def _code_system(url: str, title: str, description: str, displays: Mapping[str, str]) -> Json:
    id = url.rpartition("/")[2]
    return publish("CodeSystem", id) | {
        "url": url,
        "title": title,
        "description": description,
        "caseSensitive": True,
        "valueSet": f"{CANONICAL}/ValueSet/{id}",
        "content": "complete",
        "count": len(displays),
        "concept": [{"code": code, "display": display} for code, display in displays.items()],
    }


def value_sets() -> Iterator[Json]:
    """All codes of each of our CodeSystems."""
    for system in code_systems():
        yield publish("ValueSet", system["id"]) | {
            "title": system["title"],
            "description": system["description"],
            "compose": {"include": [{"system": system["url"]}]},
        }


def concept_maps() -> Iterator[Json]:
    """From the words to Appointment.status and back, and from IHE's reasons for a cancellation to HL7's."""
    yield publish("ConceptMap", "appointment-word-to-status") | {
        "title": "Status words of scheduling products to Appointment.status",
        "sourceCanonical": WORD_SET,
        "targetCanonical": STATUS_SET,
        "group": [
            {
                "source": WORD_SYSTEM,
                "target": STATUS_SYSTEM,
                "element": [
                    {"code": word.code, "display": word.display, "target": [_to_status(word)]} for word in WORDS
                ],
            }
        ],
    }
    yield publish("ConceptMap", "appointment-status-to-word") | {
        "title": "Appointment.status to status words of scheduling products",
        "sourceCanonical": STATUS_SET,
        "targetCanonical": WORD_SET,
        "group": [
            {
                "source": STATUS_SYSTEM,
                "target": WORD_SYSTEM,
                "element": [
                    {"code": status, "target": [_to_word(word) for word in WORDS if word.status == status]}
                    for status in APPOINTMENT
                ],
            }
        ],
    }

    yield publish("ConceptMap", "ihe-status-reason-to-cancellation-reason") | {
        "title": "IHE's status reasons to HL7's reasons for a cancellation",
        "group": [
            {
                "source": reasons.IHE,
                "target": reasons.HL7,
                "element": [
                    {"code": code, "target": [{"code": reason, "equivalence": "relatedto"}]}
                    for code, reason in reasons.HL7_OF_IHE.items()
                ],
            }
        ],
    }


def _to_status(word: Word) -> Json:
    equivalence = "equivalent" if word.exact else "wider"
    return {"code": word.status, "equivalence": equivalence, **_comment(_also(word))}


def _to_word(word: Word) -> Json:
    equivalence, more = ("equivalent", "") if word.exact else ("narrower", f"The word says more than {word.status}.")
    target = {"code": word.code, "display": word.display, "equivalence": equivalence}
    return {**target, **_comment(_also(word) or more)}


def _also(word: Word) -> str:
    return "; ".join(f"{element}: {value}" for element, value in word.also)


def _comment(text: str) -> Json:
    return {"comment": text} if text else {}
