"""Forms that a Schedule or a service asks for, and the review of a visit."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.outcome import CANONICAL
from fhir_server.store import counted
from tests.clinic import (
    FORM,
    WEDNESDAY,
    appointment,
    at,
    device,
    patient,
    questionnaire,
    questionnaire_response,
    role,
    schedule,
    service,
)
from tests.operations.test_find_slots import find, put
from tests.outcomes import assert_outcome

Json = dict[str, Any]


def required_form(canonical: str = FORM, when: str | None = "before-booking") -> Json:
    parts: list[Json] = [{"url": "questionnaire", "valueCanonical": canonical}]
    parts += [{"url": "when", "valueCode": when}] if when else []
    return {"url": f"{CANONICAL}/StructureDefinition/required-form", "extension": parts}


@pytest.fixture
async def asking(clinic: httpx.AsyncClient) -> httpx.AsyncClient:
    """The clinic, whose Schedule asks for a form before booking."""
    await put(clinic, questionnaire(), schedule(extension=[required_form()]))
    return clinic


async def refused(client: httpx.AsyncClient, wanted: Json) -> Json:
    issue = assert_outcome(await client.post("/Appointment", json=wanted), 422, "business-rule", "form-required")
    assert issue["expression"] == ["Appointment.supportingInformation"]
    return issue


async def booked(client: httpx.AsyncClient, wanted: Json) -> Json:
    response = await client.post("/Appointment", json=wanted)
    assert response.status_code == 201, response.text
    return dict(response.json())


async def test_b13_a_form_before_booking_must_be_filled_in(asking: httpx.AsyncClient) -> None:
    issue = await refused(asking, appointment())
    assert FORM in issue["diagnostics"]
    assert "QuestionnaireResponse" in issue["diagnostics"]
    await put(asking, questionnaire_response())
    await booked(asking, appointment())
    other = appointment(at("10:00"), actors=("Patient/bob", "Practitioner/smith"))
    assert "Patient/bob" in (await refused(asking, other))["diagnostics"]


@pytest.mark.parametrize(
    "more",
    [
        {"status": "in-progress"},
        {"status": "stopped"},
        {"questionnaire": "http://example.org/Questionnaire/another"},
        {"subject": {"reference": "Patient/bob"}},
        {"subject": {"reference": "http://elsewhere.example/fhir/Patient/bob"}},
        {"subject": {"identifier": {"value": "bob"}}},
        {"subject": {"display": "Bob"}},
    ],
)
async def test_b13_what_is_not_the_whole_form_of_the_patient_is_not_enough(
    asking: httpx.AsyncClient, more: Json
) -> None:
    response = questionnaire_response(**more)
    await put(asking, response)
    named = [{"reference": "QuestionnaireResponse/filled-in"}]
    await refused(asking, appointment(supportingInformation=named))


@pytest.mark.parametrize(("filled", "enough"), [(f"{FORM}|2", True), (f"{FORM}|1", False), (FORM, False)])
async def test_b13_a_version_that_is_asked_for_must_be_the_one(
    asking: httpx.AsyncClient, filled: str, enough: bool
) -> None:
    await put(asking, schedule(extension=[required_form(f"{FORM}|2")]))
    await put(asking, questionnaire_response(status="amended", questionnaire=filled))
    await (booked if enough else refused)(asking, appointment())


async def test_b13_answers_about_nobody_count_where_they_are_given(asking: httpx.AsyncClient) -> None:
    response = questionnaire_response()
    response.pop("subject")
    await put(asking, response)
    await refused(asking, appointment())
    named = [{"reference": "QuestionnaireResponse/filled-in"}]
    await booked(asking, appointment(supportingInformation=named))
    contained = {**response, "id": "inside"}
    inside = {"contained": [contained], "supportingInformation": [{"reference": "#inside"}]}
    await booked(asking, appointment(at("10:00"), **inside))


async def test_b13_a_patient_without_a_record_books_with_the_form_in_one_request(asking: httpx.AsyncClient) -> None:
    newcomer = {"resourceType": "Patient", "id": "new", "name": [{"family": "Newman"}]}
    response = questionnaire_response("inside", subject={"reference": "#new"})
    wanted = appointment(
        actors=("#new", "Practitioner/smith"),
        contained=[newcomer, response],
        supportingInformation=[{"reference": "#inside"}],
    )
    made = await asking.post("/Appointment/$book", json=wanted)
    assert made.status_code == 201, made.text
    [found] = (await asking.get("/Patient?family=Newman")).json()["entry"]
    assert made.json()["contained"][0]["subject"] == {"reference": f"Patient/{found['resource']['id']}"}


async def test_b13_the_form_can_come_in_the_transaction_of_the_booking(asking: httpx.AsyncClient) -> None:
    entries = [
        {"request": {"method": "POST", "url": "Appointment"}, "resource": appointment()},
        {
            "request": {"method": "PUT", "url": "QuestionnaireResponse/filled-in"},
            "resource": questionnaire_response(),
        },
    ]
    response = await asking.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert response.status_code == 200, response.text


async def test_b13_a_time_can_be_held_while_the_form_is_filled_in(asking: httpx.AsyncClient) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "appointment", "resource": appointment()}]}
    held = await asking.post("/Appointment/$hold", json=body)
    assert held.status_code == 201, held.text
    confirm = f"/Appointment/{held.json()['id']}/$book"
    assert_outcome(await asking.post(confirm), 422, "business-rule", "form-required")
    await put(asking, questionnaire_response())
    confirmed = await asking.post(confirm)
    assert (confirmed.status_code, confirmed.json()["status"]) == (200, "booked")


async def test_b13_a_form_before_the_visit_does_not_hinder_the_booking(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(extension=[required_form(when=None), required_form(when="before-visit")]))
    await booked(clinic, appointment())


async def test_b13_a_service_asks_for_its_own_forms(clinic: httpx.AsyncClient) -> None:
    def kind(code: str) -> list[Json]:
        return [{"coding": [{"system": "http://example.org/types", "code": code}]}]

    await put(
        clinic,
        service("checkup", type=kind("checkup")),
        service("surgery", type=kind("surgery"), extension=[required_form()]),
        role(healthcareService=[{"reference": f"HealthcareService/{id}"} for id in ("checkup", "surgery")]),
    )
    await booked(clinic, appointment(serviceType=kind("checkup")))
    await refused(clinic, appointment(at("10:00"), serviceType=kind("surgery")))
    await put(clinic, role(healthcareService=[{"reference": "HealthcareService/surgery"}]))
    await refused(clinic, appointment(at("10:00")))


async def test_b13_each_of_a_group_fills_the_form_in(asking: httpx.AsyncClient) -> None:
    await put(asking, schedule(extension=[required_form()], parameters={"capacity": 3}), questionnaire_response())
    wanted = appointment(actors=("Patient/ann", "Patient/bob", "Practitioner/smith"))
    await refused(asking, wanted)
    await put(asking, questionnaire_response("bobs", subject={"reference": "Patient/bob"}))
    await booked(asking, wanted)


async def test_b13_a_booking_without_forms_makes_no_round_trip_more(clinic: httpx.AsyncClient) -> None:
    async def trips(day: str) -> int:
        with counted() as commands:
            await booked(clinic, appointment(at("09:00", day)))
        return commands.count("find")

    await booked(clinic, appointment(at("11:00")))
    without = await trips("2026-03-03")
    await put(clinic, schedule(extension=[required_form()]), questionnaire_response())
    assert await trips(WEDNESDAY) == without + 1


@pytest.mark.parametrize(
    ("extension", "where"),
    [
        ({**required_form(), "extension": required_form()["extension"][1:]}, "Schedule.extension[0]"),
        (required_form(when="some day"), "Schedule.extension[0].extension[1].value"),
        (
            {**required_form(), "extension": [{"url": "questionnaire", "valueString": FORM}]},
            "Schedule.extension[0].extension[0].value",
        ),
    ],
)
async def test_b13_a_form_that_cannot_be_read_is_refused(
    clinic: httpx.AsyncClient, extension: Json, where: str
) -> None:
    response = await clinic.put("/Schedule/smith-main", json=schedule(extension=[extension]))
    assert response.status_code in (400, 422), response.text
    assert where in [each for issue in response.json()["issue"] for each in issue["expression"]]


async def test_b13_the_review_of_a_visit_is_a_form_that_is_found_by_its_visit(clinic: httpx.AsyncClient) -> None:
    stars = {"linkId": "stars", "answer": [{"valueInteger": 5}]}
    words = {"linkId": "comment", "answer": [{"valueString": "Kind and on time"}]}
    form = "http://example.org/Questionnaire/review|1"
    review = questionnaire_response("review", questionnaire=form, item=[stars, words])
    await put(clinic, patient(), review)
    for query in ("questionnaire=http://example.org/Questionnaire/review", f"questionnaire={form}", "patient=ann"):
        found = (await clinic.get(f"/QuestionnaireResponse?{query}")).json()
        assert [entry["resource"]["id"] for entry in found["entry"]] == ["review"]


async def test_b13_a_slot_says_which_form_its_calendar_asks_for(asking: httpx.AsyncClient) -> None:
    first = (await find(asking))[0]
    [terms] = [one for one in first["extension"] if one["url"].endswith("/terms")]
    assert {"url": "form", "valueCanonical": FORM} in terms["extension"]


async def test_b13_what_is_booked_is_not_asked_for_a_form_until_it_is_moved(asking: httpx.AsyncClient) -> None:
    await put(asking, device(), schedule(), patient("bob"))
    one = await booked(asking, appointment())
    await put(asking, schedule(extension=[required_form()], parameters={"capacity": 2}))
    with_device = [*one["participant"], {"actor": {"reference": "Device/scanner"}, "status": "accepted"}]
    changed = await asking.put(f"/Appointment/{one['id']}", json={**one, "participant": with_device})
    assert changed.status_code == 200, changed.text
    later = {**changed.json(), "start": at("10:00"), "end": at("10:30")}
    assert_outcome(await asking.put(f"/Appointment/{one['id']}", json=later), 422, "business-rule", "form-required")
    joined = [*with_device, {"actor": {"reference": "Patient/bob"}, "status": "accepted"}]
    answer = await asking.put(f"/Appointment/{one['id']}", json={**changed.json(), "participant": joined})
    issue = assert_outcome(answer, 422, "business-rule", "form-required")
    assert "Patient/bob" in issue["diagnostics"]
    assert "Patient/ann" not in answer.text
