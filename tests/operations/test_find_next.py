"""$find-slots without an end, with preferences, and by calendars: what is offered next, to whom, on which terms."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.outcome import CANONICAL
from fhir_server.scheduling.preferences import PREFERENCES_MAX
from fhir_server.store import counted
from tests.clinic import MONDAY, appointment, at, location, practitioner, role, schedule, service, slot
from tests.operations.test_find_slots import put, starts
from tests.outcomes import assert_outcome

Json = dict[str, Any]

ROOT = f"{CANONICAL}/StructureDefinition"


async def ask(client: httpx.AsyncClient, path: str = "/Schedule/smith-main", **query: Any) -> Json:
    response = await client.get(f"{path}/$find-slots", params=query)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


def slots_of(bundle: Json) -> list[Json]:
    return [one["resource"] for one in bundle.get("entry", ()) if one["search"]["mode"] == "match"]


def notes_of(bundle: Json) -> list[Json]:
    outcomes = [one["resource"] for one in bundle.get("entry", ()) if one["search"]["mode"] == "outcome"]
    return [issue for outcome in outcomes for issue in outcome["issue"]]


def next_of(bundle: Json) -> str | None:
    return next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)


# The next ones


async def test_a9_the_first_five_after_now_are_found_without_a_window(clinic: httpx.AsyncClient) -> None:
    bundle = await ask(clinic, _count=5)
    assert [slot["start"] for slot in slots_of(bundle)] == [
        at(time, MONDAY) for time in ("09:00", "09:30", "10:00", "10:30", "11:00")
    ]
    assert "total" not in bundle
    following = (await clinic.get(next_of(bundle) or "")).json()
    assert [slot["start"] for slot in slots_of(following)] == [
        at("11:30", MONDAY),
        *(at(time) for time in ("09:00", "09:30", "10:00", "10:30")),
    ]


async def test_a9_the_next_free_time_is_found_however_far_it_is(clinic: httpx.AsyncClient) -> None:
    away = {"description": "Leave", "during": {"end": "2027-02-28"}}
    await put(clinic, role(notAvailable=[away]))
    with counted() as commands:
        found = slots_of(await ask(clinic, _count=2))
    assert [slot["start"] for slot in found] == ["2027-03-01T09:00:00Z", "2027-03-01T09:30:00Z"]
    assert len(commands) < 40
    assert (await clinic.get(f"/Slot/{found[0]['id']}")).json() == found[0]


async def test_a9_a_search_for_the_next_ones_ends_where_the_calendars_do(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(planningHorizon={"end": "2026-03-03"}))
    bundle = await ask(clinic)
    assert len(slots_of(bundle)) == 12
    assert next_of(bundle) is None
    [note] = notes_of(bundle)
    assert note["severity"] == "information"
    assert "2026-03-04T00:00:00Z" in note["diagnostics"]
    await put(clinic, role(notAvailable=[{"description": "Gone", "during": {"start": "2026-01-01"}}]), schedule())
    [note] = notes_of(await ask(clinic))
    assert note["diagnostics"].startswith("Nothing is free")
    assert "2028-03-02" in note["diagnostics"], "two years are looked at"


async def test_a9_pages_of_the_next_ones_have_neither_gap_nor_repeat(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic,
        schedule(planningHorizon={"end": "2026-04-30"}),
        practitioner("jones"),
        role("jones-main", practitioner={"reference": "Practitioner/jones"}),
        schedule(
            "jones-main", actor=[{"reference": "PractitionerRole/jones-main"}], planningHorizon={"end": "2026-03-20"}
        ),
    )
    await clinic.post("/Appointment", json=appointment(at("09:30")))
    whole = slots_of(
        await ask(clinic, "/Schedule", start=at("00:00", MONDAY), end=at("00:00", "2026-05-01"), _count=999)
    )
    url: str | None = "/Schedule/$find-slots?_count=100"
    seen: list[Json] = []
    while url:
        bundle = (await clinic.get(url)).json()
        seen += slots_of(bundle)
        url = next_of(bundle)
    assert seen == whole


async def test_a9_a_search_that_looked_at_enough_goes_on_in_its_next_link(
    clinic: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("fhir_server.scheduling.offers", "fhir_server.operations.find_slots"):
        monkeypatch.setattr(f"{module}.LOOKS_MAX", 4)
    bundle = await ask(clinic, _count=6)
    assert starts(slots_of(bundle)) == ["09:00", "09:30", "10:00", "10:30"]
    assert "4 times were looked at" in notes_of(bundle)[0]["diagnostics"]
    following = (await clinic.get(next_of(bundle) or "")).json()
    assert starts(slots_of(following)) == ["11:00", "11:30", "09:00", "09:30"]
    window = {"start": at("00:00"), "end": at("23:00")}
    refused = await clinic.get("/Schedule/smith-main/$find-slots", params=window)
    assert_outcome(refused, 422, "too-costly")


async def test_a9_a_schedule_that_there_is_not_is_named(clinic: httpx.AsyncClient) -> None:
    for window in ({}, {"start": at("00:00"), "end": at("23:00")}):
        bundle = await ask(clinic, "/Schedule", schedule=["Schedule/none", "Schedule/smith-main"], **window)
        assert slots_of(bundle)
        assert ("not-found", "Schedule/none does not exist here.") in {
            (note["code"], note["diagnostics"]) for note in notes_of(bundle)
        }
    assert_outcome(await clinic.get("/Schedule/none/$find-slots"), 404, "not-found")


# Preferences


@pytest.mark.parametrize(
    ("when", "days", "times"),
    [
        (["tue,thu 09:00-10:00"], {"03", "05"}, {"09:00", "09:30"}),
        (["fri"], {"06"}, {"09:00", "09:30", "10:00", "10:30", "11:00", "11:30"}),
        (["mon"], {"02"}, {"09:00", "09:30", "10:00", "10:30", "11:00", "11:30"}),
        (["10:30"], {"02", "03", "04", "05", "06"}, {"10:30"}),
        (["MORN.early"], set(), set()),
        (["mon 11:00-12:00", "wed MORN.late"], {"02", "04"}, {"09:00", "09:30", "10:00", "10:30", "11:00", "11:30"}),
    ],
)
async def test_a10_days_of_the_week_and_times_of_the_day_are_kept_to(
    clinic: httpx.AsyncClient, when: list[str], days: set[str], times: set[str]
) -> None:
    window = {"start": at("00:00", MONDAY), "end": at("00:00", "2026-03-08")}
    found = slots_of(await ask(clinic, when=when, **window))
    assert {slot["start"][8:10] for slot in found} == days
    assert {slot["start"][11:16] for slot in found} == times


async def test_a10_a_timing_says_the_same_and_its_next_link_keeps_it(clinic: httpx.AsyncClient) -> None:
    repeat = {"dayOfWeek": ["tue"], "timeOfDay": ["09:00:00", "11:00:00"], "duration": 1, "durationUnit": "h"}
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "timing", "valueTiming": {"repeat": repeat}}, {"name": "_count", "valuePositiveInt": 3}],
    }
    bundle = (await clinic.post("/Schedule/smith-main/$find-slots", json=body)).json()
    assert [slot["start"] for slot in slots_of(bundle)] == [at("09:00"), at("09:30"), at("11:00")]
    following = (await clinic.get(next_of(bundle) or "")).json()
    assert [slot["start"] for slot in slots_of(following)] == [
        at("11:30"),
        at("09:00", "2026-03-10"),
        at("09:30", "2026-03-10"),
    ]


@pytest.mark.parametrize(
    "timing",
    [
        {"repeat": {"dayOfWeek": ["tue"], "frequency": 2, "period": 1, "periodUnit": "wk"}},
        {"repeat": {"when": ["PCM"]}},
        {"event": ["2026-03-03"]},
        {"repeat": {"dayOfWeek": ["tue"], "duration": 1, "durationUnit": "h"}},
        {"repeat": {"timeOfDay": ["09:00:30"]}},
        {"repeat": {"timeOfDay": ["09:00:00"], "duration": 3, "durationUnit": "d"}},
    ],
)
async def test_a10_what_is_not_read_of_a_timing_is_refused(clinic: httpx.AsyncClient, timing: Json) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "timing", "valueTiming": timing}]}
    refused = await clinic.post("/Schedule/$find-slots", json=body)
    code = "value" if timing.get("repeat", {}).get("durationUnit") == "d" else "not-supported"
    assert "timing" in assert_outcome(refused, 400, code)["diagnostics"]


@pytest.mark.parametrize("when", ["soon", "mon,", "mon,x 09:00", "09:00-", "25:00", "mon tue", "09:00-12:00 mon"])
async def test_a10_what_is_no_preference_is_refused(clinic: httpx.AsyncClient, when: str) -> None:
    refused = await clinic.get("/Schedule/$find-slots", params={"when": when})
    assert "mon,wed 09:00-12:00" in assert_outcome(refused, 400, "value")["diagnostics"]


async def test_a10_no_more_preferences_than_the_limit(clinic: httpx.AsyncClient) -> None:
    await ask(clinic, when=["mon"] * PREFERENCES_MAX)
    refused = await clinic.get("/Schedule/$find-slots", params={"when": ["mon"] * (PREFERENCES_MAX + 1)})
    assert_outcome(refused, 400, "too-costly")


async def test_a10_a_night_belongs_to_the_day_on_which_it_begins(clinic: httpx.AsyncClient) -> None:
    await put(clinic, role(availableTime=[{"allDay": True}]), schedule(parameters={"duration": 240}))
    window = {"start": at("00:00", MONDAY), "end": at("00:00", "2026-03-05")}

    async def begins(when: str) -> list[str]:
        return [slot["start"][8:16] for slot in slots_of(await ask(clinic, when=when, **window))]

    assert await begins("mon 20:00-08:00") == ["02T20:00", "03T00:00", "03T04:00"]
    assert await begins("tue 20:00-24:00") == ["03T20:00"]
    assert await begins("tue 16:00-16:00") == ["03T16:00", "03T20:00", "04T00:00", "04T04:00", "04T08:00", "04T12:00"]


async def test_a10_preferences_are_by_the_clock_of_the_schedule(clinic: httpx.AsyncClient) -> None:
    zone = {"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "America/New_York"}
    await put(clinic, schedule(extension=[zone]))
    found = slots_of(await ask(clinic, when="mon 09:00-09:30", _count=2))
    assert [slot["start"] for slot in found] == ["2026-03-02T09:00:00-05:00", "2026-03-09T09:00:00-04:00"]


async def test_a10_a_schedule_says_which_patients_it_takes(clinic: httpx.AsyncClient) -> None:
    plan = {"url": "insurance", "valueReference": {"reference": "InsurancePlan/gold"}}
    code = {"url": "insurance", "valueCoding": {"system": "urn:payers", "code": "aok"}}
    closed = {"url": "newPatients", "valueBoolean": False}
    await put(
        clinic,
        schedule(extension=[{"url": f"{ROOT}/accepts", "extension": [closed, code]}]),
        service(extension=[{"url": f"{ROOT}/accepts", "extension": [plan]}]),
        role("open", healthcareService=[{"reference": "HealthcareService/consultation"}]),
        schedule("open", actor=[{"reference": "PractitionerRole/open"}]),
        schedule("any"),
    )

    async def schedules(**query: Any) -> set[str]:
        window = {"start": at("00:00"), "end": at("23:00")}
        found = slots_of(await ask(clinic, "/Schedule", **window, **query))
        return {slot["schedule"]["reference"].partition("/")[2] for slot in found}

    assert await schedules() == {"smith-main", "open", "any"}
    assert await schedules(**{"new-patient": "true"}) == {"open", "any"}
    assert await schedules(**{"new-patient": "false"}) == {"smith-main", "open", "any"}
    assert await schedules(insurance="aok") == {"smith-main", "any"}
    assert await schedules(insurance=["urn:payers|aok", "InsurancePlan/gold"]) == {"smith-main", "open", "any"}
    assert await schedules(insurance="tk,InsurancePlan/gold") == {"open", "any"}
    assert await schedules(insurance="urn:other|aok") == {"any"}
    wrong = {"url": f"{ROOT}/accepts", "extension": [{"url": "insurance", "valueString": "aok"}]}
    assert_outcome(await clinic.put("/Schedule/any", json=schedule("any", extension=[wrong])), 400, "value")


# Several calendars for one service


async def test_a8_each_slot_says_its_calendar_and_its_terms(clinic: httpx.AsyncClient) -> None:
    offer = {
        "url": f"{ROOT}/calendar",
        "extension": [{"url": "name", "valueString": "Spring"}, {"url": "kind", "valueCode": "promotional"}],
    }
    intake = {"url": "questionnaire", "valueCanonical": "https://forms.example/intake"}
    form = {"url": f"{ROOT}/required-form", "extension": [intake]}
    price = {"url": f"{ROOT}/price", "valueMoney": {"value": 39, "currency": "EUR"}}
    await put(
        clinic,
        service(),
        role(healthcareService=[{"reference": "HealthcareService/consultation"}]),
        schedule(
            "spring",
            extension=[offer, price, form],
            parameters={"duration": 20},
            planningHorizon={"start": "2026-03-03", "end": "2026-03-03"},
        ),
        location("north"),
        practitioner("jones"),
        role("jones", practitioner={"reference": "Practitioner/jones"}, location=[{"reference": "Location/north"}]),
        schedule("jones", actor=[{"reference": "PractitionerRole/jones"}]),
    )
    window = {"start": at("09:00"), "end": at("10:00", "2026-03-04")}
    found = slots_of(await ask(clinic, "/Schedule", **window, **{"healthcare-service": "consultation"}))
    assert {slot["schedule"]["reference"] for slot in found} == {"Schedule/smith-main", "Schedule/spring"}
    assert {slot["start"][8:10] for slot in found if slot["schedule"]["reference"] == "Schedule/spring"} == {"03"}
    slot = next(slot for slot in found if slot["schedule"]["reference"] == "Schedule/spring")
    terms = {part["url"]: part for part in slot["extension"][0]["extension"]}
    assert slot["extension"][0]["url"] == f"{ROOT}/terms"
    assert terms["name"]["valueString"] == "Spring"
    assert terms["kind"]["valueCode"] == "promotional"
    assert terms["price"]["valueMoney"] == {"value": 39, "currency": "EUR"}
    assert terms["form"]["valueCanonical"] == "https://forms.example/intake"
    assert terms["duration"]["valueDuration"]["value"] == 20
    assert terms["period"]["valuePeriod"] == {"start": "2026-03-03", "end": "2026-03-03"}
    booked = appointment(slot["start"], 20, slot=[{"reference": f"Slot/{slot['id']}"}])
    assert (await clinic.post("/Appointment", json=booked)).status_code == 201
    assert (await clinic.get(f"/Slot/{slot['id']}")).json()["extension"] == slot["extension"]
    wrong = {"url": f"{ROOT}/calendar", "extension": [{"url": "kind", "valueCode": "secret"}]}
    assert_outcome(await clinic.put("/Schedule/spring", json=schedule("spring", extension=[wrong])), 400, "value")


async def test_a8_a_slot_of_an_ehr_says_its_terms_and_its_places_too(clinic: httpx.AsyncClient) -> None:
    offer = {"url": f"{ROOT}/calendar", "extension": [{"url": "name", "valueString": "Evening"}]}
    own = {"url": "http://ehr.example/ward", "valueString": "7"}
    await put(clinic, schedule(extension=[offer], parameters={"capacity": 3}), slot("own", extension=[own]))
    window = {"start": at("18:00"), "end": at("19:00")}

    async def said() -> dict[str, Any]:
        [found] = slots_of(await ask(clinic, **window))
        assert found["id"] == "own"
        return {one["url"].rpartition("/")[2]: one for one in found["extension"]}

    assert (await said())["remaining-places"]["valueUnsignedInt"] == 3
    visit = appointment(at("18:00"), slot=[{"reference": "Slot/own"}])
    assert (await clinic.post("/Appointment", json=visit)).status_code == 201
    assert (await said())["remaining-places"]["valueUnsignedInt"] == 2
    assert (await said())["terms"]["extension"][0]["valueString"] == "Evening"
    assert (await clinic.get("/Slot/own")).json()["extension"] == [own]
