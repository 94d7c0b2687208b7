"""$validate, $everything and $meta, on every type."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_server.operations.everything import Wanted, _find
from fhir_server.operations.meta import LABELS_MAX
from fhir_server.plan import Matching
from fhir_server.store import counted
from tests.clinic import (
    BUILDERS,
    NOW,
    TUESDAY,
    WEDNESDAY,
    appointment,
    appointment_response,
    at,
    encounter,
    patient,
    practitioner,
    schedule,
)
from tests.outcomes import assert_outcome, problems

Json = dict[str, Any]

TYPES = sorted(BUILDERS)
JSON_PATCH = {"content-type": "application/json-patch+json"}


def parameters(**given: Any) -> Json:
    """A Parameters with a resource, a mode and a profile, those that are given."""
    keys = {"resource": "resource", "mode": "valueCode", "profile": "valueUri", "meta": "valueMeta"}
    listed = [{"name": name, keys[name]: value} for name, value in given.items()]
    return {"resourceType": "Parameters", "parameter": listed}


async def put(client: httpx.AsyncClient, *resources: Json) -> None:
    for resource in resources:
        response = await client.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
        assert response.status_code in (200, 201), response.text


async def issues(response: httpx.Response | Any) -> list[Json]:
    response = await response
    assert response.status_code == 200, response.text
    assert response.json()["resourceType"] == "OperationOutcome"
    found: list[Json] = response.json()["issue"]
    return found


def is_all_ok(found: list[Json]) -> bool:
    return [(one["severity"], one["code"]) for one in found] == [("information", "informational")]


async def version(client: httpx.AsyncClient, reference: str) -> str:
    found: str = (await client.get(f"/{reference}")).json()["meta"]["versionId"]
    return found


@pytest.mark.parametrize("type", TYPES)
async def test_a_valid_resource_of_any_type_is_all_ok(client: httpx.AsyncClient, type: str) -> None:
    resource = BUILDERS[type]("one")
    assert is_all_ok(await issues(client.post(f"/{type}/$validate", json=resource)))
    assert is_all_ok(await issues(client.post(f"/{type}/$validate", json=parameters(resource=resource))))


@pytest.mark.parametrize("type", TYPES)
async def test_an_invalid_resource_of_any_type_is_said_to_be(client: httpx.AsyncClient, type: str) -> None:
    wrong = {**BUILDERS[type]("one"), "colour": "red", "language": 3}
    for body in (wrong, parameters(resource=wrong)):
        found = await issues(client.post(f"/{type}/$validate", json=body))
        assert {tuple(one["expression"]) for one in found} == {(f"{type}.colour",), (f"{type}.language",)}
        assert {one["severity"] for one in found} == {"error"}


async def test_a_resource_of_another_type_or_of_none_is_an_issue(client: httpx.AsyncClient) -> None:
    for wrong in (practitioner(), {"resourceType": "Colour"}, {"id": "nothing"}):
        found = await issues(client.post("/Patient/$validate", json=wrong))
        assert [one["code"] for one in found] == ["structure"]


async def test_nothing_is_written(clinic: httpx.AsyncClient) -> None:
    for mode in ("create", "update"):
        body = parameters(resource=patient(gender="female"), mode=mode)
        assert is_all_ok(await issues(clinic.post("/Patient/ann/$validate", json=body)))
    assert is_all_ok(await issues(clinic.post("/Patient/ann/$validate", json=parameters(mode="delete"))))
    body = parameters(resource=appointment(), mode="create")
    assert is_all_ok(await issues(clinic.post("/Appointment/$validate", json=body)))
    assert await version(clinic, "Patient/ann") == "1"
    assert (await clinic.get("/Patient")).json()["total"] == 2
    assert (await clinic.get("/Appointment")).json()["total"] == 0


async def test_what_is_stored_can_be_validated(clinic: httpx.AsyncClient) -> None:
    assert is_all_ok(await issues(clinic.get("/Patient/ann/$validate")))
    assert is_all_ok(await issues(clinic.get("/Patient/ann/$validate", params={"mode": "update"})))
    assert is_all_ok(await issues(clinic.post("/Patient/ann/$validate", json=parameters(mode="update"))))
    assert_outcome(await clinic.get("/Patient/nobody/$validate"), 404, "not-found")
    await clinic.delete("/Patient/bob")
    assert_outcome(await clinic.get("/Patient/bob/$validate"), 410, "deleted")


async def test_parameters_of_the_protocol_do_not_make_what_is_stored_less(clinic: httpx.AsyncClient) -> None:
    await put(clinic, patient(meta={"tag": [TAG]}))
    whole = await clinic.get("/Patient/ann/$meta")
    for query in ({"_elements": "name"}, {"_summary": "text"}):
        assert is_all_ok(await issues(clinic.get("/Patient/ann/$validate", params=query)))
        assert meta_of(await clinic.get("/Patient/ann/$meta", params=query)) == meta_of(whole)


async def test_a_create_that_would_be_refused_is_said_to_be(clinic: httpx.AsyncClient) -> None:
    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201
    body = parameters(resource=appointment(actors=("Patient/bob", "Practitioner/smith")), mode="create")
    response = await clinic.post("/Appointment/$validate", json=body)
    refused = await clinic.post("/Appointment", json=body["parameter"][0]["resource"])
    assert refused.status_code == 409
    assert response.status_code == 200
    assert problems(response) == problems(refused) != set()
    without_mode = parameters(resource=body["parameter"][0]["resource"])
    assert is_all_ok(await issues(clinic.post("/Appointment/$validate", json=without_mode)))


async def test_an_update_that_would_be_refused_is_said_to_be(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    url = f"/Appointment/{booked['id']}"
    body = parameters(resource={**booked, "status": "waitlist"}, mode="update")
    found = await issues(clinic.post(f"{url}/$validate", json=body))
    assert [one["code"] for one in found] == ["business-rule"]
    moved = parameters(resource={**booked, **{k: appointment(at("10:00"))[k] for k in ("start", "end")}})
    moved["parameter"].append({"name": "mode", "valueCode": "update"})
    assert is_all_ok(await issues(clinic.post(f"{url}/$validate", json=moved)))
    assert await version(clinic, url[1:]) == "1"


async def test_an_update_is_checked_as_a_put_would_be(
    client_with: Callable[..., Any],
) -> None:
    client = await client_with(clinic=True)
    other = parameters(resource=patient("bob"), mode="update")
    assert [one["code"] for one in await issues(client.post("/Patient/ann/$validate", json=other))] == ["invalid"]
    stale = {"If-Match": 'W/"7"'}
    own = parameters(resource=patient(), mode="update")
    found = await issues(client.post("/Patient/ann/$validate", json=own, headers=stale))
    assert [one["code"] for one in found] == ["conflict"]
    new = parameters(resource=patient("new"), mode="update")
    assert is_all_ok(await issues(client.post("/Patient/new/$validate", json=new)))
    strict = await client_with(create_by_put=False)
    found = await issues(strict.post("/Patient/new/$validate", json=new))
    assert [one["code"] for one in found] == ["not-supported"]


async def test_a_delete_that_would_be_refused_is_said_to_be(clinic: httpx.AsyncClient) -> None:
    assert is_all_ok(await issues(clinic.get("/Patient/bob/$validate", params={"mode": "delete"})))
    found = await issues(clinic.get("/Practitioner/smith/$validate", params={"mode": "delete"}))
    refused = await clinic.delete("/Practitioner/smith")
    assert [one["code"] for one in found] == [one["code"] for one in refused.json()["issue"]] == ["conflict"]
    assert "PractitionerRole/smith-main" in found[0]["diagnostics"]


async def test_a_delete_does_not_look_at_the_content(clinic: httpx.AsyncClient) -> None:
    body = parameters(resource={"resourceType": "Patient", "colour": "red"}, mode="delete")
    assert is_all_ok(await issues(clinic.post("/Patient/bob/$validate", json=body)))


async def test_the_base_profile_is_known_and_no_other(clinic: httpx.AsyncClient) -> None:
    base = "http://hl7.org/fhir/StructureDefinition/Patient"
    for known in (base, f"{base}|4.0.1"):
        body = parameters(resource=patient(), profile=known)
        assert is_all_ok(await issues(clinic.post("/Patient/$validate", json=body)))
        body = parameters(mode="profile", profile=known)
        assert is_all_ok(await issues(clinic.post("/Patient/ann/$validate", json=body)))
    for unknown in ("http://a.example/StructureDefinition/mine", f"{base}|5.0.0", base + "/1"):
        body = parameters(resource=patient(), profile=unknown)
        found = await issues(clinic.post("/Patient/$validate", json=body))
        assert [(one["severity"], one["code"]) for one in found] == [("error", "not-supported")]
        assert base in found[0]["diagnostics"]


async def test_a_claimed_profile_that_is_not_known_is_a_warning(client: httpx.AsyncClient) -> None:
    base = "http://hl7.org/fhir/StructureDefinition/Patient"
    claiming = patient(meta={"profile": [base, "http://a.example/StructureDefinition/mine"]})
    found = await issues(client.post("/Patient/$validate", json=claiming))
    assert [(one["severity"], one["code"], one["expression"]) for one in found] == [
        ("warning", "not-supported", ["Patient.meta.profile[1]"])
    ]


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/Patient/$validate", parameters(mode="create"), "resource"),
        ("/Patient/$validate", parameters(resource=patient(), mode="update"), "mode"),
        ("/Patient/$validate", parameters(mode="delete"), "mode"),
        ("/Patient/$validate", parameters(mode="profile", profile="http://a.example"), "mode"),
        ("/Patient/ann/$validate", parameters(resource=patient(), mode="perhaps"), "mode"),
        ("/Patient/ann/$validate", parameters(mode="profile"), "profile"),
        (
            "/Patient/ann/$validate",
            parameters(resource=patient(), mode="profile", profile="http://a.example"),
            "resource",
        ),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    clinic: httpx.AsyncClient, path: str, body: Json, name: str
) -> None:
    issue = assert_outcome(await clinic.post(path, json=body), 400, "invalid")
    assert issue["expression"] == [f"Parameters.parameter.where(name='{name}')"]


async def test_what_cannot_be_read_is_refused(client: httpx.AsyncClient) -> None:
    json = {"content-type": "application/fhir+json"}
    assert_outcome(await client.post("/Patient/$validate", content=b"{", headers=json), 400, "structure")
    assert_outcome(await client.post("/Patient/$validate"), 400, "invalid")
    assert_outcome(await client.get("/Patient/$validate"), 400, "invalid")
    assert_outcome(await client.get("/Patient/$validate", params={"resource": "x"}), 400, "value")
    assert_outcome(await client.get("/Patient/$validate", params={"colour": "red"}), 400, "invalid")


async def test_the_mode_may_be_in_the_query_beside_a_bare_body(clinic: httpx.AsyncClient) -> None:
    found = await issues(clinic.post("/Patient/ann/$validate?mode=update", json=patient("bob")))
    assert [one["code"] for one in found] == ["invalid"]


TAG = {"system": "http://a.example/tags", "code": "vip"}
OTHER = {"system": "http://a.example/tags", "code": "late"}
PROFILE = "http://a.example/StructureDefinition/mine"
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


def meta_of(response: httpx.Response) -> Json:
    assert response.status_code == 200, response.text
    (parameter,) = response.json()["parameter"]
    assert parameter["name"] == "return"
    found: Json = parameter["valueMeta"]
    return found


@pytest.mark.parametrize("type", TYPES)
async def test_labels_of_any_type_are_added_read_and_taken_away(clinic: httpx.AsyncClient, type: str) -> None:
    resource = BUILDERS[type]("one")
    await put(clinic, resource)
    url, given = f"/{type}/one", {"tag": [TAG], "profile": [PROFILE], "security": [LABEL]}
    added = meta_of(await clinic.post(f"{url}/$meta-add", json=parameters(meta=given)))
    assert {name: added[name] for name in given} == given
    assert meta_of(await clinic.get(f"{url}/$meta")) == added == (await clinic.get(url)).json()["meta"]
    assert (await clinic.get(f"/{type}?_tag={TAG['system']}|vip&_profile={PROFILE}")).json()["total"] == 1
    left = meta_of(await clinic.post(f"{url}/$meta-delete", json=parameters(meta=given)))
    assert left.keys() == {"versionId", "lastUpdated"}
    assert (await clinic.get(url)).json()["meta"] == left


async def test_each_change_is_a_version_and_no_change_is_none(clinic: httpx.AsyncClient) -> None:
    added = await clinic.post("/Patient/ann/$meta-add", json=parameters(meta={"tag": [TAG]}))
    assert (meta_of(added)["versionId"], added.headers["etag"]) == ("2", 'W/"2"')
    same = {"tag": [{**TAG, "display": "Very important", "version": "2"}, TAG]}
    again = meta_of(await clinic.post("/Patient/ann/$meta-add", json=parameters(meta=same)))
    assert (again["versionId"], again["tag"]) == ("2", [TAG])
    absent = meta_of(await clinic.post("/Patient/ann/$meta-delete", json=parameters(meta={"tag": [OTHER]})))
    assert (absent["versionId"], absent["tag"]) == ("2", [TAG])
    assert (await clinic.get("/Patient/ann/_history")).json()["total"] == 2
    assert "meta" not in patient()
    assert (await clinic.get("/Patient/ann/_history/1")).json()["meta"].get("tag") is None


async def test_only_labels_are_changed(clinic: httpx.AsyncClient) -> None:
    await put(clinic, patient(meta={"source": "http://a.example/source", "tag": [TAG]}))
    given = {"versionId": "9", "lastUpdated": at("00:00"), "source": "http://a.example/other", "tag": [OTHER]}
    meta = meta_of(await clinic.post("/Patient/ann/$meta-add", json=parameters(meta=given)))
    assert (meta["versionId"], meta["source"], meta["tag"]) == ("3", "http://a.example/source", [TAG, OTHER])
    resource = (await clinic.get("/Patient/ann")).json()
    assert {name: value for name, value in resource.items() if name != "meta"} == patient()


async def test_one_added_twice_is_there_once(clinic: httpx.AsyncClient) -> None:
    given = parameters(meta={"tag": [TAG, {**TAG, "display": "again"}], "profile": [PROFILE, PROFILE]})
    meta = meta_of(await clinic.post("/Patient/ann/$meta-add", json=given))
    assert (meta["tag"], meta["profile"]) == ([TAG], [PROFILE])


async def test_an_update_keeps_what_was_added(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Patient/ann/$meta-add", json=parameters(meta={"tag": [TAG]}))
    await put(clinic, patient(gender="female"))
    assert meta_of(await clinic.get("/Patient/ann/$meta"))["tag"] == [TAG]
    await clinic.post("/Patient/ann/$meta-delete", json=parameters(meta={"tag": [TAG]}))
    assert "tag" not in meta_of(await clinic.get("/Patient/ann/$meta"))


async def test_a_booked_appointment_can_be_labelled_after_its_time(
    clinic: httpx.AsyncClient, set_clock: Callable[[datetime], None]
) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    set_clock(NOW + timedelta(days=9))
    response = await clinic.post(f"/Appointment/{booked['id']}/$meta-add", json=parameters(meta={"tag": [TAG]}))
    assert meta_of(response)["tag"] == [TAG]


@pytest.mark.parametrize("code", ["meta-add", "meta-delete"])
async def test_a_computed_slot_keeps_no_labels(clinic: httpx.AsyncClient, code: str) -> None:
    found = (await clinic.get(f"/Slot?status=free&start=ge{TUESDAY}&start=lt{WEDNESDAY}")).json()
    url = f"/Slot/{found['entry'][0]['resource']['id']}"
    refused = await clinic.post(f"{url}/${code}", json=parameters(meta={"tag": [TAG]}))
    assert_outcome(refused, 422, "business-rule")
    taking = [{"op": "replace", "path": "/status", "value": "busy-unavailable"}]
    await clinic.patch(url, json=taking, headers=JSON_PATCH)
    assert (await clinic.post(f"{url}/${code}", json=parameters(meta={"tag": [TAG]}))).status_code == 200


@pytest.mark.parametrize("code", ["meta-add", "meta-delete"])
async def test_if_match_is_heeded(clinic: httpx.AsyncClient, code: str) -> None:
    body, url = parameters(meta={"tag": [TAG]}), f"/Patient/ann/${code}"
    assert_outcome(await clinic.post(url, json=body, headers={"If-Match": 'W/"2"'}), 412, "conflict")
    assert (await clinic.post(url, json=body, headers={"If-Match": 'W/"1"'})).status_code == 200


@pytest.mark.parametrize("code", ["meta-add", "meta-delete"])
async def test_a_label_is_changed_once_under_one_key(clinic: httpx.AsyncClient, code: str) -> None:
    await put(clinic, patient(meta={"tag": [TAG, OTHER]}))
    url, key = f"/Patient/ann/${code}", {"Idempotency-Key": "k"}
    given = parameters(meta={"tag": [{"code": "new"} if code == "meta-add" else TAG]})
    first, again = [await clinic.post(url, json=given, headers=key) for _ in range(2)]
    assert meta_of(first) == meta_of(again)
    assert first.headers["etag"] == again.headers["etag"] == 'W/"3"'
    await put(clinic, patient(gender="female"))
    assert meta_of(await clinic.post(url, json=given, headers=key)) == meta_of(first)
    refused = await clinic.post(url, json=parameters(meta={"tag": [OTHER]}), headers=key)
    assert refused.status_code == 422


@pytest.mark.parametrize("code", ["meta-add", "meta-delete"])
async def test_what_is_not_there_or_not_said_is_refused(clinic: httpx.AsyncClient, code: str) -> None:
    body = parameters(meta={"tag": [TAG]})
    assert_outcome(await clinic.post(f"/Patient/nobody/${code}", json=body), 404, "not-found")
    await clinic.delete("/Patient/bob")
    assert_outcome(await clinic.post(f"/Patient/bob/${code}", json=body), 410, "deleted")
    assert_outcome(await clinic.post(f"/Patient/ann/${code}"), 400, "required")
    assert_outcome(await clinic.post(f"/Patient/ann/${code}", json=TAG), 400, "invalid")
    wrong = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueCoding": TAG}]}
    assert_outcome(await clinic.post(f"/Patient/ann/${code}", json=wrong), 400, "value")
    assert_outcome(await clinic.get(f"/Patient/ann/${code}"), 405, "not-supported")


async def test_the_meta_of_what_is_not_there_is_refused(clinic: httpx.AsyncClient) -> None:
    assert_outcome(await clinic.get("/Patient/nobody/$meta"), 404, "not-found")
    await clinic.delete("/Patient/bob")
    assert_outcome(await clinic.get("/Patient/bob/$meta"), 410, "deleted")
    assert_outcome(await clinic.get("/Patient/ann/$meta", params={"colour": "red"}), 400, "invalid")


async def test_what_is_in_use_of_a_type_and_of_all_types(clinic: httpx.AsyncClient) -> None:
    versioned = f"{PROFILE}|1.0"
    await put(clinic, patient(meta={"tag": [TAG, {"code": "plain"}], "profile": [versioned]}))
    await put(clinic, patient("bob", meta={"tag": [{**TAG, "display": "Very important"}], "security": [LABEL]}))
    await put(clinic, practitioner(meta={"tag": [OTHER], "profile": [PROFILE]}))
    of_patients = {"profile": [versioned], "security": [LABEL], "tag": [TAG, {"code": "plain"}]}
    of_practitioners = {"profile": [PROFILE], "tag": [OTHER]}
    of_all = {"profile": [PROFILE, versioned], "security": [LABEL], "tag": [OTHER, TAG, {"code": "plain"}]}
    for path, used in (("/Patient", of_patients), ("/Practitioner", of_practitioners), ("/Slot", {}), ("", of_all)):
        meta = meta_of(await clinic.get(f"{path}/$meta"))
        assert meta.pop("lastUpdated") == "2026-03-02T08:00:00Z"
        assert {name: sorted(values, key=str) for name, values in meta.items()} == {
            name: sorted(values, key=str) for name, values in used.items()
        }


async def test_more_labels_than_are_listed_are_refused(clinic: httpx.AsyncClient) -> None:
    await put(clinic, patient(meta={"profile": [f"http://a.example/{number}" for number in range(LABELS_MAX)]}))
    assert len(meta_of(await clinic.get("/Patient/$meta"))["profile"]) == LABELS_MAX
    await clinic.post("/Patient/bob/$meta-add", json=parameters(meta={"profile": ["http://a.example/more"]}))
    assert_outcome(await clinic.get("/Patient/$meta"), 400, "too-costly")


def modes(bundle: Json) -> dict[str, str]:
    """By reference the search mode of each entry, in order."""
    return {
        f"{one['resource']['resourceType']}/{one['resource']['id']}": one["search"]["mode"]
        for one in bundle.get("entry", ())
    }


async def everything(client: httpx.AsyncClient, reference: str = "Patient/ann", **query: Any) -> Json:
    response = await client.get(f"/{reference}/$everything", params=query)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


@pytest.fixture
async def record(clinic: httpx.AsyncClient) -> httpx.AsyncClient:
    """The test clinic with a record of Ann's, in which Bob takes part once."""
    await put(
        clinic,
        patient("ann-before", link=[{"other": {"reference": "Patient/ann"}, "type": "replaced-by"}]),
        {**appointment(status="proposed"), "id": "first"},
        {
            **appointment(at("09:00", WEDNESDAY), status="proposed", actors=("Patient/ann", "Patient/bob")),
            "id": "group",
        },
        {**appointment(at("10:00"), status="proposed", actors=("Patient/bob", "Location/main")), "id": "bobs"},
        appointment_response(appointment={"reference": "Appointment/group"}, actor={"reference": "Patient/ann"}),
        encounter(
            subject={"reference": "Patient/ann"},
            period={"start": TUESDAY, "end": TUESDAY},
            location=[{"location": {"reference": "Location/main"}}],
        ),
        schedule("anns", actor=[{"reference": "Patient/ann"}]),
    )
    return clinic


