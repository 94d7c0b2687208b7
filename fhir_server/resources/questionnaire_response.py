"""A form that was filled in (http://hl7.org/fhir/R4/questionnaireresponse.html)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Issue, Json
from fhir_server.resources._shared import AUTHORS, date, each, exists, reference, token


def _qrs_1(resource: Json) -> Sequence[Issue]:
    text = "qrs-1: an item has items or answers, which may have items, not both"
    return [
        Issue("invariant", text, (where,))
        for where, item in _items(resource, "QuestionnaireResponse")
        if exists(item, "answer") and exists(item, "item")
    ]


def _items(owner: Json, path: str) -> Iterator[tuple[str, Json]]:
    """The items, those inside items and answers included, each with its place."""
    for index, item in each(owner, "item"):
        here = f"{path}.item[{index}]"
        yield here, item
        yield from _items(item, here)
        for place, answer in each(item, "answer"):
            yield from _items(answer, f"{here}.answer[{place}]")


ROW = ResourceDefinition(
    type="QuestionnaireResponse",
    description="A form that was filled in.",
    search=(
        reference("author", "QuestionnaireResponse.author", "Who wrote the answers down", *AUTHORS),
        date("authored", "QuestionnaireResponse.authored", "When the answers were gathered"),
        reference(
            "based-on",
            "QuestionnaireResponse.basedOn",
            "The request that it fulfils",
            "CarePlan",
            "ServiceRequest",
        ),
        reference("encounter", "QuestionnaireResponse.encounter", "The encounter that it was part of", "Encounter"),
        token("identifier", "QuestionnaireResponse.identifier", "An identifier of it"),
        reference(
            "part-of",
            "QuestionnaireResponse.partOf",
            "The procedure or observation that it is part of",
            "Observation",
            "Procedure",
        ),
        reference(
            "patient",
            "QuestionnaireResponse.subject.where(resolve() is Patient)",
            "The patient that the answers are about",
            "Patient",
        ),
        reference(
            "questionnaire",
            "QuestionnaireResponse.questionnaire",
            "The form that was filled in, by its canonical URL",
            "Questionnaire",
        ),
        reference(
            "source",
            "QuestionnaireResponse.source",
            "Who answered",
            "Patient",
            "Practitioner",
            "PractitionerRole",
            "RelatedPerson",
        ),
        token(
            "status",
            "QuestionnaireResponse.status",
            "in-progress, completed, amended, entered-in-error or stopped",
            system="questionnaire-answers-status",
        ),
        reference("subject", "QuestionnaireResponse.subject", "What the answers are about"),
    ),
    invariants=(_qrs_1,),
)
