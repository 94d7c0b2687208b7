"""The CapabilityStatement against the server: what it claims and `test_conformance` does not call, and what R4 has and
it does not claim, which is refused. Claims are read from /metadata and the definitions that it names."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server import conformance
from fhir_server.outcome import Json
from fhir_server.scheduling.stranding import ABOUT
from fhir_server.scheduling.telehealth import VIRTUAL_SERVICE
from fhir_server.settings import Settings
from tests.clinic import BUILDERS, MONDAY, TUESDAY, WEDNESDAY, appointment, at, patient
from tests.outcomes import assert_outcome
from tests.patches import FHIR_JSON, FHIR_XML, JSON_PATCH, XML_PATCH, json_patch, operation, parameters, xml_patch

DATA = Path(__file__).parent / "data"
STRICT = {"Prefer": "handling=strict"}
STATEMENT = conformance.capability_statement(Settings.model_construct())
CLAIMED: dict[str, Json] = {one["type"]: one for one in STATEMENT["rest"][0]["resource"]}
R4_CODES = {name.split()[1] for name in json.loads((DATA / "r4-search-parameters.json").read_text())}

every_type = pytest.mark.parametrize("type", list(CLAIMED))
every_stored_type = pytest.mark.parametrize("type", list(BUILDERS))


async def _claimed(server: httpx.AsyncClient, type: str) -> Json:
    rest = (await server.get("/metadata")).json()["rest"][0]
    return next(one for one in rest["resource"] if one["type"] == type)


async def _definition(server: httpx.AsyncClient, type: str, url: str) -> Json:
    entries = (await server.get(f"/{type}", params={"url": url})).json()["entry"]
    assert len(entries) == 1
    return entries[0]["resource"]  # type: ignore[no-any-return]


# searching


MODIFIERS: dict[str, tuple[str, str]] = {
    "missing": ("missing", "true"),
    "exact": ("exact", "x"),
    "contains": ("contains", "x"),
    "not": ("not", "x"),
    "text": ("text", "x"),
    "in": ("in", "http://hl7.org/fhir/ValueSet/slotstatus"),
    "not-in": ("not-in", "http://hl7.org/fhir/ValueSet/slotstatus"),
    "below": ("below", "http://x.example"),
    "above": ("above", "http://x.example"),
    "type": ("Patient", "x"),
    "identifier": ("identifier", "system|x"),
    "ofType": ("of-type", "http://terminology.hl7.org/CodeSystem/v2-0203|MR|x"),
}
"""R4's modifiers (http://hl7.org/fhir/R4/valueset-search-modifier-code.html), how each is written, and a value."""

VALUES = {"date": "2026-03-02", "number": "5", "quantity": "5"}
"""A value by the type of parameters that take comparators."""


async def _parameters(server: httpx.AsyncClient, type: str) -> list[Json]:
    """The SearchParameters that a type claims, those of every type only once: at Patient."""
    claims = (await _claimed(server, type))["searchParam"]
    found = (await server.get("/SearchParameter", params={"base": f"{type},Resource", "_count": "1000"})).json()[
        "entry"
    ]
    by_url = {entry["resource"]["url"]: entry["resource"] for entry in found}
    return [by_url[one["definition"]] for one in claims if type == "Patient" or not one["name"].startswith("_")]


@every_type
async def test_every_modifier_that_is_claimed_works_and_every_other_is_refused(
    reader: httpx.AsyncClient, type: str
) -> None:
    wrong = set()
    for definition in await _parameters(reader, type):
        for code, (modifier, value) in MODIFIERS.items():
            named = definition.get("target", [modifier])[0] if code == "type" else modifier
            response = await reader.get(f"/{type}", params={f"{definition['code']}:{named}": value}, headers=STRICT)
            if response.status_code != (200 if code in definition.get("modifier", ()) else 400):
                wrong.add((definition["code"], code, response.status_code))
    assert not wrong


@every_type
async def test_every_comparator_that_is_claimed_works_and_what_has_none_takes_none(
    reader: httpx.AsyncClient, type: str
) -> None:
    for definition in await _parameters(reader, type):
        assert ("comparator" in definition) == (definition["type"] in VALUES)
        for comparator in definition.get("comparator", ()):
            query = {definition["code"]: comparator + VALUES[definition["type"]]}
            assert (await reader.get(f"/{type}", params=query, headers=STRICT)).status_code == 200, query


