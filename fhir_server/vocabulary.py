"""The words of other scheduling products and FHIR's codes for them, as CodeSystem and ConceptMaps
(http://hl7.org/fhir/R4/conceptmap.html)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fhir_server.outcome import CANONICAL, Json
from fhir_server.scheduling.lifecycle import APPOINTMENT, WORDS, Word

STATUS_SYSTEM = "http://hl7.org/fhir/appointmentstatus"
STATUS_SET = "http://hl7.org/fhir/ValueSet/appointmentstatus"
WORD_SYSTEM = f"{CANONICAL}/CodeSystem/appointment-word"


def word_system(published: Json) -> Json:
    """The CodeSystem of the products' words."""
    return published | {
        "url": WORD_SYSTEM,
        "title": "Appointment status words of scheduling products",
        "caseSensitive": True,
        "content": "complete",
        "count": len(WORDS),
        "concept": [{"code": word.code, "display": word.display} for word in WORDS],
    }


def concept_maps(publish: Callable[[str], Json]) -> Iterator[Json]:
    """From the words to Appointment.status, and back."""
    yield publish("appointment-word-to-status") | {
        "title": "Status words of scheduling products to Appointment.status",
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
    yield publish("appointment-status-to-word") | {
        "title": "Appointment.status to status words of scheduling products",
        "sourceCanonical": STATUS_SET,
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


def _to_status(word: Word) -> Json:
    target: Json = {"code": word.status, "equivalence": "equivalent" if word.exact else "wider"}
    if word.also:
        target["comment"] = "; ".join(f"{element}: {value}" for element, value in word.also)
    return target


def _to_word(word: Word) -> Json:
    target: Json = {"code": word.code, "display": word.display}
    target["equivalence"] = "equivalent" if word.exact else "narrower"
    if word.also:
        target["comment"] = "; ".join(f"{element}: {value}" for element, value in word.also)
    return target
