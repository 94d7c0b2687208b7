"""The parameters of operations, in and out, against their rows."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations import OPERATIONS
from fhir_server.operations.arguments import Arguments, faults_of_answer, read_arguments
from fhir_server.outcome import FhirError
from tests.answers import check_answer
from tests.clinic import appointment, patient

Json = dict[str, Any]


async def _run(*_: object) -> Response:
    return Response(200)


def operation(*parameters: Parameter) -> Operation:
    return Operation("try", "Try", "Try", "Tries.", ("Patient",), ("type",), False, parameters, _run)


def taking(type: str, min: int = 0, max: str = "1", **more: Any) -> Operation:
    return operation(Parameter("given", "in", min, max, type, "What is tried", **more))


def giving(*parameters: Parameter) -> Operation:
    return operation(*parameters)


def by_query(operation: Operation, *pairs: tuple[str, str]) -> Arguments:
    return read_arguments(operation, Request("GET", "", "", query=pairs))


def by_body(operation: Operation, body: Json) -> Arguments:
    return read_arguments(operation, Request("POST", "", "", body=body))


def parameters(*given: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": list(given)}


def refused(call: Any, code: str, where: str) -> str:
    with pytest.raises(FhirError) as refusal:
        call()
    issue = refusal.value.issues[0]
    assert (refusal.value.status, issue.code, issue.expression) == (400, code, (where,)), refusal.value.issues
    return issue.text


def test_a_body_without_a_type_is_told_what_it_is_to_be() -> None:
    text = refused(lambda: by_body(taking("string"), {"given": "x"}), "invalid", "resourceType")
    assert text == "The body must be Parameters: it has no resourceType."
    assert refused(lambda: by_body(taking("string"), {"resourceType": "Slot"}), "invalid", "resourceType").endswith(
        "not Slot."
    )


NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)

SPELLED = [
    ("boolean", "true", True),
    ("boolean", "false", False),
    ("integer", "-3", -3),
    ("unsignedInt", "0", 0),
    ("positiveInt", "7", 7),
    ("decimal", "1.50", Decimal("1.50")),
    ("dateTime", "2026-03-02T10:00:00+01:00", NINE),
    ("dateTime", "2026-03-02T10:00:00 01:00", NINE),
    ("instant", "2026-03-02T09:00:00Z", NINE),
    ("date", "2026-03", "2026-03"),
    ("code", "create", "create"),
    ("uri", "urn:a:b", "urn:a:b"),
    ("string", "two words", "two words"),
    ("Reference", "Slot/1", "Slot/1"),
]


@pytest.mark.parametrize(("type", "text", "value"), SPELLED)
def test_a_query_spells_primitive_values(type: str, text: str, value: object) -> None:
    assert by_query(taking(type), ("given", text))["given"] == [value]


MISSPELLED = [
    ("boolean", "yes"),
    ("integer", "1.5"),
    ("integer", "2147483648"),
    ("integer", "9" * 5000),
    ("unsignedInt", "-1"),
    ("positiveInt", "0"),
    ("decimal", "much"),
    ("dateTime", "2026-03-02"),
    ("dateTime", "2026-03-02T10:00:00"),
    ("instant", "soon"),
    ("date", "2026-02-30"),
    ("code", " create"),
    ("uri", "a b"),
]


@pytest.mark.parametrize(("type", "text"), MISSPELLED)
def test_a_query_value_of_the_wrong_type_is_refused_by_its_name(type: str, text: str) -> None:
    refused(lambda: by_query(taking(type), ("given", text)), "value", "given")


@pytest.mark.parametrize("type", ["Coding", "CodeableConcept", "Meta", "Patient", "Resource"])
def test_a_complex_value_in_a_query_is_refused(type: str) -> None:
    text = refused(lambda: by_query(taking(type), ("given", "x")), "value", "given")
    assert "POST" in text


def test_parameters_of_the_protocol_are_nobody_s() -> None:
    pairs = [(name, "true") for name in ("_format", "_pretty", "_summary", "_elements")]
    assert by_query(taking("string"), *pairs) == {"given": []}


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    assert "given" in refused(lambda: by_query(taking("string"), ("other", "x")), "invalid", "other")
    body = parameters({"name": "other", "valueString": "x"})
    refused(lambda: by_body(taking("string"), body), "invalid", "Parameters.parameter[0]")


def test_an_out_parameter_is_not_taken_in() -> None:
    answering = operation(Parameter("return", "out", 1, "1", "string", "What comes back"))
    refused(lambda: by_query(answering, ("return", "x")), "invalid", "return")


def test_too_few_and_too_many_are_refused() -> None:
    refused(lambda: by_query(taking("string", 1)), "required", "Parameters.parameter.where(name='given')")
    twice = [("given", "a"), ("given", "b")]
    refused(lambda: by_query(taking("string"), *twice), "value", "given")
    assert by_query(taking("string", max="*"), *twice)["given"] == ["a", "b"]
    both = Request("POST", "", "", query=[("given", "a")], body=parameters({"name": "given", "valueString": "b"}))
    refused(lambda: read_arguments(taking("string"), both), "value", "Parameters.parameter[0]")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(FhirError) as refusal:
        by_query(taking("integer", 1), ("given", "x"), ("other", "y"))
    assert [issue.expression for issue in refusal.value.issues] == [("given",), ("other",)]


BODIES = [
    ("string", {"valueString": "x"}, "x"),
    ("code", {"valueString": "create"}, "create"),
    ("uri", {"valueCanonical": "http://a.example/b"}, "http://a.example/b"),
    ("unsignedInt", {"valueInteger": 5}, 5),
    ("boolean", {"valueBoolean": False}, False),
    ("instant", {"valueDateTime": "2026-03-02T09:00:00Z"}, NINE),
    ("Coding", {"valueCoding": {"code": "a"}}, {"code": "a"}),
    ("Reference", {"valueReference": {"reference": "Slot/1"}}, "Slot/1"),
    ("Element", {"valueDecimal": 2}, 2),
]


@pytest.mark.parametrize(("type", "content", "value"), BODIES)
def test_a_body_gives_values_of_the_type_or_one_like_it(type: str, content: Json, value: object) -> None:
    assert by_body(taking(type), parameters({"name": "given", **content}))["given"] == [value]


UNFIT = [
    ("uri", {"valueString": "urn:a"}),
    ("string", {"valueUri": "urn:a"}),
    ("boolean", {"valueString": "true"}),
    ("unsignedInt", {"valueInteger": -1}),
    ("date", {"valueDateTime": "2026-03-02T09:00:00Z"}),
    ("Coding", {"valueCodeableConcept": {"text": "a"}}),
    ("Reference", {"valueString": "Slot/1"}),
    ("Reference", {"valueReference": {"display": "a slot"}}),
    ("string", {"resource": patient()}),
    ("Element", {"resource": patient()}),
    ("Patient", {"valueString": "Patient/ann"}),
    ("Patient", {"resource": appointment()}),
    ("string", {"part": [{"name": "a", "valueString": "b"}]}),
]


@pytest.mark.parametrize(("type", "content"), UNFIT)
def test_a_body_value_of_another_type_is_refused(type: str, content: Json) -> None:
    body = parameters({"name": "given", **content})
    refused(lambda: by_body(taking(type), body), "value", "Parameters.parameter[0]")


def test_a_parameter_has_one_content() -> None:
    for content in (
        {},
        {"valueString": "x", "resource": patient()},
        {"valueString": "x", "part": [{"name": "a", "valueString": "b"}]},
        {"_valueString": {"extension": [{"url": "http://a.example", "valueCode": "b"}]}},
    ):
        body = parameters({"name": "given", **content})
        refused(lambda body=body: by_body(taking("string"), body), "structure", "Parameters.parameter[0]")
    with pytest.raises(FhirError) as refusal:
        by_body(taking("string"), parameters({"name": "given", "valueString": "x", "valueCode": "x"}))
    assert refusal.value.status == 400


@pytest.mark.parametrize("parameter", [3, {"valueString": "no name"}, {"name": "given", "resource": 3}])
def test_a_malformed_body_is_refused(parameter: Any) -> None:
    with pytest.raises(FhirError) as refusal:
        by_body(taking("Resource"), parameters(parameter))
    assert refusal.value.status == 400


PARTED = operation(
    Parameter(
        "given",
        "in",
        0,
        "*",
        "",
        "What is tried",
        parts=(
            Parameter("code", "in", 1, "1", "code", "A code"),
            Parameter("flag", "in", 0, "1", "boolean", "A flag"),
        ),
    )
)


def test_parts_are_read_by_their_own_rows() -> None:
    one = {"name": "given", "part": [{"name": "code", "valueCode": "a"}, {"name": "flag", "valueBoolean": True}]}
    two = {"name": "given", "part": [{"name": "code", "valueCode": "b"}]}
    found = by_body(PARTED, parameters(one, two))["given"]
    assert found == [{"code": ["a"], "flag": [True]}, {"code": ["b"], "flag": []}]


def test_wrong_parts_are_refused_where_they_are() -> None:
    code = {"name": "code", "valueCode": "a"}
    for part, issue, where in (
        ([code, {"name": "flag", "valueString": "x"}], "value", "Parameters.parameter[0].part[1]"),
        ([code, {"name": "other", "valueCode": "x"}], "invalid", "Parameters.parameter[0].part[1]"),
        ([code, code], "value", "Parameters.parameter[0].part[1]"),
        ([{"name": "flag", "valueBoolean": True}], "required", "Parameters.parameter[0].part.where(name='code')"),
    ):
        body = parameters({"name": "given", "part": part})
        refused(lambda body=body: by_body(PARTED, body), issue, where)
    refused(
        lambda: by_body(PARTED, parameters({"name": "given", "valueCode": "a"})), "value", "Parameters.parameter[0]"
    )


def test_a_string_with_a_search_type_is_read_as_a_search_would() -> None:
    token = taking("string", search_type="token")
    assert by_query(token, ("given", "http://a.example|b"))["given"] == ["http://a.example|b"]
    refused(lambda: by_query(token, ("given", "a|b|c")), "value", "given")
    date = taking("string", search_type="date")
    assert by_query(date, ("given", "ge2026-03"))["given"] == ["ge2026-03"]
    refused(lambda: by_query(date, ("given", "ge2026-13")), "value", "given")


def test_the_only_resource_may_be_the_whole_body() -> None:
    assert by_body(taking("Patient"), patient())["given"] == [patient()]
    assert by_body(taking("Resource"), patient())["given"] == [patient()]
    refused(lambda: by_body(taking("Patient"), appointment()), "invalid", "resourceType")
    refused(lambda: by_body(taking("string"), patient()), "invalid", "resourceType")


def test_a_resource_that_is_given_must_be_valid_and_its_problems_are_where_they_are() -> None:
    wrong = patient(gender="unsure")
    for body, where in (
        (wrong, "Patient.gender"),
        (parameters({"name": "given", "resource": wrong}), "Parameters.parameter[0].resource.gender"),
    ):
        with pytest.raises(FhirError) as refusal:
            by_body(taking("Patient"), body)
        assert refusal.value.issues[0].expression == (where,)
        assert by_body(taking("Resource"), body)["given"] == [wrong]


_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["Patient", "Parameters", "a"])
)
_NAMES = st.sampled_from(
    ["resourceType", "parameter", "part", "name", "resource", "valueCode", "valueMeta", "value", "x"]
)
_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(_NAMES, _JSON, max_size=4), st.booleans())
def test_no_body_is_a_fault_of_ours(body: Json, is_parameters: bool) -> None:
    shaped = {**body, "resourceType": "Parameters"} if is_parameters else body
    for tried in (PARTED, taking("Resource"), taking("Patient"), taking("Element"), taking("code")):
        with suppress(FhirError):
            by_body(tried, shaped)


RESULT = (
    Parameter("result", "out", 1, "1", "boolean", "Whether it did"),
    Parameter("match", "out", 0, "*", "", "One", parts=(Parameter("code", "out", 1, "1", "code", "Which"),)),
)


def test_an_answer_as_the_rows_say_has_no_faults() -> None:
    match = {"name": "match", "part": [{"name": "code", "valueCode": "a"}]}
    answer = parameters({"name": "result", "valueBoolean": True}, match, match)
    assert faults_of_answer(giving(*RESULT), answer) == []
    assert faults_of_answer(giving(Parameter("return", "out", 1, "1", "Patient", "It")), patient()) == []


FAULTY = [
    parameters(),
    parameters({"name": "result", "valueString": "true"}),
    parameters({"name": "result", "valueBoolean": True}, {"name": "result", "valueBoolean": True}),
    parameters({"name": "result", "valueBoolean": True}, {"name": "more", "valueBoolean": True}),
    parameters({"name": "result", "valueBoolean": True}, {"name": "match", "valueCode": "a"}),
    parameters({"name": "result", "valueBoolean": True}, {"name": "match", "part": [{"name": "code", "valueId": "a"}]}),
    patient(),
]


@pytest.mark.parametrize("answer", FAULTY)
def test_an_answer_that_is_not_as_the_rows_say_has_faults(answer: Json) -> None:
    assert faults_of_answer(giving(*RESULT), answer)


def test_a_resource_that_is_the_answer_must_be_valid_and_of_its_type() -> None:
    answering = giving(Parameter("return", "out", 1, "1", "Patient", "It"))
    assert faults_of_answer(answering, appointment())
    assert faults_of_answer(answering, patient(gender="unsure"))


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: f"{row.code}-{row.resource[0] if row.resource else ''}")
def test_every_operation_says_what_it_takes_and_gives(row: Operation) -> None:
    names = [(one.use, one.name) for one in row.parameters]
    assert len(names) == len(set(names))
    assert any(one.use == "out" for one in row.parameters)
    assert all(one.type or one.parts for one in row.parameters), [one.name for one in row.parameters if not one.type]
    assert not any(one.search_type and one.type != "string" for one in row.parameters)


async def test_every_client_of_the_tests_checks_the_answers_of_operations(client: httpx.AsyncClient) -> None:
    assert check_answer in client.event_hooks["response"]
    request = httpx.Request("GET", "http://127.0.0.1:8000/fhir/Patient/ann/$everything")
    fhir = {"content-type": "application/fhir+json"}
    await check_answer(
        httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset"}, headers=fhir, request=request)
    )
    await check_answer(httpx.Response(404, json=patient(), headers=fhir, request=request))
    with pytest.raises(AssertionError, match="everything"):
        await check_answer(httpx.Response(200, json=patient(), headers=fhir, request=request))
