"""patch: the contract of every resource type in every format (http://hl7.org/fhir/R4/http.html#patch)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from fhir_server import markup
from fhir_server.patching import MEDIA
from tests.clinic import BUILDERS, TUESDAY, Json, appointment, at, encounter, patient
from tests.interactions.test_crud import every_type
from tests.outcomes import assert_outcome
from tests.patches import (
    FHIR_JSON,
    FHIR_XML,
    JSON_PATCH,
    XML_PATCH,
    json_patch,
    operation,
    parameters,
    xml_patch,
)

LANGUAGE = parameters(operation("add", "Resource", name="language", value={"valueCode": "en"}))


def language(media: str, type: str) -> bytes:
    """A patch that gives a resource its language."""
    if media == JSON_PATCH:
        return json_patch({"op": "add", "path": "/language", "value": "en"})
    if media == XML_PATCH:
        return xml_patch(f'<add sel="{type}/id" pos="after"><language value="en"/></add>')
    return markup.print(LANGUAGE) if media == FHIR_XML else json.dumps(LANGUAGE).encode()


async def send(client: httpx.AsyncClient, url: str, *operations: Json, **headers: str) -> httpx.Response:
    """Sends a JSON Patch."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.patch(url, content=json_patch(*operations), headers={"content-type": JSON_PATCH, **named})


async def send_fhirpath(client: httpx.AsyncClient, url: str, *operations: Json) -> httpx.Response:
    return await client.patch(url, json=parameters(*operations), headers={"content-type": FHIR_JSON})


def add(path: str, value: Any) -> Json:
    return {"op": "add", "path": path, "value": value}


@every_type
async def test_a_patch_of_any_format_makes_the_next_version(clinic: httpx.AsyncClient, type: str) -> None:
    sent = BUILDERS[type]("mine")
    for version, media in zip((2, 4, 6, 8), MEDIA, strict=True):
        assert (await clinic.put(f"/{type}/mine", json=sent)).status_code in (200, 201)
        patched = await clinic.patch(f"/{type}/mine", content=language(media, type), headers={"content-type": media})
        assert patched.status_code == 200, patched.text
        assert patched.headers["etag"] == f'W/"{version}"'
        read = await clinic.get(f"/{type}/mine")
        assert read.headers["last-modified"] == patched.headers["last-modified"]
        got = read.json()
        assert got == patched.json()
        assert got.pop("meta")["versionId"] == f"{version}"
        assert got == {**sent, "language": "en"}
        assert "language" not in (await clinic.get(f"/{type}/mine/_history/{version - 1}")).json()


@every_type
async def test_what_is_not_there_is_not_patched(clinic: httpx.AsyncClient, type: str) -> None:
    assert_outcome(await send(clinic, f"/{type}/nobody", add("/language", "en")), 404, "not-found")
    await clinic.put(f"/{type}/mine", json=BUILDERS[type]("mine"))
    await clinic.delete(f"/{type}/mine")
    assert_outcome(await send(clinic, f"/{type}/mine", add("/language", "en")), 410, "deleted")


async def test_if_match_guards_a_patch(clinic: httpx.AsyncClient) -> None:
    stale = await send(clinic, "/Patient/ann", add("/gender", "female"), if_match='W/"7"')
    assert_outcome(stale, 412, "conflict")
    assert "gender" not in (await clinic.get("/Patient/ann")).json()
    assert (await send(clinic, "/Patient/ann", add("/gender", "female"), if_match='W/"1"')).status_code == 200


async def test_prefer_chooses_the_body_of_the_answer(clinic: httpx.AsyncClient) -> None:
    minimal = await send(clinic, "/Patient/ann", add("/gender", "female"), prefer="return=minimal")
    assert (minimal.status_code, minimal.content) == (200, b"")
    assert minimal.headers["etag"] == 'W/"2"'
    said = await send(clinic, "/Patient/ann", add("/gender", "male"), prefer="return=OperationOutcome")
    assert said.json()["resourceType"] == "OperationOutcome"


async def test_a_repeated_key_gets_the_first_answer_again(clinic: httpx.AsyncClient) -> None:
    given = add("/name/0/given/-", "Bo")
    first = await send(clinic, "/Patient/ann", given, idempotency_key="one")
    again = await send(clinic, "/Patient/ann", given, idempotency_key="one")
    assert (again.status_code, again.headers["etag"]) == (200, first.headers["etag"])
    assert again.json()["name"] == [{"family": "Ash", "given": ["Ann", "Bo"]}]


