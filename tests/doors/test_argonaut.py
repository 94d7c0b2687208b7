"""Argonaut's doors: $find by GET, $hold and $book by appt-id and appt-resource, also on an instance, Slot/$prefetch."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import httpx

from fhir_server.scheduling import holds
from tests.clinic import REASON, appointment, at, location
from tests.doors.asking import matches, outcomes, parameters, period, post
from tests.operations.test_find_slots import find as find_slots
from tests.operations.test_find_slots import put, starts
from tests.outcomes import assert_outcome

DAY = {"start": at("00:00"), "end": at("23:59")}


async def test_find_by_get_then_hold_and_book_by_appt_id(clinic: httpx.AsyncClient) -> None:
    found = await clinic.get("/Appointment/$find", params={**DAY, "practitioner": "Practitioner/smith"})
    proposal = matches(found.json())[0]
    assert (proposal["status"], {one["status"] for one in proposal["participant"]}) == ("proposed", {"needs-action"})
    response = await clinic.post(f"/Appointment/{proposal['id']}/$hold", headers={"prefer": "reply=searchset"})
    [held] = matches(response.json())
    assert (held["status"], {one["status"] for one in held["participant"]}) == ("pending", {"tentative"})
    assert parsedate_to_datetime(response.headers["expires"]) == holds.expires_of(held)
    asked = parameters(
        ("appt-id", {"valueUri": f"Appointment/{held['id']}"}),
        ("patient-id", {"valueUri": "Patient/ann"}),
        ("comment", {"valueString": "First visit"}),
    )
    [booked] = matches((await post(clinic, "/Appointment/$book", asked)).json())
    assert (booked["id"], booked["status"], booked["comment"]) == (held["id"], "booked", "First visit")
    assert {one["status"] for one in booked["participant"]} == {"accepted"}


async def test_a_time_can_be_held_before_it_is_known_for_whom_but_not_booked(clinic: httpx.AsyncClient) -> None:
    proposal = matches((await clinic.get("/Appointment/$find", params=DAY)).json())[0]
    held = await clinic.post(f"/Appointment/{proposal['id']}/$hold")
    assert held.status_code == 201
    assert_outcome(await clinic.post(f"/Appointment/{proposal['id']}/$book"), 422, "business-rule", "patient-required")


async def test_an_appointment_is_held_and_booked_as_a_resource(clinic: httpx.AsyncClient) -> None:
    given = parameters(("appt-resource", appointment(status="proposed")))
    [held] = matches((await post(clinic, "/Appointment/$hold", given)).json())
    book = parameters(("appt-resource", held), ("comment", {"valueString": "x"}))
    answer = await clinic.post("/Appointment/$book", json=book, headers={"prefer": "reply=searchset"})
    [booked] = matches(answer.json())
    assert (booked["id"], booked["status"]) == (held["id"], "booked")
    again = parameters(("appt-resource", appointment(status="proposed", actors=("Patient/bob", "Practitioner/smith"))))
    refused = await post(clinic, "/Appointment/$hold", again)
    assert (refused.status_code, matches(refused.json())) == (409, [])
    assert outcomes(refused.json())


async def test_one_appointment_gives_way_to_another_or_stays(clinic: httpx.AsyncClient) -> None:
    old = (await clinic.post("/Appointment", json=appointment(at("09:00")))).json()
    await clinic.post("/Appointment", json=appointment(at("10:00"), actors=("Patient/bob", "Practitioner/smith")))
    instead = ("cancelled-appt-id", {"valueUri": f"Appointment/{old['id']}"})

    async def book(time: str) -> httpx.Response:
        found = await clinic.get("/Appointment/$find", params={**DAY, "patient-reference": "Patient/ann"})
        [proposal] = [one for one in matches(found.json()) if one["start"] == at(time)]
        asked = parameters(("appt-id", {"valueUri": proposal["id"]}), instead)
        if time == "11:00":
            await clinic.post(
                "/Appointment", json=appointment(at("11:00"), actors=("Patient/bob", "Practitioner/smith"))
            )
        return await post(clinic, "/Appointment/$book", asked)

    refused = await book("11:00")
    assert refused.status_code == 409
    assert (await clinic.get(f"/Appointment/{old['id']}")).json()["status"] == "booked"
    [new] = matches((await book("11:30")).json())
    gone = (await clinic.get(f"/Appointment/{old['id']}")).json()
    assert (new["status"], gone["status"]) == ("booked", "cancelled")
    assert gone["cancelationReason"]["coding"][0]["code"] == "replaced"
    assert starts(await find_slots(clinic)) == ["09:00", "09:30", "10:30"]


async def test_prefetch_finds_the_free_slots_by_place_and_person(clinic: httpx.AsyncClient) -> None:
    await put(clinic, location(address={"city": "Riverside", "postalCode": "92501"}))
    await clinic.post("/Appointment", json=appointment(at("09:00")))
    found = await clinic.get(
        "/Slot/$prefetch", params={**DAY, "location-string": "Riverside", "practitioner": "Practitioner/smith"}
    )
    slots = matches(found.json())
    assert [slot["start"][11:16] for slot in slots] == ["09:30", "10:00", "10:30", "11:00", "11:30"]
    assert {(slot["resourceType"], slot["status"]) for slot in slots} == {("Slot", "free")}
    same = await post(clinic, "/Slot/$prefetch", parameters(*period(at("00:00"), at("23:59"))))
    assert matches(same.json()) == slots
    for either in (["PractitionerRole/smith-main"], ["PractitionerRole/none", "Practitioner/smith"]):
        found = await clinic.get("/Slot/$prefetch", params={**DAY, "practitioner": either})
        assert matches(found.json()) == slots, either
    nowhere = await clinic.get("/Slot/$prefetch", params={**DAY, "location-string": "Atlantis"})
    assert nowhere.json()["total"] == 0
    assert_outcome(await clinic.get("/Slot/$prefetch"), 400, "required")


async def test_a_hold_is_released_by_a_patch_that_says_why(clinic: httpx.AsyncClient) -> None:
    proposal = matches((await clinic.get("/Appointment/$find", params=DAY)).json())[0]
    url = f"/Appointment/{proposal['id']}"
    await clinic.post(f"{url}/$hold")
    headers = {"content-type": "application/json-patch+json"}
    off = {"op": "replace", "path": "/status", "value": "cancelled"}
    assert_outcome(await clinic.patch(url, json=[off], headers=headers), 422, "required", "reason-required")
    why = {"op": "add", "path": "/cancelationReason", "value": REASON}
    assert (await clinic.patch(url, json=[off, why], headers=headers)).json()["status"] == "cancelled"
    assert starts(await find_slots(clinic))[0] == "09:00"


async def test_prefetch_refuses_what_is_of_another_type(reader: httpx.AsyncClient) -> None:
    for name in ("practitioner", "organization", "location-reference"):
        assert_outcome(await reader.get("/Slot/$prefetch", params={**DAY, name: "Patient/ann"}), 400, "value")
