"""What a search answers: includes, summaries, elements, links, pages in both directions, several types at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_server.search import include, parsing, results
from fhir_server.store import counted
from tests.clinic import (
    NOW,
    REASON,
    TUESDAY,
    appointment,
    appointment_response,
    at,
    encounter,
    location,
    organization,
    patient,
    practitioner,
    role,
    schedule,
    slot,
)
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome
from tests.served import BASE as BASE_URL

Json = dict[str, Any]

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def names(bundle: Json, mode: str = "match") -> list[str]:
    """`Type/id` of the entries of this mode, in their order."""
    entries = [entry for entry in bundle.get("entry", ()) if entry["search"]["mode"] == mode]
    return [f"{entry['resource']['resourceType']}/{entry['resource'].get('id')}" for entry in entries]


def warnings(bundle: Json) -> list[str]:
    outcomes = [one["resource"] for one in bundle.get("entry", ()) if one["search"]["mode"] == "outcome"]
    return [issue["diagnostics"] for outcome in outcomes for issue in outcome["issue"]]


def links(bundle: Json) -> dict[str, str]:
    return {link["relation"]: link["url"] for link in bundle["link"]}


async def ask(client: httpx.AsyncClient, url: str) -> Json:
    response = await client.get(url)
    assert response.status_code == 200, response.text
    body: Json = response.json()
    assert body["resourceType"] == "Bundle"
    urls = [entry["fullUrl"] for entry in body.get("entry", ()) if "fullUrl" in entry]
    assert len(urls) == len(set(urls))
    return body


async def walk(client: httpx.AsyncClient, url: str) -> tuple[list[list[str]], list[list[str]]]:
    """The pages from the first on by `next`, and the same from the last one back by `previous`, put in order."""
    forward, backward = [], []
    bundle = await ask(client, url)
    assert "previous" not in links(bundle)
    while True:
        forward.append(names(bundle))
        if "next" not in links(bundle):
            break
        bundle = await ask(client, links(bundle)["next"])
    while True:
        backward.append(names(bundle))
        if "previous" not in links(bundle):
            break
        bundle = await ask(client, links(bundle)["previous"])
    return forward, backward[::-1]


@pytest.fixture
async def network(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A clinic with a chain of organizations above it, and two appointments that were not decided on."""
    visit = appointment(status="proposed", actors=("Patient/ann", "Practitioner/smith", "Device/scanner"))
    other = appointment(status="proposed", actors=("Patient/bob", "Practitioner/gone"))
    await put(
        client,
        organization("holding"),
        organization("riverside", partOf={"reference": "Organization/holding"}),
        location("main"),
        practitioner("smith"),
        role("smith-main"),
        schedule("smith-main"),
        slot("published"),
        patient("ann", managingOrganization={"reference": "Organization/riverside"}),
        patient("bob", link=[{"other": {"reference": "Patient/ann"}, "type": "seealso"}]),
        {**visit, "id": "one", "slot": [{"reference": "Slot/published"}]},
        {**other, "id": "two"},
        encounter("visit", subject={"reference": "Patient/ann"}, appointment=[{"reference": "Appointment/one"}]),
        appointment_response("answer", appointment={"reference": "Appointment/one"}),
    )
    return client


