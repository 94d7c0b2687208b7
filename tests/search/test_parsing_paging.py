"""Query pairs, limits, sorting, cursors, and what is computed merged with what is stored."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.outcome import FhirError
from fhir_server.search import cursor, following, in_order, indexes, matches, merge, remaining, warnings
from tests.search.rows import ANY, ask, document


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
        "foo", "foo:exact", "patient.name", "patient:Patient.name", "_has:Any:patient:status", "_include",
        "_revinclude", "_summary", "_elements", "_contained", "_filter", "_list", "_text", "_content", "near",
        "phonetic", "Status",
    ],
)  # fmt: skip
def test_an_unknown_parameter_is_ignored_and_named_unless_strict(name: str) -> None:
    query = ask([(name, "x")])
    assert (query.filter, query.ignored) == ({}, (name,))
    assert name not in dict(query.used)
    [warning] = warnings(ANY, query)
    assert (warning.severity, warning.code) == ("warning", "not-supported")
    assert f"'{name}'" in warning.text
    with pytest.raises(FhirError) as refused:
        ask([(name, "x")], strict=True)
    assert (refused.value.status, refused.value.issues[0].severity) == (400, "error")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("_query=current", "not-supported"),
        ("status:above=x", "not-supported"),
        ("start:exact=2026", "not-supported"),
        ("_count:x=1", "not-supported"),
        ("_count=-1", "value"),
        ("_count=many", "value"),
        ("_count=1&_count=2", "value"),
        ("_total=perhaps", "value"),
        ("_cursor=xyz", "value"),
        ("_cursor=" + "A" * 6001, "value"),
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


VALUES: list[dict[str, Any]] = [
    {},
    {"start": "2026-01-15T09:00:00Z"},
    {"start": "2026-01-15T10:00:00Z", "alias": ["Zoe", "adam"]},
    {"start": "2026-01-15T10:00:00Z", "alias": ["Émile"]},
    {"alias": ["emile"], "probability": 2},
    {"probability": 10, "status": "booked"},
]
KEYS = ["_id", "_lastUpdated", "start", "name", "probability", "status", "location-period"]
sorts = st.lists(st.tuples(st.sampled_from(["", "-"]), st.sampled_from(KEYS)).map("".join), max_size=3).map(",".join)
stores = st.lists(st.sampled_from(VALUES), max_size=9).map(
    lambda values: [document(value, id=f"{number}") for number, value in enumerate(values)]
)


@given(stores, sorts, st.integers(1, 4))
def test_pages_are_the_whole_in_order(documents: list[dict[str, Any]], sort: str, count: int) -> None:
    pairs = (("_sort", sort), ("_count", str(count)))
    whole = in_order(ask(pairs).sort, documents)
    seen: list[dict[str, Any]] = []
    while True:
        query = ask(pairs)
        page = merge(query, [], documents)
        seen += page[: query.count]
        if len(page) <= query.count:
            break
        pairs = following(query, seen[-1])
    assert [each["_id"] for each in seen] == [each["_id"] for each in whole]


@given(stores, sorts, st.data())
def test_a_page_goes_on_where_it_stopped_whatever_is_deleted(
    documents: list[dict[str, Any]], sort: str, data: st.DataObject
) -> None:
    query = ask([("_sort", sort)])
    whole = in_order(query.sort, documents)
    if not whole:
        return
    stop = data.draw(st.integers(0, len(whole) - 1))
    query = ask(following(query, whole[stop]))
    gone = data.draw(st.sets(st.sampled_from([each["_id"] for each in whole])))
    left = [each for each in documents if each["_id"] not in gone and matches(remaining(query), each)]
    expected = [each["_id"] for each in whole[stop + 1 :] if each["_id"] not in gone]
    assert [each["_id"] for each in in_order(query.sort, left)] == expected


def test_several_values_sort_by_the_one_that_comes_first_in_the_direction() -> None:
    documents = [document({"alias": ["m"]}, id="m"), document({"alias": ["Zoe", "Adam"]}, id="az")]
    for sort in ("name", "-name"):
        assert in_order(ask([("_sort", sort)]).sort, documents)[0]["_id"] == "az"


def test_a_cursor_belongs_to_one_search_and_cannot_be_changed() -> None:
    query = ask("status=a&_sort=start")
    mark = cursor(query, document(VALUES[1]))
    ask([("status", "a"), ("_sort", "start"), ("_cursor", mark), ("_count", "3")])
    text = base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4))
    forged = base64.urlsafe_b64encode(text.replace(b"09:00", b"08:00")).decode().rstrip("=")
    for pairs in (
        [("status", "b"), ("_sort", "start"), ("_cursor", mark)],
        [("status", "a"), ("_cursor", mark)],
        [("status", "a"), ("_sort", "start"), ("_cursor", forged)],
        [("status", "a"), ("_sort", "start"), ("_cursor", mark[:-2])],
    ):
        with pytest.raises(FhirError) as refused:
            ask(pairs)
        assert refused.value.status == 400


def test_the_longest_cursor_is_within_its_limit() -> None:
    resource = {"alias": ["\U0001d49c" * 500], "type": [{"coding": [{"code": "\U0001d49c" * 500}]}], "url": "é" * 500}
    query = ask("_sort=name,-name,type,-type,url,-url,status,-status")
    pairs = following(query, document(resource, id="a" * 64))
    assert ask(pairs).cursor is not None


def test_what_is_computed_is_found_among_what_is_stored() -> None:
    early, late = document(VALUES[1], id="b"), document(VALUES[2], id="c")
    twin = document(VALUES[3], id="c")
    query = ask("start=ge2026-01-15T09:30:00Z&_sort=-start,_id&_count=1")
    assert merge(query, [], [early, late]) == [late]
    assert merge(query, [late], [twin, document(VALUES[3], id="a")])[0]["_id"] == "a"
    assert len(merge(query, [late], [document(VALUES[3], id=id) for id in "de"])) == 2


def test_only_what_somebody_is_looked_up_by_has_an_index() -> None:
    keys = indexes(ANY)
    assert [("updated", 1), ("_id", 1)] in keys
    assert [("index.actor", 1), ("index.death-date.l", 1), ("_id", 1)] in keys
    assert [("index.start.l", 1), ("_id", 1)] in keys
    assert [("index.identifier", 1)] in keys
    assert not any(path.startswith("index.status") for key in keys for path, _ in key)
    assert len(keys) == len({tuple(key) for key in keys})
