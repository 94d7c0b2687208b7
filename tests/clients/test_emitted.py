"""All that the server says is R4 to a validator that nobody here wrote: validateResource of @medplum/core."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clinic import BUILDERS, Json
from tests.emitted import Emitted

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted((ROOT / "conformance" / "definitions").glob("*.json"))
SHOWN_MAX = 20


def problems(node: Callable[..., Any], path: Path) -> list[str]:
    """What the validator says against the resources of a file."""
    found: list[Json] = node("validate.mjs", str(path))
    return [f"{one['expression'] or one['type']}: {one['text']} ({one['said']})" for one in found]


def written(path: Path, *resources: Json) -> Path:
    lines = (json.dumps({"said": str(number), "resource": one}) for number, one in enumerate(resources))
    path.write_text("\n".join(lines))
    return path


def test_the_validator_finds_what_is_wrong(node: Callable[..., Any], tmp_path: Path) -> None:
    slot = BUILDERS["Slot"]("s")
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": {**slot, "start": "today"}}]}
    nameless = {"resourceType": "Patient", "contact": [{"gender": "other"}]}
    assert problems(node, written(tmp_path / "right", *(build("1") for build in BUILDERS.values()))) == []
    wrong = "\n".join(problems(node, written(tmp_path / "wrong", bundle, nameless)))
    assert re.search(r"Bundle.entry\[0\].resource.start.*\(0\)", wrong)
    assert re.search(r"Patient.contact.*pat-1.*\(1\)", wrong)


def test_what_is_published_is_valid(node: Callable[..., Any], tmp_path: Path) -> None:
    assert PUBLISHED
    assert problems(node, written(tmp_path / "published", *(json.loads(path.read_bytes()) for path in PUBLISHED))) == []


def test_what_the_server_said_in_this_run_is_valid(node: Callable[..., Any], emitted: Emitted) -> None:
    """Comes last (tests/emitted.py)."""
    if not emitted.kept:
        pytest.skip("no other test of this run has made the server say anything")
    emitted.flush()
    assert not emitted.full, "more was said than is kept: raise BYTES_MAX"
    found = problems(node, emitted.path)
    assert not found, f"{len(found)} problems in {emitted.kept} resources:\n" + "\n".join(found[:SHOWN_MAX])