async def test_what_meets_a_condition_is_patched(clinic: httpx.AsyncClient) -> None:
    await clinic.put("/Patient/cy", json=patient("cy", identifier=[{"system": "http://example.org", "value": "c"}]))
    url = "/Patient?identifier=http://example.org|"
    patched = await send(clinic, f"{url}c", add("/gender", "male"))
    assert (patched.status_code, patched.json()["id"]) == (200, "cy")
    assert_outcome(await send(clinic, f"{url}d", add("/gender", "male")), 404, "not-found")
    assert_outcome(await send(clinic, "/Patient?family=Ash", add("/gender", "male")), 412, "multiple-matches")
    assert_outcome(await send(clinic, "/Patient", add("/gender", "male")), 400, "required")


async def test_a_patch_that_changes_nothing_makes_a_version_as_a_put_does(clinic: httpx.AsyncClient) -> None:
    assert (await send(clinic, "/Patient/ann")).headers["etag"] == 'W/"2"'


@pytest.mark.parametrize("media", [*MEDIA, "application/json"])
async def test_a_body_that_is_malformed_is_a_bad_request(clinic: httpx.AsyncClient, media: str) -> None:
    headers = {"content-type": media}
    assert_outcome(await clinic.patch("/Patient/ann", content=b"?", headers=headers), 400, "structure")


@pytest.mark.parametrize("media", [FHIR_JSON, FHIR_XML])
async def test_a_resource_other_than_parameters_is_no_patch(clinic: httpx.AsyncClient, media: str) -> None:
    body = markup.print(patient()) if media == FHIR_XML else json.dumps(patient()).encode()
    answer = await clinic.patch("/Patient/ann", content=body, headers={"content-type": media})
    assert "Parameters" in assert_outcome(answer, 400, "invalid")["diagnostics"]


async def test_an_empty_body_is_no_patch(clinic: httpx.AsyncClient) -> None:
    for media in MEDIA:
        assert_outcome(await clinic.patch("/Patient/ann", headers={"content-type": media}), 400, "required")


@pytest.mark.parametrize("media", ["text/plain", "application/merge-patch+json", "application/octet-stream"])
async def test_other_media_types_are_refused_with_those_that_work(clinic: httpx.AsyncClient, media: str) -> None:
    answer = await clinic.patch("/Patient/ann", content=b"[]", headers={"content-type": media})
    assert JSON_PATCH in assert_outcome(answer, 415, "not-supported")["diagnostics"]
    assert answer.headers["accept-patch"] == ", ".join(MEDIA)


