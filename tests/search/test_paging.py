"""Pages forward and backward, over one type and several, and what is computed merged with what is stored."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.outcome import FhirError
from fhir_server.search import Query, in_order, matches, merge, page, remaining, weave
from fhir_server.search.page import Cursor
from tests.search.rows import ask, document

Documents = list[dict[str, Any]]

VALUES: Documents = [
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


def ids(documents: Documents) -> list[str]:
    return [each["_id"] for each in documents]


def show(query: Query, cursor: Cursor | None, documents: Documents) -> tuple[Documents, bool]:
    """The page at the cursor in the order of the query, and whether there is more beyond it."""
    found = merge(page.turn(query, cursor), [], documents)
    shown, more = found[: query.count], len(found) > query.count
    return (shown[::-1] if cursor and cursor.backward else shown), more


@given(stores, sorts, st.integers(1, 4))
def test_pages_are_the_whole_in_order_forward_and_backward(documents: Documents, sort: str, count: int) -> None:
    query = ask((("_sort", sort), ("_count", str(count))))
    cursor, pages = None, []
    while True:
        shown, more = show(query, cursor, documents)
        pages.append(shown)
        if not more:
            break
        cursor = page.at(query, shown[-1], backward=False)
    assert ids([each for shown in pages for each in shown]) == ids(in_order(query.sort, documents))
    for later, earlier in zip(pages[:0:-1], pages[-2::-1], strict=True):
        shown, more = show(query, page.at(query, later[0], backward=True), documents)
        assert (ids(shown), more) == (ids(earlier), earlier is not pages[0])


@given(stores, sorts, st.data())
def test_a_page_goes_on_where_it_stopped_whatever_is_deleted(
    documents: Documents, sort: str, data: st.DataObject
) -> None:
    query = ask([("_sort", sort)])
    whole = in_order(query.sort, documents)
    if not whole:
        return
    stop = data.draw(st.integers(0, len(whole) - 1))
    gone = data.draw(st.sets(st.sampled_from(ids(whole))))
    for backward, rest in ((False, whole[stop + 1 :]), (True, whole[:stop])):
        turned = page.turn(query, page.at(query, whole[stop], backward=backward))
        left = [each for each in documents if each["_id"] not in gone and matches(remaining(turned), each)]
        assert ids(in_order(query.sort, left)) == [each["_id"] for each in rest if each["_id"] not in gone]


@given(st.dictionaries(st.sampled_from("ABC"), stores, min_size=1), sorts, st.integers(1, 4), st.booleans())
def test_several_types_are_paged_through_in_one_order(
    stored: dict[str, Documents], sort: str, count: int, backward: bool
) -> None:
    queries = {type: replace(ask([("_sort", sort)]), type=type, count=count) for type in stored}
    step = -1 if backward else 1
    whole = [(type, each["_id"]) for type, each in weave([(queries[type], stored[type]) for type in stored])][::step]
    assert len(set(whole)) == sum(map(len, stored.values()))
    cursor: Cursor | None = None
    if backward and whole:
        type, id = whole[0]
        cursor = page.at(queries[type], next(each for each in stored[type] if each["_id"] == id), backward=True)
        whole = whole[1:]
    seen: list[tuple[str, str]] = []
    while True:
        turned = {type: page.turn(queries[type], cursor) for type in stored}
        found = weave([(turned[type], merge(turned[type], [], stored[type])) for type in stored])
        seen += [(type, each["_id"]) for type, each in found[:count]]
        if len(found) <= count:
            break
        type, last = found[count - 1]
        cursor = page.at(turned[type], last, backward=backward)
    assert seen == whole


def test_several_values_sort_by_the_one_that_comes_first_in_the_direction() -> None:
    documents = [document({"alias": ["m"]}, id="m"), document({"alias": ["Zoe", "Adam"]}, id="az")]
    for sort in ("name", "-name"):
        assert in_order(ask([("_sort", sort)]).sort, documents)[0]["_id"] == "az"


def test_a_cursor_is_read_as_it_was_written() -> None:
    query = ask("status=a&_sort=start,-name,probability")
    for value in VALUES:
        cursor = page.at(query, document(value), backward=True)
        assert page.unseal(page.seal(cursor, "b"), "b", query.sort, ["Any"]) == cursor


def test_a_cursor_belongs_to_one_search_and_cannot_be_changed() -> None:
    query = ask("status=a&_sort=start")
    binding = page.bind_all("Any", [query])
    mark = page.seal(page.at(query, document(VALUES[1]), backward=False), binding)
    same = page.bind_all("Any", [ask("status=a&_sort=start&_count=3")])
    assert page.unseal(mark, same, query.sort, ["Any"])
    text = base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4))
    forged = base64.urlsafe_b64encode(text.replace(b"09:00", b"08:00")).decode().rstrip("=")
    for wrong, by in (
        (mark, page.bind_all("Any", [ask("status=b&_sort=start")])),
        (mark, page.bind_all("Any", [ask("status=a")])),
        (mark, page.bind_all("Patient/1/Any", [query])),
        (mark, page.bind_all("Any", [query, query])),
        (forged, binding),
        (mark[:-2], binding),
        ("xyz", binding),
        ("é", binding),
        ("A" * (page.CURSOR_LENGTH_MAX + 1), binding),
    ):
        with pytest.raises(FhirError) as refused:
            page.unseal(wrong, by, query.sort, ["Any"])
        assert (refused.value.status, refused.value.issues[0].code) == (400, "value")


@pytest.mark.parametrize(
    "said",
    [
        ["Bogus", 0, "x", "a"],
        [5, 0, "x", "a"],
        [None, 1, "x", "a"],
        [["Any"], 0, "x", "a"],
        ["Any", 2, "x", "a"],
        ["Any", [0], "x", "a"],
        ["Any", 0, "x", None],
        ["Any", 0, "x", 1],
        ["Any", 0, "x"],
        ["Any", 0, "x", "\ud800"],
        ["Any", 0, {"x": 1}, "a"],
        ["Any", 0, {"t": 1}, "a"],
        ["Any", 0, {"t": "9999-12-31T23:59:59-14:00"}, "a"],
        ["Any", 0, {"t": "0001-01-01T00:00:00+14:00"}, "a"],
        ["Any", 0, [], "a"],
        ["Any", 0, True, "a"],
        ["Any", 0, 10**30, "a"],
        ["Any", 0, float("inf"), "a"],
        ["Any", 0, float("nan"), "a"],
        {"Any": 0},
        [],
    ],
)
def test_a_cursor_of_a_shape_that_never_was_is_refused_though_it_is_sealed(said: Any) -> None:
    query = ask("_sort=start")
    sealed = json.dumps([page._seal(query.binding, [*said]), *said])
    text = base64.urlsafe_b64encode(sealed.encode()).decode().rstrip("=")
    with pytest.raises(FhirError) as refused:
        page.unseal(text, query.binding, query.sort, ["Any"])
    assert (refused.value.status, refused.value.issues[0].code) == (400, "value")


def test_the_longest_cursor_is_within_its_limit() -> None:
    resource = {"alias": ["\U0001d49c" * 500], "type": [{"coding": [{"code": "\U0001d49c" * 500}]}], "url": "é" * 500}
    query = ask("_sort=name,-name,type,-type,url,-url,status,-status")
    mark = page.seal(page.at(query, document(resource, id="a" * 64), backward=True), query.binding)
    assert page.unseal(mark, query.binding, query.sort, ["Any"])


def test_what_is_computed_is_found_among_what_is_stored() -> None:
    early, late = document(VALUES[1], id="b"), document(VALUES[2], id="c")
    twin = document(VALUES[3], id="c")
    query = ask("start=ge2026-01-15T09:30:00Z&_sort=-start,_id&_count=1")
    assert merge(query, [], [early, late]) == [late]
    assert merge(query, [late], [twin, document(VALUES[3], id="a")])[0]["_id"] == "a"
    assert len(merge(query, [late], [document(VALUES[3], id=id) for id in "de"])) == 2
