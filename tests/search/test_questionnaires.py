"""Questionnaires and their answers: the invariants of R4, and searches that only they have."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.resources import ROWS
from fhir_server.validation import check
from tests.clinic import FORM, questionnaire, questionnaire_response
from tests.operations.test_find_slots import put

Json = dict[str, Any]
USAGE = "http://terminology.hl7.org/CodeSystem/usage-context-type"
UCUM = "http://unitsofmeasure.org"


def item(type: str = "string", **more: Any) -> Json:
    return {"linkId": "1", "type": type, **more}


WHEN = {"question": "1", "operator": "=", "answerBoolean": True}
CODE = [{"code": "a"}]
OPTION = [{"valueString": "a"}]
START = [{"valueString": "a"}]


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("que-1", item("group")),
        ("que-1", item("display", item=[item(linkId="2")])),
        ("que-3", item("display", code=CODE)),
        ("que-4", item("choice", answerOption=OPTION, answerValueSet="http://example.org/vs")),
        ("que-5", item("boolean", answerOption=OPTION)),
        ("que-6", item("display", required=True)),
        ("que-7", item(enableWhen=[{**WHEN, "operator": "exists", "answerBoolean": None, "answerString": "a"}])),
        ("que-8", item("group", item=[item(linkId="2")], initial=START)),
        ("que-9", item("display", readOnly=True)),
        ("que-10", item("date", maxLength=3)),
        ("que-11", item("choice", answerOption=OPTION, initial=START)),
        ("que-12", item(enableWhen=[WHEN, WHEN, WHEN])),
        ("que-13", item(initial=[*START, *START])),
    ],
)
def test_an_item_that_breaks_an_invariant_is_named(key: str, wrong: Json) -> None:
    for when in wrong.get("enableWhen", ()):
        if when.get("answerBoolean", True) is None:
            del when["answerBoolean"]
    outer = {"linkId": "0", "type": "group", "item": [wrong]}
    [issue] = check(ROWS["Questionnaire"], questionnaire(item=[outer]))
    assert issue.text.startswith(f"{key}:")
    assert issue.expression == ("Questionnaire.item[0].item[0]",)


def test_items_that_keep_the_invariants_are_right() -> None:
    right = [
        item(
            "group", item=[item("display", linkId="2"), item("time", linkId="3", initial=[{"valueTime": "09:00:00"}])]
        ),
        item("open-choice", linkId="4", answerOption=OPTION, maxLength=3, repeats=True, enableWhen=[WHEN, WHEN]),
        item(linkId="5", repeats=True, initial=[*START, *START], code=CODE, required=True, readOnly=True),
    ]
    assert check(ROWS["Questionnaire"], questionnaire(item=right)) == []


def test_two_items_with_one_link_id_are_both_named() -> None:
    group = {"linkId": "0", "type": "group", "item": [item(), item()]}
    issues = check(ROWS["Questionnaire"], questionnaire(item=[group]))
    assert [issue.expression for issue in issues] == [
        ("Questionnaire.item[0].item[0]",),
        ("Questionnaire.item[0].item[1]",),
    ]


def test_an_answered_item_has_no_items_beside_its_answers() -> None:
    answered = {"linkId": "1", "answer": [{"valueBoolean": True, "item": [{"linkId": "2"}]}]}
    assert check(ROWS["QuestionnaireResponse"], questionnaire_response(item=[answered])) == []
    both = {**answered, "item": [{"linkId": "3"}]}
    deep = {"linkId": "0", "answer": [{"valueBoolean": True, "item": [both]}]}
    [issue] = check(ROWS["QuestionnaireResponse"], questionnaire_response(item=[deep]))
    assert issue.expression == ("QuestionnaireResponse.item[0].answer[0].item[0]",)


def age(**value: Any) -> Json:
    return {"useContext": [{"code": {"system": USAGE, "code": "age"}, **value}]}


def years(value: int) -> Json:
    return {"value": value, "unit": "years", "system": UCUM, "code": "a"}


@pytest.fixture
async def forms(client: httpx.AsyncClient) -> httpx.AsyncClient:
    task = {"code": {"system": USAGE, "code": "task"}, "valueCodeableConcept": {"coding": CODE}}
    other = {"code": {"system": USAGE, "code": "focus"}, "valueCodeableConcept": {"coding": [{"code": "b"}]}}
    await put(
        client,
        questionnaire("exact", **age(valueQuantity=years(30))),
        questionnaire("children", **age(valueRange={"high": years(17)})),
        questionnaire("adults", **age(valueRange={"low": years(18), "high": years(64)})),
        questionnaire("old", **age(valueRange={"low": years(65)})),
        questionnaire("nothing", **age(valueRange={"low": {"unit": "years"}})),
        questionnaire("tasks", useContext=[task, other]),
    )
    return client


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("context-quantity=30", {"exact"}),
        ("context-quantity=gt50", {"adults", "old"}),
        ("context-quantity=lt18", {"children"}),
        (f"context-quantity=ge65|{UCUM}|a", {"old"}),
        ("context-type-quantity=age$lt18", {"children"}),
        ("context-type-quantity=task$lt18", set()),
        ("context-type-value=task$a", {"tasks"}),
        ("context-type-value=task$b", set()),
        ("context=b", {"tasks"}),
    ],
)
async def test_what_a_form_is_meant_for_is_searched_for(
    forms: httpx.AsyncClient, query: str, expected: set[str]
) -> None:
    bundle = (await forms.get(f"/Questionnaire?{query}")).json()
    assert {entry["resource"]["id"] for entry in bundle.get("entry", ())} == expected


async def test_answers_are_found_by_their_form_with_and_without_its_version(client: httpx.AsyncClient) -> None:
    await put(
        client,
        questionnaire_response("first", questionnaire=f"{FORM}|1"),
        questionnaire_response("any"),
        questionnaire_response("other", questionnaire="http://example.org/other"),
    )

    async def found(value: str) -> set[str]:
        bundle = (await client.get("/QuestionnaireResponse", params={"questionnaire": value})).json()
        return {entry["resource"]["id"] for entry in bundle.get("entry", ())}

    assert await found(FORM) == {"first", "any"}
    assert await found(f"{FORM}|1") == {"first"}


async def test_what_a_provenance_tells_of_is_found_whatever_the_version(clinic: httpx.AsyncClient) -> None:
    told = {
        "resourceType": "Provenance",
        "id": "told",
        "target": [{"reference": "Patient/ann/_history/1"}],
        "recorded": "2026-03-02T08:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/smith"}}],
    }
    await put(clinic, told)
    for query in ("target=Patient/ann", "target=Patient/ann/_history/1", "patient=ann", "agent=smith"):
        bundle = (await clinic.get(f"/Provenance?{query}")).json()
        assert bundle["total"] == 1, query
    brought = (await clinic.get("/Patient?_id=ann&_revinclude=Provenance:target")).json()
    assert {entry["resource"]["resourceType"] for entry in brought["entry"]} == {"Patient", "Provenance"}