MATCHES = [
    "Patient/ann",
    "Appointment/first",
    "Appointment/group",
    "AppointmentResponse/answer",
    "Encounter/visit",
    "Patient/ann-before",
    "Schedule/anns",
]


async def test_the_compartment_and_what_it_refers_to(record: httpx.AsyncClient) -> None:
    bundle = await everything(record)
    found = modes(bundle)
    assert [reference for reference, mode in found.items() if mode == "match"] == MATCHES
    assert [each for each, mode in found.items() if mode == "include"] == ["Location/main", "Practitioner/smith"]
    assert bundle["total"] == len(MATCHES)
    assert [link["relation"] for link in bundle["link"]] == ["self"]
    assert all(one["fullUrl"].endswith("/" + reference) for one, reference in zip(bundle["entry"], found, strict=True))


async def test_others_who_take_part_are_left_out(record: httpx.AsyncClient) -> None:
    assert not {"Patient/bob", "Appointment/bobs"} & modes(await everything(record)).keys()


async def test_the_slot_of_a_booking_is_included(record: httpx.AsyncClient) -> None:
    booked = (await record.post("/Appointment", json=appointment(at("11:00")))).json()
    (slot,) = [one["reference"] for one in booked["slot"]]
    assert modes(await everything(record))[slot] == "include"


