"""$expand, $validate-code, $lookup and $translate, over HTTP, and what they stand on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from fhir_server import terminology
from fhir_server.outcome import CANONICAL, FhirError
from fhir_server.resources import ROWS
from fhir_server.scheduling import lifecycle
from fhir_server.terminology.extract import extract
from fhir_server.validation.shapes import Shape, resource_shape, shape
from tests import hl7
from tests.outcomes import assert_outcome

STATUSES = "http://hl7.org/fhir/ValueSet/appointmentstatus"
STATUS = "http://hl7.org/fhir/appointmentstatus"
CLASSES = "http://terminology.hl7.org/ValueSet/v3-ActEncounterCode"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
APPOINTMENT_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0276"
ROLES = "http://hl7.org/fhir/ValueSet/practitioner-role"
ROLE = "http://terminology.hl7.org/CodeSystem/practitioner-role"
RELATIONS = "http://hl7.org/fhir/ValueSet/patient-contactrelationship"
NOT_HERE = (
    ROLES,
    *(
        f"http://hl7.org/fhir/ValueSet/{name}"
        for name in (
            "device-type",
            "encounter-reason",
            "jurisdiction",
            "mimetypes",
            "questionnaire-answers",
            "questionnaire-questions",
            "use-context",
        )
    ),
)
WORD = f"{CANONICAL}/CodeSystem/appointment-word"
WORDS = f"{CANONICAL}/ValueSet/appointment-word"


def parameters(**values: Any) -> dict[str, Any]:
    """A Parameters with values by `name_type`."""
    pairs = (name.split("_") for name in values)
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": name, f"value{type}": value} for (name, type), value in zip(pairs, values.values(), strict=True)
        ],
    }


def said(response: httpx.Response) -> dict[str, Any]:
    """The values of a Parameters by name; of those that have parts, a list of them by the names of the parts."""
    assert response.status_code == 200, response.text
    found: dict[str, Any] = {}
    for one in response.json()["parameter"]:
        if "part" in one:
            found.setdefault(one["name"], []).append({part["name"]: value(part) for part in one["part"]})
        else:
            found[one["name"]] = value(one)
    return found


def value(element: dict[str, Any]) -> Any:
    return next(given for name, given in element.items() if name.startswith("value"))


def concepts(system: str) -> Mapping[str, terminology.Concept]:
    """What a code system that is here has."""
    found = terminology.concepts(system)
    assert found is not None
    return found


def codes(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [one["code"] for one in response.json()["expansion"].get("contains", ())]


async def test_a_value_set_expands_by_url_and_by_id(reader: httpx.AsyncClient) -> None:
    by_url = await reader.get("/ValueSet/$expand", params={"url": STATUSES})
    assert codes(by_url) == list(concepts(STATUS))
    assert set(codes(by_url)) == set(lifecycle.APPOINTMENT)
    by_id = await reader.get("/ValueSet/appointmentstatus/$expand")
    assert by_id.json()["expansion"]["contains"] == by_url.json()["expansion"]["contains"]
    posted = await reader.post("/ValueSet/$expand", json=parameters(url_Uri=STATUSES))
    assert posted.json() == by_url.json()
    body = by_url.json()
    assert (body["resourceType"], body["url"], body["expansion"]["total"]) == ("ValueSet", STATUSES, 10)
    assert body["expansion"]["contains"][0] == {"system": STATUS, "code": "proposed", "display": "Proposed"}
    assert {"name": "version", "valueUri": f"{STATUS}|4.0.1"} in body["expansion"]["parameter"]
    assert "compose" not in body


@pytest.mark.parametrize("url", [url for url in terminology.value_sets() if url not in NOT_HERE])
async def test_every_value_set_expands(reader: httpx.AsyncClient, url: str) -> None:
    response = await reader.get("/ValueSet/$expand", params={"url": url})
    assert codes(response)
    expansion = response.json()["expansion"]
    members = {(one["system"], one["code"]) for one in expansion["contains"]}
    assert len(members) == len(expansion["contains"]) == expansion["total"]


@pytest.mark.parametrize("url", [*NOT_HERE, "http://hl7.org/fhir/ValueSet/c80-practice-codes"])
async def test_a_value_set_of_codes_that_are_not_here_is_not_expanded(reader: httpx.AsyncClient, url: str) -> None:
    issue = assert_outcome(await reader.get("/ValueSet/$expand", params={"url": url}), 422, "not-supported")
    assert url in issue["diagnostics"]


async def test_an_expansion_has_what_a_filter_leaves(reader: httpx.AsyncClient) -> None:
    url = "http://hl7.org/fhir/ValueSet/service-type"
    found = await reader.get("/ValueSet/$expand", params={"url": url, "filter": "ORTHO surg"})
    assert [one["display"] for one in found.json()["expansion"]["contains"]] == ["Orthopaedic Surgery"]
    assert codes(await reader.get("/ValueSet/$expand", params={"url": STATUSES, "filter": "noshow"})) == ["noshow"]
    nothing = await reader.get("/ValueSet/$expand", params={"url": STATUSES, "filter": "banana"})
    assert codes(nothing) == []
    assert nothing.json()["expansion"]["total"] == 0


async def test_an_expansion_comes_in_pages(reader: httpx.AsyncClient) -> None:
    whole = codes(await reader.get("/ValueSet/$expand", params={"url": STATUSES}))
    pages = [
        await reader.get("/ValueSet/$expand", params={"url": STATUSES, "offset": offset, "count": 4})
        for offset in (0, 4, 8, 12)
    ]
    assert [codes(page) for page in pages] == [whole[:4], whole[4:8], whole[8:], []]
    assert {page.json()["expansion"]["total"] for page in pages} == {10}
    assert pages[1].json()["expansion"]["offset"] == 4
    counted = await reader.get("/ValueSet/$expand", params={"url": STATUSES, "count": 0})
    assert codes(counted) == []
    assert counted.json()["expansion"]["total"] == 10
    assert_outcome(await reader.get("/ValueSet/$expand", params={"url": STATUSES, "offset": -1}), 400, "value")


async def test_an_expansion_has_what_is_asked_of_each_code(reader: httpx.AsyncClient) -> None:
    url = "/ValueSet/v2-0276/$expand"
    plain = (await reader.get(url)).json()
    assert not any("designation" in one for one in plain["expansion"]["contains"])
    asked = {"includeDesignations": "true", "includeDefinition": "true", "displayLanguage": "nl"}
    more = (await reader.get(url, params=asked)).json()
    assert more["expansion"]["contains"][0]["designation"][0]["language"] == "nl"
    assert more["compose"] == {"include": [{"system": APPOINTMENT_TYPE}]}


async def test_retired_and_grouping_codes_are_left_out_on_request(reader: httpx.AsyncClient) -> None:
    policies = "http://terminology.hl7.org/ValueSet/v3-InformationSensitivityPolicy"
    every = (await reader.get("/ValueSet/$expand", params={"url": policies})).json()["expansion"]["contains"]
    grouping = {one["code"] for one in every if one.get("abstract")}
    retired = {one["code"] for one in every if one.get("inactive")}
    assert grouping
    usable = set(codes(await reader.get("/ValueSet/$expand", params={"url": policies, "excludeNotForUI": "true"})))
    assert usable == {one["code"] for one in every} - grouping
    active = set(codes(await reader.get("/ValueSet/$expand", params={"url": policies, "activeOnly": "true"})))
    assert active == {one["code"] for one in every} - retired
    assert any(concept.inactive for concept in concepts(ACT_CODE).values())


def test_a_value_set_has_what_its_filters_leave_of_a_hierarchy() -> None:
    assert {one.code for one in terminology.expand(CLASSES)} >= {"AMB", "VR", "EMER", "HH", "IMP", "ACUTE", "NONAC"}
    assert "_ActEncounterCode" not in {one.code for one in terminology.expand(CLASSES)}
    relations = {one.code for one in terminology.expand(RELATIONS)}
    assert relations == set(concepts("http://terminology.hl7.org/CodeSystem/v2-0131")) - {"O"}
    married = {one.code for one in terminology.expand("http://hl7.org/fhir/ValueSet/marital-status")}
    assert {"M", "UNK"} <= married


def test_a_code_below_two_others_is_found_below_both() -> None:
    known = concepts(ACT_CODE)
    twice = {concept.code for concept in known.values() if len(concept.parents) > 1}
    assert twice
    assert all(concept.code in known[above].children for concept in known.values() for above in concept.parents)


async def test_what_there_is_no_value_set_of_is_not_found(reader: httpx.AsyncClient) -> None:
    assert_outcome(await reader.get("/ValueSet/$expand", params={"url": "http://x.example/none"}), 404, "not-found")
    assert_outcome(await reader.get("/ValueSet/none/$expand"), 404, "not-found")
    versioned = {"url": f"{STATUSES}|4.0.1"}
    assert len(codes(await reader.get("/ValueSet/$expand", params=versioned))) == 10
    assert_outcome(await reader.get("/ValueSet/$expand", params={"url": f"{STATUSES}|3.0.2"}), 404, "not-found")
    other = {"url": STATUSES, "valueSetVersion": "3.0.2"}
    assert_outcome(await reader.get("/ValueSet/$expand", params=other), 404, "not-found")
    assert_outcome(await reader.get("/ValueSet/$expand"), 400, "required")
    unknown = {"url": STATUSES, "contextDirection": "incoming"}
    assert_outcome(await reader.get("/ValueSet/$expand", params=unknown), 400, "invalid")


IN_SET = [
    ({"code": "booked", "system": STATUS}, True, "Booked"),
    ({"code": "booked", "system": STATUS, "display": "booked"}, True, "Booked"),
    ({"code": "booked", "system": STATUS, "display": "Cancelled"}, False, "Booked"),
    ({"code": "banana", "system": STATUS}, False, None),
    ({"code": "BOOKED", "system": STATUS}, False, None),
    ({"code": "booked", "system": "http://x.example/unknown"}, False, None),
    ({"code": "free", "system": "http://hl7.org/fhir/slotstatus"}, False, None),
]


@pytest.mark.parametrize(("asked", "result", "display"), IN_SET)
async def test_a_value_set_has_a_code_or_says_why_not(
    reader: httpx.AsyncClient, asked: dict[str, str], result: bool, display: str | None
) -> None:
    response = await reader.get("/ValueSet/$validate-code", params={"url": STATUSES, **asked})
    answer = said(response)
    assert (answer["result"], answer.get("display"), "message" in answer) == (result, display, not result)
    coding = {**asked, "system": asked["system"]}
    posted = await reader.post("/ValueSet/appointmentstatus/$validate-code", json=parameters(coding_Coding=coding))
    assert said(posted) == answer


async def test_one_right_coding_makes_a_codeable_concept_right(reader: httpx.AsyncClient) -> None:
    wrong, right = {"system": STATUS, "code": "banana"}, {"system": STATUS, "code": "booked"}
    for codings, result in (([wrong, right], True), ([wrong, wrong], False)):
        body = parameters(url_Uri=STATUSES, codeableConcept_CodeableConcept={"coding": codings})
        assert said(await reader.post("/ValueSet/$validate-code", json=body))["result"] is result
    empty = parameters(url_Uri=STATUSES, codeableConcept_CodeableConcept={"text": "booked"})
    assert_outcome(await reader.post("/ValueSet/$validate-code", json=empty), 400, "required")


async def test_a_code_is_given_in_one_way_and_with_its_system(reader: httpx.AsyncClient) -> None:
    url = "/ValueSet/appointmentstatus/$validate-code"
    assert_outcome(await reader.get(url, params={"code": "booked"}), 400, "required")
    assert_outcome(await reader.get(url), 400, "required")
    both = parameters(code_Code="booked", system_Uri=STATUS, coding_Coding={"system": STATUS, "code": "booked"})
    assert_outcome(await reader.post(url, json=both), 400, "value")


@pytest.mark.parametrize("url", ["/ValueSet/appointmentstatus", "/CodeSystem/appointmentstatus"])
async def test_a_coding_of_another_version_is_not_right(reader: httpx.AsyncClient, url: str) -> None:
    coding = {"system": STATUS, "code": "booked"}
    for version, result in (("4.0.1", True), ("9", False)):
        body = parameters(coding_Coding={**coding, "version": version})
        answer = said(await reader.post(f"{url}/$validate-code", json=body))
        assert (answer["result"], "4.0.1, not in 9" in answer.get("message", "")) == (result, not result)
    both = {"coding": [{**coding, "version": "9"}, coding]}
    right = await reader.post(f"{url}/$validate-code", json=parameters(codeableConcept_CodeableConcept=both))
    assert said(right)["result"] is True


async def test_a_code_that_groups_others_is_right_only_on_request(reader: httpx.AsyncClient) -> None:
    grouping = {"url": "http://terminology.hl7.org/ValueSet/v3-InformationSensitivityPolicy", "system": ACT_CODE}
    grouping["code"] = "_InformationSensitivityPolicy"
    assert said(await reader.get("/ValueSet/$validate-code", params=grouping))["result"] is False
    allowed = await reader.get("/ValueSet/$validate-code", params={**grouping, "abstract": "true"})
    assert said(allowed)["result"] is True


async def test_what_is_known_of_a_value_set_that_is_not_whole_is_answered(reader: httpx.AsyncClient) -> None:
    url = "/ValueSet/practitioner-role/$validate-code"
    assert said(await reader.get(url, params={"system": ROLE, "code": "doctor"}))["result"] is True
    assert said(await reader.get(url, params={"system": ROLE, "code": "banana"}))["result"] is False
    snomed = {"system": "http://snomed.info/sct", "code": "223366009"}
    assert_outcome(await reader.get(url, params=snomed), 422, "not-supported")
    for known, status in (("doctor", 200), ("banana", 422)):
        concept = {"coding": [snomed, {"system": ROLE, "code": known}]}
        response = await reader.post(url, json=parameters(codeableConcept_CodeableConcept=concept))
        assert response.status_code == status


async def test_languages_and_units_are_known_though_their_systems_are_not(reader: httpx.AsyncClient) -> None:
    german = {"url": "http://hl7.org/fhir/ValueSet/languages", "system": "urn:ietf:bcp:47", "code": "de-CH"}
    assert said(await reader.get("/ValueSet/$validate-code", params=german))["display"] == "German (Switzerland)"
    unit = {"url": "http://hl7.org/fhir/ValueSet/duration-units", "system": "http://unitsofmeasure.org", "code": "x"}
    assert said(await reader.get("/ValueSet/$validate-code", params=unit))["result"] is False


async def test_a_code_system_has_a_code_or_says_why_not(reader: httpx.AsyncClient) -> None:
    async def ask(**query: str) -> dict[str, Any]:
        response = await reader.get("/CodeSystem/$validate-code", params=query)
        return said(response)

    assert await ask(url=STATUS, code="noshow") == {"result": True, "display": "No Show"}
    assert (await ask(url=STATUS, code="banana"))["result"] is False
    assert (await ask(url=STATUS, code="noshow", display="Booked"))["message"] == "noshow is No Show, not Booked"
    assert (await ask(url=ACT_CODE, code="_ActEncounterCode"))["result"] is False
    ours = await reader.get("/CodeSystem/appointment-word/$validate-code", params={"code": "patient-confirmed"})
    assert said(ours)["result"] is True
    assert (await ask(url=f"{STATUS}|4.0.1", code="noshow"))["result"] is True
    bare = parameters(coding_Coding={"system": STATUS, "code": "noshow"})
    assert said(await reader.post("/CodeSystem/$validate-code", json=bare))["result"] is True
    elsewhere = parameters(url_Uri=STATUS, coding_Coding={"system": ACT_CODE, "code": "noshow"})
    assert said(await reader.post("/CodeSystem/$validate-code", json=elsewhere))["result"] is False
    unknown = {"url": "http://snomed.info/sct", "code": "1"}
    assert_outcome(await reader.get("/CodeSystem/$validate-code", params=unknown), 404, "not-found")
    assert_outcome(await reader.get("/CodeSystem/$validate-code", params={"code": "x"}), 400, "required")
    other = {"url": STATUS, "version": "3.0.2", "code": "noshow"}
    assert_outcome(await reader.get("/CodeSystem/$validate-code", params=other), 404, "not-found")


async def test_a_code_is_looked_up(reader: httpx.AsyncClient) -> None:
    response = await reader.get("/CodeSystem/$lookup", params={"system": ACT_CODE, "code": "IMP"})
    answer = said(response)
    assert (answer["display"], answer["version"]) == ("inpatient encounter", "2018-08-12")
    properties: dict[str, list[Any]] = {}
    for one in answer["property"]:
        properties.setdefault(one["code"], []).append(one["value"])
    assert properties["parent"] == ["_ActEncounterCode"]
    assert properties["child"] == ["ACUTE", "NONAC"]
    assert properties["inactive"] == [False]
    assert properties["definition"][0].startswith("A patient encounter where a patient is admitted")
    coding = parameters(coding_Coding={"system": ACT_CODE, "code": "IMP"})
    assert said(await reader.post("/CodeSystem/$lookup", json=coding)) == answer


async def test_a_lookup_gives_the_properties_that_are_asked_for(reader: httpx.AsyncClient) -> None:
    asked = {"system": ACT_CODE, "code": "_ActEncounterCode", "property": ["notSelectable", "child"]}
    answer = said(await reader.get("/CodeSystem/$lookup", params=asked))
    assert {one["code"] for one in answer["property"]} == {"notSelectable", "child"}
    dutch = said(await reader.get("/CodeSystem/$lookup", params={"system": APPOINTMENT_TYPE, "code": "CHECKUP"}))
    assert dutch["designation"][0]["value"].startswith("Routinecontrole")
    spoken = {"url": APPOINTMENT_TYPE, "code": "CHECKUP", "display": dutch["designation"][0]["value"]}
    assert said(await reader.get("/CodeSystem/$validate-code", params=spoken))["result"] is True


async def test_what_cannot_be_looked_up_is_not_found(reader: httpx.AsyncClient) -> None:
    for asked in (
        {"system": STATUS, "code": "banana"},
        {"system": "http://loinc.org", "code": "1"},
        {"system": STATUS, "code": "booked", "version": "3.0.2"},
    ):
        assert_outcome(await reader.get("/CodeSystem/$lookup", params=asked), 404, "not-found")
    assert_outcome(await reader.get("/CodeSystem/$lookup", params={"code": "booked"}), 400, "required")
    assert_outcome(await reader.get("/CodeSystem/$lookup", params={"system": STATUS}), 400, "required")
    assert_outcome(await reader.get("/CodeSystem/appointmentstatus/$lookup"), 404, "not-found")


def translations(response: httpx.Response) -> list[tuple[str, str]]:
    return [(one["concept"]["code"], one["equivalence"]) for one in said(response).get("match", ())]


@pytest.mark.parametrize("word", lifecycle.WORDS, ids=lambda word: word.code)
async def test_l1_each_word_of_the_products_translates_to_a_status_and_back(
    reader: httpx.AsyncClient, word: lifecycle.Word
) -> None:
    forth = await reader.get("/ConceptMap/appointment-word-to-status/$translate", params={"code": word.code})
    assert translations(forth) == [(word.status, "equivalent" if word.exact else "wider")]
    back = await reader.get("/ConceptMap/appointment-status-to-word/$translate", params={"code": word.status})
    assert word.code in {code for code, _ in translations(back)}


@pytest.mark.parametrize("status", lifecycle.APPOINTMENT)
async def test_a_map_read_backwards_says_what_the_map_back_says(reader: httpx.AsyncClient, status: str) -> None:
    asked = {"code": status, "system": STATUS}
    back = await reader.get("/ConceptMap/appointment-status-to-word/$translate", params=asked)
    backwards = await reader.get(
        "/ConceptMap/appointment-word-to-status/$translate", params={**asked, "reverse": "true"}
    )
    assert sorted(translations(backwards)) == sorted(translations(back))
    assert said(backwards)["match"][0]["concept"]["system"] == WORD


async def test_a_translation_is_between_the_value_sets_that_are_named(reader: httpx.AsyncClient) -> None:
    async def ask(**query: str) -> list[tuple[str, str]]:
        return translations(await reader.get("/ConceptMap/$translate", params=query))

    assert await ask(code="noshow", system=STATUS, source=STATUSES, target=WORDS)
    assert not await ask(code="noshow", system=STATUS, target=STATUSES)
    assert await ask(code="noshow", system=STATUS, target=STATUSES, reverse="true")
    assert not await ask(code="noshow", system=STATUS, targetsystem=STATUS)
    assert await ask(code="noshow", source=f"{STATUSES}|4.0.1", target=f"{WORDS}|1")
    assert not await ask(code="noshow", source=f"{STATUSES}-other|4.0.1")
    url = f"{CANONICAL}/ConceptMap/appointment-status-to-word"
    assert await ask(code="noshow", system=STATUS, url=url)
    assert_outcome(
        await reader.get("/ConceptMap/$translate", params={"code": "x", "url": url, "conceptMapVersion": "0"}),
        404,
        "not-found",
    )


async def test_each_coding_of_a_codeable_concept_is_translated(reader: httpx.AsyncClient) -> None:
    codings = [{"system": STATUS, "code": "booked"}, {"system": STATUS, "code": "noshow"}]
    url = "/ConceptMap/appointment-status-to-word/$translate"
    whole = await reader.post(url, json=parameters(codeableConcept_CodeableConcept={"coding": codings}))
    singly = [translations(await reader.post(url, json=parameters(coding_Coding=one))) for one in codings]
    assert translations(whole) == [pair for one in singly for pair in one]


async def test_what_is_not_translated_is_said(reader: httpx.AsyncClient) -> None:
    unknown = said(await reader.get("/ConceptMap/$translate", params={"code": "banana"}))
    assert unknown == {"result": False, "message": "No map here translates banana."}
    assert_outcome(await reader.get("/ConceptMap/none/$translate", params={"code": "x"}), 404, "not-found")
    assert_outcome(await reader.get("/ConceptMap/$translate"), 400, "required")
    depends = {"name": "dependency", "part": [{"name": "element", "valueUri": "http://x.example"}]}
    body = parameters(code_Code="noshow")
    body["parameter"].append(depends)
    assert_outcome(await reader.post("/ConceptMap/$translate", json=body), 400, "invalid")


def _bound(type: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The paths of the elements of a type whose codes the validation checks, as bindings name them, and the codes."""
    found = resource_shape(type)
    assert found is not None
    yield from _bound_in(found, type, frozenset())