async def test_an_array_in_plain_json_is_no_json_patch(clinic: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    assert_outcome(await clinic.patch("/Patient/ann", content=b"[]", headers=headers), 400, "structure")


async def test_a_failing_test_keeps_the_resource_as_it_is(clinic: httpx.AsyncClient) -> None:
    operations = add("/gender", "female"), {"op": "test", "path": "/active", "value": False}
    assert_outcome(await send(clinic, "/Patient/ann", *operations), 422, "processing")
    assert (await clinic.get("/Patient/ann")).headers["etag"] == 'W/"1"'


@pytest.mark.parametrize("element", ["id", "resourceType"])
async def test_id_and_type_cannot_be_changed(clinic: httpx.AsyncClient, element: str) -> None:
    for change in ({"op": "replace", "path": f"/{element}", "value": "Group"}, {"op": "remove", "path": f"/{element}"}):
        refused = assert_outcome(await send(clinic, "/Patient/ann", change), 400, "invalid")
        assert refused["expression"] == [f"Patient.{element}"]


async def test_ids_cannot_be_changed_in_any_format(clinic: httpx.AsyncClient) -> None:
    replaced = operation("replace", "Patient.id", value={"valueId": "bea"})
    assert_outcome(await send_fhirpath(clinic, "/Patient/ann", replaced), 400, "invalid")
    body = xml_patch('<replace sel="Patient/id/@value">bea</replace>')
    answer = await clinic.patch("/Patient/ann", content=body, headers={"content-type": XML_PATCH})
    assert_outcome(answer, 400, "invalid")


async def test_version_and_time_are_the_servers(clinic: httpx.AsyncClient) -> None:
    changes = [
        {"op": "test", "path": "/meta/versionId", "value": "1"},
        {"op": "replace", "path": "/meta/versionId", "value": "99"},
        {"op": "remove", "path": "/meta/lastUpdated"},
        {"op": "add", "path": "/meta/tag", "value": [{"system": "http://example.org", "code": "vip"}]},
    ]
    meta = (await send(clinic, "/Patient/ann", *changes)).json()["meta"]
    assert meta["versionId"] == "2"
    assert meta["lastUpdated"].startswith("2026-03-02T08:00")
    assert meta["tag"] == [{"system": "http://example.org", "code": "vip"}]
    untagged = await send(clinic, "/Patient/ann", {"op": "remove", "path": "/meta/tag/0"})
    assert "tag" not in untagged.json()["meta"]


async def test_the_result_must_be_valid(clinic: httpx.AsyncClient) -> None:
    unknown = await send(clinic, "/Patient/ann", add("/nickname", "Annie"))
    assert assert_outcome(unknown, 400, "structure")["expression"] == ["Patient.nickname"]
    assert_outcome(await send(clinic, "/Patient/ann", add("/gender", "f")), 422, "code-invalid")
    many = operation("add", "Patient", name="gender", value={"valueCode": "f"})
    assert_outcome(await send_fhirpath(clinic, "/Patient/ann", many), 422, "code-invalid")
    await clinic.put("/Encounter/visit", json=encounter())
    unfinished = operation("delete", "Encounter.status")
    assert_outcome(await send_fhirpath(clinic, "/Encounter/visit", unfinished), 400, "required")


async def test_a_path_that_selects_nothing_is_named(clinic: httpx.AsyncClient) -> None:
    replaced = operation("replace", "Patient.name.where(use = 'old').family", value="Oak")
    refused = assert_outcome(await send_fhirpath(clinic, "/Patient/ann", replaced), 422, "processing")
    assert "Patient.name.where(use = 'old').family" in refused["diagnostics"]
    assert refused["expression"] == ["Parameters.parameter[0]"]


async def test_decimals_keep_their_digits(clinic: httpx.AsyncClient) -> None:
    place = (
        b'{"resourceType":"Location","id":"lab","name":"Lab","position":{"longitude":-83.6945691000,"latitude":42.0}}'
    )
    assert (await clinic.put("/Location/lab", content=place, headers={"content-type": FHIR_JSON})).status_code == 201
    patches = [
        (JSON_PATCH, b'[{"op":"add","path":"/position/altitude","value":1.50}]'),
        (XML_PATCH, xml_patch('<replace sel="Location/position/altitude/@value">2.50</replace>')),
        (
            FHIR_JSON,
            b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},'
            b'{"name":"path","valueString":"Location.position.altitude"},{"name":"value","valueDecimal":3.50}]}]}',
        ),
    ]
    for (media, body), altitude in zip(patches, (b"1.50", b"2.50", b"3.50"), strict=True):
        patched = await clinic.patch("/Location/lab", content=body, headers={"content-type": media})
        assert b'"longitude":-83.6945691000' in patched.content
        assert b'"latitude":42.0' in patched.content
        assert b'"altitude":' + altitude in patched.content


async def booked(clinic: httpx.AsyncClient, start: str) -> str:
    created = await clinic.post("/Appointment", json=appointment(start))
    assert created.status_code == 201, created.text
    return f"/Appointment/{created.json()['id']}"


async def test_the_status_of_an_appointment_moves_only_as_it_may(clinic: httpx.AsyncClient) -> None:
    url = await booked(clinic, at("09:00"))
    arrived = operation("replace", "Appointment.status", value={"valueCode": "arrived"})
    assert (await send_fhirpath(clinic, url, arrived)).json()["status"] == "arrived"
    proposed = {"op": "replace", "path": "/status", "value": "proposed"}
    assert_outcome(await send(clinic, url, proposed), 422, "business-rule", "illegal-transition")
    assert (await clinic.get(url)).json()["status"] == "arrived"


async def test_a_patch_cannot_move_an_appointment_into_taken_time(clinic: httpx.AsyncClient) -> None:
    await booked(clinic, at("09:00"))
    url = await booked(clinic, at("10:00"))

    def move(start: str, end: str) -> list[Json]:
        return [
            {"op": "replace", "path": "/start", "value": f"{TUESDAY}T{start}:00Z"},
            {"op": "replace", "path": "/end", "value": f"{TUESDAY}T{end}:00Z"},
        ]

    assert_outcome(await send(clinic, url, *move("09:00", "09:30")), 409, "conflict")
    assert (await clinic.get(url)).json()["start"] == at("10:00")
    assert (await send(clinic, url, *move("11:00", "11:30"))).json()["start"] == at("11:00")


async def test_a_computed_slot_is_patched_as_it_is_read(clinic: httpx.AsyncClient) -> None:
    found = (await clinic.get(f"/Slot?status=free&start=ge{TUESDAY}&start=lt2026-03-04")).json()
    url = f"/Slot/{found['entry'][0]['resource']['id']}"
    taken = operation("replace", "Slot.status", value={"valueCode": "busy-unavailable"})
    assert (await send_fhirpath(clinic, url, taken)).status_code == 200
    assert (await clinic.get(url)).json()["status"] == "busy-unavailable"