async def test_a_record_that_the_patient_links_to_is_included(record: httpx.AsyncClient) -> None:
    found = modes(await everything(record, "Patient/ann-before"))
    assert found == {"Patient/ann-before": "match", "Patient/ann": "include"}


async def test_a_post_answers_the_same(record: httpx.AsyncClient) -> None:
    given = [{"name": "_type", "valueCode": "Appointment"}, {"name": "_count", "valueInteger": 1}]
    body = {"resourceType": "Parameters", "parameter": given}
    posted = await record.post("/Patient/ann/$everything", json=body)
    assert posted.json() == await everything(record, _type="Appointment", _count=1)


@pytest.mark.parametrize(
    ("chosen", "read"),
    [
        ({"Appointment"}, {"Appointment"}),
        ({"Appointment", "Encounter"}, {"Appointment", "Encounter"}),
        (
            {"Practitioner"},
            {
                *("Appointment", "AppointmentResponse", "Encounter", "Patient", "Provenance"),
                *("QuestionnaireResponse", "Schedule"),
            },
        ),
    ],
)
async def test_types_that_bring_nothing_to_the_answer_are_not_read(
    clinic: httpx.AsyncClient, chosen: set[str], read: set[str]
) -> None:
    wanted = Wanted(frozenset(chosen), None, None, UTC)
    batch = next(_find(clinic.app.state.server, "Patient/ann", wanted, None, 10))  # type: ignore[attr-defined]
    assert {load.type for load in batch if isinstance(load, Matching)} == read