@every_type
async def test_every_parameter_of_r4_that_is_not_claimed_is_refused(reader: httpx.AsyncClient, type: str) -> None:
    unclaimed = sorted(R4_CODES - {one["name"] for one in CLAIMED[type]["searchParam"]})
    for codes in (unclaimed[0::2], unclaimed[1::2]):
        refused = await reader.get(f"/{type}", params=dict.fromkeys(codes, "x"), headers=STRICT)
        assert_outcome(refused, 400, "not-supported")
        named = {issue["diagnostics"].split("'")[1] for issue in refused.json()["issue"]}
        assert named == set(codes)
    assert_outcome(await reader.get(f"/{type}", params={"_sort": unclaimed[0]}, headers=STRICT), 400, "not-supported")
    for code in ("_text", "_content", "_list", "_query", "_contained", "_containedType"):
        assert_outcome(await reader.get(f"/{type}", params={code: "x"}, headers=STRICT), 400, "not-supported")


@every_stored_type
async def test_every_include_of_a_type_that_is_not_claimed_is_refused(reader: httpx.AsyncClient, type: str) -> None:
    claimed = await _claimed(reader, type)
    for parameter in claimed["searchParam"]:
        value = f"{type}:{parameter['name']}"
        if value not in claimed.get("searchInclude", ()):
            refused = await reader.get(f"/{type}", params={"_include": value}, headers=STRICT)
            assert_outcome(refused, 400, "not-supported")


@every_type
async def test_every_wildcard_and_reverse_include_works_if_it_is_claimed_and_is_refused_if_not(
    reader: httpx.AsyncClient, type: str
) -> None:
    claimed = CLAIMED[type]
    sources = {f"{one['type']}:{parameter['name']}" for one in CLAIMED.values() for parameter in one["searchParam"]}
    wildcards = {"*", *(f"{one}:*" for one in CLAIMED)}
    for name, claim, values in (
        ("_include", "searchInclude", wildcards),
        ("_revinclude", "searchRevInclude", sources | wildcards),
    ):
        for value in sorted(values):
            answer = await reader.get(f"/{type}", params={name: value, "_count": "0"}, headers=STRICT)
            assert answer.status_code == (200 if value in claimed.get(claim, ()) else 400), (name, value)


# interactions


INTERACTIONS = (
    ("GET", ""), ("POST", ""), ("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/_search"), ("GET", "/_history"),
    ("GET", "/1"), ("PUT", "/1"), ("PATCH", "/1"), ("DELETE", "/1"), ("GET", "/1/_history"), ("GET", "/1/_history/1"),
)  # fmt: skip


@pytest.mark.parametrize("type", ["Observation", "Task", "Group", "Subscription", "Binary", "Bundle", "Banana"])
async def test_no_interaction_is_on_a_type_that_is_not_claimed(reader: httpx.AsyncClient, type: str) -> None:
    assert type not in CLAIMED
    for method, path in INTERACTIONS:
        body = {"json": {"resourceType": type}} if method in ("POST", "PUT", "PATCH") else {}
        assert_outcome(await reader.request(method, f"/{type}{path}", **body), 404, "not-found")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/"), ("PATCH", "/"), ("DELETE", "/"), ("POST", "/metadata")])
async def test_what_the_whole_system_does_not_claim_is_refused(
    reader: httpx.AsyncClient, method: str, path: str
) -> None:
    refused = await reader.request(method, path)
    assert_outcome(refused, 405, "not-supported")
    assert "GET" in refused.headers["allow"]


PATCHES: dict[str, bytes] = {
    JSON_PATCH: json_patch({"op": "add", "path": "/language", "value": "en"}),
    XML_PATCH: xml_patch('<add sel="Patient" pos="prepend"><language value="en"/></add>'),
    FHIR_JSON: json.dumps(parameters(operation("add", "Patient", name="language", value={"valueCode": "en"}))).encode(),
    FHIR_XML: b'<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/><part><name value="type"/>'
    b'<valueCode value="delete"/></part><part><name value="path"/><valueString value="Patient.gender"/></part>'
    b"</parameter></Parameters>",
}


async def test_every_format_of_patches_that_is_claimed_works_and_no_other_does(clinic: httpx.AsyncClient) -> None:
    claimed = (await clinic.get("/metadata")).json()["patchFormat"]
    assert set(claimed) == set(PATCHES)
    for media in claimed:
        await clinic.put("/Patient/one", json=patient("one", gender="female"))
        sent = await clinic.patch("/Patient/one", content=PATCHES[media], headers={"content-type": media})
        assert sent.status_code == 200, (media, sent.text)
    for media in ("application/merge-patch+json", "text/plain"):
        refused = await clinic.patch("/Patient/one", content=b"{}", headers={"content-type": media})
        assert_outcome(refused, 415, "not-supported")


