"""Histories of a resource, a type and the server (http://hl7.org/fhir/R4/http.html#history)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.clinic import BUILDERS, NOW, patient, practitioner
from tests.outcomes import assert_outcome

every_type = pytest.mark.parametrize("type", list(BUILDERS))

SetClock = Callable[[datetime], None]


def at(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def said(bundle: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What each entry says: the method, the resource, the version."""
    return [
        (entry["request"]["method"], "/".join(entry["fullUrl"].split("/")[-2:]), entry["response"]["etag"][3:-1])
        for entry in bundle.get("entry", ())
    ]


@pytest.fixture
async def told(client: httpx.AsyncClient, set_clock: SetClock) -> httpx.AsyncClient:
    """Two patients and a practitioner, who change at minutes that the tests know."""
    steps: list[tuple[int, str, str, dict[str, Any] | None]] = [
        (0, "PUT", "/Patient/a", patient("a")),
        (1, "PUT", "/Patient/b", patient("b")),
        (2, "PUT", "/Practitioner/p", practitioner("p")),
        (3, "PUT", "/Patient/a", patient("a", language="en")),
        (4, "DELETE", "/Patient/b", None),
        (5, "PUT", "/Practitioner/p", practitioner("p", language="en")),
        (6, "PUT", "/Patient/b", patient("b", language="en")),
        (7, "DELETE", "/Patient/a", None),
    ]
    for minute, method, url, body in steps:
        set_clock(at(minute))
        (await client.request(method, url, json=body)).raise_for_status()
    return client


ALL = [
    ("DELETE", "Patient/a", "3"),
    ("PUT", "Patient/b", "3"),
    ("PUT", "Practitioner/p", "2"),
    ("DELETE", "Patient/b", "2"),
    ("PUT", "Patient/a", "2"),
    ("PUT", "Practitioner/p", "1"),
    ("PUT", "Patient/b", "1"),
    ("PUT", "Patient/a", "1"),
]


async def test_the_history_of_the_server_has_every_version_newest_first(told: httpx.AsyncClient) -> None:
    bundle = (await told.get("/_history")).json()
    assert (bundle["type"], bundle["total"]) == ("history", 8)
    assert said(bundle) == ALL
    statuses = [entry["response"]["status"] for entry in bundle["entry"]]
    assert statuses == ["204", "201", "200", "204", "200", "201", "201", "201"]
    assert ["resource" in entry for entry in bundle["entry"]] == [False, True, True, False, True, True, True, True]


async def test_the_history_of_a_type_has_only_that(told: httpx.AsyncClient) -> None:
    bundle = (await told.get("/Patient/_history")).json()
    assert bundle["total"] == 6
    assert said(bundle) == [one for one in ALL if one[1].startswith("Patient")]
    assert said((await told.get("/Slot/_history")).json()) == []


@pytest.mark.parametrize("path", ["/_history", "/Patient/_history", "/Patient/a/_history"])
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_pages_of_a_history_put_together_are_the_history(told: httpx.AsyncClient, path: str, count: int) -> None:
    whole = said((await told.get(path)).json())
    url: str | None = f"{path}?_count={count}"
    pages: list[tuple[str, str, str]] = []
    while url:
        bundle = (await told.get(url)).json()
        assert len(bundle["entry"]) <= count
        assert bundle["total"] == len(whole)
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        assert said((await told.get(links["self"])).json()) == said(bundle)
        pages += said(bundle)
        url = links.get("next")
    assert pages == whole
    assert len(set(pages)) == len(pages)


async def test_versions_at_the_same_instant_are_paged_without_gaps(client: httpx.AsyncClient) -> None:
    for id in ("c", "a", "b"):
        for language in ("en", "de"):
            await client.put(f"/Patient/{id}", json=patient(id, language=language))
        await client.put(f"/Location/{id}", json=BUILDERS["Location"](id))
    whole = said((await client.get("/_history")).json())
    url: str | None = "/_history?_count=2"
    pages = []
    while url:
        bundle = (await client.get(url)).json()
        pages += said(bundle)
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert pages == whole
    assert len(whole) == 9


