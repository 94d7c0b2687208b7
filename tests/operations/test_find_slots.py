"""$find-slots, and the same Slots through Slot search and read."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.outcome import CANONICAL
from fhir_server.store import counted
from tests.clinic import (
    MONDAY,
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
from tests.outcomes import assert_outcome

DAY = {"start": at("00:00"), "end": at("00:00", WEDNESDAY)}


async def find(client: httpx.AsyncClient, path: str = "/Schedule/smith-main", **query: Any) -> list[dict[str, Any]]:
    response = await client.get(f"{path}/$find-slots", params={**DAY, **query})
    assert response.status_code == 200, response.text
    bundle = response.json()
    found = [entry["resource"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]
    assert bundle["total"] >= len(found)
    return found


def starts(slots: list[dict[str, Any]]) -> list[str]:
    return [slot["start"][11:16] for slot in slots]


async def put(client: httpx.AsyncClient, *resources: dict[str, Any]) -> None:
    for resource in resources:
        response = await client.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
        assert response.status_code in (200, 201), response.text


async def test_weekly_hours_are_cut_into_slots(clinic: httpx.AsyncClient) -> None:
    found = await find(clinic)
    assert starts(found) == ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30"]
    assert {one["status"] for one in found} == {"free"}
    assert {one["schedule"]["reference"] for one in found} == {"Schedule/smith-main"}


async def test_a9_a_booked_time_is_no_longer_found(clinic: httpx.AsyncClient) -> None:
    booked = await clinic.post("/Appointment", json=appointment(at("09:30")))
    assert booked.status_code == 201, booked.text
    assert starts(await find(clinic)) == ["09:00", "10:00", "10:30", "11:00", "11:30"]


async def test_a9_a_cancelled_time_is_found_again(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment(at("09:30")))).json()
    reason = {"name": "cancelationReason", "valueCodeableConcept": {"text": "ill"}}
    body = {"resourceType": "Parameters", "parameter": [reason]}
    assert (await clinic.post(f"/Appointment/{booked['id']}/$cancel", json=body)).status_code == 200
    assert "09:30" in starts(await find(clinic))


async def test_leave_an_override_and_a_closing_shape_the_day(clinic: httpx.AsyncClient) -> None:
    leave = {"description": "Leave", "during": {"start": at("09:00"), "end": at("10:00")}}
    await put(clinic, role(notAvailable=[leave]))
    assert starts(await find(clinic)) == ["10:00", "10:30", "11:00", "11:30"]
    override = {
        "url": f"{CANONICAL}/StructureDefinition/availability-override",
        "extension": [
            {"url": "date", "valueDate": TUESDAY},
            {
                "url": "window",
                "extension": [{"url": "start", "valueTime": "14:00:00"}, {"url": "end", "valueTime": "15:00:00"}],
            },
        ],
    }
    await put(clinic, schedule(extension=[override]))
    assert starts(await find(clinic)) == ["14:00", "14:30"]
    closed = {
        "url": f"{CANONICAL}/StructureDefinition/not-available",
        "extension": [{"url": "during", "valuePeriod": {"start": TUESDAY, "end": TUESDAY}}],
    }
    await put(clinic, location(extension=[closed]))
    assert await find(clinic) == []


async def test_nothing_free_says_so(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(active=False))
    bundle = (await clinic.get("/Schedule/smith-main/$find-slots", params=DAY)).json()
    assert bundle["total"] == 0
    assert bundle["entry"][0]["search"]["mode"] == "outcome"


async def test_a6_parameters_come_from_schedule_then_service_then_organization(clinic: httpx.AsyncClient) -> None:
    await put(clinic, organization(extension=[scheduling(duration=60)]))
    assert starts(await find(clinic)) == ["09:00", "10:00", "11:00"]
    await put(
        clinic,
        service(extension=[scheduling(duration=45)]),
        role(healthcareService=[{"reference": "HealthcareService/consultation"}]),
    )
    assert starts(await find(clinic)) == ["09:00", "09:45", "10:30", "11:15"]
    await put(clinic, schedule(parameters={"duration": 90}))
    assert starts(await find(clinic)) == ["09:00", "10:30"]
    assert starts(await find(clinic, duration=120)) == ["09:00"]


async def test_a6_buffers_keep_neighbours_apart(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(parameters={"bufferAfter": 10, "alignmentInterval": 15}))
    await clinic.post("/Appointment", json=appointment(at("10:00")))
    found = starts(await find(clinic))
    assert "09:15" in found
    assert not {"09:30", "09:45", "10:15", "10:30"} & set(found)
    assert "10:45" in found


async def test_a6_notice_and_window_bound_what_is_offered(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(parameters={"minimumNotice": 120}))
    monday = {"start": at("08:00", MONDAY), "end": at("23:00", MONDAY)}
    assert starts(await find(clinic, **monday)) == ["10:00", "10:30", "11:00", "11:30"]
    await put(clinic, schedule(parameters={"bookingWindow": 1440}))
    assert await find(clinic, start=at("00:00", "2026-03-04"), end=at("00:00", "2026-03-06")) == []


async def test_a7_a_group_slot_shows_its_places_until_it_is_full(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(parameters={"capacity": 2}))
    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201
    first = (await find(clinic))[0]
    places = {one["url"].rpartition("/")[2]: one for one in first["extension"]}
    assert places["slot-capacity"]["valueInteger"] == 2
    assert places["remaining-places"]["valueUnsignedInt"] == 1
    second = appointment(actors=("Patient/bob", "Practitioner/smith"))
    assert (await clinic.post("/Appointment", json=second)).status_code == 201
    assert "09:00" not in starts(await find(clinic))


async def test_a6_a_maximum_a_day_closes_the_day(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(parameters={"maximumPerDay": 1}))
    await clinic.post("/Appointment", json=appointment())
    assert await find(clinic) == []
    refused = await clinic.post(
        "/Appointment", json=appointment(at("11:00"), actors=("Patient/bob", "Practitioner/smith"))
    )
    assert_outcome(refused, 409, "conflict", "day-full")


async def test_a12_published_slots_add_and_busy_ones_remove(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("evening"), slot("busy", at("09:00"), at("10:00"), status="busy-unavailable"))
    found = await find(clinic)
    assert starts(found) == ["10:00", "10:30", "11:00", "11:30", "18:00"]
    assert found[-1]["id"] == "evening"


async def test_a12_a_slot_that_is_written_as_free_over_taken_time_is_neither_offered_nor_booked(
    clinic: httpx.AsyncClient,
) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    await put(clinic, slot("ill", at("10:00"), at("10:30"), status="busy-unavailable"))
    await put(clinic, slot("again", at("09:00"), at("09:30")), slot("well", at("10:15"), at("10:45")))
    assert starts(await find(clinic)) == ["09:30", "10:30", "11:00", "11:30"]
    day = f"start=ge{at('00:00')}&start=lt{at('23:00')}"
    listed = (await clinic.get(f"/Slot?schedule=Schedule/smith-main&status=free&{day}")).json()["entry"]
    assert [entry["resource"]["start"][11:16] for entry in listed] == ["09:30", "10:30", "11:00", "11:30"]
    for id, start in (("again", "09:00"), ("well", "10:15")):
        wanted = appointment(
            at(start), actors=("Patient/bob", "Practitioner/smith"), slot=[{"reference": f"Slot/{id}"}]
        )
        assert_outcome(await clinic.post("/Appointment", json=wanted), 409, "conflict", "practitioner-busy")
    assert_outcome(await clinic.delete(f"/{booked['slot'][0]['reference']}"), 409, "conflict", "slot-in-use")


async def test_a10_schedules_are_found_by_who_where_and_what(clinic: httpx.AsyncClient) -> None:
    jones = {"practitioner": {"reference": "Practitioner/jones"}, "location": [{"reference": "Location/north"}]}
    specialty = [{"coding": [{"system": "http://snomed.info/sct", "code": "394579002"}]}]
    await put(
        clinic,
        location("north", managingOrganization={"reference": "Organization/other"}),
        organization("other"),
        practitioner("jones"),
        role("jones-north", organization={"reference": "Organization/other"}, specialty=specialty, **jones),
        schedule(
            "jones-north",
            actor=[{"reference": "PractitionerRole/jones-north"}],
            serviceType=[{"coding": [{"code": "checkup"}]}],
        ),
    )

    async def schedules(**query: Any) -> set[str]:
        found = await find(clinic, "/Schedule", **query)
        return {one["schedule"]["reference"].partition("/")[2] for one in found}

    assert await schedules() == {"smith-main", "jones-north"}
    assert await schedules(practitioner="Practitioner/jones") == {"jones-north"}
    assert await schedules(practitioner="jones") == {"jones-north"}
    assert await schedules(location="Location/main") == {"smith-main"}
    assert await schedules(organization="Organization/other") == {"jones-north"}
    assert await schedules(actor="PractitionerRole/smith-main") == {"smith-main"}
    assert await schedules(schedule=["Schedule/smith-main", "Schedule/jones-north"]) == {"smith-main", "jones-north"}
    assert await schedules(**{"service-type": "checkup"}) == {"jones-north"}
    assert await schedules(specialty="http://snomed.info/sct|394579002") == {"jones-north"}
    assert await schedules(practitioner="Practitioner/jones", location="Location/main") == set()


async def test_a10_what_is_inside_a_location_is_found_by_it(clinic: httpx.AsyncClient) -> None:
    ward = [{"reference": "Location/ward"}]
    within = {"ward": "main", "main": "campus", "deep": "ward"}
    sites = {id: location(id, partOf={"reference": f"Location/{whole}"}) for id, whole in within.items()}
    opened = [{"openingTime": "09:00:00", "closingTime": "10:00:00"}]
    await put(
        clinic,
        location("campus"),
        *sites.values(),
        {**sites["deep"], "physicalType": room()["physicalType"], "hoursOfOperation": opened},
        practitioner("jones"),
        role("jones", practitioner={"reference": "Practitioner/jones"}, location=ward),
        device("scanner", location=ward[0], owner={"reference": "Organization/riverside"}),
        service("walk-in", location=ward, availableTime=[{"allDay": True}]),
        schedule("deep", actor=[{"reference": "Location/deep"}]),
        schedule("jones", actor=[{"reference": "PractitionerRole/jones"}]),
        schedule("scanner", actor=[{"reference": "Device/scanner"}]),
        schedule("walk-in", actor=[{"reference": "HealthcareService/walk-in"}]),
    )

    async def schedules(**query: Any) -> set[str]:
        found = await find(clinic, "/Schedule", _count=1000, **query)
        return {one["schedule"]["reference"].partition("/")[2] for one in found}

    inside = {"deep", "jones", "scanner", "walk-in"}
    assert await schedules(location="ward") == inside
    assert await schedules(location="main") == {"smith-main", *inside}
    assert await schedules(location="campus") == {"smith-main", *inside} - {"deep"}, (
        "of three levels, two are looked at"
    )
    assert {"smith-main", "scanner"} <= await schedules(organization="riverside")
    shut = [{"url": "during", "valuePeriod": {"start": TUESDAY, "end": TUESDAY}}]
    closed = {"url": f"{CANONICAL}/StructureDefinition/not-available", "extension": shut}
    await put(clinic, {**sites["ward"], "extension": [closed]})
    assert await schedules(location="main") == {"smith-main"}, "what is closed is closed for all that is inside"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("other,checkup", True),
        ("urn:other|checkup,urn:visits|checkup", True),
        ("urn:visits|", True),
        ("|checkup", False),
        ("other\\,checkup", False),
    ],
)
async def test_a10_codes_are_named_as_in_a_search(clinic: httpx.AsyncClient, wanted: str, found: bool) -> None:
    concept = {"coding": [{"system": "urn:visits", "code": "checkup"}]}
    await put(clinic, schedule(serviceType=[concept], specialty=[concept]))
    for name in ("service-type", "specialty"):
        assert bool(await find(clinic, **{name: wanted})) is found
        assert bool(await find(clinic, "/Schedule", **{name: wanted})) is found


async def test_post_with_parameters_is_the_same(clinic: httpx.AsyncClient) -> None:
    parameters = [
        {"name": "start", "valueDateTime": DAY["start"]},
        {"name": "end", "valueDateTime": DAY["end"]},
        {"name": "schedule", "valueReference": {"reference": "Schedule/smith-main"}},
    ]
    body = {"resourceType": "Parameters", "parameter": parameters}
    posted = (await clinic.post("/Schedule/$find-slots", json=body)).json()
    assert [entry["resource"] for entry in posted["entry"]] == await find(clinic)


async def test_times_are_spelled_in_the_zone_that_is_asked_for(clinic: httpx.AsyncClient) -> None:
    found = await find(clinic, timezone="Asia/Kolkata")
    assert found[0]["start"] == "2026-03-03T14:30:00+05:30"
    refused = await clinic.get("/Schedule/$find-slots", params={**DAY, "timezone": "Mars/Olympus"})
    assert_outcome(refused, 400, "value")


async def test_pages_follow_without_gap_or_repeat(clinic: httpx.AsyncClient) -> None:
    url: str | None = f"/Schedule/$find-slots?start={DAY['start']}&end={DAY['end']}&_count=4"
    seen = []
    while url:
        bundle = (await clinic.get(url)).json()
        assert bundle["total"] == 6
        seen += [entry["resource"]["start"][11:16] for entry in bundle["entry"]]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert seen == ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30"]


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ({"end": at("00:00", "2026-03-01")}, "value", 400),
        ({"start": "tomorrow", "end": at("00:00")}, "value", 400),
        ({"start": "2026-03-03", "end": at("00:00", WEDNESDAY)}, "value", 400),
        ({"start": at("00:00"), "end": at("00:00")}, "value", 400),
        ({"start": at("00:00"), "end": "2027-03-03T00:00:00Z"}, "too-costly", 422),
        ({**DAY, "duration": "0"}, "value", 400),
        ({**DAY, "colour": "red"}, "invalid", 400),
        ({**DAY, "schedule": "Patient/ann"}, "value", 400),
        ({**DAY, "_cursor": "nonsense"}, "value", 400),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    clinic: httpx.AsyncClient, query: dict[str, str], code: str, status: int
) -> None:
    assert_outcome(await clinic.get("/Schedule/$find-slots", params=query), status, code)


async def test_an_unknown_schedule_is_not_found(clinic: httpx.AsyncClient) -> None:
    assert_outcome(await clinic.get("/Schedule/none/$find-slots", params=DAY), 404, "not-found")


async def test_a_found_slot_can_be_read_and_follows_what_happens(clinic: httpx.AsyncClient) -> None:
    found = (await find(clinic))[0]
    read = await clinic.get(f"/Slot/{found['id']}")
    assert read.json() == found
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    assert booked["slot"] == [{"reference": f"Slot/{found['id']}"}]
    assert (await clinic.get(f"/Slot/{found['id']}")).json()["status"] == "busy"
    cancelled = {**booked, "status": "cancelled", "cancelationReason": {"text": "ill"}}
    assert (await clinic.put(f"/Appointment/{booked['id']}", json=cancelled)).status_code == 200
    assert (await clinic.get(f"/Slot/{found['id']}")).json()["status"] == "free"
    leave = {"description": "Leave", "during": {"start": TUESDAY, "end": TUESDAY}}
    await put(clinic, role(notAvailable=[leave]))
    assert (await clinic.get(f"/Slot/{found['id']}")).json()["status"] == "busy-unavailable"
    assert_outcome(await clinic.get("/Slot/smith-main.20200101T0900.30"), 404, "not-found")


async def test_slot_search_gives_the_same_slots(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("evening"))
    await clinic.post("/Appointment", json=appointment(at("10:00")))
    query = [
        ("schedule", "Schedule/smith-main"),
        ("start", f"ge{DAY['start']}"),
        ("start", f"lt{DAY['end']}"),
        ("status", "http://hl7.org/fhir/slotstatus|free"),
    ]
    bundle = (await clinic.get("/Slot", params=[*query, ("_sort", "start")])).json()
    found = [entry["resource"] for entry in bundle["entry"]]
    assert found == await find(clinic)
    assert bundle["total"] == len(found)
    posted = (
        await clinic.post(
            "/Slot/_search", data={"status": "free", "schedule": "smith-main", "start": f"ge{DAY['start']}"}
        )
    ).json()
    assert {one["id"] for one in found} <= {
        entry["resource"]["id"] for entry in posted["entry"] if entry["search"]["mode"] == "match"
    }
    assert posted["entry"][-1]["search"]["mode"] == "outcome"


async def test_slot_search_pages_through_stored_and_computed_slots(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("noon", at("12:00"), at("12:30")), slot("early", at("06:00"), at("06:30")))
    url: str | None = (
        f"/Slot?schedule=smith-main&start=ge{DAY['start']}&start=lt{DAY['end']}&status=free&_sort=start&_count=3"
    )
    seen = []
    while url:
        bundle = (await clinic.get(url)).json()
        assert bundle["total"] == 8
        seen += [entry["resource"]["start"][11:16] for entry in bundle["entry"]]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert seen == ["06:00", "09:00", "09:30", "10:00", "10:30", "11:00", "11:30", "12:00"]


async def test_a_freed_computed_slot_is_not_stored_twice_in_a_search(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    id = booked["slot"][0]["reference"].partition("/")[2]
    await clinic.put(
        f"/Appointment/{booked['id']}", json={**booked, "status": "cancelled", "cancelationReason": {"text": "ill"}}
    )
    query = {"schedule": "smith-main", "start": f"ge{DAY['start']}", "status": "free"}
    bundle = (await clinic.get("/Slot", params=query)).json()
    assert [entry["resource"]["id"] for entry in bundle["entry"] if entry["resource"].get("id") == id] == [id]
    by_id = (await clinic.get("/Slot", params={"_id": id})).json()
    assert [entry["resource"]["status"] for entry in by_id["entry"]] == ["free"]


async def test_a_room_on_the_schedule_is_taken_with_its_practitioner(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic,
        room(),
        schedule(actor=[{"reference": "PractitionerRole/smith-main"}, {"reference": "Location/room-1"}]),
        practitioner("jones"),
        role("jones-main", practitioner={"reference": "Practitioner/jones"}),
        schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}, {"reference": "Location/room-1"}]),
    )
    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201
    assert "09:00" not in starts(await find(clinic, "/Schedule/jones-main"))
    refused = await clinic.post("/Appointment", json=appointment(actors=("Patient/bob", "Practitioner/jones")))
    assert_outcome(refused, 409, "conflict", "location-busy")


async def test_the_number_of_store_commands_does_not_grow(clinic: httpx.AsyncClient) -> None:
    async def count(schedules: range) -> int:
        for number in schedules:
            await put(
                clinic,
                patient(f"p{number}"),
                practitioner(f"p{number}"),
                role(f"p{number}", practitioner={"reference": f"Practitioner/p{number}"}),
                schedule(f"p{number}", actor=[{"reference": f"PractitionerRole/p{number}"}]),
            )
            visit = appointment(at("09:00"), actors=(f"Patient/p{number}", f"Practitioner/p{number}"))
            assert (await clinic.post("/Appointment", json=visit)).status_code == 201
        with counted() as commands:
            assert len(await find(clinic, "/Schedule", location="Location/main", _count=1000)) >= 6 + 5 * len(schedules)
        return len(commands)

    assert await count(range(1)) == await count(range(1, 12))


@pytest.mark.parametrize(
    "url",
    [
        "/Schedule/$find-slots?start=9999-12-30T00:00:00Z&end=9999-12-31T23:59:59Z",
        "/Schedule/$find-slots?start=0001-01-01T00:00:00Z&end=0001-01-02T00:00:00Z",
        "/Slot/smith-main.99991231T2359.60",
        "/Slot/smith-main.20260303T0900.9999",
        *(f"/Slot?schedule=smith-main&status=free&start={bound}9999-12-31" for bound in ("ge", "gt", "le", "sa", "eq")),
        "/Schedule/$find-slots?start=2026-03-03T00:00:00Z&end=2026-03-04T00:00:00Z&_cursor="
        "MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCBhIGI=",
        "/Patient?" + "&".join(f"a{number}=1" for number in range(1001)),
        "/Slot?_id=" + ",".join(f"smith-main.20260303T09{number:02}.30" for number in range(40)),
    ],
)
async def test_nothing_that_is_asked_fails_the_server(clinic: httpx.AsyncClient, url: str) -> None:
    response = await clinic.get(url)
    assert response.status_code < 500, response.text
    assert response.json()["resourceType"] in ("OperationOutcome", "Bundle")


async def test_a_search_that_would_compute_too_much_is_refused(clinic: httpx.AsyncClient) -> None:
    await put(clinic, role(availableTime=[{"allDay": True}]))
    window = {"start": at("00:00"), "end": at("00:00", "2026-05-01"), "duration": 1}
    assert_outcome(await clinic.get("/Schedule/smith-main/$find-slots", params=window), 422, "too-costly")
    longer = {**DAY, "duration": 1441}
    assert_outcome(await clinic.get("/Schedule/smith-main/$find-slots", params=longer), 400, "value")


async def test_a_schedule_of_the_person_is_found_by_the_roles_place(clinic: httpx.AsyncClient) -> None:
    await put(clinic, room(), schedule("person", actor=[{"reference": "Practitioner/smith"}]))
    await put(
        clinic,
        schedule("room-1", actor=[{"reference": "Location/room-1"}]),
        location(hoursOfOperation=[{"allDay": True}]),
    )
    for query in ({"location": "Location/main"}, {"organization": "Organization/riverside"}):
        found = {one["schedule"]["reference"] for one in await find(clinic, "/Schedule", **query)}
        assert found == {"Schedule/smith-main", "Schedule/person", "Schedule/room-1"}


async def test_one_place_that_is_closed_for_good_leaves_the_other(clinic: httpx.AsyncClient) -> None:
    await put(clinic, location("old", status="inactive"))
    await put(clinic, role(location=[{"reference": "Location/main"}, {"reference": "Location/old"}]))
    assert len(await find(clinic)) == 6
    await put(clinic, location("main", status="suspended"))
    assert await find(clinic) == []


async def test_an_inactive_role_offers_nothing_at_all(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("evening"), role(active=False))
    assert await find(clinic) == []


async def test_a_slot_entered_in_error_takes_its_id_out_of_the_offers(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("smith-main.20260303T0900.30", at("09:00"), at("09:30"), status="entered-in-error"))
    assert "09:00" not in starts(await find(clinic))
