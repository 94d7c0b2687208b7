"""docs/features.md: every row is there, has a page and a place on it, and names tests of its own that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "features.md"
ROWS = [
    f"{letter}{number}" for letter, last in (("A", 12), ("B", 13), ("L", 7), ("V", 2)) for number in range(1, last + 1)
]


def sources() -> list[Path]:
    tests = ROOT / "tests"
    return [path for path in tests.rglob("test_*.py") if "node_modules" not in path.parts]


DEFINED = {
    name for path in sources() for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text("utf-8"), re.M)
}
TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text("utf-8").splitlines()
    if re.match(r"\| [ABLV]\d+ \|", line)
]


def test_every_row_is_on_the_page_once_and_in_order() -> None:
    assert [cells[0] for cells in TABLE] == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_tests_of_its_own(row: str) -> None:
    assert [name for name in DEFINED if name.startswith(f"test_{row.lower()}_")]


@pytest.mark.parametrize("cells", TABLE, ids=lambda cells: cells[0])
def test_a_row_leads_to_a_place_on_a_page_and_names_tests_that_there_are(cells: list[str]) -> None:
    row, what, pages, tests = cells
    assert what
    assert re.findall(r"\]\([a-z-]+\.md#[a-z-]+\)", pages)
    named = re.findall(r"`(\w+)`", tests)
    assert named
    assert all(name.startswith(f"test_{row.lower()}_") for name in named)
    assert set(named) <= DEFINED


def test_what_is_only_partly_there_is_said_of_rows_that_there_are() -> None:
    partly = re.findall(r"^\* ([A-Z]\d+): ", PAGE.read_text("utf-8"), re.MULTILINE)
    assert partly == sorted(set(partly), key=ROWS.index)
    assert {"L6", "L7"} <= set(partly)
