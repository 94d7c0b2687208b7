"""Editing availability: hours, overrides, blocks and capacities by PUT and by $set-availability; and $stranded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from fhir_server.operations.set_availability import ENTRIES_MAX
from fhir_server.outcome import CANONICAL
from fhir_server.store import counted
from tests.clinic import (
    TUESDAY,
    WEDNESDAY,
    appointment,
    at,
    location,
    organization,
    patient,
    role,
    room,
    schedule,
    service,
    slot,
)
from tests.operations.test_find_slots import find, put, starts
from tests.outcomes import assert_outcome, problem_of, problems

Json = dict[str, Any]

OVERRIDE = f"{CANONICAL}/StructureDefinition/availability-override"
CLOSED = f"{CANONICAL}/StructureDefinition/not-available"
EFFECTIVE = f"{CANONICAL}/StructureDefinition/effective-period"
ZONE = "http://hl7.org/fhir/StructureDefinition/timezone"

MORNING = ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30"]


def hours(start: str, end: str, *days: str, period: Json | None = None) -> Json:
    window: Json = {"availableStartTime": f"{start}:00", "availableEndTime": f"{end}:00"}
    window |= {"daysOfWeek": list(days)} if days else {}
    return window | ({"extension": [{"url": EFFECTIVE, "valuePeriod": period}]} if period else {})


def override(day: str, *windows: tuple[str, str]) -> Json:
    said = [
        {
            "url": "window",
            "extension": [{"url": "start", "valueTime": f"{a}:00"}, {"url": "end", "valueTime": f"{b}:00"}],
        }
        for a, b in windows
    ]
    return {"url": OVERRIDE, "extension": [{"url": "date", "valueDate": day}, *said]}


def closing(start: str, end: str) -> Json:
    return {"url": CLOSED, "extension": [{"url": "during", "valuePeriod": {"start": start, "end": end}}]}


async def on(client: httpx.AsyncClient, day: str, path: str = "/Schedule/smith-main") -> list[str]:
    """The starts that are offered on a day."""
    return starts(await find(client, path, start=at("00:00", day), end=f"{day}T23:59:59Z"))


async def set_hours(client: httpx.AsyncClient, *parameters: Json) -> httpx.Response:
    body = {"resourceType": "Parameters", "parameter": list(parameters)}
    return await client.post("/PractitionerRole/smith-main/$set-availability", json=body)


def window(start: str, end: str, *days: str) -> Json:
    part: list[Json] = [{"name": "daysOfWeek", "valueCode": day} for day in days]
    part += [
        {"name": "availableStartTime", "valueTime": f"{start}:00"},
        {"name": "availableEndTime", "valueTime": f"{end}:00"},
    ]
    return {"name": "availableTime", "part": part}


def leave(start: str, end: str) -> Json:
    during = {"name": "during", "valuePeriod": {"start": start, "end": end}}
    return {"name": "notAvailable", "part": [{"name": "description", "valueString": "Leave"}, during]}


def said(bundle: Json) -> list[tuple[str, list[str]]]:
    """The starts of the stranded Appointments, each with the codes of its reasons."""
    entries = bundle.get("entry", [])
    found = [entry["resource"] for entry in entries if entry["search"]["mode"] == "match"]
    issues = [
        issue for entry in entries if entry["search"]["mode"] == "outcome" for issue in entry["resource"]["issue"]
    ]
    reasons: list[list[str]] = [[] for _ in found]
    for issue in issues:
        place = issue["expression"][0].removeprefix("Bundle.entry[").partition("]")[0]
        reasons[int(place)].append(str(problem_of(issue)))
    return [(one["start"][11:16], sorted(why)) for one, why in zip(found, reasons, strict=True)]


async def stranded(client: httpx.AsyncClient, path: str, **query: Any) -> list[tuple[str, list[str]]]:
    response = await client.get(f"{path}/$stranded", params=query)
    assert response.status_code == 200, response.text
    return said(response.json())


def parts(response: httpx.Response) -> tuple[Json, Json]:
    assert response.status_code == 200, response.text
    found = {one["name"]: one["resource"] for one in response.json()["parameter"]}
    return found["role"], found["stranded"]


# The rules, by PUT


async def test_a1_a_practitioner_has_hours_of_their_own_at_each_clinic(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic,
        location("downtown"),
        role(
            availableTime=[
                hours("09:00", "10:00", "tue"),
                hours("14:00", "15:00", "tue"),
                hours("09:00", "10:00", "thu"),
            ]
        ),
        role(
            "smith-downtown",
            location=[{"reference": "Location/downtown"}],
            availableTime=[hours("11:00", "12:00", "tue")],
        ),
        schedule("smith-downtown", actor=[{"reference": "PractitionerRole/smith-downtown"}]),
    )
    assert await on(clinic, TUESDAY) == ["09:00", "09:30", "14:00", "14:30"]
    assert await on(clinic, WEDNESDAY) == []
    assert await on(clinic, TUESDAY, "/Schedule/smith-downtown") == ["11:00", "11:30"]


async def test_a2_leave_of_a_person_a_closed_clinic_and_a_paused_service_block(clinic: httpx.AsyncClient) -> None:
    noon = {"start": at("10:00"), "end": at("11:00")}
    during = [{"description": "Out", "during": noon}]
    without = ["09:00", "09:30", "11:00", "11:30"]
    offered = [{"reference": "HealthcareService/consultation"}]
    for blocking in (
        role(notAvailable=during),
        location(extension=[closing(**noon)]),
        organization(extension=[closing(**noon)]),
        service(notAvailable=during),
        schedule(extension=[closing(**noon)]),
    ):
        await put(clinic, service(), organization(), location(), schedule(), role(healthcareService=offered))
        assert await on(clinic, TUESDAY) == MORNING
        more = {"healthcareService": offered} if blocking["resourceType"] == "PractitionerRole" else {}
        await put(clinic, {**blocking, **more})
        assert await on(clinic, TUESDAY) == without, blocking["resourceType"]
    day_off = location(hoursOfOperation=[{"daysOfWeek": ["tue"], "openingTime": "09:00:00", "closingTime": "10:00:00"}])
    await put(clinic, schedule(), day_off)
    assert await on(clinic, TUESDAY) == ["09:00", "09:30"]


async def test_a3_a_date_has_other_hours_than_its_weekday(clinic: httpx.AsyncClient) -> None:
    saturday = "2026-03-07"
    await put(
        clinic, schedule(extension=[override(TUESDAY, ("13:00", "14:00")), override(saturday, ("10:00", "11:00"))])
    )
    assert await on(clinic, TUESDAY) == ["13:00", "13:30"]
    assert await on(clinic, saturday) == ["10:00", "10:30"]
    assert await on(clinic, WEDNESDAY) == MORNING
    await put(clinic, schedule(extension=[override(WEDNESDAY)]))
    assert await on(clinic, WEDNESDAY) == []


async def test_a4_a_rule_holds_from_and_until_a_date_and_is_switched_off_without_being_deleted(
    clinic: httpx.AsyncClient,
) -> None:
    until = hours("09:00", "10:00", period={"end": TUESDAY})
    since = hours("11:00", "12:00", period={"start": WEDNESDAY})
    off = hours("15:00", "16:00", period={"end": "2026-03-01"})
    await put(clinic, role(availableTime=[until, since, off]))
    assert await on(clinic, TUESDAY) == ["09:00", "09:30"]
    assert await on(clinic, WEDNESDAY) == ["11:00", "11:30"]
    await put(clinic, schedule(planningHorizon={"end": TUESDAY}))
    assert (await on(clinic, TUESDAY), await on(clinic, WEDNESDAY)) == (["09:00", "09:30"], [])
    await put(clinic, schedule(active=False))
    assert await on(clinic, TUESDAY) == []
    assert (await clinic.get("/Schedule/smith-main")).json()["active"] is False


async def test_a5_hours_are_by_the_clock_of_the_clinic_on_days_when_it_changes_too(clinic: httpx.AsyncClient) -> None:
    zone = [{"url": ZONE, "valueCode": "Europe/Berlin"}]
    await put(clinic, location(extension=zone), role(availableTime=[hours("01:00", "04:00")]))
    changing = {"start": "2026-03-28T23:00:00Z", "end": "2026-03-29T22:00:00Z"}
    found = await find(clinic, **changing)
    assert [one["start"] for one in found] == [
        "2026-03-29T01:00:00+01:00",
        "2026-03-29T01:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T03:30:00+02:00",
    ]
    shown = await find(clinic, **changing, timezone="America/New_York")
    assert shown[0]["start"] == "2026-03-28T20:00:00-04:00"


async def test_a6_length_buffers_alignment_notice_window_and_maximum_shape_the_slots(
    clinic: httpx.AsyncClient, set_clock: Callable[[datetime], None]
) -> None:
    cut = {"duration": 20, "bufferAfter": 10, "alignmentInterval": 30, "minimumNotice": 60, "maximumPerDay": 2}
    await put(clinic, schedule(parameters={**cut, "bookingWindow": 2 * 24 * 60}))
    set_clock(datetime.fromisoformat(at("08:30")))
    assert await on(clinic, TUESDAY) == ["09:30", "10:00", "10:30", "11:00", "11:30"]
    assert await on(clinic, "2026-03-05") == []
    assert (await clinic.post("/Appointment", json=appointment(at("10:00"), 20))).status_code == 201
    assert await on(clinic, TUESDAY) == ["09:30", "10:30", "11:00", "11:30"]
    assert (
        await clinic.post(
            "/Appointment", json=appointment(at("10:30"), 20, actors=("Patient/bob", "Practitioner/smith"))
        )
    ).status_code == 201
    assert await on(clinic, TUESDAY) == []


async def test_a7_a_group_has_places_and_the_slot_says_how_many_are_left(clinic: httpx.AsyncClient) -> None:
    await put(clinic, patient("cleo"), schedule(parameters={"capacity": 2}))

    async def places() -> list[int]:
        first = (await find(clinic))[0]
        assert first["start"] == at("09:00")
        return [one["valueUnsignedInt"] for one in first["extension"] if one["url"].endswith("remaining-places")]

    assert await places() == [2]
    for name, answer in (("ann", 201), ("bob", 201), ("cleo", 409)):
        wanted = appointment(actors=(f"Patient/{name}", "Practitioner/smith"))
        response = await clinic.post("/Appointment", json=wanted)
        assert response.status_code == answer, response.text
        if name == "ann":
            assert await places() == [1]
    assert "practitioner-busy" in problems(response)
    assert (await find(clinic))[0]["start"] == at("09:30")


async def test_a12_slots_of_an_ehr_offer_and_take_time_beside_the_computed_ones(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("extra"))
    for number, status in enumerate(("busy", "busy-unavailable", "busy-tentative")):
        await put(clinic, slot(f"taken-{number}", at(f"1{number}:00"), at(f"1{number}:30"), status=status))
    assert await on(clinic, TUESDAY) == ["09:00", "09:30", "10:30", "11:30", "18:00"]
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "slot", "valueReference": {"reference": "Slot/extra"}},
            {"name": "patient", "valueReference": {"reference": "Patient/ann"}},
        ],
    }
    assert (await clinic.post("/Appointment/$book", json=body)).status_code == 201
    refused = await clinic.post("/Appointment", json=appointment(at("10:00")))
    assert_outcome(refused, 409, "conflict", "practitioner-busy")
    assert await on(clinic, TUESDAY) == ["09:00", "09:30", "10:30", "11:30"]


# $set-availability


async def test_a1_setting_weekly_hours_replaces_them_all_at_once(clinic: httpx.AsyncClient) -> None:
    changed, listed = parts(await set_hours(clinic, window("13:00", "14:00", "tue"), window("15:00", "16:00")))
    assert changed["availableTime"] == [hours("13:00", "14:00", "tue"), hours("15:00", "16:00")]
    assert (changed["meta"]["versionId"], listed["total"]) == ("2", 0)
    assert await on(clinic, TUESDAY) == ["13:00", "13:30", "15:00", "15:30"]
    cleared, _ = parts(await set_hours(clinic, {"name": "clear", "valueCode": "availableTime"}))
    assert "availableTime" not in cleared


async def test_a4_hours_that_are_set_from_and_until_a_date_leave_the_former_ones_around_them(
    clinic: httpx.AsyncClient,
) -> None:
    bounds = ({"name": "from", "valueDate": WEDNESDAY}, {"name": "until", "valueDate": "2026-03-05"})
    await set_hours(clinic, window("13:00", "14:00"), *bounds)
    days = (TUESDAY, WEDNESDAY, "2026-03-05", "2026-03-06")
    assert [await on(clinic, day) for day in days] == [MORNING, ["13:00", "13:30"], ["13:00", "13:30"], MORNING]
    await set_hours(clinic, window("16:00", "17:00"), {"name": "from", "valueDate": "2026-03-05"})
    assert [await on(clinic, day) for day in days] == [MORNING, ["13:00", "13:30"], *[["16:00", "16:30"]] * 2]


async def test_a2_setting_leave_lists_the_bookings_that_it_strands_and_drops_none(clinic: httpx.AsyncClient) -> None:
    booked = [await clinic.post("/Appointment", json=appointment(at("09:30", day))) for day in (TUESDAY, WEDNESDAY)]
    before = [(await clinic.get(f"/Appointment/{one.json()['id']}")).json() for one in booked]
    away = leave(TUESDAY, TUESDAY)
    unwritten, listed = parts(await set_hours(clinic, away, {"name": "preview", "valueBoolean": True}))
    assert (unwritten["meta"]["versionId"], said(listed)) == ("1", [("09:30", ["blocked"])])
    assert await on(clinic, TUESDAY) == [start for start in MORNING if start != "09:30"]
    _, listed = parts(await set_hours(clinic, away))
    assert said(listed) == [("09:30", ["blocked"])]
    assert await on(clinic, TUESDAY) == []
    assert await stranded(clinic, "/PractitionerRole/smith-main") == [("09:30", ["blocked"])]
    assert [(await clinic.get(f"/Appointment/{one['id']}")).json() for one in before] == before
    refused = await clinic.post("/Appointment", json=appointment(at("10:00")))
    assert problems(refused) == {"blocked"}


@pytest.mark.parametrize(
    ("parameters", "status", "where"),
    [
        (({"name": "preview", "valueBoolean": True},), 400, "Parameters"),
        (({"name": "from", "valueDate": TUESDAY},), 400, "Parameters"),
        ((leave(TUESDAY, TUESDAY), {"name": "from", "valueDate": TUESDAY}), 400, "from"),
        ((window("09:00", "10:00"), {"name": "from", "valueDate": "2026-03"}), 400, "from"),
        (
            (
                window("09:00", "10:00"),
                {"name": "from", "valueDate": WEDNESDAY},
                {"name": "until", "valueDate": TUESDAY},
            ),
            400,
            "until",
        ),
        (({"name": "clear", "valueCode": "period"},), 400, "clear"),
        ((window("09:00", "10:00"), {"name": "clear", "valueCode": "availableTime"}), 400, "clear"),
        ((window("09:00", "10:00", "monday"),), 422, "PractitionerRole.availableTime[0].daysOfWeek[0]"),
        ((window("09:00", "09:00"),), 422, "PractitionerRole.availableTime[0]"),
        ((window("09:00", "10:00"),) * (ENTRIES_MAX + 1), 422, "availableTime"),
    ],
)
async def test_hours_that_cannot_be_are_refused_at_their_place(
    clinic: httpx.AsyncClient, parameters: tuple[Json, ...], status: int, where: str
) -> None:
    response = await set_hours(clinic, *parameters)
    assert response.status_code == status, response.text
    assert where in {each for issue in response.json()["issue"] for each in issue["expression"]}, response.text
    assert (await clinic.get("/PractitionerRole/smith-main")).json()["meta"]["versionId"] == "1"


async def test_two_hundred_windows_can_be_set_and_only_on_the_version_that_was_read(clinic: httpx.AsyncClient) -> None:
    many = [window("09:00", "10:00")] * ENTRIES_MAX
    body = {"resourceType": "Parameters", "parameter": many}
    url = "/PractitionerRole/smith-main/$set-availability"
    stale = await clinic.post(url, json=body, headers={"If-Match": 'W/"7"'})
    assert_outcome(stale, 412, "conflict")
    assert (await clinic.post(url, json=body, headers={"If-Match": 'W/"1"'})).status_code == 200
    unknown = await clinic.post("/PractitionerRole/none/$set-availability", json=body)
    assert_outcome(unknown, 404, "not-found")


# $stranded


async def test_what_any_change_strands_is_listed_with_the_reasons_of_a_refusal(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment(at("09:00")))
    await clinic.post("/Appointment", json=appointment(at("11:30"), actors=("Patient/bob", "Practitioner/smith")))
    assert await stranded(clinic, "/Schedule/smith-main") == []
    changes = (
        (role(availableTime=[hours("09:00", "10:00")]), [("11:30", ["outside-hours"])]),
        (role(), []),
        (
            schedule(planningHorizon={"end": "2026-03-02"}),
            [("09:00", ["outside-horizon"]), ("11:30", ["outside-horizon"])],
        ),
        (schedule(active=False), [("09:00", ["schedule-inactive"]), ("11:30", ["schedule-inactive"])]),
        (schedule(extension=[override(TUESDAY, ("09:00", "10:00"))]), [("11:30", ["outside-hours"])]),
        (schedule(parameters={"maximumPerDay": 1}), [("09:00", ["day-full"]), ("11:30", ["day-full"])]),
        (schedule(parameters={"alignmentInterval": 45}), []),
        (schedule(), []),
        (patient("bob", active=False), [("11:30", ["patient-inactive"])]),
        (patient("bob"), []),
        (slot("leave", at("09:00"), at("10:00"), status="busy-unavailable"), [("09:00", ["practitioner-busy"])]),
    )
    for changed, expected in changes:
        await put(clinic, changed)
        assert await stranded(clinic, "/Schedule/smith-main") == expected, changed
    for path in ("PractitionerRole/smith-main", "Practitioner/smith", "Location/main", "Organization/riverside"):
        assert await stranded(clinic, f"/{path}") == [("09:00", ["practitioner-busy"])], path


async def test_a_closing_is_found_from_the_clinic_the_service_and_the_parent_organization(
    clinic: httpx.AsyncClient,
) -> None:
    await put(
        clinic,
        organization("group"),
        organization(partOf={"reference": "Organization/group"}),
        service(),
        role(healthcareService=[{"reference": "HealthcareService/consultation"}]),
        room(hoursOfOperation=[{"openingTime": "09:00:00", "closingTime": "10:00:00"}]),
        schedule("room", actor=[{"reference": "Location/room-1"}]),
    )
    actors = ("Patient/ann", "Practitioner/smith", "Location/room-1")
    assert (await clinic.post("/Appointment", json=appointment(actors=actors))).status_code == 201
    for path, changed in (
        ("Location/main", location(extension=[closing(TUESDAY, TUESDAY)])),
        ("HealthcareService/consultation", service(notAvailable=[{"description": "-", "during": {"start": TUESDAY}}])),
        ("Organization/group", organization("group", extension=[closing(TUESDAY, TUESDAY)])),
    ):
        assert await stranded(clinic, f"/{path}") == []
        await put(clinic, changed)
        assert await stranded(clinic, f"/{path}") == [("09:00", ["blocked"])], path
        await put(clinic, location(), service(), organization("group"))


async def test_stranded_appointments_come_in_pages_of_a_window_and_at_the_cost_of_one(
    clinic: httpx.AsyncClient,
) -> None:
    times = ("09:00", "09:30", "10:00")
    for time in times:
        await clinic.post("/Appointment", json=appointment(at(time)))
    await put(clinic, schedule(active=False))
    with counted() as many:
        assert [start for start, _ in await stranded(clinic, "/Schedule/smith-main")] == list(times)
    with counted() as one:
        assert len(await stranded(clinic, "/Schedule/smith-main", start=at("10:00"))) == 1
    assert len(many) == len(one)
    first = (await clinic.get("/Schedule/smith-main/$stranded", params={"_count": 2})).json()
    assert (first["total"], [start for start, _ in said(first)]) == (3, ["09:00", "09:30"])
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    second = (await clinic.get(following)).json()
    assert ([start for start, _ in said(second)], [link["relation"] for link in second["link"]]) == (
        ["10:00"],
        ["self"],
    )
    for query, status in (({"_cursor": "x"}, 400), ({"start": at("10:00"), "end": at("09:00")}, 400)):
        assert_outcome(await clinic.get("/Schedule/smith-main/$stranded", params=query), status, "value")
    assert_outcome(await clinic.get("/Schedule/none/$stranded"), 404, "not-found")