@pytest.mark.parametrize(
    ("url", "matches", "includes"),
    [
        ("/Appointment?_include=Appointment:patient", ["one", "two"], {"Patient/ann", "Patient/bob"}),
        ("/Appointment?_id=one&_include=Appointment:actor", ["one"], {"Patient/ann", "Practitioner/smith"}),
        ("/Appointment?_id=one&_include=Appointment:actor:Practitioner", ["one"], {"Practitioner/smith"}),
        (
            "/Appointment?_id=one&_include=Appointment:slot&_include=Appointment:patient",
            ["one"],
            {"Slot/published", "Patient/ann"},
        ),
        ("/Appointment?_id=one&_include=*", ["one"], {"Slot/published", "Patient/ann", "Practitioner/smith"}),
        (
            "/Appointment?_id=one&_include=Appointment:*",
            ["one"],
            {"Slot/published", "Patient/ann", "Practitioner/smith"},
        ),
        ("/Appointment?_id=one&_include=Appointment:*:Slot", ["one"], {"Slot/published"}),
        ("/Appointment?_id=two&_include=Appointment:practitioner", ["two"], set()),
        ("/Patient?_id=bob&_include=Patient:link", ["bob"], {"Patient/ann"}),
        ("/Patient?_include=Patient:link", ["ann", "bob"], set()),
        ("/Patient?_id=ann&_revinclude=Appointment:patient", ["ann"], {"Appointment/one"}),
        ("/Patient?_id=ann&_revinclude=Appointment:actor:Patient", ["ann"], {"Appointment/one"}),
        ("/Patient?_id=ann&_revinclude=Appointment:*", ["ann"], {"Appointment/one"}),
        ("/Patient?_id=ann&_revinclude=*", ["ann"], {"Appointment/one", "Encounter/visit", "Patient/bob"}),
        ("/Schedule?_revinclude=Slot:schedule", ["smith-main"], {"Slot/published"}),
        (
            "/Patient?_id=ann&_revinclude=Appointment:patient&_include=Patient:organization",
            ["ann"],
            {"Appointment/one", "Organization/riverside"},
        ),
        (
            "/Appointment?_id=one&_include=Appointment:slot&_include:iterate=Slot:schedule"
            "&_include:iterate=Schedule:actor&_include:iterate=PractitionerRole:organization",
            ["one"],
            {"Slot/published", "Schedule/smith-main", "PractitionerRole/smith-main", "Organization/riverside"},
        ),
        (
            "/Location?_include:iterate=Location:organization&_include:recurse=Organization:partof",
            ["main"],
            {"Organization/riverside", "Organization/holding"},
        ),
        (
            "/Patient?_id=ann&_revinclude=Appointment:patient&_revinclude:iterate=AppointmentResponse:appointment",
            ["ann"],
            {"Appointment/one", "AppointmentResponse/answer"},
        ),
        (
            "/Slot?_include:iterate=*&_revinclude=Appointment:slot",
            ["published"],
            {"Schedule/smith-main", "PractitionerRole/smith-main", "Practitioner/smith", "Location/main"}
            | {"Organization/riverside", "Organization/holding", "Appointment/one", "Patient/ann"},
        ),
    ],
)
async def test_includes(network: httpx.AsyncClient, url: str, matches: list[str], includes: set[str]) -> None:
    bundle = await ask(network, url)
    assert [name.partition("/")[2] for name in names(bundle)] == matches
    assert set(names(bundle, "include")) == includes
    assert bundle["total"] == len(matches)
    assert warnings(bundle) == []
    asked = httpx.URL(url).params.multi_items()
    assert [pair for pair in httpx.URL(links(bundle)["self"]).params.multi_items() if pair[0] != "_count"] == asked


async def test_an_absolute_or_versioned_reference_to_a_resource_of_ours_is_followed(network: httpx.AsyncClient) -> None:
    whole = {"reference": f"{BASE_URL}Organization/holding/_history/1"}
    await put(network, organization("below", partOf=whole))
    bundle = await ask(network, "/Organization?_id=below&_include=Organization:partof")
    assert names(bundle, "include") == ["Organization/holding"]


async def test_a_cycle_of_references_ends(client: httpx.AsyncClient) -> None:
    await put(client, organization("a", partOf={"reference": "Organization/b"}))
    await put(client, organization("b", partOf={"reference": "Organization/a"}))
    bundle = await ask(client, "/Organization?_id=a&_include:iterate=Organization:partof")
    assert (names(bundle), names(bundle, "include")) == (["Organization/a"], ["Organization/b"])


async def test_inclusion_is_iterated_so_often_and_said_to_end(client: httpx.AsyncClient) -> None:
    deep = include.STEPS_MAX
    chain = [organization(f"o{n}", partOf={"reference": f"Organization/o{n + 1}"}) for n in range(deep + 1)]
    await put(client, *chain)
    within = await ask(client, "/Organization?_id=o0&_include:iterate=Organization:partof")
    assert names(within, "include") == [f"Organization/o{n}" for n in range(1, deep + 1)]
    assert warnings(within) == []
    await put(client, organization(f"o{deep + 1}"))
    beyond = await ask(client, "/Organization?_id=o0&_include:iterate=Organization:partof")
    assert names(beyond, "include") == names(within, "include")
    [warning] = warnings(beyond)
    assert f"iterated {deep} times" in warning