async def test_types_can_be_chosen(record: httpx.AsyncClient) -> None:
    bundle = await everything(record, _type="Appointment,Practitioner")
    assert bundle["total"] == 2
    assert list(modes(bundle)) == ["Appointment/first", "Appointment/group", "Practitioner/smith"]
    assert modes(await everything(record, _type=["Encounter", "Schedule"])).keys() == {
        "Encounter/visit",
        "Schedule/anns",
    }
    none = await everything(record, _type="Observation")
    assert (none["total"], "entry" in none) == (0, False)


async def test_the_dates_are_those_of_care(record: httpx.AsyncClient) -> None:
    without = {"Appointment/first", "Encounter/visit"}
    assert modes(await everything(record, start=WEDNESDAY)).keys().isdisjoint(without)
    assert "Appointment/group" not in modes(await everything(record, end=TUESDAY))
    assert without <= modes(await everything(record, start=TUESDAY, end=TUESDAY)).keys()
    assert "Schedule/anns" in modes(await everything(record, start="2030"))
    assert without <= modes(await everything(record, start="2026-03", end="2026")).keys()


async def test_what_was_left_out_does_not_come_back_as_an_include(record: httpx.AsyncClient) -> None:
    assert "Appointment/group" not in modes(await everything(record, end=TUESDAY, _type="AppointmentResponse"))


