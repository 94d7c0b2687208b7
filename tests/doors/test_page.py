"""The page of the doors: its requests run, in their order, and are answered as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "doors.md").read_text("utf-8")
BLOCK = re.compile(r"^```http\n(.*?)^```", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"<([a-z-]+)>")


@dataclass(frozen=True, slots=True)
class Block:
    """A request or an answer: its first line, its headers and the text of its body."""

    first: str
    headers: dict[str, str]
    body: str


def read(text: str) -> Block:
    head, _, body = text.partition("\n\n")
    first, *lines = head.strip().splitlines()
    pairs = (line.split(": ", 1) for line in lines)
    return Block(first, {name.lower(): value for name, value in pairs}, body.strip())


SECTIONS = {
    section.partition("\n")[0]: [read(found) for found in BLOCK.findall(section)]
    for section in PAGE.split("\n## ")[1:]
    if BLOCK.search(section)
}


def compare(said: Any, there: Any, words: dict[str, str], where: str) -> None:
    """What the page says is there; a `<word>` stands for the same text each time."""
    if isinstance(said, dict):
        for name, value in said.items():
            assert name in there, f"{where}.{name}"
            compare(value, there[name], words, f"{where}.{name}")
    elif isinstance(said, list):
        assert len(said) <= len(there), where
        for place, value in enumerate(said):
            compare(value, there[place], words, f"{where}[{place}]")
    elif isinstance(said, str) and (word := WORD.fullmatch(said)):
        assert words.setdefault(word[1], there) == there, where
    else:
        assert (filled(said, words) if isinstance(said, str) else said) == there, where


def filled(text: str, words: dict[str, str]) -> str:
    """The text with the ids that its words stand for."""
    return WORD.sub(lambda found: words[found[1]], text)


def test_every_door_of_the_table_is_shown() -> None:
    doors = {"IHE", "Argonaut", "gematik ISiK", "Medplum", "Epic", "Oracle", "Clients that keep Slots themselves"}
    assert {*doors, "A patient without a record", "Searches of Slots"} <= set(SECTIONS)
    assert all(len(blocks) % 2 == 0 for blocks in SECTIONS.values())


async def converse(client: httpx.AsyncClient, blocks: Sequence[Block]) -> None:
    """Asks what the page asks, and compares what it says is answered."""
    words: dict[str, str] = {}
    turns = iter(blocks)
    for asked, said in zip(turns, turns, strict=True):
        method, path = filled(asked.first, words).split(" ", 1)
        headers = {"content-type": "application/fhir+json", **asked.headers} if asked.body else asked.headers
        body = filled(asked.body, words)
        answer = await client.request(method, path, content=body or None, headers=headers)
        assert answer.status_code == int(said.first), (asked.first, answer.text)
        assert {name: answer.headers.get(name) for name in said.headers} == said.headers
        compare(json.loads(said.body), answer.json(), words, asked.first)


@pytest.mark.parametrize("section", list(SECTIONS))
async def test_the_requests_of_the_page_are_answered_as_it_says(clinic: httpx.AsyncClient, section: str) -> None:
    await converse(clinic, SECTIONS[section])
