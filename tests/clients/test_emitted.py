"""What the server publishes is R4 to a validator that nobody here wrote, and so is what it says (tests/emitted.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import emitted as recorder
from tests.clients.validator import MISTAKES, problems, say
from tests.clinic import BUILDERS, Json, patient
from tests.emitted import ALIKE_MAX, Emitted

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted((ROOT / "conformance" / "definitions").glob("*.json"))


def written(path: Path, *resources: Json) -> Path:
    lines = (json.dumps({"said": str(number), "resource": one}) for number, one in enumerate(resources))
    path.write_text("\n".join(lines))
    return path


def test_some_of_each_shape_are_kept(tmp_path: Path) -> None:
    kept = Emitted(tmp_path / "said")
    for number in range(ALIKE_MAX + 1):
        kept.keep(patient(str(number)), "alike")
    assert kept.kept == ALIKE_MAX
    found = [patient("x", gender="other"), {**BUILDERS["Slot"]("y"), "meta": {"versionId": "1"}}]
    kept.keep({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in found]}, "new")
    kept.close()
    lines = [json.loads(line) for line in kept.path.read_bytes().splitlines()]
    assert [line["resource"]["resourceType"] for line in lines[ALIKE_MAX:]] == ["Patient", "Slot", "Bundle"]
    assert [line["said"] for line in lines[-2:]] == ["new", "new"]
    assert not kept.full


def test_what_is_said_beyond_the_limit_is_not_kept_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Emitted(tmp_path / "said")
    kept.keep(patient(), "fits")
    kept.flush()
    monkeypatch.setattr(recorder, "BYTES_MAX", kept.path.stat().st_size + 10)
    kept.keep(patient(gender="other"), "does not fit")
    kept.close()
    assert (kept.kept, kept.full) == (1, True)


def test_the_validator_finds_what_is_wrong(node: Callable[..., Any], tmp_path: Path) -> None:
    slot = BUILDERS["Slot"]("s")
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": {**slot, "start": "today"}}]}
    nameless = {"resourceType": "Patient", "contact": [{"gender": "other"}]}
    assert problems(node, written(tmp_path / "right", *(build("1") for build in BUILDERS.values()))) == []
    wrong = "\n".join(problems(node, written(tmp_path / "wrong", bundle, nameless)))
    assert re.search(r"Bundle.entry\[0\].resource.start.*\(0\)", wrong)
    assert re.search(r"Patient.contact.*pat-1.*\(1\)", wrong)


def test_invariants_need_not_hold_for_what_is_marked_as_incomplete(node: Callable[..., Any], tmp_path: Path) -> None:
    whole = BUILDERS["Appointment"]("a")
    part = {name: one for name, one in whole.items() if name != "end"}
    assert len(problems(node, written(tmp_path / "part", part))) == 1
    marked = {**part, "meta": {"tag": [{"code": "SUBSETTED"}]}}
    assert problems(node, written(tmp_path / "marked", marked)) == []
    wrong = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": {**marked, "priority": "high"}}]}
    assert len(problems(node, written(tmp_path / "wrong", wrong))) == 1


def test_the_validator_still_makes_the_mistakes_that_we_know(node: Callable[..., Any], tmp_path: Path) -> None:
    said = say(node, written(tmp_path / "allowed", *(mistake.allowed for mistake in MISTAKES)))
    assert len(said) == len(MISTAKES)
    for one, mistake in zip(said, MISTAKES, strict=True):
        assert re.search(mistake.text, one["text"]), one


def test_what_is_published_is_valid(node: Callable[..., Any], tmp_path: Path) -> None:
    assert PUBLISHED
    assert problems(node, written(tmp_path / "published", *(json.loads(path.read_bytes()) for path in PUBLISHED))) == []
