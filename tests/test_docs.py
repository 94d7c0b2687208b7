"""The pages for people: their tables are those of the rows, their links lead somewhere, their example works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from fhir_server import documentation
from fhir_server.loading import arrange, parse

ROOT = Path(__file__).parents[1]
PAGES = {page.name: page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}

every_page = pytest.mark.parametrize("name", list(PAGES))


@every_page
def test_the_tables_of_a_page_are_those_of_the_rows(name: str) -> None:
    page = PAGES[name].read_text("utf-8")
    assert page == documentation.rewrite(page), "make conformance writes them anew"


def test_every_table_stands_where_it_is_looked_for() -> None:
    marked = {name: documentation.MARKED.finditer(page.read_text("utf-8")) for name, page in PAGES.items()}
    tables = {name: [found[2] for found in each] for name, each in marked.items()}
    assert {table for found in tables.values() for table in found} == set(documentation.TABLES)
    assert "settings" in tables["operators.md"]
    assert "problems" in tables["booking.md"]
    assert "find-slots-parameters" in tables["find-slots.md"]
    assert {"appointment-statuses", "slot-statuses", "encounter-statuses", "words"} <= set(tables["statuses.md"])


def test_a_table_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match=r"no table banana; there are .*settings"):
        documentation.rewrite("<!-- rows: banana -->\n<!-- end of rows -->\n")


def test_what_is_written_by_hand_is_kept() -> None:
    page = "# Ours\n<!-- rows: settings -->\nstale\n<!-- end of rows -->\nOurs.\n"
    made = documentation.rewrite(page)
    assert made.startswith("# Ours\n<!-- rows: settings -->\n| Option |")
    assert made.endswith(" |\n<!-- end of rows -->\nOurs.\n")
    assert "stale" not in made


@every_page
def test_every_link_inside_leads_to_a_page_and_a_heading(name: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[name].read_text("utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (PAGES[name].parent / path).resolve() if path else PAGES[name]
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@every_page
def test_every_block_of_json_can_be_parsed(name: str) -> None:
    for block in re.findall(r"^```json\n(.*?)^```", PAGES[name].read_text("utf-8"), re.MULTILINE | re.DOTALL):
        json.loads(block)


@pytest.mark.parametrize(
    ("day", "starts"),
    [
        ("2026-11-30", "09:00 09:30 10:00 10:30 11:00 11:30 16:00 16:30 17:00 17:30"),
        ("2026-12-02", ""),
        ("2026-12-05", "10:00 10:30"),
        ("2026-12-28", ""),
    ],
)
async def test_the_example_of_finding_slots_is_answered_as_the_page_says(
    client: httpx.AsyncClient, set_clock: Callable[[datetime], None], day: str, starts: str
) -> None:
    set_clock(datetime(2026, 11, 21, 7, 0, tzinfo=UTC))
    page = PAGES["find-slots.md"].read_text("utf-8")
    example = re.search(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert example is not None
    for entry in arrange(parse("clinic.json", example[1].encode())):
        (await client.put(f"/{entry.reference}", json=entry.resource)).raise_for_status()
    window = {"start": f"{day}T00:00:00+01:00", "end": f"{day}T23:59:00+01:00"}
    found = (await client.get("/Schedule/ito-hill/$find-slots", params=window)).json()
    slots = [one["resource"] for one in found["entry"] if one["resource"]["resourceType"] == "Slot"]
    assert " ".join(slot["start"][11:16] for slot in slots) == starts
