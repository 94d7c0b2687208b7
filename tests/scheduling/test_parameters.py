"""How scheduling parameters are resolved, and what the write door refuses of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.outcome import CANONICAL, Issue, Json
from fhir_server.scheduling.parameters import Parameters, find_zone, problems, read_time, resolve

OURS = f"{CANONICAL}/StructureDefinition/scheduling-parameters"
MEDPLUM = "https://medplum.com/fhir/StructureDefinition/SchedulingParameters"
OVERRIDE = f"{CANONICAL}/StructureDefinition/availability-override"
NOT_AVAILABLE = f"{CANONICAL}/StructureDefinition/not-available"
EFFECTIVE = f"{CANONICAL}/StructureDefinition/effective-period"
TIMEZONE = "http://hl7.org/fhir/StructureDefinition/timezone"


def duration(url: str, value: object, unit: str = "min") -> Json:
    return {
        "url": url,
        "valueDuration": {"value": value, "system": "http://unitsofmeasure.org", "code": unit},
    }


def count(url: str, value: object) -> Json:
    return {"url": url, "valuePositiveInt": value}


def code(url: str, value: str) -> Json:
    return {"url": url, "valueCode": value}


def service(id: str) -> Json:
    return {"url": "service", "valueReference": {"reference": f"HealthcareService/{id}"}}


def parameters(*parts: Json, url: str = OURS) -> Json:
    return {"url": url, "extension": list(parts)}


def resource(type: str, *extension: Json, id: str = "1", **elements: Any) -> Json:
    return {"resourceType": type, "id": id, "extension": list(extension), **elements}


def only(issues: list[Issue]) -> Issue:
    assert len(issues) == 1, issues
    return issues[0]


def test_nothing_given_is_half_an_hour_for_one_without_limits() -> None:
    assert resolve(resource("Schedule"), [], []) == Parameters(
        duration_minutes=30,
        buffer_before_minutes=0,
        buffer_after_minutes=0,
        alignment_minutes=None,
        notice_minutes_min=0,
        window_days_max=None,
        capacity=1,
        per_day_max=None,
    )


def test_every_part_of_our_extension_is_read() -> None:
    schedule = resource(
        "Schedule",
        parameters(
            duration("duration", 1, "h"),
            duration("bufferBefore", 5),
            duration("bufferAfter", 10),
            duration("alignmentInterval", 20),
            duration("alignmentOffset", 15),
            duration("minimumNotice", 2, "d"),
            duration("bookingWindow", 4, "wk"),
            count("capacity", 10),
            count("maximumPerDay", 6),
        ),
    )
    assert resolve(schedule, [], []) == Parameters(60, 5, 10, 20, 15, 2880, 28, 10, 6)


def test_each_field_comes_from_the_nearest_that_gives_it() -> None:
    found = resolve(
        resource("Schedule", parameters(duration("duration", 15))),
        [resource("HealthcareService", parameters(duration("duration", 20), duration("bufferAfter", 5)))],
        [
            resource(
                "Organization",
                parameters(duration("duration", 45), duration("bufferAfter", 9), duration("minimumNotice", 60)),
            )
        ],
    )
    assert (found.duration_minutes, found.buffer_after_minutes, found.notice_minutes_min) == (15, 5, 60)


def test_a_buffer_of_zero_on_the_schedule_beats_that_of_the_service() -> None:
    found = resolve(
        resource("Schedule", parameters(duration("bufferAfter", 0))),
        [resource("HealthcareService", parameters(duration("bufferAfter", 15)))],
        [],
    )
    assert found.buffer_after_minutes == 0


def test_an_entry_for_a_service_applies_to_that_service_only() -> None:
    schedule = resource(
        "Schedule",
        parameters(duration("duration", 30), count("capacity", 2)),
        parameters(service("group"), duration("duration", 90)),
    )
    group = resolve(schedule, [resource("HealthcareService", id="group")], [])
    other = resolve(schedule, [resource("HealthcareService", id="other")], [])
    assert (group.duration_minutes, group.capacity) == (90, 2)
    assert other.duration_minutes == 30


def test_medplum_parameters_are_read_as_the_same_thing() -> None:
    schedule = resource(
        "Schedule",
        parameters(
            duration("duration", Decimal("0.75"), "h"),
            count("slotCapacity", 3),
            code("timezone", "America/New_York"),
            code("alignmentTimezone", "Etc/UTC"),
            {
                "url": "availability",
                "extension": [
                    {
                        "url": "availableTime",
                        "extension": [
                            code("daysOfWeek", "mon"),
                            code("daysOfWeek", "tue"),
                            {"url": "availableStartTime", "valueTime": "09:00:00"},
                            {"url": "availableEndTime", "valueTime": "17:00:00"},
                        ],
                    }
                ],
            },
            url=MEDPLUM,
        ),
    )
    found = resolve(schedule, [], [])
    assert (found.duration_minutes, found.capacity) == (45, 3)
    assert (found.zone, found.alignment_zone) == ("America/New_York", "Etc/UTC")
    assert found.availability == (
        {
            "daysOfWeek": ["mon", "tue"],
            "availableStartTime": "09:00:00",
            "availableEndTime": "17:00:00",
        },
    )
    assert problems(schedule) == []


def test_content_that_would_be_refused_counts_as_not_given() -> None:
    schedule = resource("Schedule", parameters(duration("duration", -5), count("capacity", 0)))
    assert resolve(schedule, [], []) == Parameters()


@pytest.mark.parametrize(
    "part",
    [
        duration("duration", 10, "mo"),
        duration("duration", 10, "s"),
        duration("duration", 0),
        duration("duration", Decimal("7.5")),
        duration("duration", "10"),
        duration("duration", True),
        duration("duration", float("nan")),
        duration("duration", 10**12),
        {"url": "duration", "valueString": "30"},
        duration("bufferBefore", -1),
        duration("alignmentInterval", 25, "h"),
        duration("bookingWindow", 12, "h"),
        count("capacity", 0),
        count("maximumPerDay", True),
        {"url": "service", "valueReference": {"reference": "Patient/1"}},
    ],
    ids=lambda part: f"{part['url']}-{list(part.values())[1]}",
)
def test_a_malformed_part_is_named_with_its_expression(part: Json) -> None:
    issue = only(problems(resource("Schedule", {"url": "http://x.example"}, parameters(part))))
    assert issue.code == "value"
    assert issue.expression == ("Schedule.extension[1].extension[0].value",)
    assert part["url"] in issue.text


def test_the_longest_duration_is_ten_years() -> None:
    assert problems(resource("Schedule", parameters(duration("bookingWindow", 3650, "d")))) == []
    assert only(problems(resource("Schedule", parameters(duration("bookingWindow", 3651, "d")))))


def test_an_unknown_part_of_our_extension_is_refused_and_of_medplums_is_not() -> None:
    part = duration("bufferbefore", 5)
    issue = only(problems(resource("HealthcareService", parameters(part))))
    assert issue.code == "extension"
    assert issue.expression == ("HealthcareService.extension[0].extension[0]",)
    assert problems(resource("HealthcareService", parameters(part, url=MEDPLUM))) == []


def test_a_part_given_twice_is_refused() -> None:
    twice = parameters(duration("duration", 5), duration("duration", 10))
    issue = only(problems(resource("Schedule", twice)))
    assert issue.expression == ("Schedule.extension[0].extension[1]",)


def test_a_service_is_named_on_a_schedule_only() -> None:
    assert problems(resource("Schedule", parameters(service("1")))) == []
    assert only(problems(resource("Organization", parameters(service("1"))))).code == "extension"


@pytest.mark.parametrize("name", ["Mars/Olympus", "+02:00", "", "America", "../etc/passwd", "/etc/passwd"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    assert find_zone(name) is None
    issue = only(problems(resource("Location", code(TIMEZONE, name))))
    assert issue.expression == ("Location.extension[0].value",)


def test_a_zone_of_the_database_is_accepted() -> None:
    assert problems(resource("Location", code(TIMEZONE, "Australia/Lord_Howe"))) == []


def window(start: str | None, end: str | None) -> Json:
    parts = [{"url": url, "valueTime": time} for url, time in (("start", start), ("end", end)) if time]
    return {"url": "window", "extension": parts}


def override(*parts: Json) -> Json:
    return {"url": OVERRIDE, "extension": list(parts)}


def on(date: str) -> Json:
    return {"url": "date", "valueDate": date}


@pytest.mark.parametrize(
    ("extension", "where"),
    [
        (override(window("09:00:00", "12:00:00")), ""),
        (override(on("2026-03"), window("09:00:00", "12:00:00")), ".extension[0].value"),
        (override(on("2026-02-30")), ".extension[0].value"),
        (override(on("2026-03-08"), on("2026-03-09")), ".extension[1]"),
        (override(on("2026-03-08"), window("09:00:00", None)), ".extension[1]"),
        (override(on("2026-03-08"), window("09:00:00", "24:00:00")), ".extension[1].extension[1].value"),
        (override(on("2026-03-08"), {"url": "hours"}), ".extension[1]"),
        ({"url": NOT_AVAILABLE, "extension": [{"url": "description", "valueString": "x"}]}, ""),
        ({"url": NOT_AVAILABLE, "extension": [{"url": "during", "valuePeriod": {}}]}, ".extension[0].value"),
    ],
)
def test_a_malformed_override_or_block_is_named_with_its_expression(extension: Json, where: str) -> None:
    issue = only(problems(resource("Schedule", extension)))
    assert issue.expression == (f"Schedule.extension[0]{where}",)


def test_a_well_formed_override_has_no_problems() -> None:
    closed = override(on("2026-12-24"))
    night = override(on("2026-12-31"), window("22:00:00", "00:00:00"))
    assert problems(resource("Schedule", closed, night)) == []


def test_an_effective_period_is_checked_where_hours_carry_it() -> None:
    entry = {"allDay": True, "extension": [{"url": EFFECTIVE, "valuePeriod": {}}]}
    issue = only(problems(resource("PractitionerRole", availableTime=[{"allDay": True}, entry])))
    assert issue.expression == ("PractitionerRole.availableTime[1].extension[0].value",)


def test_all_problems_are_listed_at_once() -> None:
    schedule = resource(
        "Schedule",
        parameters(duration("duration", 0), count("capacity", 0), duration("bufferBefor", 1)),
        code(TIMEZONE, "Nowhere"),
    )
    assert len(problems(schedule)) == 4


def test_a_leap_second_is_read_as_the_next_second() -> None:
    assert read_time("23:59:60") == timedelta(days=1)
    assert read_time("09:30:00.250") == timedelta(hours=9, minutes=30, milliseconds=250)


@pytest.mark.parametrize("text", ["24:00:00", "9:00:00", "09:60:00", "09:00:00Z", "", None, 9])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must have a time"):
        read_time(text)