async def test_every_format_that_is_claimed_is_read_and_answered_and_no_other_is(clinic: httpx.AsyncClient) -> None:
    claimed = (await clinic.get("/metadata")).json()["format"]
    for format in claimed:
        answer = await clinic.get("/Patient/ann", params={"_format": format})
        assert answer.status_code == 200
        media = answer.headers["content-type"].partition(";")[0]
        assert media.removeprefix("application/fhir+") == format.removeprefix("application/fhir+")
        again = await clinic.put("/Patient/ann", content=answer.content, headers={"content-type": media})
        assert again.status_code == 200, again.text
    for format in ("ttl", "text/turtle", "application/pdf"):
        assert_outcome(await clinic.get("/Patient/ann", params={"_format": format}), 406, "not-supported")
        body = {"content": b"x", "headers": {"content-type": format}}
        assert_outcome(await clinic.put("/Patient/ann", **body), 415, "not-supported")


# operations


META = {"json": {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}}
SLOTS = {"params": {"start": f"{TUESDAY}T00:00:00Z", "end": f"{WEDNESDAY}T00:00:00Z"}}
STATUS = {"params": {"url": "http://hl7.org/fhir/ValueSet/slotstatus"}}
CODE = {"params": {"system": "http://hl7.org/fhir/slotstatus", "code": "free"}}


def given(name: str, element: str, value: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": name, element: value}]}


CANCELLING = given("cancelationReason", "valueCodeableConcept", {"text": "Travelling"})
BOOKING = {"json": appointment(at("10:00"))}
WORD = {"code": "noshow", "source": "http://hl7.org/fhir/ValueSet/appointmentstatus"}

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "Appointment/$book": ("POST", BOOKING),
    "Appointment/id/$book": ("POST", {}),
    "Appointment/id/$cancel": ("POST", {"json": CANCELLING}),
    "Appointment/id/$confirm": ("POST", {}),
    "Appointment/$find": ("GET", SLOTS),
    "Appointment/$hold": ("POST", {"json": appointment(at("11:30"))}),
    "Appointment/id/$hold": ("POST", {}),
    "Appointment/id/$release": ("POST", {}),
    "Appointment/id/$join": ("GET", {}),
    "Appointment/$stats": ("GET", SLOTS),
    "Appointment/id/$transitions": ("GET", {}),
    "Appointment/id/$reschedule": ("POST", {"json": given("start", "valueDateTime", at("11:30", WEDNESDAY))}),
    "Appointment/id/$reassign": (
        "POST",
        {"json": given("to", "valueReference", {"reference": "PractitionerRole/smith-main"})},
    ),
    "Appointment/$validate-booking": ("POST", {"json": appointment(at("11:30"))}),
    "Appointment/id/$validate-booking": ("POST", {}),
    "ConceptMap/$translate": ("GET", {"params": WORD}),
    "ConceptMap/id/$translate": ("GET", {"params": {"code": "noshow"}}),
    "Schedule/$find-slots": ("GET", {"params": {**SLOTS["params"], "schedule": "Schedule/smith-main"}}),
    "Schedule/id/$find-slots": ("GET", SLOTS),
    "Schedule/$availability": ("GET", SLOTS),
    "Schedule/id/$availability": ("GET", SLOTS),
    "Location/$find-available": ("GET", SLOTS),
    "PractitionerRole/id/$set-availability": ("POST", {"json": given("clear", "valueCode", "notAvailable")}),
    **{f"{type}/id/$stranded": ("GET", {}) for type in ABOUT},
    "Slot/$prefetch": ("GET", SLOTS),
    "Patient/id/$everything": ("GET", {}),
    "Encounter/id/$everything": ("GET", {}),
    "ValueSet/$expand": ("GET", STATUS),
    "ValueSet/id/$expand": ("GET", {}),
    "ValueSet/$validate-code": ("GET", {"params": {**STATUS["params"], **CODE["params"]}}),
    "ValueSet/id/$validate-code": ("GET", CODE),
    "CodeSystem/$validate-code": ("GET", {"params": {"url": "http://hl7.org/fhir/slotstatus", "code": "free"}}),
    "CodeSystem/id/$validate-code": ("GET", {"params": {"code": "free"}}),
    "CodeSystem/$lookup": ("GET", CODE),
}
"""How the operations are called that have a type; those on every type are called alike."""

OF_EVERY_TYPE: dict[str, tuple[str, dict[str, Any]]] = {
    "meta": ("GET", {}),
    "meta-add": ("POST", META),
    "meta-delete": ("POST", META),
    "validate": ("POST", {}),
}

PLACES = {
    "availability": "smith-main",
    "confirm": "asked",
    "find-slots": "smith-main",
    "hold": "wanted",
    "join": "now",
    "reassign": "booked",
    "release": "wanted",
    "reschedule": "booked",
}
"""On which instance the operations are called that need a certain one."""

PROPOSED = {"asked": "10:30", "wanted": "11:00"}
"""Appointments that are proposed, and at what time."""

