"""Visits by video: which are, who meets in which room, and $join with its window."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from fhir_server.scheduling.telehealth import TELEHEALTH, VIRTUAL_SERVICE
from fhir_server.settings import Settings
from tests.clinic import (
    NOW,
    REASON,
    TUESDAY,
    WEDNESDAY,
    appointment,
    at,
    patient,
    practitioner,
    role,
    schedule,
    service,
)
from tests.operations.test_find_slots import find, put
from tests.outcomes import assert_outcome

SetClock = Callable[[datetime], None]
Json = dict[str, Any]

BY_VIDEO = {"serviceType": [{"coding": [{"code": "telehealth"}]}]}
PROVIDER = {"meeting_url_template": "https://meet.example/v/{room}?lang=en", "meeting_secret": "sixteen letters!"}
FLAG = [{"url": TELEHEALTH, "valueBoolean": True}]


@pytest.fixture
async def video(client_with: Callable[..., Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    """The test clinic, with a provider of meetings."""
    return await client_with(clinic=True, **PROVIDER)


async def book(client: httpx.AsyncClient, *given: Any, **more: Any) -> Json:
    response = await client.post("/Appointment", json=appointment(*given, **{**BY_VIDEO, **more}))
    assert response.status_code == 201, response.text
    return response.json()  # type: ignore[no-any-return]


async def join(client: httpx.AsyncClient, booked: Json) -> dict[str, str]:
    response = await client.get(f"/Appointment/{booked['id']}/$join")
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    parameters = response.json()["parameter"]
    return {one["name"]: next(value for key, value in one.items() if key != "name") for one in parameters}


def links(resource: Json) -> list[Json]:
    return [one for one in resource.get("extension", ()) if one["url"] == VIRTUAL_SERVICE]


async def test_b12_a_visit_by_video_is_joined_from_10_minutes_before_to_60_after(
    video: httpx.AsyncClient, set_clock: SetClock
) -> None:
    booked = await book(video)
    url = f"/Appointment/{booked['id']}/$join"
    for time in ("08:49", "08:49:59.999"):
        set_clock(datetime.fromisoformat(f"{TUESDAY}T{time}Z"))
        early = assert_outcome(await video.get(url), 422, "business-rule", "join-too-early")
        assert f"{TUESDAY}T08:50:00Z" in early["diagnostics"]
    for time in ("08:50", "09:00", "09:59"):
        set_clock(datetime.fromisoformat(at(time)))
        meeting = await join(video, booked)
    assert (meeting["opens"], meeting["closes"]) == (f"{TUESDAY}T08:50:00Z", f"{TUESDAY}T10:00:00Z")
    assert meeting["url"] == f"https://meet.example/v/{meeting['room']}?lang=en"
    assert (await video.post(url)).json()["parameter"][0]["valueUrl"] == meeting["url"]
    set_clock(datetime.fromisoformat(at("10:00")))
    assert_outcome(await video.get(url), 422, "business-rule", "join-closed")


async def test_b12_a_patient_and_a_practitioner_have_one_room_a_day_and_nobody_else_has_it(
    video: httpx.AsyncClient, set_clock: SetClock
) -> None:
    await put(
        video,
        practitioner("jones"),
        role("jones-main", practitioner={"reference": "Practitioner/jones"}),
        schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]),
    )
    visits = {
        "first": await book(video, at("09:00")),
        "by role": await book(video, at("09:30"), actors=("Patient/ann", "PractitionerRole/smith-main")),
        "other day": await book(video, at("09:00", WEDNESDAY)),
        "other patient": await book(video, at("10:00"), actors=("Patient/bob", "Practitioner/smith")),
        "other practitioner": await book(video, at("10:30"), actors=("Patient/ann", "Practitioner/jones")),
    }
    rooms: dict[str, str] = {}
    for name, booked in visits.items():
        set_clock(datetime.fromisoformat(booked["start"]))
        rooms[name] = (await join(video, booked))["room"]
    assert rooms["first"] == rooms["by role"]
    assert len(set(rooms.values())) == len(rooms) - 1
    assert all(len(room) == 32 for room in rooms.values())
    moved = {**visits["first"], "start": at("11:00", WEDNESDAY), "end": at("11:30", WEDNESDAY)}
    assert (await video.put(f"/Appointment/{moved['id']}", json=moved)).status_code == 200
    set_clock(datetime.fromisoformat(moved["start"]))
    assert (await join(video, moved))["room"] == rooms["other day"]


async def test_b12_the_day_of_a_room_is_that_of_the_clinic(video: httpx.AsyncClient, set_clock: SetClock) -> None:
    zone = {"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "America/New_York"}
    evening = {"daysOfWeek": ["tue", "wed"], "availableStartTime": "18:00:00", "availableEndTime": "20:00:00"}
    await put(video, role(availableTime=[evening]), schedule(extension=[zone]))
    rooms = []
    for start in (at("23:00"), at("00:00", WEDNESDAY), at("23:00", WEDNESDAY)):
        booked = await book(video, start)
        set_clock(datetime.fromisoformat(start))
        rooms.append((await join(video, booked))["room"])
    assert rooms[0] == rooms[1] != rooms[2]


async def test_b12_a_group_meets_in_one_room(video: httpx.AsyncClient, set_clock: SetClock) -> None:
    await put(video, schedule(parameters={"capacity": 3}))
    visits = [await book(video, actors=(f"Patient/{who}", "Practitioner/smith")) for who in ("ann", "bob")]
    visits.append(await book(video, at("09:30")))
    set_clock(datetime.fromisoformat(at("09:25")))
    rooms = [(await join(video, booked))["room"] for booked in visits]
    assert rooms[0] == rooms[1] != rooms[2]


async def test_b12_a_schedule_or_a_service_by_video_makes_its_visits_so(
    video: httpx.AsyncClient, set_clock: SetClock
) -> None:
    plain = await book(video, at("09:00"), serviceType=[{"text": "in person"}])
    assert not links(plain)
    await put(video, schedule(extension=FLAG))
    on_schedule = await book(video, at("10:00"), serviceType=[{"text": "any"}])
    await put(
        video,
        schedule(),
        service(extension=FLAG),
        role(healthcareService=[{"reference": "HealthcareService/consultation"}]),
    )
    of_service = await book(video, at("11:00"), serviceType=[{"text": "any"}])
    for booked in (on_schedule, of_service):
        [link] = links(booked)
        parts = {part["url"]: next(value for key, value in part.items() if key != "url") for part in link["extension"]}
        assert parts == {
            "_datatype": "VirtualServiceDetail",
            "additionalInfo": f"{str(video.base_url).rstrip('/')}/Appointment/{booked['id']}/$join",
        }
    set_clock(datetime.fromisoformat(at("11:00")))
    assert (await join(video, of_service))["room"] not in str(
        (await video.get(f"/Appointment/{of_service['id']}")).json()
    )
    await put(video, role(healthcareService=[]) | {"healthcareService": [{"reference": "HealthcareService/none"}]})
    set_clock(NOW)
    moved = {**of_service, "start": at("11:30"), "end": at("12:00")}
    again = await video.put(f"/Appointment/{moved['id']}", json=moved)
    assert again.status_code == 200, again.text
    assert not links(again.json())
    assert_outcome(await video.get(f"/Appointment/{moved['id']}/$join"), 422, "business-rule", "not-virtual")


async def test_b12_what_is_not_booked_or_not_there_cannot_be_joined(
    video: httpx.AsyncClient, set_clock: SetClock
) -> None:
    booked = await book(video)
    pending = await book(video, at("10:00"), status="pending")
    set_clock(datetime.fromisoformat(at("09:00")))
    await join(video, booked)
    cancelled = {**booked, "status": "cancelled", "cancelationReason": REASON}
    assert (await video.put(f"/Appointment/{booked['id']}", json=cancelled)).status_code == 200
    for one in (booked, pending):
        assert_outcome(await video.get(f"/Appointment/{one['id']}/$join"), 422, "business-rule", "not-booked")
    assert_outcome(await video.get("/Appointment/nobody/$join"), 404, "not-found")


async def test_b12_a_link_of_the_clients_own_is_given_instead(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    link = {"url": "address", "valueUrl": "https://elsewhere.example/j/1"}
    own = await book(clinic, extension=[{"url": VIRTUAL_SERVICE, "extension": [link]}], serviceType=[{"text": "any"}])
    assert links(own)[0]["extension"] == [link]
    none = await book(clinic, at("09:30"))
    set_clock(datetime.fromisoformat(at("09:20")))
    meeting = await join(clinic, own)
    assert meeting["url"] == "https://elsewhere.example/j/1"
    assert "room" not in meeting
    assert_outcome(await clinic.get(f"/Appointment/{none['id']}/$join"), 422, "business-rule", "no-meeting")


async def test_b12_a_long_visit_can_be_joined_again_until_it_ends(
    video: httpx.AsyncClient, set_clock: SetClock
) -> None:
    booked = await book(video, at("09:00"), 90)
    set_clock(datetime.fromisoformat(at("10:29")))
    assert (await join(video, booked))["closes"] == f"{TUESDAY}T10:30:00Z"
    set_clock(datetime.fromisoformat(at("10:30")))
    assert_outcome(await video.get(f"/Appointment/{booked['id']}/$join"), 422, "business-rule", "join-closed")


async def test_b12_a_pending_visit_that_is_confirmed_keeps_its_link_and_becomes_a_virtual_encounter(
    video: httpx.AsyncClient,
) -> None:
    await put(video, patient("cal"), schedule(extension=FLAG))
    [found, *_] = await find(video)
    pending = await book(video, found["start"], status="pending", serviceType=[{"text": "any"}])
    confirmed = (await video.post(f"/Appointment/{pending['id']}/$book")).json()
    assert confirmed["status"] == "booked"
    assert len(links(confirmed)) == 1
    arrived = await video.put(f"/Appointment/{confirmed['id']}", json={**confirmed, "status": "arrived"})
    assert arrived.status_code == 200, arrived.text
    begun = (await video.get("/Encounter", params={"appointment": confirmed["id"]})).json()["entry"][0]["resource"]
    assert begun["class"]["code"] == "VR"


@pytest.mark.parametrize(
    "chosen",
    [
        {"meeting_url_template": "https://meet.example/{room}"},
        {**PROVIDER, "meeting_secret": "fifteen letters"},
        {**PROVIDER, "meeting_url_template": "https://meet.example/"},
        {**PROVIDER, "meeting_url_template": "https://meet.example/{room}/{room}"},
        {**PROVIDER, "meeting_url_template": "ftp://meet.example/{room}"},
    ],
)
def test_a_provider_without_a_secret_or_a_place_for_the_room_is_refused(chosen: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="meeting_"):
        Settings(**chosen)  # type: ignore[arg-type]
    assert "sixteen" not in repr(Settings(**PROVIDER))  # type: ignore[arg-type]