async def test_since_leaves_out_what_is_older(told: httpx.AsyncClient) -> None:
    since = at(5).isoformat().replace("+00:00", "Z")
    assert said((await told.get("/_history", params={"_since": since})).json()) == ALL[:3]
    assert said((await told.get("/Patient/b/_history", params={"_since": since})).json()) == [ALL[1]]
    later = (await told.get("/Patient/a/_history", params={"_since": "2030-01-01T00:00:00Z"})).json()
    assert (later["total"], said(later)) == (0, [])


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (0, [("PUT", "Patient/a", "1")]),
        (2, [("PUT", "Practitioner/p", "1"), ("PUT", "Patient/b", "1"), ("PUT", "Patient/a", "1")]),
        (3, [("PUT", "Patient/a", "2"), ("PUT", "Practitioner/p", "1"), ("PUT", "Patient/b", "1")]),
        (5, [("PUT", "Practitioner/p", "2"), ("PUT", "Patient/a", "2")]),
        (60, [("PUT", "Patient/b", "3"), ("PUT", "Practitioner/p", "2")]),
    ],
)
async def test_at_gives_what_was_current_then(
    told: httpx.AsyncClient, moment: int, expected: list[tuple[str, str, str]]
) -> None:
    text = (at(moment) + timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
    assert said((await told.get("/_history", params={"_at": text})).json()) == expected


async def test_at_a_day_gives_all_that_was_current_or_deleted_in_it(told: httpx.AsyncClient) -> None:
    assert said((await told.get("/_history", params={"_at": "2026-03-02"})).json()) == ALL
    assert said((await told.get("/_history", params={"_at": "2026-03-01"})).json()) == []
    after = said((await told.get("/_history", params={"_at": "2026-03-03"})).json())
    assert after == [("PUT", "Patient/b", "3"), ("PUT", "Practitioner/p", "2")]


async def test_a_count_of_zero_gives_the_total_alone(told: httpx.AsyncClient) -> None:
    bundle = (await told.get("/_history?_count=0")).json()
    assert (bundle["total"], "entry" in bundle, len(bundle["link"])) == (8, False, 1)


async def test_the_total_can_be_spared(told: httpx.AsyncClient) -> None:
    assert "total" not in (await told.get("/_history?_total=none")).json()


@pytest.mark.parametrize(
    "query", ["_since=x", "_at=x", "_count=x", "_count=-1", "_cursor=x", "_total=x", "_since=2026&_since=2027"]
)
async def test_a_malformed_parameter_of_a_history_is_refused(told: httpx.AsyncClient, query: str) -> None:
    assert_outcome(await told.get(f"/_history?{query}"), 400, "value")


async def test_a_cursor_of_another_history_is_refused(told: httpx.AsyncClient) -> None:
    bundle = (await told.get("/Patient/a/_history?_count=1")).json()
    cursor = next(link["url"] for link in bundle["link"] if link["relation"] == "next").partition("_cursor=")[2]
    assert_outcome(await told.get(f"/Patient/b/_history?_cursor={cursor}"), 400, "value")
    assert_outcome(await told.get(f"/Practitioner/_history?_cursor={cursor}"), 400, "value")


async def test_links_keep_how_the_answer_is_written(told: httpx.AsyncClient) -> None:
    bundle = (await told.get("/_history?_count=1&_format=json&_pretty=true")).json()
    assert all("_format=json" in link["url"] and "_pretty=true" in link["url"] for link in bundle["link"])


async def test_an_unknown_parameter_is_left_out_or_refused(told: httpx.AsyncClient) -> None:
    bundle = (await told.get("/_history?banana=1")).json()
    assert "banana" not in bundle["link"][0]["url"]
    assert_outcome(await told.get("/_history?banana=1", headers={"Prefer": "handling=strict"}), 400, "not-supported")


@every_type
async def test_what_was_created_by_post_says_so(clinic: httpx.AsyncClient, set_clock: SetClock, type: str) -> None:
    set_clock(at(1))
    created = (await clinic.post(f"/{type}", json=BUILDERS[type]("x"))).json()
    bundle = (await clinic.get(f"/{type}/{created['id']}/_history")).json()
    assert bundle["entry"][0]["request"] == {"method": "POST", "url": type}
    newest = (await clinic.get(f"/{type}/_history?_count=1")).json()
    assert newest["entry"][0]["resource"] == created


async def test_a_patch_says_so(client: httpx.AsyncClient) -> None:
    await client.put("/Patient/a", json=patient("a"))
    change = [{"op": "add", "path": "/language", "value": "en"}]
    await client.patch("/Patient/a", json=change, headers={"content-type": "application/json-patch+json"})
    bundle = (await client.get("/Patient/a/_history")).json()
    assert said(bundle) == [("PATCH", "Patient/a", "2"), ("PUT", "Patient/a", "1")]
