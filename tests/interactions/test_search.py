"""Search through HTTP: conditions, order, totals, pages, links, and what is said of unknown parameters."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.clinic import appointment, at, encounter, location, organization, patient, practitioner, schedule
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome


def ids(bundle: dict[str, Any]) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]


async def search(client: httpx.AsyncClient, url: str) -> list[str]:
    response = await client.get(url)
    assert response.status_code == 200, response.text
    return ids(response.json())


@pytest.fixture
async def people(client: httpx.AsyncClient) -> httpx.AsyncClient:
    name = {"family": "Carreño Quinones", "given": ["Zoë"]}
    identifier = [{"system": "http://example.org/mrn", "value": "A-1"}]
    telecom = [{"system": "phone", "value": "+1 555 0100"}, {"system": "email", "value": "Zoe@Example.org"}]
    await put(
        client,
        patient("zoe", name=[name], birthDate="1980-05-17", gender="female", identifier=identifier, telecom=telecom),
        patient("tom", name=[{"family": "Quick", "given": ["Tom"]}], birthDate="1980", gender="male", active=False),
        patient("ida", name=[{"family": "Ash", "given": ["Ida"]}], deceasedDateTime="2020-01-01T10:00:00Z"),
        organization("riverside", partOf={"reference": "Organization/holding"}),
        location("main", position={"latitude": 42.0, "longitude": -83.0}),
        practitioner("smith"),
        encounter("visit", length={"value": 30, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"}),
        schedule("long", planningHorizon={"start": "2026-01-01", "end": "2026-06-30"}),
    )
    return client


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("/Patient?family=carreno", {"zoe"}),
        ("/Patient?family=quinones", {"zoe"}),
        ("/Patient?name=zoe", {"zoe"}),
        ("/Patient?family=quick,ash", {"tom", "ida"}),
        ("/Patient?family:exact=Ash", {"ida"}),
        ("/Patient?family:exact=ash", set()),
        ("/Patient?family:contains=uic", {"tom"}),
        ("/Patient?gender=female", {"zoe"}),
        ("/Patient?gender:not=female", {"tom", "ida"}),
        ("/Patient?gender=http://hl7.org/fhir/administrative-gender|female", {"zoe"}),
        ("/Patient?gender=http://example.org|female", set()),
        ("/Patient?gender:missing=true", {"ida"}),
        ("/Patient?active=false", {"tom"}),
        ("/Patient?identifier=A-1", {"zoe"}),
        ("/Patient?identifier=http://example.org/mrn|A-1", {"zoe"}),
        ("/Patient?identifier=http://example.org/mrn|", {"zoe"}),
        ("/Patient?identifier=|A-1", set()),
        ("/Patient?email=zoe@example.org", {"zoe"}),
        ("/Patient?phone=%2B1 555 0100", {"zoe"}),
        ("/Patient?birthdate=1980", {"zoe", "tom"}),
        ("/Patient?birthdate=1980-05-17", {"zoe"}),
        ("/Patient?birthdate=ge1980-05&birthdate=lt1980-06", {"zoe", "tom"}),
        ("/Patient?deceased=true", {"ida"}),
        ("/Patient?death-date=gt2019", {"ida"}),
        ("/Patient?_id=zoe,ida", {"zoe", "ida"}),
        ("/Patient?_lastUpdated=ge2026-03-02", {"zoe", "tom", "ida"}),
        ("/Patient?_lastUpdated=lt2026-03-02", set()),
        ("/Patient?gender=female&active=false", set()),
        ("/Organization?partof=Organization/holding", {"riverside"}),
        ("/Organization?partof=holding", {"riverside"}),
        ("/Organization?partof=http://127.0.0.1:8000/fhir/Organization/holding", {"riverside"}),
        ("/Organization?partof:Organization=holding", {"riverside"}),
        ("/Location?organization=riverside&status=active", {"main"}),
        ("/Encounter?length=30", {"visit"}),
        ("/Encounter?length=gt29|http://unitsofmeasure.org|min", {"visit"}),
        ("/Encounter?length=lt30", set()),
        ("/Encounter?class=AMB", {"visit"}),
        ("/Schedule?date=2026-03-02", set()),
        ("/Schedule?date=ap2026-03-02", {"long"}),
        ("/Schedule?actor=PractitionerRole/smith-main&active=true", {"long"}),
    ],
)
async def test_conditions(people: httpx.AsyncClient, url: str, found: set[str]) -> None:
    assert set(await search(people, url)) == found


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("/Patient?birthdate=yesterday", "value"),
        ("/Patient?birthdate=2026-13-01", "value"),
        ("/Patient?birthdate=zz2026", "value"),
        ("/Patient?gender:sideways=x", "not-supported"),
        ("/Patient?_count=-1", "value"),
        ("/Patient?_count=many", "value"),
        ("/Patient?_cursor=nonsense", "value"),
        ("/Patient?_total=roughly", "value"),
        ("/Encounter?length=long", "value"),
    ],
)
async def test_what_cannot_be_read_is_refused(client: httpx.AsyncClient, url: str, code: str) -> None:
    response = await client.get(url)
    assert response.status_code == 400, response.text
    assert {issue["severity"] for issue in response.json()["issue"]} == {"error"}
    assert_outcome(response, 400, code)


async def test_an_unknown_parameter_is_ignored_and_named(people: httpx.AsyncClient) -> None:
    response = await people.get("/Patient?colour=red&gender=female")
    bundle = response.json()
    assert ids(bundle) == ["zoe"]
    assert "colour" not in bundle["link"][0]["url"]
    outcome = bundle["entry"][-1]
    assert outcome["search"]["mode"] == "outcome"
    assert "colour" in outcome["resource"]["issue"][0]["diagnostics"]
    strict = await people.get("/Patient?colour=red", headers={"Prefer": "handling=strict"})
    assert_outcome(strict, 400, "not-supported")


async def test_post_search_takes_conditions_from_body_and_url(people: httpx.AsyncClient) -> None:
    response = await people.post("/Patient/_search?active=true", data={"family": "quinones,quick"})
    assert ids(response.json()) == ["zoe"]


async def test_results_are_sorted_by_what_is_asked(people: httpx.AsyncClient) -> None:
    assert await search(people, "/Patient?_sort=family") == ["ida", "zoe", "tom"]
    assert await search(people, "/Patient?_sort=-family") == ["tom", "zoe", "ida"]
    assert await search(people, "/Patient?_sort=-_id") == ["zoe", "tom", "ida"]
    assert (await search(people, "/Patient?_sort=birthdate,-family"))[0] == "ida"


async def test_totals_can_be_asked_for_alone_or_left_out(people: httpx.AsyncClient) -> None:
    bundle = (await people.get("/Patient?_count=0")).json()
    assert (bundle["total"], "entry" in bundle) == (3, False)
    assert "total" not in (await people.get("/Patient?_total=none")).json()


async def test_pages_neither_skip_nor_repeat_when_data_changes(people: httpx.AsyncClient) -> None:
    await put(people, *(patient(f"p{number:02}", name=[{"family": f"F{number:02}"}]) for number in range(10)))
    url: str | None = "/Patient?_sort=-family&_count=3"
    seen: list[str] = []
    while url:
        bundle = (await people.get(url)).json()
        page = ids(bundle)
        assert len(page) <= 3
        seen += page
        await people.delete(f"/Patient/{page[0]}")
        await put(people, patient(f"new-{page[0]}", name=[{"family": "Zz"}]))
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert len(seen) == len(set(seen)) == 13
    assert "p05" in seen


async def test_a_cursor_belongs_to_its_search(people: httpx.AsyncClient) -> None:
    bundle = (await people.get("/Patient?_count=1")).json()
    link = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
    cursor = httpx.URL(link).params["_cursor"]
    assert_outcome(await people.get(f"/Patient?_count=1&family=x&_cursor={cursor}"), 400, "value")


async def test_appointments_are_found_by_who_when_and_status(clinic: httpx.AsyncClient) -> None:
    first = (await clinic.post("/Appointment", json=appointment())).json()["id"]
    second = (await clinic.post("/Appointment", json=appointment(at("11:00"), status="pending"))).json()["id"]
    assert await search(clinic, "/Appointment?patient=ann&_sort=date") == [first, second]
    assert await search(clinic, "/Appointment?patient=Patient/ann&_sort=-date") == [second, first]
    assert await search(clinic, "/Appointment?practitioner=smith&status=pending") == [second]
    assert await search(
        clinic, "/Appointment?actor=Practitioner/smith&date=2026-03-03&date=lt2026-03-03T10:00:00Z"
    ) == [first]
    assert await search(clinic, "/Appointment?location=main") == []
    assert await search(clinic, "/Appointment?slot=smith-main.20260303T0900.30") == [first]
    assert await search(clinic, "/Appointment?part-status=accepted&date=eb2026-03-03T10:00:00Z") == [first]


@pytest.mark.parametrize("value", ["(a%2B)%2B$", "$where", "{%22$ne%22:1}", "%00", "a" * 1000, "\\", ",,,"])
async def test_a_value_is_never_an_operator(people: httpx.AsyncClient, value: str) -> None:
    for name in ("family", "family:contains", "gender", "identifier", "organization", "status[$ne]"):
        response = await people.get(f"/Patient?{name}={value}")
        assert response.status_code in (200, 400), response.text
        if response.status_code == 200 and name != "status[$ne]" and value != ",,,":
            assert ids(response.json()) == []
