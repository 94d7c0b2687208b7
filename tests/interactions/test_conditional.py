"""Interactions on what meets a condition (http://hl7.org/fhir/R4/http.html#cond-update)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.clinic import BUILDERS, REASON, appointment, at, location, patient
from tests.outcomes import assert_outcome

every_type = pytest.mark.parametrize("type", list(BUILDERS))

IDENTIFIER = {"system": "urn:example:mrn", "value": "12,3|4"}
CONDITION = r"identifier=urn:example:mrn|12\,3\|4"


def known(type: str, id: str = "known", **more: Any) -> dict[str, Any]:
    """A resource of the type that can be found by its identifier, or where it has none, by its place."""
    resource = BUILDERS[type](id)
    match type:
        case "Provenance":
            return {**resource, "location": {"reference": "Location/here"}, **more}
        case "QuestionnaireResponse":
            return {**resource, "identifier": IDENTIFIER, **more}
    return {**resource, "identifier": [IDENTIFIER], **more}


def condition(type: str) -> str:
    """What such a resource meets."""
    return "location=Location/here" if type == "Provenance" else CONDITION


@every_type
async def test_a_conditional_create_makes_one_resource_however_often_it_is_sent(
    clinic: httpx.AsyncClient, type: str
) -> None:
    headers = {"If-None-Exist": condition(type)}
    first = await clinic.post(f"/{type}", json=known(type), headers=headers)
    assert first.status_code == 201, first.text
    again = await clinic.post(f"/{type}", json=known(type), headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["etag"] == 'W/"1"'


async def test_of_many_conditional_creates_at_once_one_creates(clinic: httpx.AsyncClient) -> None:
    headers = {"If-None-Exist": f"Patient?{CONDITION}"}
    spelled = [headers, {"If-None-Exist": f"{CONDITION}&_format=json&name="}]
    answers = await asyncio.gather(
        *(clinic.post("/Patient", json=known("Patient"), headers=spelled[number % 2]) for number in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_condition_can_be_met_again_after_what_met_it_was_deleted(clinic: httpx.AsyncClient) -> None:
    headers = {"If-None-Exist": CONDITION}
    first = await clinic.post("/Patient", json=known("Patient"), headers=headers)
    await clinic.delete(f"/Patient/{first.json()['id']}")
    assert (await clinic.post("/Patient", json=known("Patient"), headers=headers)).status_code == 201


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_condition_that_several_resources_meet_is_refused(clinic: httpx.AsyncClient, method: str) -> None:
    for id in ("one", "two"):
        await clinic.put(f"/Patient/{id}", json=known("Patient", id))
    if method == "POST":
        answer = await clinic.post("/Patient", json=known("Patient"), headers={"If-None-Exist": CONDITION})
    elif method == "PUT":
        answer = await clinic.put("/Patient", params={"identifier": "urn:example:mrn|"}, json=known("Patient"))
    else:
        headers = {"content-type": "application/json-patch+json"}
        answer = await clinic.patch("/Patient?identifier=urn:example:mrn|", content=b"[]", headers=headers)
    assert_outcome(answer, 412, "multiple-matches")


@pytest.mark.parametrize(
    "condition", ["", "?", "_count=1", "identifier=", "banana=1", "identifier:banana=1", "_sort=identifier&active=true"]
)
async def test_a_condition_that_says_nothing_or_what_is_not_known_is_refused(
    clinic: httpx.AsyncClient, condition: str
) -> None:
    for answer in (
        await clinic.post("/Patient", json=patient(), headers={"If-None-Exist": condition}),
        await clinic.put(f"/Patient?{condition.lstrip('?')}", json=patient()),
        await clinic.delete(f"/Patient?{condition.lstrip('?')}"),
    ):
        assert answer.status_code == 400, answer.text
    assert (await clinic.get("/Patient")).json()["total"] == 2


async def test_a_condition_about_another_type_is_refused(clinic: httpx.AsyncClient) -> None:
    answer = await clinic.post("/Patient", json=patient(), headers={"If-None-Exist": f"Practitioner?{CONDITION}"})
    assert_outcome(answer, 400, "invalid")


@every_type
async def test_a_conditional_update_creates_then_updates(clinic: httpx.AsyncClient, type: str) -> None:
    sent = known(type)
    del sent["id"]
    made = await clinic.put(f"/{type}", params=dict([condition(type).split("=")]), json=sent)
    assert made.status_code == 201, made.text
    assert "location" in made.headers
    again = await clinic.put(f"/{type}?{condition(type)}", json={**sent, "language": "en"})
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    assert (again.json()["language"], again.headers["etag"]) == ("en", 'W/"2"')


async def test_a_conditional_update_takes_the_id_of_its_body_if_nothing_has_it(clinic: httpx.AsyncClient) -> None:
    made = await clinic.put(f"/Patient?{CONDITION}", json=known("Patient", "chosen"))
    assert (made.status_code, made.json()["id"]) == (201, "chosen")
    other = await clinic.put("/Patient?identifier=urn:example:mrn|other", json=known("Patient", "chosen"))
    assert_outcome(other, 409, "conflict")
    wrong = await clinic.put(f"/Patient?{CONDITION}", json=known("Patient", "another"))
    assert_outcome(wrong, 400, "invalid")


async def test_a_conditional_update_heeds_if_match(clinic: httpx.AsyncClient) -> None:
    await clinic.put("/Patient/known", json=known("Patient"))
    stale = await clinic.put(f"/Patient?{CONDITION}", json=known("Patient"), headers={"If-Match": 'W/"7"'})
    assert_outcome(stale, 412, "conflict")


@every_type
async def test_a_conditional_delete_deletes_all_that_meets_it(clinic: httpx.AsyncClient, type: str) -> None:
    for id in ("one", "two"):
        made = await clinic.put(f"/{type}/{id}", json=known(type, id))
        assert made.status_code == 201, made.text
    answer = await clinic.delete(f"/{type}?{condition(type)}", headers={"Prefer": "return=OperationOutcome"})
    assert answer.status_code == 200
    assert f"{type}/one" in answer.json()["issue"][0]["diagnostics"]
    for id in ("one", "two"):
        assert_outcome(await clinic.get(f"/{type}/{id}"), 410, "deleted")
    assert (await clinic.delete(f"/{type}?{condition(type)}")).status_code == 204


async def test_a_conditional_delete_of_too_many_deletes_nothing(
    client_with: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    client = await client_with(conditional_delete_max=1)
    for id in ("one", "two"):
        await client.put(f"/Patient/{id}", json=known("Patient", id))
    assert_outcome(await client.delete(f"/Patient?{CONDITION}"), 412, "multiple-matches")
    assert (await client.get("/Patient")).json()["total"] == 2


async def test_a_conditional_patch_changes_what_meets_it(clinic: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json-patch+json"}
    change = [{"op": "add", "path": "/language", "value": "de"}]
    missing = await clinic.patch(f"/Patient?{CONDITION}", json=change, headers=headers)
    assert_outcome(missing, 404, "not-found")
    await clinic.put("/Patient/known", json=known("Patient"))
    patched = await clinic.patch(f"/Patient?{CONDITION}", json=change, headers=headers)
    assert (patched.status_code, patched.json()["language"]) == (200, "de")


async def test_a_condition_on_slots_means_what_the_same_search_means(clinic: httpx.AsyncClient) -> None:
    condition = f"schedule=Schedule/smith-main&status=free&start={at('09:00')}"
    headers = {"content-type": "application/json-patch+json"}
    change = [{"op": "replace", "path": "/status", "value": "busy-unavailable"}]
    patched = await clinic.patch(f"/Slot?{condition}", json=change, headers=headers)
    assert (patched.status_code, patched.json()["start"]) == (200, at("09:00"))
    assert_outcome(await clinic.patch(f"/Slot?{condition}", json=change, headers=headers), 404, "not-found")


async def test_a_slot_that_is_given_back_meets_no_condition_but_that_of_the_free_one(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    gone = {**booked, "status": "cancelled", "cancelationReason": REASON}
    assert (await clinic.put(f"/Appointment/{booked['id']}", json=gone)).status_code == 200
    condition = f"schedule=Schedule/smith-main&start={at('09:00')}"
    assert (await clinic.get(f"/Slot?{condition}")).json()["total"] == 0
    assert (await clinic.delete(f"/Slot?{condition}")).status_code == 204


async def test_what_is_computed_is_not_deleted(clinic: httpx.AsyncClient) -> None:
    found = await clinic.get(f"/Slot?schedule=Schedule/smith-main&status=free&start={at('09:00')}")
    (one,) = found.json()["entry"]
    for url in (
        f"/Slot/{one['resource']['id']}",
        f"/Slot?schedule=Schedule/smith-main&status=free&start={at('09:00')}",
    ):
        issue = assert_outcome(await clinic.delete(url), 409, "conflict")
        assert f"Slot/{one['resource']['id']} is computed" in issue["diagnostics"]
    assert (await clinic.delete("/Slot/nothing")).status_code == 204


async def test_a_key_is_for_one_condition(clinic: httpx.AsyncClient) -> None:
    def headers(value: str) -> dict[str, str]:
        return {"Idempotency-Key": "k", "If-None-Exist": f"identifier=urn:x|{value}"}

    assert (await clinic.post("/Patient", json=patient(), headers=headers("1"))).status_code == 201
    again = await clinic.post("/Patient", json=patient(), headers=headers("2"))
    assert_outcome(again, 422, "business-rule", "idempotency-key-reused")


@pytest.mark.parametrize("condition", ["http://elsewhere.example/Patient?name=x", "identifier=%ED%A0%80"])
async def test_a_condition_that_is_no_query_on_the_type_is_refused(clinic: httpx.AsyncClient, condition: str) -> None:
    answer = await clinic.post("/Patient", json=patient(), headers={"If-None-Exist": condition})
    assert_outcome(answer, 400, "invalid")


async def test_what_others_refer_to_cannot_be_deleted_and_they_are_named(clinic: httpx.AsyncClient) -> None:
    await clinic.put("/Location/ward", json=location("ward", partOf={"reference": "Location/main"}))
    issue = assert_outcome(await clinic.delete("/Location/main"), 409, "conflict", "referenced")
    assert "Location/ward" in issue["diagnostics"]
    assert "PractitionerRole/smith-main" in issue["diagnostics"]
    assert (await clinic.get("/Location/main")).status_code == 200


async def test_an_absolute_reference_to_this_server_counts_and_one_to_itself_does_not(
    clinic: httpx.AsyncClient,
) -> None:
    base = str(clinic.base_url).rstrip("/")
    await clinic.put("/Patient/me", json=patient("me", link=[{"other": {"reference": "Patient/me"}, "type": "refer"}]))
    assert (await clinic.delete("/Patient/me")).status_code == 204
    other = {"other": {"reference": f"{base}/Patient/bob"}, "type": "refer"}
    await clinic.put("/Patient/ann", json=patient("ann", link=[other]))
    assert_outcome(await clinic.delete("/Patient/bob"), 409, "conflict", "referenced")


async def test_what_others_refer_to_can_be_deleted_if_the_settings_say_so(
    client_with: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    client = await client_with(clinic=True, delete_referenced=True)
    assert (await client.delete("/Organization/riverside")).status_code == 204


async def test_an_update_adds_to_tags_profiles_and_security_labels(clinic: httpx.AsyncClient) -> None:
    first = {"system": "urn:tags", "code": "a", "display": "A"}
    second = {"system": "urn:tags", "code": "b"}
    await clinic.put("/Patient/ann", json=patient(meta={"tag": [first], "profile": ["http://example.org/p1"]}))
    renamed = {**first, "display": "renamed"}
    sent = patient(meta={"tag": [renamed, second], "security": [second], "profile": ["http://example.org/p2"]})
    meta = (await clinic.put("/Patient/ann", json=sent)).json()["meta"]
    assert meta["tag"] == [renamed, second]
    assert meta["profile"] == ["http://example.org/p1", "http://example.org/p2"]
    assert meta["security"] == [second]
    kept = (await clinic.put("/Patient/ann", json=patient())).json()["meta"]
    assert [tag["code"] for tag in kept["tag"]] == ["a", "b"]


async def test_a_meta_that_is_malformed_is_refused_not_merged(clinic: httpx.AsyncClient) -> None:
    tag = {"system": "urn:tags", "code": "a"}
    await clinic.put("/Patient/ann", json=patient(meta={"tag": [tag]}))
    for meta in ("text", {"tag": "text"}, {"tag": [["x"]]}, {"tag": [None]}):
        assert_outcome(await clinic.put("/Patient/ann", json=patient(meta=meta)), 400, "structure")
