"""One thing wrong in a good resource gives the issue that says so."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Json
from fhir_server.resources import ROWS
from fhir_server.validation import check
from fhir_server.validation.shapes import resource_shape
from fhir_server.validation.walk import ELEMENTS_MAX, ISSUES_MAX, examine

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
UCUM = "http://unitsofmeasure.org"

GOOD: dict[str, Json] = {
    "Appointment": {
        "resourceType": "Appointment",
        "id": "a",
        "meta": {"profile": ["http://example.org/p"], "lastUpdated": "2026-01-15T09:00:00.123+01:00"},
        "text": {"status": "generated", "div": DIV.format("<p>Visit</p>")},
        "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinic"}],
        "extension": [{"url": "http://example.org/e", "valueString": "x"}],
        "identifier": [{"use": "usual", "value": "1", "assigner": {"reference": "#o"}}],
        "status": "booked",
        "priority": 5,
        "minutesDuration": 30,
        "start": "2026-01-15T09:00:00Z",
        "end": "2026-01-15T09:30:00Z",
        "created": "2026-01",
        "slot": [{"reference": "Slot/1"}],
        "participant": [
            {"actor": {"reference": "Patient/1", "type": "Patient"}, "status": "accepted", "required": "required"},
            {"actor": {"reference": "Location/2"}, "status": "accepted", "period": {"start": "2026-01-15"}},
        ],
        "requestedPeriod": [{"start": "2026-01-15", "end": "2026-01-15T10:00:00Z"}],
    },
    "Slot": {
        "resourceType": "Slot",
        "schedule": {"reference": "Schedule/1"},
        "status": "free",
        "start": "2026-01-15T09:00:00Z",
        "end": "2026-01-15T09:30:00Z",
    },
    "Schedule": {"resourceType": "Schedule", "active": True, "actor": [{"reference": "Practitioner/1"}]},
    "Encounter": {
        "resourceType": "Encounter",
        "status": "planned",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/1"},
        "length": {"value": Decimal("1.50"), "unit": "h", "system": UCUM, "code": "h"},
        "statusHistory": [{"status": "planned", "period": {"start": "2026-01-15"}}],
    },
    "AppointmentResponse": {
        "resourceType": "AppointmentResponse",
        "appointment": {"reference": "Appointment/1"},
        "actor": {"reference": "Patient/1"},
        "participantStatus": "accepted",
    },
    "Patient": {
        "resourceType": "Patient",
        "name": [
            {
                "use": "official",
                "family": "Moe",
                "given": [None, "Bo"],
                "_given": [{"extension": [{"url": "a", "valueCode": "x"}]}, {"id": "g"}],
            }
        ],
        "telecom": [{"system": "phone", "value": "1", "rank": 1}],
        "gender": "female",
        "birthDate": "1980-02-29",
        "_birthDate": {"extension": [{"url": "http://example.org/t", "valueTime": "10:00:00"}]},
        "deceasedBoolean": False,
        "address": [{"use": "home", "type": "postal", "line": ["1 Road"], "period": {"start": "2020"}}],
        "contact": [{"name": {"text": "Ann"}}],
        "photo": [{"contentType": "image/png", "data": "QUJD"}],
        "link": [{"other": {"reference": "Patient/2"}, "type": "seealso"}],
    },
    "Organization": {"resourceType": "Organization", "name": "Clinic", "telecom": [{"system": "url", "value": "x"}]},
    "Location": {
        "resourceType": "Location",
        "position": {"longitude": Decimal("-83.69"), "latitude": 42},
        "hoursOfOperation": [{"daysOfWeek": ["mon"], "openingTime": "08:00:00", "closingTime": "17:00:00"}],
    },
    "PractitionerRole": {
        "resourceType": "PractitionerRole",
        "practitioner": {"reference": "https://other.example/fhir/Practitioner/1/_history/2"},
        "availableTime": [{"availableStartTime": "22:00:00", "availableEndTime": "06:00:00"}],
    },
    "HealthcareService": {"resourceType": "HealthcareService", "availableTime": [{"allDay": True}]},
    "Practitioner": {"resourceType": "Practitioner", "name": [{"text": "Dr. Amara Okafor"}]},
}

LEFT_OUT = object()


def _with(type: str, path: str, value: Any) -> Json:
    """The good resource with the value at a path such as `participant.0.status`."""
    resource = copy.deepcopy(GOOD[type])
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    here: Any = resource
    for step in steps:
        here = here[step]
    if value is LEFT_OUT:
        del here[last]
    elif isinstance(here, list) and last == len(here):
        here.append(value)
    else:
        here[last] = value
    return resource


def _extension(**value: Any) -> list[Json]:
    return [{"url": "http://example.org/e", **value}]


A, P = "Appointment", "Patient"

WRONG: list[tuple[str, str, Any, str, str]] = [
    # type, what is set, to what, code of the issue, its expression
    ("Slot", "resourceType", "Schedule", "structure", "Slot"),
    (A, "status", LEFT_OUT, "required", "Appointment.status"),
    (A, "participant", LEFT_OUT, "required", "Appointment.participant"),
    (A, "participant.1.status", LEFT_OUT, "required", "Appointment.participant[1].status"),
    ("Slot", "schedule", LEFT_OUT, "required", "Slot.schedule"),
    ("Slot", "end", LEFT_OUT, "required", "Slot.end"),
    ("Encounter", "class", LEFT_OUT, "required", "Encounter.class"),
    ("Encounter", "statusHistory.0.period", LEFT_OUT, "required", "Encounter.statusHistory[0].period"),
    (A, "cancellationReason", {"text": "ill"}, "structure", "Appointment.cancellationReason"),
    (A, "participant.0.Status", "accepted", "structure", "Appointment.participant[0].Status"),
    (A, "$where", "1", "structure", "Appointment"),
    (A, "fhir_comments", ["x"], "structure", "Appointment.fhir_comments"),
    (A, "meta.resourceType", "Meta", "structure", "Appointment.meta.resourceType"),
    (A, "participant", {"status": "accepted"}, "structure", "Appointment.participant"),
    (A, "participant", [], "structure", "Appointment.participant"),
    (A, "participant.0", "Patient/1", "structure", "Appointment.participant[0]"),
    (A, "participant.0.actor", [{"reference": "Patient/1"}], "structure", "Appointment.participant[0].actor"),
    (A, "participant.0.actor", {}, "structure", "Appointment.participant[0].actor"),
    (A, "status", "banana", "code-invalid", "Appointment.status"),
    (A, "status", ["booked"], "value", "Appointment.status"),
    (A, "participant.0.status", "maybe", "code-invalid", "Appointment.participant[0].status"),
    (A, "participant.0.required", "yes", "code-invalid", "Appointment.participant[0].required"),
    (A, "identifier.0.use", "nickname", "code-invalid", "Appointment.identifier[0].use"),
    (A, "text.status", "good", "code-invalid", "Appointment.text.status"),
    ("Slot", "status", "open", "code-invalid", "Slot.status"),
    ("Encounter", "status", "+", "code-invalid", "Encounter.status"),
    ("Encounter", "statusHistory.0.status", "done", "code-invalid", "Encounter.statusHistory[0].status"),
    ("Encounter", "length.comparator", "~", "code-invalid", "Encounter.length.comparator"),
    (P, "gender", "f", "code-invalid", "Patient.gender"),
    (P, "name.0.use", "alias", "code-invalid", "Patient.name[0].use"),
    (P, "telecom.0.system", "tel", "code-invalid", "Patient.telecom[0].system"),
    (P, "telecom.0.use", "private", "code-invalid", "Patient.telecom[0].use"),
    (P, "address.0.type", "box", "code-invalid", "Patient.address[0].type"),
    (P, "link.0.type", "same", "code-invalid", "Patient.link[0].type"),
    (
        "Location",
        "hoursOfOperation.0.daysOfWeek.0",
        "Monday",
        "code-invalid",
        "Location.hoursOfOperation[0].daysOfWeek[0]",
    ),
    ("Location", "status", "closed", "code-invalid", "Location.status"),
    ("AppointmentResponse", "participantStatus", "yes", "code-invalid", "AppointmentResponse.participantStatus"),
    (A, "slot.0.reference", "Schedule/1", "value", "Appointment.slot[0].reference"),
    (A, "slot.0.reference", "https://other.example/fhir/Patient/1", "value", "Appointment.slot[0].reference"),
    (A, "slot.0.reference", "Slot/1/", "value", "Appointment.slot[0].reference"),
    (A, "slot.0.reference", "Slot?status=free", "value", "Appointment.slot[0].reference"),
    (A, "slot.0.reference", "1", "value", "Appointment.slot[0].reference"),
    (A, "slot.0.reference", "#o", "value", "Appointment.slot[0].reference"),
    (A, "slot.0.reference", "#none", "invariant", "Appointment.slot[0].reference"),
    (A, "slot.0.type", "Schedule", "value", "Appointment.slot[0].type"),
    (A, "participant.0.actor.type", "Person", "value", "Appointment.participant[0].actor.type"),
    (A, "participant.0.actor.type", "Practitioner", "value", "Appointment.participant[0].actor.type"),
    (A, "participant.0.actor.reference", "Medication/1", "value", "Appointment.participant[0].actor.reference"),
    ("Schedule", "actor.0.reference", "Organization/1", "value", "Schedule.actor[0].reference"),
    ("Encounter", "subject.reference", "Practitioner/1", "value", "Encounter.subject.reference"),
    (A, "id", "a_b", "value", "Appointment.id"),
    (A, "id", "x" * 65, "value", "Appointment.id"),
    (A, "_id", {"extension": _extension(valueString="x")}, "structure", "Appointment._id"),
    (A, "start", "2026-01-15T09:00:00", "value", "Appointment.start"),
    (A, "start", "2026-01-15T09:00Z", "value", "Appointment.start"),
    (A, "start", "2026-01-15", "value", "Appointment.start"),
    (A, "start", "2026-02-30T09:00:00Z", "value", "Appointment.start"),
    (A, "start", "2026-01-15T24:00:00Z", "value", "Appointment.start"),
    (A, "start", "2026-01-15T08:59:60Z", "value", "Appointment.start"),
    (A, "start", "2026-01-15T09:00:00+14:30", "value", "Appointment.start"),
    (A, "start", "0001-01-01T00:00:00+01:00", "value", "Appointment.start"),
    (A, "start", "２０２６-01-15T09:00:00Z", "value", "Appointment.start"),
    (A, "start", 1768467600, "value", "Appointment.start"),
    (A, "created", "0000-01-01", "value", "Appointment.created"),
    (A, "created", "2026-13", "value", "Appointment.created"),
    (A, "created", "2026-01-15T09:00:00", "value", "Appointment.created"),
    (P, "birthDate", "1981-02-29", "value", "Patient.birthDate"),
    (P, "birthDate", "1980-02-29T00:00:00Z", "value", "Patient.birthDate"),
    (P, "_birthDate", "x", "structure", "Patient.birthDate"),
    (P, "_birthDate", {"valueTime": "10:00:00"}, "structure", "Patient.birthDate.valueTime"),
    (P, "_gendre", {"id": "x"}, "structure", "Patient._gendre"),
    ("Location", "hoursOfOperation.0.openingTime", "24:00:00", "value", "Location.hoursOfOperation[0].openingTime"),
    ("Location", "hoursOfOperation.0.openingTime", "8:00", "value", "Location.hoursOfOperation[0].openingTime"),
    ("Schedule", "active", "true", "value", "Schedule.active"),
    ("Schedule", "active", 1, "value", "Schedule.active"),
    (A, "minutesDuration", 0, "value", "Appointment.minutesDuration"),
    (A, "minutesDuration", "30", "value", "Appointment.minutesDuration"),
    (A, "minutesDuration", Decimal("30.0"), "value", "Appointment.minutesDuration"),
    (A, "minutesDuration", True, "value", "Appointment.minutesDuration"),
    (A, "priority", -1, "value", "Appointment.priority"),
    (A, "priority", 2**31, "value", "Appointment.priority"),
    ("Location", "position.latitude", "42", "value", "Location.position.latitude"),
    ("Encounter", "length.value", float("nan"), "value", "Encounter.length.value"),
    ("Encounter", "class.code", " AMB", "value", "Encounter.class.code"),
    ("Encounter", "class.system", "not a uri", "value", "Encounter.class.system"),
    (A, "comment", "", "value", "Appointment.comment"),
    (A, "comment", None, "value", "Appointment.comment"),
    (A, "comment", "a\x00b", "value", "Appointment.comment"),
    (A, "comment", "x" * (1024 * 1024 + 1), "value", "Appointment.comment"),
    (A, "language", "e n  g", "value", "Appointment.language"),
    (P, "photo.0.data", "QUJ", "value", "Patient.photo[0].data"),
    (A, "extension", _extension(valueOid="1.2.3"), "value", "Appointment.extension[0].valueOid"),
    (A, "extension", _extension(valueUuid="urn:uuid:X"), "value", "Appointment.extension[0].valueUuid"),
    (A, "extension", _extension(), "invariant", "Appointment.extension[0]"),
    (A, "extension", [{"valueString": "x"}], "required", "Appointment.extension[0].url"),
    (A, "extension", _extension(valueCode="a", valueString="a"), "structure", "Appointment.extension[0].value"),
    (
        A,
        "extension",
        _extension(valueCodeableReference={}),
        "structure",
        "Appointment.extension[0].valueCodeableReference",
    ),
    (
        A,
        "extension",
        _extension(valueString="a", extension=_extension(valueCode="a")),
        "invariant",
        "Appointment.extension[0]",
    ),
    (P, "deceasedDateTime", "2020", "structure", "Patient.deceased"),
    (P, "name.0._given", [None, None], "structure", "Patient.name[0].given[0]"),
    (P, "name.0._given", {"id": "g"}, "structure", "Patient.name[0].given"),
    (P, "name.0.given", [None, None], "invariant", "Patient.name[0].given[1]"),
    (P, "name.0.given", [None, "Bo", None], "structure", "Patient.name[0].given[2]"),
    (P, "name.0", {"id": "n"}, "invariant", "Patient.name[0]"),
    (P, "telecom.0.system", LEFT_OUT, "invariant", "Patient.telecom[0].system"),
    (P, "photo.0.contentType", LEFT_OUT, "invariant", "Patient.photo[0].contentType"),
    (P, "address.0.period.end", "2019-12", "invariant", "Patient.address[0].period"),
    (A, "requestedPeriod.0.end", "2026-01-14T09:59:59Z", "invariant", "Appointment.requestedPeriod[0]"),
    ("Encounter", "length.system", LEFT_OUT, "invariant", "Encounter.length.system"),
    ("Encounter", "length.system", "http://example.org", "invariant", "Encounter.length"),
    (
        A,
        "extension",
        _extension(valueTiming={"repeat": {"duration": 1}}),
        "invariant",
        "Appointment.extension[0].valueTiming.repeat.durationUnit",
    ),
    (
        A,
        "extension",
        _extension(valueRange={"low": {"value": 2}, "high": {"value": 1}}),
        "invariant",
        "Appointment.extension[0].valueRange",
    ),
    (
        A,
        "extension",
        _extension(valueRatio={"numerator": {"value": 2}}),
        "invariant",
        "Appointment.extension[0].valueRatio",
    ),
    (A, "text.div", DIV.format("<script>x</script>"), "invariant", "Appointment.text.div"),
    (A, "contained.0.nickname", "x", "structure", "Appointment.contained[0].nickname"),
    (A, "contained.0.name", LEFT_OUT, "invariant", "Appointment.contained[0]"),
    (A, "contained.0.meta", {"versionId": "1"}, "invariant", "Appointment.contained[0].meta.versionId"),
    (A, "contained.0.meta", {"security": [{"code": "R"}]}, "invariant", "Appointment.contained[0].meta.security"),
    (
        A,
        "contained.1",
        {"resourceType": "Basic", "id": "b", "code": {"text": "x"}},
        "invariant",
        "Appointment.contained[1]",
    ),
    (
        A,
        "contained.0.contained",
        [{"resourceType": "Basic", "code": {"text": "x"}}],
        "invariant",
        "Appointment.contained[0].contained",
    ),
    (
        A,
        "contained.1",
        {"resourceType": "Organization", "id": "o", "name": "2"},
        "invariant",
        "Appointment.contained[1].id",
    ),
    (A, "participant.0.actor", LEFT_OUT, "invariant", "Appointment.participant[0]"),
    (A, "end", LEFT_OUT, "invariant", "Appointment.start"),
    (A, "end", "2026-01-15T08:59:59Z", "invariant", "Appointment.start"),
    (A, "cancelationReason", {"text": "ill"}, "invariant", "Appointment.cancelationReason"),
    ("Slot", "end", "2026-01-15T10:00:00+01:00", "invariant", "Slot.start"),
    ("AppointmentResponse", "actor", LEFT_OUT, "invariant", "AppointmentResponse"),
    (P, "contact.0", {"gender": "male"}, "invariant", "Patient.contact[0]"),
    ("Organization", "name", LEFT_OUT, "invariant", "Organization"),
    ("Organization", "telecom.0.use", "home", "invariant", "Organization.telecom[0].use"),
    ("Organization", "address", [{"use": "home", "city": "x"}], "invariant", "Organization.address[0].use"),
    ("Location", "hoursOfOperation.0.closingTime", "08:00:00", "invariant", "Location.hoursOfOperation[0]"),
    (
        "PractitionerRole",
        "availableTime.0.availableEndTime",
        "22:00:00",
        "invariant",
        "PractitionerRole.availableTime[0]",
    ),
]


@pytest.mark.parametrize("type", GOOD)
def test_a_good_resource_has_no_problem(type: str) -> None:
    assert check(ROWS[type], GOOD[type]) == []


@pytest.mark.parametrize(
    ("type", "path", "value", "code", "expression"),
    WRONG,
    ids=[f"{case[0]}.{case[1]}-{number}" for number, case in enumerate(WRONG)],
)
def test_one_wrong_element_is_named(type: str, path: str, value: Any, code: str, expression: str) -> None:
    issues = check(ROWS[type], _with(type, path, value))
    assert (code, expression) in [(issue.code, where) for issue in issues for where in issue.expression]
    assert {issue.code for issue in issues} == {code}


ALSO_GOOD: list[tuple[str, str, Any]] = [
    (A, "slot.0.reference", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
    (A, "slot.0.reference", "http://other.example/slots?id=1"),
    (A, "slot.0", {"identifier": {"value": "1"}, "type": "Slot"}),
    (A, "participant.0.actor", {"display": "a friend"}),
    (A, "start", "2026-01-15T09:00:00.123456789+05:30"),
    (A, "end", "2026-01-15T09:00:00Z"),
    (A, "created", "2026"),
    (A, "comment", "two\nlines\tand 😀"),
    (A, "extension", _extension(valueUuid="urn:uuid:c757873d-ec9a-1326-a141-556f43239520")),
    (A, "extension", _extension(valueUrl="../a?b=c#d")),
    (A, "extension", [{"url": "http://example.org/e", "_valueString": {"extension": _extension(valueCode="x")}}]),
    (A, "extension", _extension(extension=[{"url": "a", "valueDecimal": Decimal("1E-7")}])),
    (A, "contained.0.extension", _extension(valueReference={"reference": "#"})),
    (P, "address.0.period.end", "2020"),
    (P, "birthDate", "1980"),
    (P, "photo.0.data", "QU\nJD"),
    ("PractitionerRole", "availableTime.0.availableEndTime", LEFT_OUT),
    ("PractitionerRole", "availableTime.0.allDay", True),
]


@pytest.mark.parametrize(("type", "path", "value"), ALSO_GOOD)
def test_what_r4_allows_is_accepted(type: str, path: str, value: Any) -> None:
    assert check(ROWS[type], _with(type, path, value)) == []


@pytest.mark.parametrize("status", ["cancelled", "noshow"])
def test_a_cancelation_reason_explains_a_cancelled_or_missed_appointment(status: str) -> None:
    appointment = {**GOOD[A], "status": status, "cancelationReason": {"text": "ill"}}
    assert check(ROWS[A], appointment) == []


@pytest.mark.parametrize("status", ["proposed", "cancelled", "waitlist"])
def test_an_appointment_without_a_time_is_only_proposed_cancelled_or_waiting(status: str) -> None:
    without = {name: value for name, value in GOOD[A].items() if name not in ("start", "end")}
    assert check(ROWS[A], {**without, "status": status}) == []
    (issue,) = check(ROWS[A], {**without, "status": "pending"})
    assert issue.text.startswith("app-3")


def test_all_problems_are_listed_at_once() -> None:
    wrong = _with(A, "status", "banana")
    wrong["participant"][0].pop("actor")
    wrong["start"] = "tomorrow"
    wrong["Comment"] = "x"
    wrong["slot"][0]["reference"] = "Patient/1"
    said = {(issue.code, issue.expression[0]) for issue in check(ROWS[A], wrong)}
    assert said == {
        ("code-invalid", "Appointment.status"),
        ("invariant", "Appointment.participant[0]"),
        ("value", "Appointment.start"),
        ("structure", "Appointment.Comment"),
        ("value", "Appointment.slot[0].reference"),
    }


def test_an_unknown_element_is_answered_with_the_one_that_may_be_meant() -> None:
    (issue,) = check(ROWS[A], _with(A, "cancellationReason", {"text": "ill"}))
    assert "cancelationReason" in issue.text


def test_no_value_that_was_sent_is_repeated() -> None:
    secret = "Erika Mustermann"
    for type, path in ((P, "gender"), (P, "birthDate"), (P, "link.0.type"), (A, "slot.0.reference"), (A, "start")):
        for issue in check(ROWS[type], _with(type, path, secret)):
            assert secret not in f"{issue.text} {issue.expression}"
    (issue,) = check(ROWS[P], _with(P, secret, "x"))
    assert secret not in f"{issue.text} {issue.expression}"


@pytest.mark.parametrize("beside", [{"id": "x"}, {"extension": [{"url": "urn:x", "valueString": "x"}]}])
def test_nothing_stands_beside_the_div_of_a_narrative(beside: Json) -> None:
    text = {**GOOD[A]["text"], "_div": beside}
    (issue,) = check(ROWS[A], {**GOOD[A], "text": text})
    assert (issue.code, issue.expression) == ("structure", ("Appointment.text._div",))


def test_a_contained_resource_is_of_a_known_type() -> None:
    issues = check(ROWS[A], _with(A, "contained.0.resourceType", "Clinic"))
    assert ("structure", ("Appointment.contained[0]",)) in [(issue.code, issue.expression) for issue in issues]


def test_past_the_limit_it_is_said_that_there_are_more_problems() -> None:
    issues = check(ROWS[A], {**GOOD[A], "participant": [{"status": "maybe"}] * ISSUES_MAX})
    assert len(issues) == ISSUES_MAX + 1
    assert issues[-1].code == "informational"


def test_more_elements_than_a_check_may_cost_are_refused() -> None:
    for value in (
        {"address": [{"city": "Bonn"}] * ELEMENTS_MAX},
        {"address": [1] * ELEMENTS_MAX},
        {"name": [{"given": ["Ann"] * ELEMENTS_MAX}]},
        {"name": [{"_given": [1] * ELEMENTS_MAX}]},
        {"contained": [1] * ELEMENTS_MAX},
    ):
        (issue,) = check(ROWS[P], {**GOOD[P], **value})
        assert issue.code == "too-costly"


def test_a_walk_that_found_enough_looks_no_further() -> None:
    class Watched(list[Any]):
        seen = 0

        def __iter__(self) -> Iterator[Any]:
            for each in super().__iter__():
                Watched.seen += 1
                yield each

    shape = resource_shape(A)
    assert shape is not None
    assert examine(shape, {**GOOD[A], "slot": Watched([1] * (ELEMENTS_MAX // 2))}).full
    assert Watched.seen == ISSUES_MAX + 1


def test_deep_nesting_is_an_issue() -> None:
    extension: Json = {"url": "a", "valueString": "x"}
    for _ in range(5000):
        extension = {"url": "a", "extension": [extension]}
    (issue,) = check(ROWS["Slot"], {**GOOD["Slot"], "extension": [extension]})
    assert "nested deeper" in issue.text


def test_what_is_contained_in_a_resource_of_a_bundle_is_its_own() -> None:
    bundle = ResourceDefinition("Bundle", "Several resources.", ())
    lost = {**GOOD[A], "identifier": [{"value": "1", "assigner": {"reference": "#other"}}]}
    whole: Json = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": GOOD[A]}]}
    assert check(bundle, whole) == []
    found = {(issue.text[:5], issue.expression[0]) for issue in check(bundle, {**whole, "entry": [{"resource": lost}]})}
    place = "Bundle.entry[0].resource"
    assert found == {("ref-1", f"{place}.identifier[0].assigner.reference"), ("dom-3", f"{place}.contained[0]")}