async def test_what_only_others_refer_to_is_there_without_them(
    record: httpx.AsyncClient, set_clock: Callable[[datetime], None]
) -> None:
    assert modes(await everything(record, _type="Practitioner"))["Practitioner/smith"] == "include"
    assert modes(await everything(record, "Encounter/visit", _type="Patient")) == {"Patient/ann": "include"}
    set_clock(NOW + timedelta(hours=1))
    await put(record, practitioner(gender="female"))
    since = (NOW + timedelta(hours=1)).isoformat()
    assert modes(await everything(record, _since=since)) == {"Practitioner/smith": "include"}
    assert "entry" not in await everything(record, _type="Practitioner", _count=0)


async def test_what_is_left_out_has_its_includes_once(record: httpx.AsyncClient) -> None:
    bundle = await everything(record, _type="Patient,Practitioner,Schedule", _count=1)
    found = list(modes(bundle))
    while len(bundle["link"]) > 1:
        bundle = (await record.get(bundle["link"][1]["url"])).json()
        found += modes(bundle)
    assert sorted(found) == sorted({*found})
    assert {*found} == modes(await everything(record, _type="Patient,Practitioner,Schedule")).keys()


async def test_since_is_about_when_something_was_stored(
    record: httpx.AsyncClient, set_clock: Callable[[datetime], None]
) -> None:
    later = NOW + timedelta(hours=1)
    set_clock(later)
    await put(record, practitioner(gender="female"), {**appointment(status="proposed", comment="New"), "id": "first"})
    found = modes(await everything(record, _since=later.isoformat()))
    assert found == {"Appointment/first": "match", "Practitioner/smith": "include"}
    assert modes(await everything(record, _since=(later + timedelta(seconds=1)).isoformat())) == {}


