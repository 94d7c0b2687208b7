"""Cut-offs, who cancelled, $transitions, overrides and $validate-booking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx

from fhir_server.scheduling import lifecycle, overrides, reasons
from fhir_server.scheduling.policies import CANCELLED_BY, RESCHEDULED
from fhir_server.scheduling.provenance import WAIVED
from tests.clinic import MONDAY, NOW, REASON, appointment, at, device, location, role, schedule, slot
from tests.operations.test_find_slots import put
from tests.operations.test_hold import hold
from tests.operations.test_reschedule import NINE, ask, booked, parameters, status_of
from tests.outcomes import assert_outcome, problem_of, problems

Json = dict[str, Any]
SetClock = Callable[[datetime], None]
OpenClient = Callable[..., Awaitable[httpx.AsyncClient]]

EMERGENCY = {"coding": [{"system": overrides.REASONS, "code": "emergency"}]}
STAFFED = {"coding": [{"system": reasons.HL7, "code": "prov"}]}


def said(resource: Json, url: str) -> object:
    found = [one for one in resource.get("extension", ()) if one["url"] == url]
    return next((value for one in found for name, value in one.items() if name != "url"), None)


async def with_terms(client: httpx.AsyncClient, **parts: int) -> None:
    """The test clinic with rules for patients, and a telephone."""
    phone = [{"system": "email", "value": "m@example.org"}, {"system": "phone", "value": "+1 555 0100"}]
    await put(client, location(telecom=phone), schedule(parameters=parts))


def asking(wanted: Json, **given: Any) -> Json:
    """Parameters with an Appointment among them."""
    built = parameters(**given)
    built["parameter"].append({"name": "appointment", "resource": wanted})
    return built


async def book(client: httpx.AsyncClient, wanted: Json, **given: Any) -> httpx.Response:
    return await client.post("/Appointment/$book", json=asking(wanted, **given))


async def moves(client: httpx.AsyncClient, id: str, query: str = "") -> dict[str, Json]:
    """By code what can become of an Appointment."""
    answer = (await client.get(f"/Appointment/{id}/$transitions{query}")).json()
    parts = [one["part"] for one in answer["parameter"] if one["name"] == "transition"]
    named = [{part["name"]: next(v for k, v in part.items() if k != "name") for part in each} for each in parts]
    return {one["code"]: one for one in named}


# Cut-offs


async def test_b7_a_patient_cancels_until_the_cut_off_and_staff_at_any_time(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    await with_terms(clinic, cancelNotice=24 * 60)
    one = await booked(clinic)
    set_clock(NOW + timedelta(hours=1, minutes=1))
    late = await ask(clinic, one["id"], "cancel", cancelationReason=REASON)
    issue = assert_outcome(late, 422, "business-rule", "too-late-to-cancel")
    assert "2026-03-02T09:00:00Z. Call +1 555 0100." in issue["diagnostics"]
    url = f"/Appointment/{one['id']}"
    put_late = await clinic.put(url, json={**one, "status": "cancelled", "cancelationReason": REASON})
    assert_outcome(put_late, 422, "business-rule", "too-late-to-cancel")
    dead = {"coding": [{"system": reasons.HL7, "code": "pat-dec"}]}
    assert_outcome(await ask(clinic, one["id"], "cancel", cancelationReason=dead, by="patient"), 422, "business-rule")
    for reason, by in ((STAFFED, None), (REASON, "staff"), (dead, None)):
        done = await ask(clinic, one["id"], "cancel", cancelationReason=reason, **({"by": by} if by else {}))
        assert (done.status_code, said(done.json(), CANCELLED_BY)) == (200, "staff")
        assert (await clinic.put(url, json=one)).status_code == 200
    set_clock(NOW + timedelta(hours=1))
    in_time = await ask(clinic, one["id"], "cancel", cancelationReason=REASON)
    assert (in_time.status_code, said(in_time.json(), CANCELLED_BY)) == (200, "patient")


async def test_b7_who_cancelled_stays_known_and_cannot_be_made_up(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic, extension=[{"url": CANCELLED_BY, "valueCode": "staff"}])
    assert "extension" not in one
    url = f"/Appointment/{one['id']}"
    await clinic.put(url, json={**one, "status": "cancelled", "cancelationReason": REASON})
    bare = {**one, "status": "cancelled", "cancelationReason": STAFFED}
    assert said((await clinic.put(url, json=bare)).json(), CANCELLED_BY) == "patient"
    again = await clinic.put(url, json=one)
    assert (again.json()["status"], again.json().get("extension")) == ("booked", None)


async def test_b7_ihes_reasons_are_understood(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    concept = {"coding": [{"system": reasons.IHE, "code": "transportation"}]}
    extension = [{"url": reasons.STATUS_REASON, "valueCodeableConcept": concept}]
    done = await clinic.put(f"/Appointment/{one['id']}", json={**one, "status": "cancelled", "extension": extension})
    assert done.status_code == 200, done.text
    codes = [coding["code"] for coding in done.json()["cancelationReason"]["coding"]]
    assert (codes, said(done.json(), CANCELLED_BY)) == (["transportation", "pat-lt"], "patient")
    url = f"/ConceptMap/ihe-status-reason-to-cancellation-reason/$translate?code=weather&system={reasons.IHE}"
    assert "oth-weath" in (await clinic.get(url)).text
    assert len(reasons.HL7_OF_IHE) == 32


async def test_b5_a_patient_moves_it_in_time_and_so_often(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    await with_terms(clinic, rescheduleNotice=120, reschedulesMax=1)
    one = await booked(clinic)
    assert (await moves(clinic, one["id"]))["reschedule"] == {
        "code": "reschedule",
        "allowed": True,
        "until": at("07:00"),
        "remaining": 1,
    }
    by_staff = await ask(clinic, one["id"], "reschedule", start=at("09:30"), by="staff")
    assert said(by_staff.json(), RESCHEDULED) is None
    moved = await ask(clinic, one["id"], "reschedule", start=at("10:00"), by="patient")
    assert said(moved.json(), RESCHEDULED) == 1
    bare = {name: value for name, value in moved.json().items() if name != "extension"}
    kept = await clinic.put(f"/Appointment/{one['id']}", json={**bare, "comment": "Hello"})
    assert said(kept.json(), RESCHEDULED) == 1
    again = await ask(clinic, one["id"], "reschedule", start=at("11:00"), by="patient")
    assert_outcome(again, 422, "business-rule", "too-many-reschedules")
    assert (await moves(clinic, one["id"]))["reschedule"]["problem"] == "too-many-reschedules"
    other = await booked(clinic, actors=("Patient/bob", "Practitioner/smith"))
    set_clock(datetime.fromisoformat(at("07:01")))
    late = await ask(clinic, other["id"], "reschedule", slot="Slot/smith-main.20260303T1130.30", by="patient")
    assert_outcome(late, 422, "business-rule", "too-late-to-reschedule")
    assert (await ask(clinic, other["id"], "reschedule", start=at("11:30"))).status_code == 200


async def test_what_is_only_held_is_called_off_at_any_time(clinic: httpx.AsyncClient) -> None:
    await with_terms(clinic, cancelNotice=72 * 60)
    held = (await hold(clinic)).json()
    assert (await ask(clinic, held["id"], "cancel", cancelationReason=REASON)).status_code == 200


async def test_a_cut_off_is_a_duration_and_a_number(clinic: httpx.AsyncClient) -> None:
    wrong = schedule(parameters={"reschedulesMax": 0})
    assert_outcome(await clinic.put("/Schedule/smith-main", json=wrong), 400, "value")
    wrong = schedule(parameters={"cancelNotice": -1})
    assert_outcome(await clinic.put("/Schedule/smith-main", json=wrong), 400, "value")


# $transitions


async def test_l2_the_moves_that_are_legal_are_told_with_what_is_in_their_way(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    await with_terms(clinic, cancelNotice=24 * 60)
    one = await booked(clinic)
    found = await moves(clinic, one["id"])
    assert list(found) == [*lifecycle.APPOINTMENT["booked"], "reschedule"]
    assert found["arrived"]["allowed"] is True
    assert found["cancelled"] == {"code": "cancelled", "allowed": True, "until": at("09:00", MONDAY)}
    assert found["noshow"]["problem"] == "join-window-open"
    assert (found["noshow"]["from"], found["noshow"]["allowed"]) == (at("10:00"), False)
    set_clock(NOW + timedelta(hours=2))
    late = (await moves(clinic, one["id"]))["cancelled"]
    assert (late["allowed"], late["problem"]) == (False, "too-late-to-cancel")
    assert "Call +1 555 0100" in late["text"]
    assert (await moves(clinic, one["id"], "?by=staff"))["cancelled"] == {"code": "cancelled", "allowed": True}
    await ask(clinic, one["id"], "cancel", cancelationReason=STAFFED)
    await booked(clinic, actors=("Patient/bob", "Practitioner/smith"))
    gone = await moves(clinic, one["id"])
    assert gone["booked"]["problem"] == "practitioner-busy"
    assert (await clinic.get("/Appointment?status=booked&_count=0")).json()["total"] == 1
    assert_outcome(await clinic.get("/Appointment/none/$transitions"), 404, "not-found")


async def test_what_is_held_is_moved_by_its_owner_whatever_the_cut_off(clinic: httpx.AsyncClient) -> None:
    await with_terms(clinic, cancelNotice=72 * 60, rescheduleNotice=72 * 60)
    held = (await hold(clinic, token="secret")).json()
    found = await moves(clinic, held["id"])
    assert {one["problem"] for one in found.values()} == {"not-the-holder"}
    found = await moves(clinic, held["id"], "?token=secret")
    assert found["reschedule"] == {"code": "reschedule", "allowed": True}
    assert found["cancelled"] == {"code": "cancelled", "allowed": True}
    headers = {"X-Hold-Token": "secret"}
    moved = await ask(clinic, held["id"], "reschedule", start=at("10:00"), by="patient", headers=headers)
    assert moved.status_code == 200, moved.text


# The time that is given back


async def test_b7_a_published_slot_is_offered_again_only_where_its_schedule_is_open(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot(start=at("11:00"), end=at("11:30")), slot("other", at("10:00"), at("10:30")))
    one = await booked(clinic, at("11:00"), slot=[{"reference": "Slot/published"}])
    two = await booked(clinic, at("10:00"), slot=[{"reference": "Slot/other"}])
    leave = {"description": "Leave", "during": {"start": at("11:00"), "end": at("12:00")}}
    await put(clinic, role(notAvailable=[leave]))
    for each in (one, two):
        await ask(clinic, each["id"], "cancel", cancelationReason=STAFFED)
    assert await status_of(clinic, "Slot/published") == "busy-unavailable"
    assert await status_of(clinic, "Slot/other") == "free"
    assert (await clinic.get(f"/Appointment/{one['id']}")).json()["slot"] == [{"reference": "Slot/published"}]


# Overrides


async def test_b8_staff_book_outside_the_rules_with_a_reason_that_is_kept(clinic: httpx.AsyncClient) -> None:
    await booked(clinic)
    second = appointment(actors=("Patient/bob", "Practitioner/smith"))
    assert_outcome(await book(clinic, second), 409, "conflict", "practitioner-busy")
    done = await book(clinic, second, override="practitioner-busy", override_reason=EMERGENCY)
    assert done.status_code == 201, done.text
    told = (await clinic.get(f"/Provenance?target=Appointment/{done.json()['id']}")).json()
    assert told["total"] == 1
    kept = told["entry"][0]["resource"]
    assert kept["target"] == [{"reference": f"Appointment/{done.json()['id']}/_history/1"}]
    assert (kept["reason"], said(kept, WAIVED)) == ([EMERGENCY], "practitioner-busy")
    checked = await clinic.post("/Provenance/$validate", json=kept)
    assert {one["severity"] for one in checked.json()["issue"]} <= {"information", "warning"}
    night = await book(clinic, appointment(at("20:00")), override="all", override_reason=EMERGENCY)
    assert night.status_code == 201, night.text
    plain = await book(clinic, appointment(at("10:00")), override="all", override_reason=EMERGENCY)
    assert (await clinic.get(f"/Provenance?target=Appointment/{plain.json()['id']}")).json()["total"] == 0


async def test_b8_what_was_booked_over_others_still_counts_for_others(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    second = appointment(actors=("Patient/bob", "Practitioner/smith"))
    over = (await book(clinic, second, override="all", override_reason=EMERGENCY)).json()
    third = appointment(actors=("Patient/ann", "Practitioner/smith"))
    await ask(clinic, one["id"], "cancel", cancelationReason=STAFFED)
    assert await status_of(clinic, NINE) == "busy"
    assert_outcome(await clinic.post("/Appointment", json=third), 409, "conflict", "practitioner-busy")
    await ask(clinic, over["id"], "cancel", cancelationReason=STAFFED)
    assert await status_of(clinic, NINE) == "free"
    assert (await clinic.post("/Appointment", json=third)).status_code == 201


async def test_b8_what_was_waived_stays_so_until_it_is_moved(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    await booked(clinic)
    second = appointment(actors=("Patient/bob", "Practitioner/smith"))
    over = (await book(clinic, second, override="all", override_reason=EMERGENCY)).json()
    url = f"/Appointment/{over['id']}"
    noted = await clinic.put(url, json={**over, "comment": "Broken arm"})
    pending = await clinic.put(url, json={**noted.json(), "status": "pending"})
    again = await clinic.put(url, json={**pending.json(), "status": "booked"})
    assert [one.status_code for one in (noted, pending, again)] == [200, 200, 200]
    refused = await ask(clinic, over["id"], "reschedule", start=at("13:00"))
    assert_outcome(refused, 422, "business-rule", "outside-hours")
    moved = await ask(clinic, over["id"], "reschedule", start=at("13:00"), override="all", override_reason=EMERGENCY)
    assert (moved.status_code, moved.json()["start"]) == (200, at("13:00"))
    set_clock(datetime.fromisoformat(at("12:55")))
    arrived = await clinic.put(url, json={**moved.json(), "status": "arrived"})
    assert (arrived.status_code, arrived.json()["status"]) == (200, "arrived")


async def test_b8_what_was_booked_over_others_strands_nobody_when_it_is_changed(clinic: httpx.AsyncClient) -> None:
    await booked(clinic)
    await put(clinic, device())
    second = appointment(actors=("Patient/bob", "Practitioner/smith"))
    over = (await book(clinic, second, override="all", override_reason=EMERGENCY)).json()
    people = [*over["participant"], {"actor": {"reference": "Device/scanner"}, "status": "accepted"}]
    assert (await clinic.put(f"/Appointment/{over['id']}", json={**over, "participant": people})).status_code == 200
    told = await clinic.get(f"/PractitionerRole/smith-main/$stranded?start={at('08:00')}&end={at('18:00')}")
    assert told.json()["total"] == 0, told.text


async def test_b8_a_held_override_is_confirmed_without_another(clinic: httpx.AsyncClient) -> None:
    await booked(clinic)
    second = appointment(actors=("Patient/bob", "Practitioner/smith"))
    held = await clinic.post(
        "/Appointment/$hold", json=asking(second, override="practitioner-busy", override_reason=EMERGENCY)
    )
    assert held.status_code == 201, held.text
    assert (await clinic.post(f"/Appointment/{held.json()['id']}/$book")).status_code == 200


async def test_b8_a_walk_in_is_booked_now(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    set_clock(datetime.fromisoformat(at("09:07")))
    walk_in = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0276", "code": "WALKIN"}]}
    came = appointment(at("09:10"), 20, status="arrived", appointmentType=walk_in)
    assert (await clinic.post("/Appointment", json=came)).status_code == 201
    late = appointment(at("09:05"), 10, actors=("Patient/bob", "Practitioner/smith"), appointmentType=walk_in)
    assert {"in-the-past", "off-grid"} <= problems(await book(clinic, late))
    done = await book(
        clinic, late, override=["in-the-past", "off-grid", "practitioner-busy"], override_reason=EMERGENCY
    )
    assert done.status_code == 201, done.text


async def test_b8_an_override_is_named_reasoned_and_allowed(clinic: httpx.AsyncClient, client_with: OpenClient) -> None:
    night = appointment(at("20:00"))
    assert_outcome(await book(clinic, night, override="all"), 422, "required", "reason-required")
    silent = await book(clinic, night, override="all", override_reason={"coding": [{"system": overrides.REASONS}]})
    assert_outcome(silent, 422, "required", "reason-required")
    wrong = await book(clinic, night, override="patient-unknown", override_reason=EMERGENCY)
    assert_outcome(wrong, 422, "value", "not-overridable")
    nobody = appointment(at("20:00"), actors=("Patient/none", "Practitioner/smith"))
    unknown = await book(clinic, nobody, override="all", override_reason=EMERGENCY)
    assert problems(unknown) == {"patient-unknown"}
    strict = await client_with(overrides="deny")
    denied = await book(strict, night, override="all", override_reason=EMERGENCY)
    assert_outcome(denied, 403, "forbidden", "override-not-allowed")


# $validate-booking


async def test_validate_booking_tells_all_that_book_would(clinic: httpx.AsyncClient) -> None:
    await booked(clinic)
    cases = [
        appointment(at("09:00"), 45, actors=("Patient/none", "Practitioner/smith", "Location/nowhere")),
        appointment(actors=("Patient/ann", "Practitioner/smith")),
        appointment(at("20:00", MONDAY)),
        appointment(minutes=0),
    ]
    for wanted in cases:
        told = await clinic.post("/Appointment/$validate-booking", json=wanted)
        refused = await clinic.post("/Appointment/$book", json=wanted)
        assert (told.status_code, refused.status_code // 100) == (200, 4)
        assert problems(told) == problems(refused) != set()
        for issue in told.json()["issue"]:
            marked = said(issue, overrides.OVERRIDABLE_MARK) is True
            assert marked == (problem_of(issue) in overrides.OVERRIDABLE)
    assert_outcome(
        await clinic.post("/Appointment/$validate-booking", json=cases[1]), 200, "informational", "alternatives"
    )


async def test_validate_booking_writes_nothing_and_says_yes(clinic: httpx.AsyncClient) -> None:
    wanted = appointment()
    told = await clinic.post("/Appointment/$validate-booking", json=wanted)
    assert [one["severity"] for one in told.json()["issue"]] == ["information"]
    assert (await clinic.get("/Appointment?_count=0")).json()["total"] == 0
    query = f"slot={NINE}&patient=Patient/ann"
    assert problems(await clinic.get(f"/Appointment/$validate-booking?{query}")) == set()
    waived = await clinic.post(
        "/Appointment/$validate-booking",
        json=asking(appointment(at("20:00")), override="all", override_reason=EMERGENCY),
    )
    assert problems(waived) == set()
    held = (await hold(clinic, token="secret")).json()
    stranger = await clinic.get(f"/Appointment/{held['id']}/$validate-booking")
    assert problems(stranger) == {"not-the-holder"}
    owner = await clinic.get(f"/Appointment/{held['id']}/$validate-booking?token=secret")
    assert (owner.status_code, problems(owner)) == (200, set())
    assert_outcome(await clinic.get("/Appointment/none/$validate-booking"), 404, "not-found")
    assert_outcome(await clinic.get("/Appointment/$validate-booking?banana=1"), 400, "invalid")