@pytest.mark.parametrize("asked", ["_revinclude=Patient:organization", "_include:iterate=*&_revinclude:iterate=*"])
async def test_so_many_resources_are_included_and_it_is_said(
    client_with: Callable[..., Awaitable[httpx.AsyncClient]], asked: str
) -> None:
    client = await client_with(included_max=3)
    managed = {"managingOrganization": {"reference": "Organization/riverside"}}
    await put(client, organization("riverside"), *(patient(f"p{number}", **managed) for number in range(3)))
    within = await ask(client, f"/Organization?{asked}")
    assert (len(names(within, "include")), warnings(within)) == (3, [])
    await put(client, patient("p3", **managed))
    beyond = await ask(client, f"/Organization?{asked}")
    assert names(beyond, "include") == ["Patient/p0", "Patient/p1", "Patient/p2"]
    [warning] = warnings(beyond)
    assert "at most" in warning
    assert "3" in warning


async def test_so_many_references_are_followed_and_it_is_said(
    client_with: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    client = await client_with(included_max=2)
    await put(client, patient("a"), patient("b"), patient("c"))
    await put(client, {**appointment(status="proposed", actors=("Patient/a", "Patient/b")), "id": "x"})
    within = await ask(client, "/Appointment?_include=Appointment:actor")
    assert (len(names(within, "include")), warnings(within)) == (2, [])
    await put(client, {**appointment(status="proposed", actors=("Patient/a", "Patient/b", "Patient/c")), "id": "x"})
    beyond = await ask(client, "/Appointment?_include=Appointment:actor")
    assert len(names(beyond, "include")) == 2
    assert len(warnings(beyond)) == 1


async def test_a_page_that_is_full_says_what_the_next_step_would_have_found(
    client_with: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    client = await client_with(included_max=1)
    await put(client, patient("a"), {**appointment(status="proposed", actors=("Patient/a",)), "id": "x"})
    url = "/Appointment?_include=Appointment:patient&_revinclude:iterate=Encounter:patient"
    assert warnings(await ask(client, url)) == []
    await put(client, encounter(subject={"reference": "Patient/a"}))
    bundle = await ask(client, url)
    assert (names(bundle, "include"), len(warnings(bundle))) == (["Patient/a"], 1)


async def test_so_many_includes_and_elements_can_be_asked_for(client: httpx.AsyncClient) -> None:
    pair = "_include=Patient:organization"
    await ask(client, f"/Patient?{'&'.join([pair] * results.INCLUDES_MAX)}")
    assert_outcome(await client.get(f"/Patient?{'&'.join([pair] * (results.INCLUDES_MAX + 1))}"), 400, "too-costly")
    elements = ",".join(f"x{number}" for number in range(results.ELEMENTS_MAX))
    assert len(warnings(await ask(client, f"/Patient?_elements={elements}"))) == results.ELEMENTS_MAX
    assert_outcome(await client.get(f"/Patient?_elements={elements},y"), 400, "too-costly")


@pytest.mark.parametrize(
    "asked",
    [
        "_include=Condition:subject",
        "_include=Appointment:status",
        "_include=Appointment:banana",
        "_include=Appointment:patient:Practitioner",
        "_include=Appointment:actor:RelatedPerson",
        "_include=Appointment:based-on",
        "_revinclude=Observation:subject",
        "_revinclude=Slot:start",
        "_include:iterate=RelatedPerson:patient",
        "_include=Slot:schedule",
        "_revinclude=Appointment:slot",
        "_revinclude=Encounter:appointment:Slot",
    ],
)
async def test_an_include_that_names_nothing_is_ignored_and_named(network: httpx.AsyncClient, asked: str) -> None:
    bundle = await ask(network, f"/Appointment?{asked}&_include=Appointment:slot")
    assert names(bundle, "include") == ["Slot/published"]
    [warning] = warnings(bundle)
    assert asked in warning
    assert links(bundle)["self"].endswith("Appointment?_include=Appointment:slot&_count=50")
    strict = await network.get(f"/Appointment?{asked}", headers={"Prefer": "handling=strict"})
    assert_outcome(strict, 400, "not-supported")


@pytest.mark.parametrize(
    "asked", ["Practitioner?_include=*", "Practitioner?_include=Practitioner:*", "ValueSet?_include=*"]
)
async def test_a_wildcard_of_nothing_is_ignored_and_named(network: httpx.AsyncClient, asked: str) -> None:
    [warning] = warnings(await ask(network, f"/{asked}"))
    assert "What works: nothing" in warning


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("_include=patient", "value"),
        ("_include=Appointment", "value"),
        ("_include=Appointment:patient,Appointment:slot", "value"),
        ("_include=Appointment:patient:Patient:x", "value"),
        ("_include=*:patient", "value"),
        ("_include=Appointment.patient", "value"),
        ("_include:exact=Appointment:patient", "not-supported"),
        ("_revinclude:missing=Appointment:patient", "not-supported"),
        ("_summary=text&_include=Appointment:patient", "value"),
        ("_summary=text&_revinclude=Encounter:appointment", "value"),
        ("_summary=some", "value"),
        ("_summary=true&_summary=true", "value"),
        ("_summary:exact=true", "not-supported"),
        ("_summary=true&_elements=status", "value"),
        ("_elements=status&_elements=start", "value"),
    ],
)
async def test_what_cannot_be_read_or_combined_is_refused(network: httpx.AsyncClient, asked: str, code: str) -> None:
    issue = assert_outcome(await network.get(f"/Appointment?{asked}"), 400, code)
    assert "_" in issue["diagnostics"]


