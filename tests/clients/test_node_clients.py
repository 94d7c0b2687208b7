"""Clients for Node: each check of each script of this folder is a test."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.clinic import Json

SCRIPTS = ("fhir_kit_client.mjs", "fhirclient.mjs", "medplum_core.mjs")


def checks() -> list[tuple[str, str]]:
    """The script and the name of every check, in the order in which they run."""
    texts = {script: (Path(__file__).parent / script).read_text() for script in SCRIPTS}
    names = {script: re.findall(r'^check\("([^"]+)"', text, re.MULTILINE) for script, text in texts.items()}
    return [(script, name) for script in SCRIPTS for name in names[script]]


@pytest.fixture(scope="session")
def results(node: Callable[..., Any], base: str) -> Callable[[str], dict[str, Json]]:
    """What became of each check of a script, which runs once."""
    return cache(lambda script: {result["name"]: result for result in node(script, base)})


@pytest.mark.parametrize(("script", "name"), checks())
def test_a_node_client(results: Callable[[str], dict[str, Json]], script: str, name: str) -> None:
    result = results(script)[name]
    assert result["ok"], result["why"]
