"""The official examples of R4 are accepted and given back as they were, in JSON and in XML."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import httpx
import pytest
from lxml import etree

from fhir_server import document, markup
from fhir_server.loading import entries_of, load
from fhir_server.outcome import Json
from fhir_server.resources import REFERRED_FIRST, ROWS
from fhir_server.validation import check

FOLDER = Path(__file__).parents[1] / "data" / "r4-examples"
EXAMPLES = sorted(FOLDER.glob("*.json"))
MEDIA = {"json": "application/fhir+json", "xml": "application/fhir+xml"}
FHIR = "{http://hl7.org/fhir}"

RECORDED = frozenset(
    {
        "Appointment-2docs",
        "Appointment-example",
        "AppointmentResponse-example",
        "AppointmentResponse-exampleresp",
        "Encounter-f203",
    }
)
"""What nobody could book now, because it is years ago: it is recorded, as imports are."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_official_example_is_accepted_unchanged(path: Path) -> None:
    sent = path.read_bytes()
    resource = document.parse(sent)
    before = copy.deepcopy(resource)
    assert check(ROWS[resource["resourceType"]], resource) == []
    assert resource == before
    assert document.parse(document.print(resource)) == before


def test_every_type_has_examples_and_each_has_both_forms() -> None:
    assert {type_of(path) for path in EXAMPLES} == set(ROWS)
    assert [path.stem for path in sorted(FOLDER.glob("*.xml"))] == [path.stem for path in EXAMPLES]


@pytest.mark.parametrize("form", MEDIA)
async def test_the_official_examples_come_back_as_they_were_sent(client: httpx.AsyncClient, form: str) -> None:
    paths = sorted(FOLDER.glob(f"*.{form}"), key=lambda path: (REFERRED_FIRST.index(type_of(path)), path))
    assert len(paths) == len(EXAMPLES)
    for path in paths:
        await send(client, path)
        for other, media in MEDIA.items():
            answer = await client.get(url_of(path), headers={"accept": media})
            assert answer.headers["content-type"] == f"{media}; charset=utf-8"
            read = MEANINGS[other]
            assert read(answer.content) == read(path.with_suffix(f".{other}").read_bytes()), f"{path.name} as {other}"


def type_of(path: Path) -> str:
    return path.stem.partition("-")[0]


def url_of(path: Path) -> str:
    return f"/{path.stem.replace('-', '/', 1)}"


async def send(client: httpx.AsyncClient, path: Path) -> None:
    """Writes an example by PUT, or records it."""
    content = path.read_bytes()
    parse = markup.parse if path.suffix == ".xml" else document.parse
    if path.stem in RECORDED:
        async for loaded in load(client.app.state.server, entries_of([parse(content)], path.name)):  # type: ignore[attr-defined]
            assert loaded.result == "created", loaded.issues
    else:
        headers = {"content-type": MEDIA[path.suffix[1:]]}
        answer = await client.put(url_of(path), content=content, headers=headers)
        assert answer.status_code == 201, answer.text


def meaning_of_json(content: bytes) -> Json:
    """A resource without what the server sets, its narrative in canonical form."""
    resource = document.parse(content)
    resource["meta"] = {name: one for name, one in resource.get("meta", {}).items() if name not in SET_BY_SERVER}
    return _with_canonical_narratives(resource)


SET_BY_SERVER = ("versionId", "lastUpdated")


def _with_canonical_narratives(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_canonical_narratives(one) for one in value]
    if isinstance(value, dict):
        return {
            name: etree.canonicalize(one) if name == "div" else _with_canonical_narratives(one)
            for name, one in value.items()
        }
    return value


def meaning_of_xml(content: bytes) -> str:
    """A document in canonical form, without what the server sets."""
    root = etree.fromstring(content)
    for meta in root.findall(f"{FHIR}meta"):
        for element in [meta.find(f"{FHIR}{name}") for name in SET_BY_SERVER]:
            if element is not None:
                meta.remove(element)
        if len(meta) == 0:
            root.remove(meta)
    return etree.canonicalize(root)


MEANINGS = {"json": meaning_of_json, "xml": meaning_of_xml}