NOW_BY_VIDEO = appointment(
    at("07:30", MONDAY),
    20,
    status="arrived",
    extension=[
        {"url": VIRTUAL_SERVICE, "extension": [{"url": "address", "valueUrl": "https://meet.example/1"}]},
    ],
)

READ_ONLY_IDS = {
    "ValueSet": "slotstatus",
    "CodeSystem": "slotstatus",
    "ConceptMap": "appointment-status-to-word",
}


@every_type
async def test_every_operation_that_is_claimed_works_at_each_of_its_levels(
    clinic: httpx.AsyncClient, type: str
) -> None:
    id = READ_ONLY_IDS.get(type, "one")
    resource = BUILDERS[type](id) if type in BUILDERS else None
    if resource:
        (await clinic.put(f"/{type}/{id}", json=resource)).raise_for_status()
    (await clinic.put("/Appointment/now", json={**NOW_BY_VIDEO, "id": "now"})).raise_for_status()
    booked = {**appointment(at("09:00", WEDNESDAY)), "id": "booked"}
    (await clinic.put("/Appointment/booked", json=booked)).raise_for_status()
    for name, time in PROPOSED.items():
        proposed = {**appointment(at(time), status="proposed"), "id": name}
        (await clinic.put(f"/Appointment/{name}", json=proposed)).raise_for_status()
    for claim in (await _claimed(clinic, type)).get("operation", ()):
        code = claim["name"]
        definition = await _definition(clinic, "OperationDefinition", claim["definition"])
        for level, path in (("type", f"{type}/$"), ("instance", f"{type}/id/$")):
            if definition[level]:
                method, call = OF_EVERY_TYPE.get(code) or CALLS[path + code]
                call = {"json": resource} if code == "validate" else call
                place = PLACES.get(code, id)
                answer = await clinic.request(method, f"/{path.replace('/id/', f'/{place}/')}{code}", **call)
                assert answer.status_code in (200, 201), (path, code, answer.text)


R4_OPERATIONS = (
    "/$closure", "/$convert", "/$graphql", "/$versions", "/$process-message", "/$everything", "/Patient/$everything",
    "/Patient/$match", "/Patient/$merge", "/Patient/ann/$merge", "/Encounter/$everything", "/CodeSystem/$subsumes",
    "/CodeSystem/$find-matches", "/ConceptMap/$closure", "/StructureDefinition/$snapshot", "/Patient/ann/$graphql",
    "/CapabilityStatement/$implements", "/CapabilityStatement/$conforms", "/CapabilityStatement/$subset", "/$validate",
    "/$meta-add", "/Patient/$meta-add", "/Practitioner/smith/$everything", "/Organization/riverside/$everything",
    "/Schedule/$book", "/Appointment/$cancel", "/Appointment/$find-slots", "/Slot/$find", "/ValueSet/$validate",
    "/ValueSet/slotstatus/$meta", "/StructureDefinition/$questionnaire",
)  # fmt: skip
"""Operations of R4, and claimed ones at places where they are not."""


@pytest.mark.parametrize("path", R4_OPERATIONS)
async def test_an_operation_that_is_not_claimed_is_not_there(reader: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST"):
        body = {"json": {"resourceType": "Parameters"}} if method == "POST" else {}
        assert_outcome(await reader.request(method, path, **body), 404, "not-found")


# settings


Opened = Callable[..., Awaitable[httpx.AsyncClient]]


async def test_update_creates_only_where_it_is_claimed(client_with: Opened) -> None:
    for claimed, status in ((True, 201), (False, 405)):
        client = await client_with(create_by_put=claimed)
        assert (await _claimed(client, "Patient"))["updateCreate"] is claimed
        assert (await client.put(f"/Patient/{claimed}", json=patient(str(claimed)))).status_code == status


async def test_a_conditional_delete_of_several_works_only_where_it_is_claimed(client_with: Opened) -> None:
    for most, claimed, status in ((1, "single", 412), (100, "multiple", 204)):
        client = await client_with(conditional_delete_max=most)
        assert (await _claimed(client, "Patient"))["conditionalDelete"] == claimed
        for id in ("one", "two"):
            await client.put(f"/Patient/{id}", json=patient(id, gender="other"))
        assert (await client.delete("/Patient", params={"gender": "other"})).status_code == status


async def test_pages_of_other_origins_may_use_the_server_only_where_it_is_claimed(client_with: Opened) -> None:
    for origins, claimed in (("none", False), ("*", True)):
        client = await client_with(cors_origins=origins)
        statement = await client.get("/metadata", headers={"origin": "https://app.example"})
        assert statement.json()["rest"][0]["security"]["cors"] is claimed
        assert ("access-control-allow-origin" in statement.headers) is claimed
