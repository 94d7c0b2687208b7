"""What a search can ask of other resources, through HTTP: chains, `_has`, `_filter`, composites, `near`, free slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhir_server.definitions import SearchParameter
from fhir_server.resources import ROWS
from fhir_server.search.conditions import CHAIN_LENGTH_MAX
from fhir_server.search.kinds import kind_of
from fhir_server.search.parameters import known
from fhir_server.store import counted
from tests.clinic import (
    BUILDERS,
    REASON,
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
    service,
    slot,
)
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome

GP = {"coding": [{"system": "http://example.org/service", "code": "gp", "display": "General practice"}]}
GMC = {"system": "http://example.org/gmc", "value": "7|1,2"}

Json = dict[str, Any]


def ids(bundle: Json) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]


async def found(client: httpx.AsyncClient, url: str) -> set[str]:
    response = await client.get(url)
    assert response.status_code == 200, f"{url}: {response.text}"
    bundle = response.json()
    notes = [entry["resource"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "outcome"]
    assert not notes, f"{url}: {notes}"
    assert bundle["total"] == len(ids(bundle))
    return set(ids(bundle))


async def assert_finds(client: httpx.AsyncClient, expected: dict[str, set[str]]) -> None:
    """Every URL finds exactly these ids and ignores nothing."""
    answers = {url: await found(client, url) for url in expected}
    assert answers == expected


def participant(actor: str, status: str) -> Json:
    return {"actor": {"reference": actor}, "status": status}


def visit(id: str, *participants: Json, **more: Any) -> Json:
    return {**appointment(status="proposed", **more), "id": id, "participant": list(participants)}


@pytest.fixture
async def town(clinic: httpx.AsyncClient) -> httpx.AsyncClient:
    """The test clinic with a second practitioner, two services, and visits that are proposed."""
    await put(
        clinic,
        organization("holding", name="Holding"),
        organization(partOf={"reference": "Organization/holding"}),
        location(position={"latitude": 51.5, "longitude": -0.12}),
        location("north", name="North", position={"latitude": 52.5, "longitude": -0.12}),
        location("fiji", name="Fiji", position={"latitude": -17.0, "longitude": 179.99}),
        location("nowhere", name="Nowhere"),
        practitioner(identifier=[GMC]),
        practitioner("jones", name=[{"family": "Jones"}], identifier=[{"value": "8"}]),
        role("jones-main", practitioner={"reference": "Practitioner/jones"}),
        service("gp", name="GP", type=[GP], location=[{"reference": "Location/main"}]),
        service("scan", name="Scan", location=[{"reference": "Location/north"}]),
        schedule("jones", actor=[{"reference": "Practitioner/jones"}, {"reference": "HealthcareService/gp"}]),
        schedule("smith", actor=[{"reference": "Practitioner/smith"}], active=False),
        schedule("scan", actor=[{"reference": "HealthcareService/scan"}]),
        patient(generalPractitioner=[{"reference": "Practitioner/smith"}], identifier=[{"value": "A$1"}]),
        patient("bob", generalPractitioner=[{"reference": "Organization/riverside"}], name=[{"family": "Bo, Ltd"}]),
        visit("one", participant("Patient/ann", "accepted"), participant("Practitioner/smith", "declined")),
        visit("two", participant("Patient/bob", "declined"), participant("Practitioner/smith", "accepted")),
        visit("three", participant("Patient/bob", "tentative"), participant("PractitionerRole/jones-main", "accepted")),
        appointment_response("yes", appointment={"reference": "Appointment/one"}, actor={"reference": "Patient/ann"}),
        encounter("planned", subject={"reference": "Patient/ann"}, appointment=[{"reference": "Appointment/one"}]),
    )
    return clinic


async def test_a_chain_leads_through_typed_and_untyped_references(town: httpx.AsyncClient) -> None:
    await assert_finds(
        town,
        {
            "/Appointment?patient.family=ash": {"one"},
            "/Appointment?patient:Patient.family=ash": {"one"},
            "/Appointment?actor:Practitioner.family=smith": {"one", "two"},
            "/Appointment?actor:Practitioner.family=smith&actor:Patient.family=bo": {"two"},
            "/Appointment?actor.family=smith,bo": {"one", "two", "three"},
            "/Appointment?actor.active=true": {"one", "two", "three"},
            "/Appointment?patient.family=nobody": set(),
            "/Appointment?patient._id=ann": {"one"},
            "/Appointment?patient._id:not=ann": {"two", "three"},
            "/Appointment?patient.family:exact=Ash": {"one"},
            "/Appointment?patient.family:missing=true": set(),
            "/Appointment?patient.family:contains=lt": {"two", "three"},
            r"/Appointment?patient.family=bo\, ltd": {"two", "three"},
            r"/Appointment?patient.identifier=A\$1": {"one"},
            r"/Appointment?practitioner.identifier=http://example.org/gmc|7\|1\,2": {"one", "two"},
            "/Appointment?patient._lastUpdated=ge2026-03-01": {"one", "two", "three"},
            "/Appointment?patient._lastUpdated=lt2026-03-01": set(),
            "/Schedule?actor:HealthcareService.service-type=gp": {"jones"},
            "/Schedule?actor:HealthcareService.service-type:text=general": {"jones"},
            "/Schedule?actor.name=jones": {"jones"},
        },
    )


async def test_a_chain_has_many_steps(town: httpx.AsyncClient) -> None:
    await assert_finds(
        town,
        {
            "/Encounter?appointment.practitioner.family=smith": {"planned"},
            "/Encounter?appointment.practitioner.family=jones": set(),
            "/Encounter?appointment.patient.general-practitioner:Practitioner.family=smith": {"planned"},
            "/Appointment?actor:PractitionerRole.practitioner.family=jones": {"three"},
            "/Appointment?patient.general-practitioner:Organization.partof.name=holding": {"two", "three"},
            "/Schedule?actor:HealthcareService.location.organization.partof.name=holding": {"jones", "scan"},
            "/Schedule?actor:HealthcareService.location.near=51.5|-0.1|10|km": {"jones"},
            "/AppointmentResponse?appointment.patient.family=ash": {"yes"},
        },
    )


async def test_an_untyped_chain_leads_where_it_has_a_meaning(town: httpx.AsyncClient) -> None:
    about = [{"reference": "Organization/riverside"}, {"reference": "Location/main"}]
    await put(town, visit("four", participant("Patient/ann", "accepted"), supportingInformation=about))
    await assert_finds(
        town,
        {
            "/Appointment?supporting-info.partof:Organization._id=holding": {"four"},
            "/Appointment?supporting-info.organization.name=riverside": {"four"},
            "/Appointment?supporting-info.type:not=x": {"four"},
        },
    )
    assert_outcome(await town.get("/Appointment?supporting-info.partof:Patient._id=x"), 400, "not-supported")
    assert_outcome(await town.get("/Appointment?supporting-info.name:text=x"), 400, "not-supported")
    assert_outcome(await town.get("/Appointment?supporting-info.date=soon"), 400, "value")


async def test_has_asks_what_refers_to_a_resource(town: httpx.AsyncClient) -> None:
    await assert_finds(
        town,
        {
            "/Patient?_has:Appointment:patient:practitioner=smith": {"ann", "bob"},
            "/Patient?_has:Appointment:actor:part-status=tentative": {"bob"},
            "/Patient?_has:Appointment:patient:status=booked": set(),
            "/Patient?_has:Appointment:patient:practitioner.family=smith": {"ann", "bob"},
            "/Patient?_has:Appointment:patient:_has:Encounter:appointment:status=planned": {"ann"},
            "/Patient?_has:Encounter:patient:_id=planned": {"ann"},
            "/Practitioner?_has:PractitionerRole:practitioner:_has:Appointment:actor:status=proposed": {"jones"},
            "/Practitioner?_has:Schedule:actor:active=false": {"smith"},
            "/Practitioner?_has:Schedule:actor:active:not=false": {"jones"},
            "/Appointment?patient._has:Encounter:patient:status=planned": {"one"},
            "/Patient?_has:Appointment:patient:practitioner=smith&_has:Encounter:patient:status=planned": {"ann"},
            "/Organization?_has:Organization:partof:name=riverside": {"holding"},
            r"/Patient?_has:Appointment:actor:actor-part-status=smith$declined": {"ann"},
        },
    )


async def test_a_composite_holds_of_one_participant(town: httpx.AsyncClient) -> None:
    await assert_finds(
        town,
        {
            "/Appointment?actor-part-status=Practitioner/smith$declined": {"one"},
            "/Appointment?actor-part-status=smith$accepted": {"two"},
            "/Appointment?actor=smith&part-status=accepted": {"one", "two"},
            "/Appointment?actor-part-status=smith$declined,Patient/bob$tentative": {"one", "three"},
            "/Appointment?actor-part-status=smith$declined&actor-part-status=ann$accepted": {"one"},
            "/Encounter?appointment.actor-part-status=smith$declined": {"planned"},
            "/Appointment?_filter=actor-part-status eq smith$accepted": {"two"},
        },
    )
    for url in ("/Appointment?actor-part-status:missing=true", "/Appointment?_sort=actor-part-status"):
        assert_outcome(await town.get(url), 400, "not-supported")
    assert_outcome(await town.get("/Appointment?actor-part-status=smith"), 400, "value")


async def test_near_is_a_distance_on_the_earth(town: httpx.AsyncClient) -> None:
    await assert_finds(
        town,
        {
            "/Location?near=51.5|-0.12": {"main"},
            "/Location?near=51.5|-0.12|111|km": {"main"},
            "/Location?near=51.5|-0.12|112|km": {"main", "north"},
            "/Location?near=51.5|-0.12|112": {"main", "north"},
            "/Location?near=51.5|-0.12|112000|m": {"main", "north"},
            "/Location?near=51.5|-0.12|69|[mi_us]": {"main"},
            "/Location?near=51.5|-0.12|70|[mi_us]": {"main", "north"},
            "/Location?near=51.5|-0.12|0|km": {"main"},
            "/Location?near=52.5|-1.59|99|km": set(),
            "/Location?near=52.5|-1.59|100|km": {"north"},
            "/Location?near=-17|-179.99|3|km": {"fiji"},
            "/Location?near=-17|-179.99|2|km": set(),
            "/Location?near=90|0|4200|km": {"north"},
            "/Location?near=0|0|21000|km": {"main", "north", "fiji"},
            "/Location?near=51.5|-0.12,-17|180": {"main", "fiji"},
            "/Location?near=51.5|-0.12|112&name=north": {"north"},
            "/Location?near:missing=true": {"nowhere"},
            '/Location?_filter=near eq 51.5|-0.12 or name eq "fiji"': {"main", "fiji"},
            "/HealthcareService?location.near=51.5|-0.12|1|km": {"gp"},
        },
    )
    for url in ("/Location?near=91|0", "/Location?near=1|1|1|parsec", "/Location?near=1"):
        assert_outcome(await town.get(url), 400, "value")
    assert_outcome(await town.get("/Location?_sort=near"), 400, "not-supported")


async def test_phonetic_finds_what_sounds_alike(town: httpx.AsyncClient) -> None:
    await assert_finds(
        town,
        {
            "/Practitioner?phonetic=smyth": {"smith"},
            "/Practitioner?phonetic=smythe,johns": {"smith", "jones"},
            "/Practitioner?phonetic=miller": set(),
            "/Appointment?practitioner.phonetic=smyth": {"one", "two"},
            "/Patient?phonetic=an ash": {"ann"},
        },
    )


async def test_filter_asks_through_references(town: httpx.AsyncClient) -> None:
    await assert_finds(
        town,
        {
            "/Appointment?_filter=patient.family eq ash": {"one"},
            "/Appointment?_filter=patient.family co lt": {"two", "three"},
            "/Appointment?_filter=not (patient.family eq ash)": {"two", "three"},
            "/Appointment?_filter=patient.family eq ash or actor.practitioner.family eq jones": {"one", "three"},
            "/Appointment?_filter=actor[family eq smith and active eq true].identifier pr true": {"one", "two"},
            "/Appointment?_filter=actor[family eq jones].identifier pr true": set(),
            "/Appointment?_filter=patient[_id eq bob].name sw bo": {"two", "three"},
            "/Appointment?_filter=patient.general-practitioner re Practitioner/smith": {"one"},
            "/Appointment?_filter=patient.general-practitioner pr true and status ne booked": {"one", "two", "three"},
            "/Appointment?_filter=patient.family pr false": set(),
            "/Encounter?_filter=appointment[part-status eq declined].patient.name sw a": {"planned"},
            "/Appointment?_filter=date eq 2026-03-03 and part-status eq tentative": {"three"},
            '/Patient?_filter=name eq "Bo, Ltd" or birthdate ge 2020': {"bob"},
            "/Patient?_filter=family sw a&active=true": {"ann"},
            "/Patient?_filter=_lastUpdated po 2026-03-02 and identifier ew $1": {"ann"},
        },
    )
    for text, code in (
        ("patient.colour eq red", "not-supported"),
        ("colour eq red", "not-supported"),
        ("status in http://example.org/ValueSet/x", "not-supported"),
        ("status eq", "value"),
        ("status eq booked)", "value"),
        ("(" * 17 + "status eq a" + ")" * 17, "too-costly"),
    ):
        response = await town.get("/Appointment", params={"_filter": text})
        assert_outcome(response, 400, code)


async def test_a_chain_may_begin_with_the_name_of_a_type(town: httpx.AsyncClient) -> None:
    await put(town, slot("evening", schedule={"reference": "Schedule/jones"}, status="busy"))
    await assert_finds(
        town,
        {
            "/Slot?Schedule.actor:Practitioner=jones": {"evening"},
            "/Slot?Schedule.actor:HealthcareService=gp": {"evening"},
            "/Slot?Schedule.actor:Practitioner=smith": set(),
            "/Slot?schedule:Schedule.actor:Practitioner.identifier=8": {"evening"},
            "/Slot?_filter=Schedule.actor eq HealthcareService/gp": {"evening"},
        },
    )


LEADS_NOWHERE = (
    ("/Appointment?patient.colour=red", "Patient has no search parameter 'colour'"),
    ("/Appointment?patient.name.given=x", "no reference"),
    ("/Appointment?colour.name=x", "Appointment has no search parameter 'colour'"),
    ("/Appointment?actor.colour=x", "none of Patient"),
    ("/Appointment?actor:RelatedPerson.name=x", "none of that is served"),
    ("/Appointment?based-on.status=x", "ServiceRequest: none of that is served"),
    ("/Patient?_has:Appointment:colour:status=x", "Appointment has no search parameter 'colour'"),
    ("/Patient?_has:Appointment:status:status=x", "no reference to Patient"),
    ("/Patient?_has:Appointment:practitioner:status=x", "no reference to Patient"),
    ("/Patient?_has:Appointment:patient:colour=x", "Appointment has no search parameter 'colour'"),
    ("/Patient?_has:Observation:patient:code=x", "Observation is not stored"),
    ("/Slot?Status=free", "Slot has no search parameter 'Status'"),
)


async def test_what_leads_nowhere_is_an_unknown_parameter(client: httpx.AsyncClient) -> None:
    for url, said in LEADS_NOWHERE:
        bundle = (await client.get(url)).json()
        [entry] = bundle["entry"]
        assert entry["search"]["mode"] == "outcome"
        assert said in entry["resource"]["issue"][0]["diagnostics"], url
        name = url.partition("?")[2].partition("=")[0]
        assert name not in httpx.URL(bundle["link"][0]["url"]).params
        strict = await client.get(url, headers={"Prefer": "handling=strict"})
        assert said in assert_outcome(strict, 400, "not-supported")["diagnostics"]


CANNOT_BE_ASKED = (
    ("/Appointment?patient:Location.name=x", "not-supported"),
    ("/Appointment?patient:exact.name=x", "not-supported"),
    ("/Appointment?patient:identifier.name=x", "not-supported"),
    ("/Appointment?patient.name:text=x", "not-supported"),
    ("/Appointment?patient.gender:in=x", "not-supported"),
    ("/Appointment?patient.birthdate=soon", "value"),
    ("/Patient?_has:Appointment:patient:date=soon", "value"),
    ("/Patient?_has:Appointment=x", "value"),
    ("/Patient?_has:Appointment:patient=x", "value"),
    ("/Patient?_text=x", "not-supported"),
    ("/Patient?_content=x", "not-supported"),
    ("/Patient?_list=x", "not-supported"),
    ("/Patient?_query=x", "not-supported"),
    ("/Patient?_contained=true", "not-supported"),
    ("/Patient?_contained=both", "not-supported"),
    ("/Patient?_containedType=container", "not-supported"),
)


async def test_what_cannot_be_asked_is_refused(client: httpx.AsyncClient) -> None:
    for url, code in CANNOT_BE_ASKED:
        assert_outcome(await client.get(url), 400, code)


async def test_not_contained_is_what_is_done_anyway(town: httpx.AsyncClient) -> None:
    assert await found(town, "/Patient?_contained=false") == {"ann", "bob"}


async def test_a_chain_has_at_most_so_many_steps(town: httpx.AsyncClient) -> None:
    steps = ".".join(["partof"] * CHAIN_LENGTH_MAX)
    assert await found(town, f"/Organization?{steps}.name=x") == set()
    assert_outcome(await town.get(f"/Organization?{steps}.partof.name=x"), 400, "too-costly")
    assert_outcome(await town.get(f"/Organization?_filter={steps}.partof.name eq x"), 400, "too-costly")
    has = "_has:Organization:partof:" * CHAIN_LENGTH_MAX
    assert await found(town, f"/Organization?{has}name=x") == set()
    assert_outcome(await town.get(f"/Organization?_has:Organization:partof:{has}name=x"), 400, "too-costly")


async def test_a_search_is_sought_in_at_most_so_many_places(client: httpx.AsyncClient) -> None:
    two = ("actor:PractitionerRole.practitioner.name", "x")
    within = [("actor:Patient.name", "x")] * 98
    assert (await client.get("/Appointment", params=[*within, two])).status_code == 200
    beyond = [*within, ("actor:Practitioner.name", "x"), two]
    assert_outcome(await client.get("/Appointment", params=beyond), 400, "too-costly")
    deep = "actor._has:Appointment:actor:" * 4
    assert_outcome(await client.get(f"/Appointment?{deep}status=booked"), 400, "too-costly")


async def test_a_chain_costs_a_statement_for_each_step(town: httpx.AsyncClient) -> None:
    async def statements(url: str) -> int:
        with counted() as commands:
            assert (await town.get(url)).status_code == 200
        return len(commands)

    plain = await statements("/Encounter?status=planned")
    assert await statements("/Encounter?appointment.status=proposed") == plain + 1
    assert await statements("/Encounter?appointment.patient.family=ash") == plain + 2


async def test_a_step_that_finds_too_much_is_refused(town: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.search.conditions.FOUND_MAX", 2)
    assert await found(town, "/Appointment?patient.active=true") == {"one", "two", "three"}
    await put(town, patient("cat"))
    assert_outcome(await town.get("/Appointment?patient.active=true"), 400, "too-costly")


WINDOW = "start=ge2026-03-03&start=lt2026-03-04"


async def test_free_slots_are_computed_for_the_schedules_that_a_chain_finds(town: httpx.AsyncClient) -> None:
    async def starts(query: str) -> set[tuple[str, str]]:
        response = await town.get(f"/Slot?{query}")
        assert response.status_code == 200, response.text
        slots = [entry["resource"] for entry in response.json().get("entry", ()) if entry["search"]["mode"] == "match"]
        return {(one["schedule"]["reference"].removeprefix("Schedule/"), one["start"][11:16]) for one in slots}

    await put(town, role("jones-main", practitioner={"reference": "Practitioner/jones"}), schedule("jones-role"))
    everything = await starts(f"schedule=smith-main&status=free&{WINDOW}")
    assert len(everything) == 6
    for query in (
        f"schedule.actor:PractitionerRole=smith-main&schedule._id=smith-main&status=free&{WINDOW}",
        f"schedule:Schedule.actor:PractitionerRole.practitioner.identifier=7\\|1\\,2&schedule._id=smith-main"
        f"&status=free&{WINDOW}",
        f"Schedule.actor:PractitionerRole=smith-main&Schedule._id=smith-main&status=free&{WINDOW}",
        f"_filter=schedule._id eq smith-main and status eq free&{WINDOW}",
        "_filter=schedule eq Schedule/smith-main and status eq free and start ge 2026-03-03 and start lt 2026-03-04",
        f"schedule=smith-main&status=free,busy&{WINDOW}",
        "schedule=smith-main&status=free&_filter=start po 2026-03-03",
    ):
        assert await starts(query) == everything, query
    nine = {("smith-main", "09:00")}
    at_nine = "start=ge2026-03-03T09:00:00Z&start=lt2026-03-03T09:30:00Z"
    assert await starts(f"schedule._id=smith-main&status=free&{at_nine}") == nine
    assert await starts("schedule=smith-main&status=free&start=2026-03-03T09:00:00Z") == nine
    assert await starts("schedule=smith-main&status=free&start=le2026-03-02T09:00:00Z") == nine
    either = "start=2026-03-03T09:00:00Z,2026-03-03T11:30:00Z"
    assert await starts(f"schedule=smith-main&status=free&{either}") == nine | {("smith-main", "11:30")}
    assert await starts(f"schedule.actor:Practitioner.family=nobody&status=free&{WINDOW}") == set()
    assert await starts(f"schedule=smith-main&status:not=free&{WINDOW}") == set()
    assert await starts(f"schedule=smith-main&{WINDOW}") == set()


async def test_free_slots_of_a_service_are_found_by_its_type(town: httpx.AsyncClient) -> None:
    hours = [{"daysOfWeek": ["tue"], "availableStartTime": "14:00:00", "availableEndTime": "15:00:00"}]
    await put(town, service("gp", name="GP", type=[GP], availableTime=hours))
    await put(town, schedule("gp", actor=[{"reference": "HealthcareService/gp"}]))
    url = f"/Slot?schedule.actor:HealthcareService.service-type=gp&status=free&{WINDOW}"
    slots = [entry["resource"] for entry in (await town.get(url)).json()["entry"]]
    assert {(one["schedule"]["reference"], one["start"]) for one in slots} >= {("Schedule/gp", at("14:00"))}
    assert {one["schedule"]["reference"] for one in slots} <= {"Schedule/gp", "Schedule/jones"}


async def test_what_stands_for_nothing_is_not_found_through(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    url = "/Schedule?_has:Slot:schedule:status="
    assert await found(clinic, f"{url}busy") == {"smith-main"}
    cancelled = {**booked, "status": "cancelled", "cancelationReason": REASON}
    (await clinic.put(f"/Appointment/{booked['id']}", json=cancelled)).raise_for_status()
    assert await found(clinic, f"{url}busy") == set()
    assert await found(clinic, f"{url}free") == set()


async def test_many_slots_that_others_refer_to_can_be_found(clinic: httpx.AsyncClient) -> None:
    times = [f"{hour:02}:{minute:02}" for hour in (9, 10, 11) for minute in (0, 30)]
    days = [f"2026-03-{day:02}" for day in (3, 4, 5, 6)]
    for day in days:
        for time in times:
            (await clinic.post("/Appointment", json=appointment(at(time, day)))).raise_for_status()
    assert len(await found(clinic, "/Slot?_has:Appointment:slot:status=booked&_count=100")) == 24
    assert len(await found(clinic, "/Slot?_has:Appointment:slot:patient.family=ash&status=busy&_count=100")) == 24


SAMPLES = {
    "token": "a|b",
    "reference": "a",
    "date": "2026",
    "string": "a",
    "quantity": "5|http://unitsofmeasure.org|min",
    "uri": "http://a.example/b",
    "composite": "a$b",
    "number": "5",
    "special": "1|2|3|km",
}


def questions(parameter: SearchParameter) -> Iterator[tuple[str, str]]:
    """The parameter alone and with each modifier that it has."""
    if parameter.components:
        yield parameter.code, "a$5" if parameter.code.endswith("-quantity") else SAMPLES["composite"]
        return
    yield parameter.code, SAMPLES[parameter.type]
    yield f"{parameter.code}:missing", "true"
    for modifier in kind_of(parameter).modifiers:
        value = "a|b|c" if modifier == "of-type" else SAMPLES[parameter.type]
        of_type = (parameter.target or ("Patient",))[0]
        yield f"{parameter.code}:{modifier}".replace("[type]", of_type), "a|b" if modifier == "identifier" else value


async def test_every_parameter_of_every_type_works_with_each_of_its_modifiers(clinic: httpx.AsyncClient) -> None:
    for type, row in ROWS.items():
        for parameter in known(row).values():
            for name, value in questions(parameter):
                response = await clinic.get(f"/{type}", params={name: value, "_total": "none"})
                refused = (name.endswith(":of-type") and parameter.code != "identifier") or name == "_id:text"
                assert response.status_code == (400 if refused else 200), f"{type}?{name}: {response.text}"
                assert refused or name in httpx.URL(response.json()["link"][0]["url"]).params


async def test_every_parameter_with_one_value_can_be_sorted_by(clinic: httpx.AsyncClient) -> None:
    for type, row in ROWS.items():
        whole = set(ids((await clinic.get(f"/{type}")).json()))
        for parameter in known(row).values():
            for direction in ("", "-"):
                url = f"/{type}?_sort={direction}{parameter.code},-_lastUpdated,_id"
                if parameter.type in ("composite", "special"):
                    assert_outcome(await clinic.get(url), 400, "not-supported")
                else:
                    assert await found(clinic, url) == whole


async def test_every_type_is_found_by_what_all_have_in_common(client: httpx.AsyncClient) -> None:
    meta = {
        "profile": ["http://example.org/profile|1.0"],
        "source": "http://example.org/source#1",
        "tag": [{"system": "http://example.org/tag", "code": "t", "display": "Tagged"}],
        "security": [{"system": "http://example.org/security", "code": "R"}],
    }
    for type in ("Organization", "Location", "Practitioner", "Patient", "HealthcareService", "PractitionerRole"):
        await put(client, BUILDERS[type]("plain"), {**BUILDERS[type]("marked"), "meta": meta})
        await assert_finds(
            client,
            {
                f"/{type}?_tag=http://example.org/tag|t": {"marked"},
                f"/{type}?_tag:not=t": {"plain"},
                f"/{type}?_tag:text=tag": {"marked"},
                f"/{type}?_security=R": {"marked"},
                f"/{type}?_profile=http://example.org/profile": {"marked"},
                f"/{type}?_profile=http://example.org/profile|1.0": {"marked"},
                f"/{type}?_profile:below=http://example.org": {"marked"},
                f"/{type}?_source=http://example.org/source%231": {"marked"},
                f"/{type}?_source:missing=true": {"plain"},
                f"/{type}?_id=marked,other": {"marked"},
                f"/{type}?_id:not=marked": {"plain"},
                f"/{type}?_lastUpdated=ge2026-03-02T08:00:00Z": {"plain", "marked"},
                f"/{type}?_lastUpdated=gt2026-03-02T08:00:00Z": set(),
                f"/{type}?_lastUpdated:missing=true": set(),
            },
        )
