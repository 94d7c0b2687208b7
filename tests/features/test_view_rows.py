"""Views, clause by clause, where no other test of the rows V1 and V2 has it (docs/features.md)."""

from __future__ import annotations

from typing import Any

import httpx

from fhir_server.store import counted
from tests.clinic import REASON, TUESDAY, at
from tests.operations.test_hold import asked
from tests.operations.test_reschedule import booked
from tests.operations.test_stats import stats
from tests.test_statuses import move
from tests.test_views import ids

Json = dict[str, Any]


async def test_v1_who_takes_part_in_a_role_is_found_as_a_person_too(clinic: httpx.AsyncClient) -> None:
    made = await clinic.post("/Appointment/$book", json=asked())
    assert made.status_code == 201, made.text
    query = "actor:PractitionerRole.practitioner=smith&state=upcoming&_sort=date"
    assert await ids(clinic, query) == [made.json()["id"]]
    assert await ids(clinic, query.replace("smith", "jones")) == []


async def test_v1_a_month_comes_in_order_page_by_page_each_with_its_names(clinic: httpx.AsyncClient) -> None:
    days = ("2026-03-27", "2026-03-05", "2026-03-16", "2026-04-01")
    made = {day: (await booked(clinic, at("09:00", day)))["id"] for day in days}
    month = "date=ge2026-03-01&date=lt2026-04-01&_sort=date&_count=2&_include=Appointment:patient"
    first = (await clinic.get(f"/Appointment?{month}")).json()
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    pages = [first, (await clinic.get(following)).json()]
    found = [
        [one["resource"]["id"] for one in page["entry"] if one["search"]["mode"] == mode]
        for mode in ("match", "include")
        for page in pages
    ]
    assert found == [[made["2026-03-05"], made["2026-03-16"]], [made["2026-03-27"]], ["ann"], ["ann"]]
    assert first["total"] == 3


async def test_v1_a_list_with_its_names_takes_as_many_round_trips_however_long_it_is(
    clinic: httpx.AsyncClient,
) -> None:
    url = f"/Appointment?date={TUESDAY}&_sort=date&_include=Appointment:actor"

    async def trips() -> tuple[int, int]:
        with counted() as commands:
            found = (await clinic.get(url)).json()
        return found["total"], len(commands)

    await booked(clinic)
    one = await trips()
    for time in ("09:30", "10:00", "10:30"):
        await booked(clinic, at(time))
    many = await trips()
    assert (one[0], many[0]) == (1, 4)
    assert one[1] == many[1]


async def test_v2_what_is_called_off_is_counted_by_its_reason_and_is_no_visit(clinic: httpx.AsyncClient) -> None:
    march = {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"}
    kept, off = await booked(clinic), await booked(clinic, at("10:00"))
    assert (await move(clinic, off, "cancelled", cancelationReason=REASON)).status_code == 200
    found = await stats(clinic, **march)
    assert (found["total"], found["visits"]) == (2, 1)
    assert dict(found["status"]) == {"booked": 1, "cancelled": 1}
    assert found["cancelation-reason"] == [("pat", 1)]
    assert found["day"] == [(TUESDAY, 1)]
    assert found["hour"] == [(f"{kept['start'][11:16]}:00", 1)]