@pytest.mark.parametrize("count", [1, 2, 3, 100])
async def test_pages_hold_every_match_once_in_order(record: httpx.AsyncClient, count: int) -> None:
    bundle = await everything(record, _count=count)
    seen: list[str] = []
    while True:
        page = [reference for reference, mode in modes(bundle).items() if mode == "match"]
        assert len(page) <= count
        assert bundle["total"] == len(MATCHES)
        seen += page
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        if not following:
            break
        bundle = (await record.get(following[0])).json()
    assert seen == MATCHES


async def test_a_page_has_the_includes_of_its_matches(record: httpx.AsyncClient) -> None:
    first = await everything(record, _count=1)
    assert modes(first) == {"Patient/ann": "match"}
    second = (await record.get(first["link"][1]["url"])).json()
    assert modes(second) == {"Appointment/first": "match", "Practitioner/smith": "include"}


async def test_pages_are_stable_while_others_write(record: httpx.AsyncClient) -> None:
    first = await everything(record, _count=2)
    await put(record, {**appointment(at("11:00"), status="proposed"), "id": "early"})
    await record.delete("/Appointment/first")
    second = (await record.get(first["link"][1]["url"])).json()
    assert next(iter(modes(second))) == "Appointment/group"


async def test_a_count_of_nothing_gives_the_total(record: httpx.AsyncClient) -> None:
    bundle = await everything(record, _count=0)
    assert (bundle["total"], "entry" in bundle, len(bundle["link"])) == (len(MATCHES), False, 1)