async def test_each_page_comes_with_what_it_includes(network: httpx.AsyncClient) -> None:
    first = await ask(network, "/Appointment?_include=Appointment:patient&_count=1")
    second = await ask(network, links(first)["next"])
    assert (names(first), names(first, "include")) == (["Appointment/one"], ["Patient/ann"])
    assert (names(second), names(second, "include")) == (["Appointment/two"], ["Patient/bob"])
    again = await ask(network, links(second)["previous"])
    assert again["entry"] == first["entry"]


async def test_the_statements_of_an_include_do_not_depend_on_the_size_of_the_page(network: httpx.AsyncClient) -> None:
    url = "/Appointment?_include=Appointment:patient&_include=Appointment:slot&_revinclude=Encounter:appointment"
    with counted() as few:
        await ask(network, f"{url}&_count=1")
    await put(network, *(patient(f"p{number}") for number in range(20)))
    for number in range(20):
        visit = appointment(status="proposed", actors=(f"Patient/p{number}",))
        await put(network, {**visit, "id": f"v{number}", "slot": [{"reference": "Slot/published"}]})
    with counted() as many:
        bundle = await ask(network, url)
    assert len(names(bundle, "include")) == 24
    assert sorted(many) == sorted(few)


async def test_a_slot_that_was_given_back_is_not_included_as_one_that_is_there(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    taken = await ask(clinic, "/Schedule?_revinclude=Slot:schedule")
    assert len(names(taken, "include")) == 1
    cancelled = {**booked, "status": "cancelled", "cancelationReason": REASON}
    (await clinic.put(f"/Appointment/{booked['id']}", json=cancelled)).raise_for_status()
    assert names(await ask(clinic, "/Schedule?_revinclude=Slot:schedule"), "include") == []


async def test_computed_slots_come_with_what_they_include(clinic: httpx.AsyncClient) -> None:
    url = f"/Slot?status=free&start={TUESDAY}&_include=Slot:schedule&_include:iterate=Schedule:actor"
    bundle = await ask(clinic, url)
    assert len(names(bundle)) == 6
    assert names(bundle, "include") == ["Schedule/smith-main", "PractitionerRole/smith-main"]


NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Ann</div>'}


@pytest.fixture
async def ann(client: httpx.AsyncClient) -> httpx.AsyncClient:
    contact = [{"name": {"family": "Ash"}}]
    await put(client, patient("ann", text=NARRATIVE, contact=contact, gender="female", birthDate="1980-05-17"))
    return client


WHOLE = {"resourceType", "id", "meta", "text", "active", "name", "contact", "gender", "birthDate"}


@pytest.mark.parametrize(
    ("asked", "elements"),
    [
        ("_summary=true", WHOLE - {"text", "contact"}),
        ("_summary=text", {"resourceType", "id", "meta", "text", "active"}),
        ("_summary=data", WHOLE - {"text"}),
        ("_summary=false", WHOLE),
        ("_elements=gender", {"resourceType", "id", "meta", "active", "gender"}),
        ("_elements=gender, contact,id", {"resourceType", "id", "meta", "active", "gender", "contact"}),
        ("_elements=Patient.gender", {"resourceType", "id", "meta", "active", "gender"}),
        ("_elements=gender&_summary=false", {"resourceType", "id", "meta", "active", "gender"}),
    ],
)
@pytest.mark.parametrize("path", ["/Patient", "/Patient/ann", "/Patient/ann/_history/1"])
async def test_a_part_of_the_resource(ann: httpx.AsyncClient, path: str, asked: str, elements: set[str]) -> None:
    response = await ann.get(f"{path}?{asked}")
    body = response.json()
    found = body["entry"][0]["resource"] if body["resourceType"] == "Bundle" else body
    assert set(found) == elements
    assert found["meta"]["versionId"] == "1"
    assert (SUBSETTED in found["meta"].get("tag", ())) == (elements != WHOLE)
    if found is body:
        assert response.headers["etag"] == 'W/"1"'
        assert "last-modified" in response.headers
    whole = (await ann.get("/Patient/ann")).json()
    assert set(whole) == WHOLE
    assert "tag" not in whole["meta"]


@pytest.mark.parametrize("path", ["/Patient/ann", "/Patient/ann/_history/1"])
@pytest.mark.parametrize("asked", ["_summary=count", "_summary=x", "_summary=true&_elements=gender"])
async def test_a_read_refuses_what_makes_no_sense(ann: httpx.AsyncClient, path: str, asked: str) -> None:
    assert_outcome(await ann.get(f"{path}?{asked}"), 400, "value")


async def test_a_summary_that_the_client_has_already_is_not_sent_again(ann: httpx.AsyncClient) -> None:
    response = await ann.get("/Patient/ann?_summary=true", headers={"If-None-Match": 'W/"1"'})
    assert response.status_code == 304


async def test_an_element_that_there_is_not_is_ignored_and_named(ann: httpx.AsyncClient) -> None:
    bundle = await ask(ann, "/Patient?_elements=gender,colour,Slot.status,Patient.start")
    assert "contact" not in bundle["entry"][0]["resource"]
    assert [next(word for word in ("colour", "Patient.start") if word in text) for text in warnings(bundle)] == [
        "colour",
        "Patient.start",
    ]
    assert "_elements=gender,Slot.status&" in links(bundle)["self"]
    none = await ask(ann, "/Patient?_elements=colour")
    assert set(none["entry"][0]["resource"]) == WHOLE
    assert "_elements" not in links(none)["self"]
    for path in ("/Patient", "/Patient/ann", "/Patient/ann/_history/1"):
        strict = await ann.get(f"{path}?_elements=colour", headers={"Prefer": "handling=strict"})
        assert_outcome(strict, 400, "not-supported")


@pytest.mark.parametrize("path", ["/Patient/ann", "/Patient/ann/_history/1"])
async def test_an_element_that_there_is_not_is_ignored_on_a_read(ann: httpx.AsyncClient, path: str) -> None:
    assert set((await ann.get(f"{path}?_elements=colour")).json()) == WHOLE
    some = (await ann.get(f"{path}?_elements=colour,gender")).json()
    assert set(some) == set((await ann.get(f"{path}?_elements=gender")).json())
    lenient = await ann.get(f"{path}?_elements=colour", headers={"Prefer": "handling=lenient"})
    assert lenient.status_code == 200


async def test_elements_are_of_the_matches_and_of_what_is_included_only_with_its_type(
    network: httpx.AsyncClient,
) -> None:
    asked = "/Appointment?_id=one&_include=Appointment:patient&_elements="
    plain, qualified = await ask(network, f"{asked}start"), await ask(network, f"{asked}start,Patient.name")
    [match, included] = (entry["resource"] for entry in plain["entry"])
    assert ("end" in match, "managingOrganization" in included) == (False, True)
    assert SUBSETTED not in included["meta"].get("tag", ())
    [match, included] = (entry["resource"] for entry in qualified["entry"])
    assert ("end" in match, "managingOrganization" in included, "name" in included) == (False, False, True)
    assert SUBSETTED in included["meta"]["tag"]


async def test_a_summary_is_of_what_is_included_too(network: httpx.AsyncClient) -> None:
    bundle = await ask(network, "/Encounter?_summary=true&_include=Encounter:patient")
    assert all(SUBSETTED in entry["resource"]["meta"]["tag"] for entry in bundle["entry"])


@pytest.mark.parametrize("asked", ["_summary=count", "_count=0", "_summary=count&_count=5", "_count=0&_total=none"])
@pytest.mark.parametrize("path", ["/Appointment", "/"])
async def test_a_count_is_the_total_alone(network: httpx.AsyncClient, path: str, asked: str) -> None:
    bundle = await ask(network, f"{path}?{asked}&_include=Appointment:patient&_type=Appointment&_id=one,two,three")
    assert bundle["total"] == 2
    assert all(entry["search"]["mode"] == "outcome" for entry in bundle.get("entry", ()))
    assert set(links(bundle)) == {"self"}


async def test_a_total_is_given_unless_it_is_not_wanted(network: httpx.AsyncClient) -> None:
    for path, total in (("/Patient", 2), ("/?_type=Patient,Appointment", 4)):
        sign = "&" if "?" in path else "?"
        for asked in ("accurate", "estimate"):
            assert (await ask(network, f"{path}{sign}_total={asked}&_count=1"))["total"] == total
        assert "total" not in await ask(network, f"{path}{sign}_total=none")


async def test_the_link_of_the_longest_search_can_be_followed(client: httpx.AsyncClient) -> None:
    most = "&".join(["active=true"] * parsing.PARAMETERS_MAX)
    link = links(await ask(client, f"/Patient?{most}"))["self"]
    assert links(await ask(client, link))["self"] == link
    assert_outcome(await client.get(f"/Patient?{most}&active=true"), 400, "too-costly")


async def test_links_escape_no_more_than_they_must(network: httpx.AsyncClient) -> None:
    url = f"{BASE_URL}Appointment?actor=Patient/ann,Patient/bob&actor.identifier=urn:a%7Cb%20%26c&_count=2"
    assert links(await ask(network, url))["self"] == url


async def test_links_say_what_was_used_and_can_be_followed(network: httpx.AsyncClient) -> None:
    url = "/Patient?colour=red&family=ash&_sort=-_id,colour&_count=1&_format=json&active=&_elements=name"
    first = await ask(network, url)
    used = f"{BASE_URL}Patient?family=ash&_sort=-_id&_count=1&_format=json&_elements=name"
    assert {links(first)["self"], links(first)["first"]} == {used}
    assert set(links(first)) == {"self", "first", "next"}
    second = await ask(network, links(first)["next"])
    assert links(second)["self"] == links(first)["next"]
    assert links(second)["first"] == used
    assert set(links(second)) == {"self", "first", "previous"}
    assert (await ask(network, links(second)["self"]))["entry"] == second["entry"]
    back = await ask(network, links(second)["previous"])
    assert links(back)["self"] == links(second)["previous"]
    assert back["entry"] == [entry for entry in first["entry"] if entry["search"]["mode"] == "match"]
    assert names(await ask(network, links(back)["next"])) == names(second)


@pytest.mark.parametrize("path", ["/Patient/_search", "/_search", "/Patient/ann/Appointment/_search"])
async def test_a_search_by_post_answers_with_links_for_get(network: httpx.AsyncClient, path: str) -> None:
    typed = {"_type": "Patient"} if path == "/_search" else {}
    first = await network.post(f"{path}?_count=1", data={"_sort": "-_lastUpdated", "_total": "none", **typed})
    assert first.status_code == 200, first.text
    assert len(names(first.json())) == 1
    for url in links(first.json()).values():
        assert "/_search" not in url
        assert (await network.get(url)).status_code == 200
    assert (await ask(network, links(first.json())["self"]))["entry"] == first.json()["entry"]


async def test_the_page_behind_a_link_can_be_asked_for_by_post(network: httpx.AsyncClient) -> None:
    first = await ask(network, "/Patient?_count=1")
    url = httpx.URL(links(first)["next"])
    second = await network.post("/Patient/_search", data=dict(url.params))
    assert second.json()["entry"] == (await ask(network, str(url)))["entry"]


async def test_where_everything_after_a_page_is_gone_there_is_nothing_and_the_way_to_the_first(
    network: httpx.AsyncClient,
) -> None:
    await put(network, organization("zenith"))
    first = await ask(network, "/Organization?_count=2")
    (await network.delete("/Organization/zenith")).raise_for_status()
    gone = await ask(network, links(first)["next"])
    assert names(gone) == []
    assert set(links(gone)) == {"self", "first"}


@pytest.fixture
async def many(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """People with ties, with several values and without any, and other resources of the same tags and ids."""
    families = [["Ash"], ["ash"], ["Zorn", "Beck"], [], ["Öz"], ["Beck"], [], ["Zorn"]]
    for number, family in enumerate(families):
        more: Json = {"name": [{"family": one} for one in family]} if family else {"name": [{"text": "x"}]}
        if number % 3:
            more["birthDate"] = f"19{80 + number % 2}"
        tag = [{"system": "http://example.org", "code": f"t{number % 2}"}] if number % 4 else []
        meta = {"meta": {"tag": tag}} if tag else {}
        await put(client, patient(f"p{number}", **more, **meta), practitioner(f"p{number}", **meta))
        await put(client, organization(f"o{number}", **meta))
    return client


SORTS = [
    "",
    "_id",
    "-_id",
    "family",
    "-family",
    "birthdate",
    "-birthdate",
    "birthdate,-family",
    "-_lastUpdated",
    "gender",
    "_id,family",
]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("count", [1, 3])
async def test_the_pages_are_the_same_forward_and_backward(many: httpx.AsyncClient, sort: str, count: int) -> None:
    whole = names(await ask(many, f"/Patient?_sort={sort}"))
    forward, backward = await walk(many, f"/Patient?_sort={sort}&_count={count}")
    assert [name for page in forward for name in page] == whole
    assert all(len(page) == count for page in forward[:-1])
    assert backward == forward


@pytest.mark.parametrize("sort", ["", "_id", "-_id", "_lastUpdated", "-_lastUpdated,_id", "_tag", "-_tag,-_id"])
@pytest.mark.parametrize("count", [2, 7])
async def test_several_types_are_paged_through_in_one_order(many: httpx.AsyncClient, sort: str, count: int) -> None:
    bundle = await ask(many, f"/?_sort={sort}")
    whole = names(bundle)
    assert len(set(whole)) == bundle["total"] == 24
    if sort in ("", "_id"):
        assert whole == sorted(whole, key=lambda name: (name.partition("/")[2], name))
    forward, backward = await walk(many, f"/?_sort={sort}&_count={count}&_type=Patient,Organization,Practitioner")
    assert [name for page in forward for name in page] == whole
    assert backward == forward


@pytest.mark.parametrize("sort", ["start", "-start", "-start,status", "_id", "schedule,-start"])
async def test_pages_of_stored_and_computed_slots_are_the_same_forward_and_backward(
    clinic: httpx.AsyncClient, sort: str
) -> None:
    await put(clinic, slot(), slot("early", at("07:00"), at("07:30")), slot("tie", at("18:00"), at("18:30")))
    url = f"/Slot?status=free&schedule=smith-main&start=ge{TUESDAY}&start=lt2026-03-05&_sort={sort}"
    bundle = await ask(clinic, url)
    assert bundle["total"] == len(names(bundle)) == 15
    forward, backward = await walk(clinic, f"{url}&_count=4")
    assert [name for page in forward for name in page] == names(bundle)
    assert backward == forward


@pytest.mark.parametrize("sort", ["_lastUpdated", "-_lastUpdated"])
async def test_pages_of_computed_slots_have_an_end_while_time_goes_on(
    clinic: httpx.AsyncClient, set_clock: Callable[[datetime], None], sort: str
) -> None:
    await put(clinic, slot())
    next: str | None = f"/Slot?status=free&schedule=smith-main&start={TUESDAY}&_count=2&_sort={sort}"
    found: list[str] = []
    for second in range(10):
        set_clock(NOW + timedelta(seconds=second))
        bundle = await ask(clinic, str(next))
        found += names(bundle)
        next = {link["relation"]: link["url"] for link in bundle["link"]}.get("next")
        if next is None:
            break
    assert len(found) == len(set(found)) == bundle["total"] == 7


async def test_a_search_for_free_slots_that_computes_none_says_so(clinic: httpx.AsyncClient) -> None:
    bundle = await ask(clinic, "/Slot?status=free")
    (outcome,) = [one["resource"] for one in bundle["entry"] if one["search"]["mode"] == "outcome"]
    assert "start" in outcome["issue"][0]["diagnostics"]


async def test_all_types_that_are_stored_are_searched_at_once(network: httpx.AsyncClient) -> None:
    bundle = await ask(network, "/?_count=100")
    assert bundle["total"] == len(names(bundle)) == 13
    assert names(await ask(network, "/?_id=smith-main")) == ["PractitionerRole/smith-main", "Schedule/smith-main"]
    assert names(await ask(network, "/?_id=smith-main&_type=Schedule")) == ["Schedule/smith-main"]
    assert names(await ask(network, "/?_type=Patient,Slot&_sort=-_id")) == [
        "Slot/published",
        "Patient/bob",
        "Patient/ann",
    ]


async def test_what_several_types_have_can_be_searched_over_them(network: httpx.AsyncClient) -> None:
    both = await ask(network, "/?_type=Appointment,AppointmentResponse&practitioner=smith&_sort=-part-status")
    assert set(names(both)) == {"Appointment/one", "AppointmentResponse/answer"}
    found = await ask(
        network, "/?_type=Appointment,Patient&_id=one,ann&_include=Appointment:patient&_include=Patient:link"
    )
    assert (names(found), names(found, "include")) == (["Patient/ann", "Appointment/one"], [])


@pytest.mark.parametrize(
    "asked",
    [
        "family=ash",
        "_type=Patient,Slot&family=ash",
        "_type=Patient,Slot&_sort=family",
        "_type=Location,StructureDefinition&type=x",
        "_type=Location,StructureDefinition&_sort=-type",
        "_type=Patient,Banana",
        "_type=Observation",
        "_type=Patient&_type=Slot",
        "_type:not=Patient",
    ],
)
async def test_what_is_not_for_all_of_the_types_is_refused(network: httpx.AsyncClient, asked: str) -> None:
    response = await network.get(f"/?{asked}")
    assert response.status_code == 400
    assert "_type" in response.json()["issue"][0]["diagnostics"]


async def test_what_none_of_the_types_has_is_ignored_and_named(network: httpx.AsyncClient) -> None:
    bundle = await ask(network, "/?_type=Patient,Slot&colour=red&_sort=colour,_id")
    assert bundle["total"] == 3
    assert [("colour" in text) for text in warnings(bundle)] == [True, True]
    assert "colour" not in links(bundle)["self"]
    strict = await network.get("/?colour=red", headers={"Prefer": "handling=strict"})
    assert_outcome(strict, 400, "not-supported")


async def test_types_are_not_chosen_where_there_is_one(network: httpx.AsyncClient) -> None:
    bundle = await ask(network, "/Patient?_type=Slot")
    assert bundle["total"] == 2
    assert "_type" in warnings(bundle)[0]
    assert "_type" not in links(bundle)["self"]


async def test_what_is_in_memory_is_searched_like_what_is_stored(client: httpx.AsyncClient) -> None:
    whole = await ask(client, "/ValueSet?_count=1000")
    assert whole["total"] == len(names(whole)) > 5
    forward, backward = await walk(client, "/ValueSet?_count=4")
    assert [name for page in forward for name in page] == names(whole)
    assert backward == forward
    [one] = [entry["resource"] for entry in whole["entry"] if entry["resource"]["id"].startswith("slotstatus")]
    for asked in (f"url={one['url']}", f"_id={one['id']}", f"url={one['url']}&_lastUpdated=gt2000"):
        assert names(await ask(client, f"/ValueSet?{asked}")) == [f"ValueSet/{one['id']}"]
    posted = await client.post("/ValueSet/_search", data={"url": one["url"], "colour": "red"})
    assert names(posted.json()) == [f"ValueSet/{one['id']}"]
    assert "colour" in warnings(posted.json())[0]
    short = (await client.get(f"/ValueSet/{one['id']}?_summary=true")).json()
    assert SUBSETTED in short["meta"]["tag"]
    assert "compose" not in short
    assert (await client.get(f"/ValueSet/{one['id']}?_elements=url")).json().keys() < short.keys()
    assert_outcome(await client.get("/ValueSet/none"), 404, "not-found")
    assert (await ask(client, "/ValueSet?_summary=count"))["total"] == whole["total"]


async def test_what_is_in_memory_is_found_with_what_is_stored_if_it_is_named(network: httpx.AsyncClient) -> None:
    maps = await ask(network, "/ConceptMap?_count=1000")
    both = await ask(network, "/?_type=ConceptMap,Slot&_count=1000")
    assert both["total"] == maps["total"] + 1
    assert sorted(names(both)) == sorted([*names(maps), "Slot/published"])
    forward, backward = await walk(network, "/?_type=ConceptMap,Slot&_sort=-_lastUpdated&_count=1")
    assert sorted(name for page in forward for name in page) == sorted(names(both))
    assert backward == forward


async def test_a_client_can_ask_to_be_treated_leniently(
    client_with: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    client = await client_with(search_strict=True)
    assert_outcome(await client.get("/Patient?colour=red"), 400, "not-supported")
    response = await client.get("/Patient?colour=red", headers={"Prefer": "handling=lenient"})
    assert response.status_code == 200
