"""Availability, clause by clause, where no other test of the rows A1 to A12 has it (docs/features.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from fhir_server.loading import arrange, parse
from fhir_server.outcome import CANONICAL
from fhir_server.store import counted
from tests.clinic import (
    TUESDAY,
    WEDNESDAY,
    appointment,
    at,
    device,
    location,
    organization,
    patient,
    practitioner,
    role,
    room,
    schedule,
    scheduling,
    service,
    slot,
)
from tests.operations.test_editing import MORNING, closing, hours, on, override, stranded
from tests.operations.test_find_slots import find, put, starts
from tests.operations.test_hold import NINE, asked, hold
from tests.outcomes import assert_outcome, problems

Json = dict[str, Any]

PAGE = Path(__file__).parents[2] / "docs" / "find-slots.md"
ROOT = f"{CANONICAL}/StructureDefinition"
ZONE = "http://hl7.org/fhir/StructureDefinition/timezone"
OFFERED = {"healthcareService": [{"reference": "HealthcareService/consultation"}]}


# Blocks, rules that are off


async def test_a2_a_block_of_one_service_leaves_the_others_of_the_same_person_open(clinic: httpx.AsyncClient) -> None:
    paused = [{"description": "No vaccine", "during": {"start": TUESDAY, "end": TUESDAY}}]
    await put(
        clinic,
        service(notAvailable=paused),
        service("vaccination"),
        schedule(actor=[{"reference": "PractitionerRole/smith-main"}, {"reference": "HealthcareService/consultation"}]),
        schedule(
            "vaccination",
            actor=[{"reference": "PractitionerRole/smith-main"}, {"reference": "HealthcareService/vaccination"}],
        ),
    )
    assert await on(clinic, TUESDAY) == []
    assert await on(clinic, WEDNESDAY) == MORNING
    assert await on(clinic, TUESDAY, "/Schedule/vaccination") == MORNING


async def test_a2_what_is_closed_cannot_be_booked_through_any_schedule_there(clinic: httpx.AsyncClient) -> None:
    jones = {"reference": "Practitioner/jones"}
    await put(
        clinic,
        practitioner("jones"),
        role("jones-main", practitioner=jones),
        schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]),
        location(extension=[closing(TUESDAY, TUESDAY)]),
    )
    for doctor in ("smith", "jones"):
        wanted = appointment(actors=("Patient/ann", f"Practitioner/{doctor}"))
        assert problems(await clinic.post("/Appointment", json=wanted)) == {"blocked"}


async def test_a3_a_day_that_becomes_shorter_strands_what_is_outside_and_drops_nothing(
    clinic: httpx.AsyncClient,
) -> None:
    for time in ("09:00", "11:00"):
        assert (await clinic.post("/Appointment", json=appointment(at(time)))).status_code == 201
    await put(clinic, schedule(extension=[override(TUESDAY, ("10:00", "12:00"))]))
    assert await stranded(clinic, "/Schedule/smith-main") == [("09:00", ["outside-hours"])]
    assert (await clinic.get("/Appointment?status=booked&_count=0")).json()["total"] == 2


async def test_a4_what_is_switched_off_is_refused_and_comes_back_as_it_was(clinic: httpx.AsyncClient) -> None:
    for off, path in ((schedule(active=False), schedule()), (role(active=False), role())):
        await put(clinic, off)
        refused = await clinic.post("/Appointment", json=appointment())
        assert "schedule-inactive" in problems(refused)
        assert await on(clinic, TUESDAY) == []
        await put(clinic, path)
        assert await on(clinic, TUESDAY) == MORNING


async def test_a2_a_person_is_blocked_at_every_clinic_by_a_busy_slot_of_one(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic,
        location("north"),
        role("smith-north", location=[{"reference": "Location/north"}]),
        schedule("smith-north", actor=[{"reference": "PractitionerRole/smith-north"}]),
    )
    there = appointment(at("11:00"), actors=("Patient/ann", "PractitionerRole/smith-north"))
    assert (await clinic.post("/Appointment", json=there)).status_code == 201
    await put(clinic, slot("ill", at("00:00"), at("00:00", "2026-03-05"), status="busy-unavailable"))
    for path in ("/Schedule/smith-main", "/Schedule/smith-north"):
        assert (await on(clinic, TUESDAY, path), await on(clinic, WEDNESDAY, path)) == ([], [])
        assert await on(clinic, "2026-03-05", path) == MORNING
    assert await stranded(clinic, "/Practitioner/smith") == [("11:00", ["practitioner-busy"])]


# The clock


async def test_a5_a_schedule_s_own_zone_goes_before_that_of_its_place_and_a_day_may_have_25_hours(
    clinic: httpx.AsyncClient,
) -> None:
    await put(
        clinic,
        location(extension=[{"url": ZONE, "valueCode": "Asia/Tokyo"}]),
        schedule(extension=[{"url": ZONE, "valueCode": "Europe/Berlin"}]),
        role(availableTime=[hours("01:30", "03:30")]),
    )
    found = await find(clinic, start="2026-10-24T22:00:00Z", end="2026-10-25T23:00:00Z")
    assert [one["start"][11:] for one in found] == [
        "01:30:00+02:00",
        "02:00:00+02:00",
        "02:30:00+02:00",
        "02:00:00+01:00",
        "02:30:00+01:00",
        "03:00:00+01:00",
    ]
    assert_outcome(
        await clinic.get("/Schedule/smith-main/$find-slots", params={"timezone": "Mars/Olympus"}), 400, "value"
    )


# How time is cut


async def test_a6_buffers_come_from_the_schedule_else_its_service_else_its_organization(
    clinic: httpx.AsyncClient,
) -> None:
    await put(clinic, service(), role(**OFFERED))
    assert (await clinic.post("/Appointment", json=appointment(at("10:00")))).status_code == 201
    free = [start for start in MORNING if start != "10:00"]
    assert await on(clinic, TUESDAY) == free
    for said, kept in (
        (organization(extension=[scheduling(bufferBefore=15)]), "10:30"),
        (service(extension=[scheduling(bufferAfter=15, bufferBefore=0)]), "09:30"),
    ):
        await put(clinic, said)
        assert await on(clinic, TUESDAY) == [start for start in free if start != kept], kept
    await put(clinic, schedule(parameters={"bufferAfter": 0}))
    assert await on(clinic, TUESDAY) == free


# Several calendars for one service


def calendar(name: str, kind: str, price: int, *forms: str) -> list[Json]:
    said = {"url": f"{ROOT}/calendar", "extension": [{"url": "name", "valueString": name}]}
    said["extension"].append({"url": "kind", "valueCode": kind})
    required = [
        {"url": f"{ROOT}/required-form", "extension": [{"url": "questionnaire", "valueCanonical": form}]}
        for form in forms
    ]
    return [said, {"url": f"{ROOT}/price", "valueMoney": {"value": price, "currency": "EUR"}}, *required]


def terms_of(slot: Json) -> Json:
    [terms] = [one["extension"] for one in slot["extension"] if one["url"] == f"{ROOT}/terms"]
    return {part["url"]: next(value for name, value in part.items() if name != "url") for part in terms}


async def three_calendars(client: httpx.AsyncClient) -> None:
    """Consultations: the usual ones, cheaper and shorter ones on Tuesday only, and those of a specialist."""
    jones = {"practitioner": {"reference": "Practitioner/jones"}}
    await put(
        client,
        service(),
        role(**OFFERED),
        practitioner("jones"),
        role("jones-main", **jones, **OFFERED),
        schedule(extension=calendar("Usual", "standard", 60)),
        schedule(
            "spring",
            extension=calendar("Spring", "promotional", 39, "https://forms.example/consent"),
            parameters={"duration": 20},
            planningHorizon={"start": TUESDAY, "end": TUESDAY},
        ),
        schedule(
            "specialist",
            actor=[{"reference": "PractitionerRole/jones-main"}],
            extension=calendar("Specialist", "campaign", 120),
            parameters={"duration": 60},
        ),
    )


async def offers(client: httpx.AsyncClient, day: str) -> dict[str, list[Json]]:
    """The Slots of the service on a day, by Schedule."""
    window = {"start": at("00:00", day), "end": f"{day}T23:59:59Z"}
    found = await find(client, "/Schedule", **window, **{"healthcare-service": "HealthcareService/consultation"})
    by_schedule: dict[str, list[Json]] = {}
    for one in found:
        by_schedule.setdefault(one["schedule"]["reference"].removeprefix("Schedule/"), []).append(one)
    return by_schedule


async def test_a8_three_calendars_of_one_service_have_their_own_price_length_forms_people_and_time(
    clinic: httpx.AsyncClient,
) -> None:
    await three_calendars(clinic)
    found = await offers(clinic, TUESDAY)
    assert {name: len(slots) for name, slots in found.items()} == {"smith-main": 6, "spring": 9, "specialist": 3}
    terms = {name: terms_of(slots[0]) for name, slots in found.items()}
    assert {name: (one["name"], one["kind"], one["price"]["value"]) for name, one in terms.items()} == {
        "smith-main": ("Usual", "standard", 60),
        "spring": ("Spring", "promotional", 39),
        "specialist": ("Specialist", "campaign", 120),
    }
    assert {name: one["duration"]["value"] for name, one in terms.items()} == {
        "smith-main": 30,
        "spring": 20,
        "specialist": 60,
    }
    assert [name for name, one in terms.items() if "form" in one] == ["spring"]
    assert terms["spring"]["period"] == {"start": TUESDAY, "end": TUESDAY}
    assert set(await offers(clinic, WEDNESDAY)) == {"smith-main", "specialist"}


async def test_a8_calendars_share_the_time_of_whoever_is_on_both_and_of_nobody_else(clinic: httpx.AsyncClient) -> None:
    await three_calendars(clinic)
    assert (await clinic.post("/Appointment/$book", json=asked(NINE))).status_code == 201
    found = await offers(clinic, TUESDAY)
    assert starts(found["smith-main"])[0] == "09:30"
    assert starts(found["spring"])[:2] == ["09:40", "10:00"]
    assert starts(found["specialist"]) == ["09:00", "10:00", "11:00"]
    late = appointment(at("09:00", WEDNESDAY), 20, slot=[{"reference": "Slot/spring.20260304T0900.20"}])
    assert "outside-horizon" in problems(await clinic.post("/Appointment", json=late))


async def test_a8_a_slot_names_the_forms_that_its_service_asks_for_too(clinic: httpx.AsyncClient) -> None:
    await three_calendars(clinic)
    intake = {"url": "questionnaire", "valueCanonical": "https://forms.example/intake"}
    await put(clinic, service(extension=[{"url": f"{ROOT}/required-form", "extension": [intake]}]))
    found = await offers(clinic, TUESDAY)
    assert terms_of(found["specialist"][0])["form"] == "https://forms.example/intake"
    [terms] = [one["extension"] for one in found["spring"][0]["extension"] if one["url"] == f"{ROOT}/terms"]
    forms = [part["valueCanonical"] for part in terms if part["url"] == "form"]
    assert forms == ["https://forms.example/consent", "https://forms.example/intake"]


# Computed, not stored


async def test_a9_what_is_free_is_the_rules_without_bookings_blocks_and_holds(clinic: httpx.AsyncClient) -> None:
    leave = {"description": "Leave", "during": {"start": at("10:00"), "end": at("10:30")}}
    await put(clinic, role(notAvailable=[leave]), slot("taken", at("11:00"), at("11:30"), status="busy"))
    assert (await clinic.post("/Appointment", json=appointment(at("09:30")))).status_code == 201
    assert (await hold(clinic)).status_code == 201
    assert await on(clinic, TUESDAY) == ["10:30", "11:30"]
    week = await find(clinic, end=at("00:00", "2026-03-07"))
    assert [one["start"][8:10] for one in week] == ["03"] * 2 + ["04"] * 6 + ["05"] * 6 + ["06"] * 6
    taken = (await clinic.get("/Slot?status=busy,busy-tentative")).json()["entry"]
    stored = {entry["resource"]["id"] for entry in taken}
    assert stored == {"taken", "smith-main.20260303T0930.30", "smith-main.20260303T0900.30"}


async def test_a10_any_practitioner_of_a_clinic_an_organization_or_a_specialty(clinic: httpx.AsyncClient) -> None:
    skin = [{"coding": [{"system": "http://snomed.info/sct", "code": "394582007"}]}]
    await put(
        clinic,
        organization("group"),
        location("north", managingOrganization={"reference": "Organization/group"}),
        practitioner("jones"),
        role(
            "jones-north",
            practitioner={"reference": "Practitioner/jones"},
            organization={"reference": "Organization/group"},
            location=[{"reference": "Location/north"}],
            specialty=skin,
        ),
        schedule("jones-north", actor=[{"reference": "PractitionerRole/jones-north"}]),
    )
    for query, expected in (
        ({"location": "Location/main"}, {"smith-main"}),
        ({"organization": "Organization/group"}, {"jones-north"}),
        ({"specialty": "http://snomed.info/sct|394582007"}, {"jones-north"}),
        ({"specialty": "394582007", "location": "Location/main"}, set()),
    ):
        found = {one["schedule"]["reference"] for one in await find(clinic, "/Schedule", **query)}
        assert found == {f"Schedule/{name}" for name in expected}, query


async def test_a11_practitioner_room_and_device_are_offered_and_booked_where_all_three_are_free(
    clinic: httpx.AsyncClient,
) -> None:
    open_at = [{"daysOfWeek": ["tue"], "openingTime": "09:00:00", "closingTime": "12:00:00"}]
    await put(
        clinic,
        room(hoursOfOperation=open_at),
        schedule("room-1", actor=[{"reference": "Location/room-1"}]),
        device(),
        schedule("scanner", actor=[{"reference": "Device/scanner"}]),
        slot("room", at("09:00"), at("09:30"), status="busy", schedule={"reference": "Schedule/room-1"}),
        slot("scanner", at("10:00"), at("10:30"), status="busy", schedule={"reference": "Schedule/scanner"}),
        slot("doctor", at("11:00"), at("11:30"), status="busy"),
    )
    needed = ["Practitioner/smith", "Location/room-1", "Device/scanner"]
    found = await find(clinic, "/Schedule", participant=needed)
    assert sorted(set(starts(found))) == ["09:30", "10:30", "11:30"]
    three = [{"name": "slot", "valueReference": {"reference": f"Slot/{one['id']}"}} for one in found[:3]]
    body = {"resourceType": "Parameters", "parameter": [*three, asked()["parameter"][1]]}
    booked = await clinic.post("/Appointment/$book", json=body)
    assert (booked.status_code, len(booked.json()["slot"])) == (201, 3), booked.text
    assert "09:30" not in starts(await find(clinic, "/Schedule", participant=needed))
    for name in ("smith-main", "room-1", "scanner"):
        assert "09:30" not in await on(clinic, TUESDAY, f"/Schedule/{name}")


# Editing


async def test_a2_to_set_availability_takes_as_many_round_trips_however_much_it_strands(
    clinic: httpx.AsyncClient,
) -> None:
    off = {"name": "clear", "valueCode": "availableTime"}
    body = {"resourceType": "Parameters", "parameter": [off, {"name": "preview", "valueBoolean": True}]}
    url = "/PractitionerRole/smith-main/$set-availability"

    async def trips() -> tuple[int, int]:
        with counted() as commands:
            answer = await clinic.post(url, json=body)
        listed = next(one["resource"] for one in answer.json()["parameter"] if one["name"] == "stranded")
        return listed["total"], len(commands)

    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201
    one = await trips()
    for day in (TUESDAY, WEDNESDAY):
        for time in ("10:00", "11:00"):
            assert (await clinic.post("/Appointment", json=appointment(at(time, day)))).status_code == 201
    many = await trips()
    assert (one[0], many[0]) == (1, 5)
    assert one[1] == many[1]


async def test_a2_what_is_stranded_is_found_with_as_many_round_trips_for_one_schedule_as_for_many(
    clinic: httpx.AsyncClient,
) -> None:
    async def trips() -> tuple[int, int]:
        with counted() as commands:
            listed = await stranded(clinic, "/Location/main")
        return len(listed), len(commands)

    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201
    await put(clinic, location(extension=[closing(TUESDAY, TUESDAY)]))
    one = await trips()
    await put(clinic, location())
    for name in ("jones", "green"):
        actor = {"reference": f"Practitioner/{name}"}
        await put(clinic, practitioner(name), role(f"{name}-main", practitioner=actor), patient(name))
        await put(clinic, schedule(f"{name}-main", actor=[{"reference": f"PractitionerRole/{name}-main"}]))
        wanted = appointment(actors=(f"Patient/{name}", f"Practitioner/{name}"))
        assert (await clinic.post("/Appointment", json=wanted)).status_code == 201
    await put(clinic, location(extension=[closing(TUESDAY, TUESDAY)]))
    many = await trips()
    assert (one[0], many[0]) == (1, 3)
    assert one[1] == many[1]


async def test_a4_the_example_of_the_page_sets_hours_from_a_date(
    client: httpx.AsyncClient, set_clock: Callable[[datetime], None]
) -> None:
    set_clock(datetime(2026, 11, 21, 7, 0, tzinfo=UTC))
    clinic, parameters = re.findall(r"^```json\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    await put(client, *(one.resource for one in arrange(parse("clinic.json", clinic.encode()))))
    booked = appointment("2026-12-07T08:00:00Z", actors=("Patient/lee", "PractitionerRole/ito-hill"))
    assert (await client.post("/Appointment", json=booked)).status_code == 201
    changed = await client.post("/PractitionerRole/ito-hill/$set-availability", json=json.loads(parameters))
    assert changed.status_code == 200, changed.text
    path = "/Schedule/ito-hill"
    assert (await on(client, "2026-11-30", path))[0] == "09:00"
    assert (await on(client, "2026-12-07", path))[0] == "14:00"
    assert await stranded(client, "/PractitionerRole/ito-hill") == [("08:00", ["outside-hours"])]
