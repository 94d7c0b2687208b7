"""Query pairs and their limits."""

from __future__ import annotations

import pytest

from fhir_server.outcome import FhirError
from fhir_server.search import indexes
from tests.search.rows import ANY, ask


def test_what_is_used_is_said_in_order_and_with_its_effect() -> None:
    query = ask("status=booked&_count=5000&name=&foo=1&_sort=-date,bar,_id&_format=json&_total=none")
    assert query.used == (
        ("status", "booked"),
        ("_count", "1000"),
        ("_sort", "-date,_id"),
        ("_format", "json"),
        ("_total", "none"),
    )
    assert (query.count, query.total) == (1000, "none")
    assert query.sort == (("index.date.l", -1), ("_id", 1))
    assert query.ignored == ("foo", "_sort=bar")


def test_without_parameters_everything_is_found_in_the_order_of_ids() -> None:
    query = ask("")
    assert (query.filter, query.sort, query.count, query.total) == ({}, (("_id", 1),), 50, "accurate")
    assert query.used == (("_count", "50"),)


@pytest.mark.parametrize(
    "name",
    [
        "foo", "foo:exact", "patient.name", "patient:Patient.name", "_has:Any:patient:status", "_has:Other:any:status",
        "name.name", "Status",
    ],
)  # fmt: skip
def test_an_unknown_parameter_is_ignored_and_named_unless_strict(name: str) -> None:
    query = ask([(name, "x")])
    assert (query.filter, query.ignored) == ({}, (name,))
    assert name not in dict(query.used)
    [warning] = query.notes
    assert (warning.severity, warning.code) == ("warning", "not-supported")
    assert f"'{name}'" in warning.text
    with pytest.raises(FhirError) as refused:
        ask([(name, "x")], strict=True)
    assert (refused.value.status, refused.value.issues[0].severity) == (400, "error")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("_query=current", "not-supported"),
        ("_text=a", "not-supported"),
        ("_content=a", "not-supported"),
        ("_list=a", "not-supported"),
        ("_contained=true", "not-supported"),
        ("_containedType=container", "not-supported"),
        ("_has:Any=a", "value"),
        ("_has:Any:about:=a", "value"),
        ("_filter:exact=a", "not-supported"),
        ("_sort=near", "not-supported"),
        ("status:above=x", "not-supported"),
        ("start:exact=2026", "not-supported"),
        ("_count:x=1", "not-supported"),
        ("_count=-1", "value"),
        ("_count=many", "value"),
        ("_count=1&_count=2", "value"),
        ("_total=perhaps", "value"),
        ("status=\ud800", "value"),
        ("status=" + "a" * 1001, "too-costly"),
        ("status=" + ",".join("a" * 101), "too-costly"),
        ("_sort=" + ",".join(["_id"] * 9), "too-costly"),
    ],
)
def test_what_cannot_be_done_is_refused(query: str, code: str) -> None:
    with pytest.raises(FhirError) as refused:
        ask([tuple(pair.split("=", 1)) for pair in query.split("&")])  # type: ignore[misc]
    assert (refused.value.status, refused.value.issues[0].code) == (400, code)


def test_a_refused_modifier_names_those_that_work() -> None:
    with pytest.raises(FhirError) as refused:
        ask("name:text=a")
    assert ":missing, :exact, :contains" in refused.value.issues[0].text


def test_all_bad_values_are_listed() -> None:
    with pytest.raises(FhirError) as refused:
        ask("start=soon&date=later")
    assert len(refused.value.issues) == 2


def test_the_limits_themselves_are_within() -> None:
    ask([("status", ",".join("a" * 100))] * 100)
    ask([("status", "a" * 1000)])
    with pytest.raises(FhirError) as refused:
        ask([("status", "a")] * 101)
    assert refused.value.status == 400


def test_a_count_of_zero_asks_for_the_total_alone() -> None:
    assert ask("_count=0").count == 0


def test_only_what_somebody_is_looked_up_by_has_an_index() -> None:
    keys = indexes(ANY)
    assert [("updated", 1), ("_id", 1)] in keys
    assert [("index.actor", 1), ("index.death-date.l", 1), ("_id", 1)] in keys
    assert [("index.start.l", 1), ("_id", 1)] in keys
    assert [("index.identifier", 1)] in keys
    assert not any(path.startswith("index.status") for key in keys for path, _ in key)
    assert len(keys) == len({tuple(key) for key in keys})
