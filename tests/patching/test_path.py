"""FHIRPath to places in a resource, as patches use it (http://hl7.org/fhir/R4/fhirpath.html)."""

from __future__ import annotations

import pytest

from fhir_server.outcome import FhirError
from fhir_server.patching.limits import NESTING_MAX, PATH_MAX, VISITS_MAX
from fhir_server.patching.path import Walk, locate, locate_list
from fhir_server.patching.tree import Node, print_tree, read_resource
from tests.clinic import appointment, patient

URL = "http://example.org/one"
ANN = read_resource(
    patient(
        name=[
            {"use": "official", "family": "Ash", "given": ["Ann", "Zoe"]},
            {"use": "usual", "given": ["Annie"], "period": {"start": "2020-01-01"}},
        ],
        telecom=[
            {"system": "phone", "value": "1", "rank": 1},
            {"system": "email", "value": "a@example.org", "rank": 2},
            {"system": "phone", "value": "it's 2"},
        ],
        deceasedBoolean=False,
        extension=[{"url": URL, "valueQuantity": {"value": 3}}, {"url": "http://example.org/two", "valueCode": "b"}],
    )
)


def found(path: str, root: Node = ANN) -> list[object]:
    return [node.value if node.is_primitive else print_tree(node) for node in locate(Walk(root), path, "here")]


def values(path: str) -> list[object]:
    return [each["value"] for each in found(path) if isinstance(each, dict)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Patient.id", ["ann"]),
        ("id", ["ann"]),
        ("Resource.id", ["ann"]),
        ("DomainResource.name.family", ["Ash"]),
        ("Encounter.id", []),
        ("Patient.name.given", ["Ann", "Zoe", "Annie"]),
        ("Patient.name[0].given[1]", ["Zoe"]),
        ("Patient.name[2].given", []),
        ("Patient.name.given[2]", ["Annie"]),
        ("Patient.name.first().given.last()", ["Zoe"]),
        ("Patient.name.family.single()", ["Ash"]),
        ("Patient.name.where(use = 'usual').given", ["Annie"]),
        ("Patient.name.where(use='official' and family='Ash').given.first()", ["Ann"]),
        ("Patient.name.where(use='old' or period.start='2020-01-01').given", ["Annie"]),
        ("Patient.name.where(period.start = @2020-01-01).given", ["Annie"]),
        ("Patient.name.where(period.exists()).given", ["Annie"]),
        ("Patient.name.where(period.empty()).family", ["Ash"]),
        ("Patient.name.where(family.exists().not()).given", ["Annie"]),
        ("Patient.name.where((use = 'usual' or use = 'old') and family.empty()).given", ["Annie"]),
        ("Patient.name.where(use != 'usual').family", ["Ash"]),
        ("Patient.name.where(given.where($this = 'Zoe').exists()).use", ["official"]),
        ("Patient.name.given.where($this = 'Zoe')", ["Zoe"]),
        ("Patient.where(active = true).id", ["ann"]),
        ("Patient.where(active).id", ["ann"]),
        ("Patient.where(active = 1).id", []),
        ("Patient.where(active = 'true').id", []),
        ("Patient.where(deceased.not()).id", ["ann"]),
        ("Patient.deceased", [False]),
        ("Patient.deceasedBoolean", [False]),
        ("Patient.deceased.ofType(boolean)", [False]),
        ("Patient.deceased.as(boolean)", [False]),
        ("(Patient.deceased as boolean)", [False]),
        ("Patient.deceased.ofType(dateTime)", []),
        ("Patient.extension('http://example.org/two').value", ["b"]),
        (f"Patient.extension('{URL}').value.ofType(Quantity).value", [3]),
        (f"(Patient.extension('{URL}').value as FHIR.Quantity).value", [3]),
        ("Patient.extension.where(value is code).value", ["b"]),
        ("Patient.extension.where(value.is(code)).value", ["b"]),
        ("Patient.telecom.where(rank = 2).system", ["email"]),
        ("Patient.telecom.where(value = 'it\\'s 2').system", ["phone"]),
        ("Patient.telecom.where(value = 'it\\u0027s 2').system", ["phone"]),
        ("Patient.`name`.family", ["Ash"]),
        (" Patient . name [ 0 ] . family ", ["Ash"]),
        ("Patient.nothing.at.all", []),
    ],
)  # fmt: skip
def test_a_path_selects_elements(path: str, expected: list[object]) -> None:
    assert found(path) == expected