async def test_a_page_has_no_more_than_the_server_allows(client_with: Callable[..., Any]) -> None:
    client = await client_with(clinic=True, count_max=1, count_default=1)
    await put(client, {**appointment(status="proposed"), "id": "first"})
    for query in ({}, {"_count": 2}):
        bundle = await everything(client, **query)
        assert list(modes(bundle).values()).count("match") == 1
        assert bundle["link"][1]["relation"] == "next"


async def test_the_self_link_says_what_was_used(record: httpx.AsyncClient) -> None:
    query = {"start": TUESDAY, "_type": "Appointment", "_since": "2026-01-01T00:00:00Z", "_count": "5"}
    bundle = await everything(record, **query, _pretty="false")
    used = httpx.URL(bundle["link"][0]["url"]).params
    assert dict(used) == {**query, "_pretty": "false"}
    assert (await record.get(bundle["link"][0]["url"])).json() == bundle


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"start": "soon"}, "start"),
        ({"end": "2026-02-30"}, "end"),
        ({"start": WEDNESDAY, "end": TUESDAY}, "start"),
        ({"_since": TUESDAY}, "_since"),
        ({"_count": "-1"}, "_count"),
        ({"_count": "many"}, "_count"),
        ({"_type": "Colour"}, "_type"),
        ({"_cursor": "x"}, "_cursor"),
    ],
)
async def test_a_bad_value_is_refused(clinic: httpx.AsyncClient, query: dict[str, str], name: str) -> None:
    issue = assert_outcome(await clinic.get("/Patient/ann/$everything", params=query), 400, "value")
    assert issue["expression"] == [name]