def _bound_in(found: Shape, path: str, above: frozenset[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for element in found.elements.values():
        if element.codes:
            yield f"{path}.{element.name}", element.codes
        if element.model is not None and element.type not in above and element.name not in ("contained", "extension"):
            inner = shape(element.model)
            own = element.type.startswith(path.partition(".")[0]) and element.type != path.partition(".")[0]
            yield from _bound_in(inner, f"{path}.{element.name}" if own else element.type, above | {element.type})


@pytest.mark.parametrize("type", list(ROWS))
def test_the_validation_knows_the_codes_of_the_required_value_sets(type: str) -> None:
    checked = {path: codes for path, codes in _bound(type) if path in terminology.bindings()}
    assert checked
    for path, known in checked.items():
        strength, url = terminology.bindings()[path]
        assert strength == "required", path
        assert {one.code for one in terminology.expand(url) if not one.abstract} == set(known), path


def test_every_required_binding_of_the_served_types_is_checked_by_the_validation() -> None:
    required = {path for path, (strength, _) in terminology.bindings().items() if strength == "required"}
    checked = {path for type in ROWS for path, _ in _bound(type)}
    assert required - checked == {"Attachment.contentType", "Signature.sigFormat", "Signature.targetFormat"}


def test_a_value_set_that_nobody_knows_is_refused_in_pure_code_too() -> None:
    with pytest.raises(FhirError, match="There is no ValueSet"):
        terminology.expand("http://x.example/none")


@hl7.needed
def test_the_files_are_what_hl7_published() -> None:
    folder = Path(terminology.__file__).parent
    for name, found in extract(hl7.FOLDER).items():
        assert orjson.loads((folder / name).read_bytes()) == orjson.loads(orjson.dumps(found)), name