def test_a_path_selects_places_rather_than_values() -> None:
    node = locate(Walk(ANN), "Patient.telecom.where(system = 'phone').last()", "here")[0]
    assert node.parent is ANN
    assert ANN.below["telecom"].index(node) == 2


def test_elements_of_appointments_are_found_through_references() -> None:
    booked = read_resource(appointment())
    path = "Appointment.participant.where(actor.reference = 'Practitioner/smith').status"
    assert found(path, booked) == ["accepted"]


def test_where_needs_all_its_conditions_to_be_there() -> None:
    assert values("Patient.telecom.where(rank = 1 and system = 'phone')") == ["1"]
    assert values("Patient.telecom.where(rank != 1 and system = 'phone')") == []
    assert values("Patient.telecom.where(rank != 1 or system = 'phone')") == ["1", "a@example.org", "it's 2"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "ends too early"),
        ("Patient.", "ends too early"),
        ("Patient..name", "a name was expected"),
        ("Patient.name[", "index"),
        ("Patient.name['0']", "index"),
        ("Patient.name[1.5]", "index"),
        ("Patient.name[0", "']' was expected"),
        ("Patient.name)", "not expected"),
        ("Patient name", "not expected"),
        ("Patient.name.where(use = 'usual'", "')' was expected"),
        ("Patient.name.where(use = )", "not expected"),
        ("Patient.name.where('", "cannot be read"),
        ("Patient.name.where(use = 'it's')", "cannot be read"),
        ("Patient.name.resolve()", "resolve() is not known here"),
        ("Patient.name.where(use ~ 'usual')", "cannot be read"),
        ("Patient | Patient", "cannot be read"),
        ("%resource.name", "cannot be read"),
        ("Patient.name.exists()", "not select elements"),
        ("'Patient'", "not select elements"),
        ("Patient.name.use = 'usual'", "not select elements"),
    ],
)
def test_what_is_not_understood_is_a_bad_request(path: str, why: str) -> None:
    with pytest.raises(FhirError) as caught:
        locate(Walk(ANN), path, "here")
    assert caught.value.status == 400
    assert why in caught.value.issues[0].text
    assert caught.value.issues[0].expression == ("here",)


def test_single_refuses_several() -> None:
    with pytest.raises(FhirError) as caught:
        found("Patient.name.single()")
    assert caught.value.status == 422


def test_a_list_is_located_where_it_is_or_would_be() -> None:
    holder, element = locate_list(Walk(ANN), "Patient.name.where(use = 'usual').suffix", "here")
    assert (holder.type, element.name) == ("HumanName", "suffix")
    assert "suffix" not in holder.below


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("Patient", 400),
        ("Patient.name[0]", 400),
        ("Patient.name.first()", 400),
        ("(Patient.name)", 400),
        ("Patient.name.given", 422),
        ("Patient.contact.telecom", 422),
        ("Patient.active", 422),
        ("Patient.nothing", 422),
        ("Encounter.identifier", 422),
    ],
)
def test_what_is_no_list_is_refused(path: str, status: int) -> None:
    with pytest.raises(FhirError) as caught:
        locate_list(Walk(ANN), path, "here")
    assert caught.value.status == status
    assert path in caught.value.issues[0].text


def test_paths_are_limited() -> None:
    longest = "Patient" + " " * (PATH_MAX - len("Patient"))
    assert len(locate(Walk(ANN), longest, "here")) == 1
    with pytest.raises(FhirError) as caught:
        locate(Walk(ANN), longest + " ", "here")
    assert caught.value.status == 400
    deepest = NESTING_MAX - 1
    assert len(locate(Walk(ANN), "(" * deepest + "Patient" + ")" * deepest, "here")) == 1
    with pytest.raises(FhirError, match="brackets"):
        locate(Walk(ANN), "(" * NESTING_MAX + "Patient" + ")" * NESTING_MAX, "here")
    many = " and ".join(["active"] * 85)
    assert len(locate(Walk(ANN), f"Patient.where({many})", "here")) == 1


def test_looking_is_limited() -> None:
    walk = Walk(ANN, visited=VISITS_MAX - 10)
    with pytest.raises(FhirError) as caught:
        locate(walk, "Patient.name.given.where($this = 'Zoe')", "here")
    assert (caught.value.status, caught.value.issues[0].code) == (422, "too-costly")