async def test_an_unknown_parameter_is_refused(clinic: httpx.AsyncClient) -> None:
    assert_outcome(await clinic.get("/Patient/ann/$everything", params={"_sort": "date"}), 400, "invalid")


async def test_who_is_not_there_has_nothing(clinic: httpx.AsyncClient) -> None:
    assert_outcome(await clinic.get("/Patient/nobody/$everything"), 404, "not-found")
    await clinic.delete("/Patient/bob")
    assert_outcome(await clinic.get("/Patient/bob/$everything"), 410, "deleted")


async def test_only_one_patient_can_be_asked_for(clinic: httpx.AsyncClient) -> None:
    assert_outcome(await clinic.get("/Patient/$everything"), 404, "not-found")


async def test_the_round_trips_do_not_grow_with_the_record(record: httpx.AsyncClient) -> None:
    with counted() as few:
        await everything(record)
    await put(
        record, *({**appointment(at(f"{hour:02}:00"), status="proposed"), "id": f"a{hour}"} for hour in range(20))
    )
    with counted() as many:
        await everything(record)
    assert many == few


async def test_the_encounter_and_what_it_refers_to(record: httpx.AsyncClient) -> None:
    await put(
        record,
        encounter(
            "group",
            subject={"reference": "Patient/ann"},
            appointment=[{"reference": "Appointment/group"}],
            location=[{"location": {"reference": "Location/main"}}],
            participant=[{"individual": {"reference": "Practitioner/smith"}}],
            serviceProvider={"reference": "Organization/riverside"},
        ),
    )
    bundle = await everything(record, "Encounter/group")
    assert modes(bundle) == {
        "Encounter/group": "match",
        "Appointment/group": "include",
        "Location/main": "include",
        "Organization/riverside": "include",
        "Patient/ann": "include",
        "Practitioner/smith": "include",
    }
    assert bundle["total"] == 1
    assert modes(await everything(record, "Encounter/group", _type="Encounter,Patient")).keys() == {
        "Encounter/group",
        "Patient/ann",
    }


async def test_it_has_no_dates_of_care_to_choose_by(record: httpx.AsyncClient) -> None:
    response = await record.get("/Encounter/visit/$everything", params={"start": TUESDAY})
    assert_outcome(response, 400, "invalid")


async def test_an_encounter_that_is_not_there_is_refused(clinic: httpx.AsyncClient) -> None:
    assert_outcome(await clinic.get("/Encounter/none/$everything"), 404, "not-found")
