"""FHIRPath Patch, by itself (http://hl7.org/fhir/R4/fhirpatch.html)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fhir_server.outcome import FhirError
from fhir_server.patching.fhirpath_patch import apply
from fhir_server.patching.limits import OPERATIONS_MAX
from tests.clinic import encounter, patient
from tests.patches import Json, operation, parameters

ANN = patient()
URL = "http://example.org/one"
EXTENSION = {"url": URL, "valueCode": "a"}


def refused(patch: Json, status: int, resource: Json = ANN) -> FhirError:
    """The refusal, which must have this status; the resource stays as it was."""
    before = copy.deepcopy(resource)
    with pytest.raises(FhirError) as caught:
        apply(patch, resource)
    assert caught.value.status == status, caught.value
    assert resource == before
    return caught.value


def changed(resource: Json, *operations: Json) -> Json:
    return apply(parameters(*operations), resource)


def identified(*values: str) -> Json:
    return patient(identifier=[{"system": "http://example.org", "value": value} for value in values])


def values(resource: Json) -> list[str]:
    return [identifier["value"] for identifier in resource.get("identifier", ())]


def test_add_gives_an_element_that_was_not_there() -> None:
    patched = changed(ANN, operation("add", "Patient", name="birthDate", value={"valueDate": "1930-01-01"}))
    assert patched == {**ANN, "birthDate": "1930-01-01"}


def test_add_appends_to_an_element_that_repeats() -> None:
    new = {"valueIdentifier": {"value": "3"}}
    assert values(changed(identified("1", "2"), operation("add", "Patient", name="identifier", value=new))) == [*"123"]
    assert values(changed(ANN, operation("add", "Patient", name="identifier", value=new))) == ["3"]


def test_add_refuses_a_second_value_of_what_does_not_repeat() -> None:
    error = refused(parameters(operation("add", "Patient", name="active", value={"valueBoolean": False})), 422)
    assert "replace it" in error.issues[0].text
    assert error.issues[0].expression == ("Parameters.parameter[0]",)
    dead = patient(deceasedBoolean=True)
    refused(parameters(operation("add", "Patient", name="deceased", value={"valueDateTime": "2020"})), 422, dead)


@pytest.mark.parametrize("name", ["deceased", "deceased[x]", "deceasedDateTime"])
def test_a_choice_of_types_is_made_by_the_value(name: str) -> None:
    patched = changed(ANN, operation("add", "Patient", name=name, value={"valueDateTime": "2020"}))
    assert patched["deceasedDateTime"] == "2020"
    replaced = changed(patched, operation("replace", "Patient.deceased", value={"valueBoolean": True}))
    assert replaced == {**ANN, "deceasedBoolean": True}


def test_insert_puts_a_value_at_an_index() -> None:
    new = {"valueIdentifier": {"value": "3"}}
    for index, expected in enumerate((["3", "1", "2"], ["1", "3", "2"], ["1", "2", "3"])):
        inserted = operation("insert", "Patient.identifier", index=index, value=new)
        assert values(changed(identified("1", "2"), inserted)) == expected
    for index in (-1, 3):
        inserted = operation("insert", "Patient.identifier", index=index, value=new)
        assert "from 0 to 2" in refused(parameters(inserted), 422, identified("1", "2")).issues[0].text


def test_insert_starts_a_list_that_is_not_there() -> None:
    assert values(
        changed(ANN, operation("insert", "Patient.identifier", index=0, value={"valueIdentifier": {"value": "1"}}))
    ) == ["1"]


def test_move_changes_the_order() -> None:
    for source, destination, expected in ((3, 1, "1423"), (3, 0, "4123"), (0, 3, "2341"), (1, 1, "1234")):
        moved = operation("move", "Patient.identifier", source=source, destination=destination)
        assert values(changed(identified(*"1234"), moved)) == [*expected]
    for source, destination in ((4, 0), (0, 4), (-1, 0)):
        moved = operation("move", "Patient.identifier", source=source, destination=destination)
        assert "has 4 elements" in refused(parameters(moved), 422, identified(*"1234")).issues[0].text


def test_delete_takes_one_element_away() -> None:
    assert values(changed(identified("1", "2"), operation("delete", "Patient.identifier[0]"))) == ["2"]
    assert "identifier" not in changed(identified("1"), operation("delete", "Patient.identifier"))


def test_delete_of_what_is_not_there_is_done() -> None:
    assert changed(ANN, operation("delete", "Patient.birthDate"), operation("delete", "Patient.contact.name")) == ANN


def test_delete_of_several_is_refused() -> None:
    error = refused(parameters(operation("delete", "Patient.identifier")), 422, identified("1", "2"))
    assert "Patient.identifier: 2 elements" in error.issues[0].text


def test_what_delete_leaves_empty_goes_too() -> None:
    known = patient(contact=[{"name": {"text": "A friend"}, "gender": "male"}])
    assert changed(known, operation("delete", "Patient.contact[0].name.text"))["contact"] == [{"gender": "male"}]
    only = patient(contact=[{"name": {"text": "A friend"}}])
    assert changed(only, operation("delete", "Patient.contact.name.text")) == ANN


def test_replace_changes_primitives_and_complex_elements() -> None:
    known = patient(maritalStatus={"id": "1", "text": "married"})
    status = {"valueCodeableConcept": {"id": "2", "text": "not married"}}
    patched = changed(
        known,
        operation("replace", "Patient.maritalStatus", value=status),
        operation("replace", "Patient.name[0].family", value="Oak"),
        operation("replace", "Patient.name[0].given[0]", value="Bea"),
    )
    assert patched["maritalStatus"] == {"id": "2", "text": "not married"}
    assert patched["name"] == [{"family": "Oak", "given": ["Bea"]}]


def test_replace_keeps_the_place_in_a_list() -> None:
    new = {"valueIdentifier": {"value": "9"}}
    patched = changed(identified("1", "2", "3"), operation("replace", "Patient.identifier[1]", value=new))
    assert values(patched) == ["1", "9", "3"]


def test_replace_of_what_is_not_one_element_is_refused() -> None:
    new = {"valueIdentifier": {"value": "9"}}
    for path, found in (("Patient.identifier", "2 were found"), ("Patient.identifier[2]", "none were found")):
        error = refused(parameters(operation("replace", path, value=new)), 422, identified("1", "2"))
        assert path in error.issues[0].text
        assert found in error.issues[0].text


def test_backbone_elements_are_given_in_parts() -> None:
    contact: Json = {
        "part": [
            {"name": "name", "valueHumanName": {"text": "A friend"}},
            {"name": "telecom", "valueContactPoint": {"system": "phone", "value": "1"}},
            {"name": "telecom", "valueContactPoint": {"system": "phone", "value": "2"}},
            {"name": "extension", "part": [{"name": "url", "valueUri": URL}, {"name": "value", "valueCode": "a"}]},
        ]
    }
    patched = changed(ANN, operation("add", "Patient", name="contact", value=contact))
    telecom = [{"system": "phone", "value": "1"}, {"system": "phone", "value": "2"}]
    assert patched["contact"] == [{"name": {"text": "A friend"}, "telecom": telecom, "extension": [EXTENSION]}]
    inserted = changed(patched, operation("insert", "Patient.contact", index=0, value={"part": contact["part"][:1]}))
    assert inserted["contact"] == [{"name": {"text": "A friend"}}, *patched["contact"]]


def test_parts_are_checked_as_elements_are() -> None:
    def with_parts(*parts: Json) -> Json:
        return parameters(operation("add", "Patient", name="contact", value={"part": list(parts)}))

    twice = {"name": "gender", "valueCode": "male"}
    assert "given twice" in refused(with_parts(twice, twice), 422).issues[0].text
    assert "no element nothing" in refused(with_parts({"name": "nothing", "valueCode": "male"}), 422).issues[0].text
    assert "in parts" in refused(with_parts({"name": "gender", "part": [twice]}), 422).issues[0].text


def test_a_contained_resource_is_given_as_a_resource() -> None:
    location = {"resourceType": "Location", "id": "room", "name": "Room"}
    patched = changed(encounter(), operation("add", "Encounter", name="contained", value={"resource": location}))
    assert patched["contained"] == [location]
    renamed = changed(patched, operation("replace", "Encounter.contained.where(id = 'room').name", value="Hall"))
    assert renamed["contained"] == [{**location, "name": "Hall"}]


def test_primitives_have_ids_and_extensions_of_their_own() -> None:
    born: Json = {"valueDate": "1930-01-01", "_valueDate": {"extension": [EXTENSION]}}
    patched = changed(ANN, operation("add", "Patient", name="birthDate", value=born))
    assert patched["_birthDate"] == {"extension": [EXTENSION]}
    assert "_birthDate" not in changed(patched, operation("delete", f"Patient.birthDate.extension('{URL}')"))
    replaced = changed(patched, operation("replace", "Patient.birthDate", value={"valueDate": "1931"}))
    assert replaced == {**ANN, "birthDate": "1931"}


def test_extensions_stay_with_the_primitives_of_a_list() -> None:
    named = patient(name=[{"given": ["Ann", "Bo"], "_given": [None, {"extension": [EXTENSION]}]}])
    moved = changed(named, operation("move", "Patient.name.given", source=1, destination=0))
    assert moved["name"] == [{"given": ["Bo", "Ann"], "_given": [{"extension": [EXTENSION]}, None]}]
    inserted = changed(named, operation("insert", "Patient.name.given", index=0, value="Zoe"))
    assert inserted["name"] == [{"given": ["Zoe", "Ann", "Bo"], "_given": [None, None, {"extension": [EXTENSION]}]}]
    deleted = changed(named, operation("delete", "Patient.name.given.where(extension.exists())"))
    assert deleted["name"] == [{"given": ["Ann"]}]
    missing = patient(name=[{"given": [None], "_given": [{"extension": [EXTENSION]}]}])
    assert changed(missing, operation("add", "Patient.name", name="family", value="Ash"))["name"] == [
        {"_given": [{"extension": [EXTENSION]}], "family": "Ash"}
    ]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("birthDate", {"valueDateTime": "1930-01-01"}, "Patient.birthDate is a date"),
        ("deceased", {"valueString": "yes"}, "boolean or dateTime"),
        ("maritalStatus", {"valueCoding": {"code": "M"}}, "CodeableConcept"),
        ("contact", {"valueHumanName": {"text": "x"}}, "PatientContact"),
        ("nothing", {"valueString": "x"}, "Patient has no element nothing"),
        ("", {"valueString": "x"}, "empty"),
        ("gender", {"resource": {"resourceType": "Location", "name": "x"}}, "the value is a Resource"),
    ],
)
def test_a_value_must_be_of_the_type_of_its_element(name: str, value: Json, why: str) -> None:
    status = 422 if name else 400
    error = refused(parameters(operation("add", "Patient", name=name, value=value)), status)
    assert why in error.issues[0].text or not name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gender", {"valueString": "male"}),
        ("gender", {"valueCode": "male"}),
        ("implicitRules", {"valueUrl": "http://x.org"}),
    ],
)
def test_types_of_one_family_stand_for_each_other(name: str, value: Json) -> None:
    assert name in changed(ANN, operation("add", "Patient", name=name, value=value))


def test_the_whole_resource_is_neither_deleted_nor_replaced() -> None:
    refused(parameters(operation("delete", "Patient")), 422)
    refused(parameters(operation("replace", "Patient", value="x")), 422)


def test_operations_see_what_those_before_them_did() -> None:
    patched = changed(
        ANN,
        operation("add", "Patient", name="identifier", value={"valueIdentifier": {"value": "1"}}),
        operation("add", "Patient.identifier[0]", name="system", value={"valueUri": "http://example.org"}),
        operation("delete", "Patient.name"),
    )
    assert patched["identifier"] == [{"value": "1", "system": "http://example.org"}]
    assert "name" not in patched


def test_a_patch_without_operations_changes_nothing() -> None:
    assert apply({"resourceType": "Parameters"}, ANN) == ANN


def _without(part: str) -> Json:
    whole = operation("insert", "Patient.identifier", index=0, value={"valueIdentifier": {"value": "1"}})
    return {"name": "operation", "part": [each for each in whole["part"] if each["name"] != part]}


def _twice(whole: Json) -> Json:
    return {"name": "operation", "part": [*whole["part"], whole["part"][-1]]}


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ({"resourceType": "Patient"}, "Parameters"),
        ({"resourceType": "Parameters", "parameter": {}}, "array"),
        (parameters({"name": "other", "part": []}), "array"),
        (parameters({"name": "other", "valueString": "x"}), "name operation"),
        (parameters({"name": "operation"}), "part type"),
        (parameters(operation("upsert", "Patient.id")), "add, insert, delete, replace, move"),
        (parameters(operation("delete", "Patient.name", name="x")), "parts of delete must be type, path"),
        (parameters(_twice(operation("delete", "Patient.name"))), "part path is given twice"),
        (parameters(_without("type")), "part type"),
        (parameters(_without("path")), "parts of insert"),
        (parameters(_without("index")), "parts of insert"),
        (parameters(_without("value")), "parts of insert"),
        (parameters(operation("insert", "Patient.name", index="0", value="x")), "index as a valueInteger"),
        (parameters(operation("delete", "Patient.name", unknown=1)), "parts of delete"),
        (parameters(operation("replace", "Patient.id", value={"valueDate": "yesterday"})), "date"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_a_bad_request(patch: Json, why: str) -> None:
    said = " ".join(issue.text for issue in refused(patch, 400).issues)
    assert why in said


def test_a_part_without_a_value_is_refused() -> None:
    bare: Any = {
        "name": "operation",
        "part": [*operation("delete", "Patient")["part"], {"name": "name", "valueString": "gender"}],
    }
    bare["part"][0]["valueCode"] = "add"
    bare["part"].append({"name": "value", "extension": [EXTENSION]})
    assert "needs a value[x]" in refused(parameters(bare), 400).issues[0].text


def test_operations_are_limited() -> None:
    delete = operation("delete", "Patient.birthDate")
    assert changed(ANN, *[delete] * OPERATIONS_MAX) == ANN
    assert "1000 operations" in refused(parameters(*[delete] * (OPERATIONS_MAX + 1)), 422).issues[0].text


def test_elements_do_not_nest_without_end() -> None:
    part = {"part": [{"name": "url", "valueUri": URL}]}
    deeper = [operation("add", "Patient" + ".extension" * level, name="extension", value=part) for level in range(70)]
    assert "deeper than 64" in refused(parameters(*deeper), 422).issues[0].text
