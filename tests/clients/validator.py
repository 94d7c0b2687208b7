"""What a validator that nobody here wrote says against resources: validateResource of @medplum/core."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clinic import Json


@dataclass(frozen=True, slots=True)
class Mistake:
    """What the validator says against a resource that R4 allows, and why it is not so."""

    text: str
    reason: str
    allowed: Json


MISTAKES = (
    Mistake(
        r"^Invalid reference: got \"https?:\"",
        "It takes what stands before the first slash for the type, also of an absolute reference.",
        {"resourceType": "Location", "managingOrganization": {"reference": "https://fhir.example/Organization/1"}},
    ),
)


def say(node: Callable[..., Any], path: Path) -> list[Json]:
    """What the validator says against the resources of a file: {said, type, text, expression, subsetted} each."""
    found: list[Json] = node("validate.mjs", str(path))
    return found


def problems(node: Callable[..., Any], path: Path) -> list[str]:
    """What the validator says, in words, apart from its mistakes, and from invariants that a client has taken elements
    from with `_elements` or `_summary`: such a resource is marked SUBSETTED."""
    return [
        f"{one['expression'] or one['type']}: {one['text']} ({one['said']})"
        for one in say(node, path)
        if not any(re.search(mistake.text, one["text"]) for mistake in MISTAKES)
        and not (one["subsetted"] and one["text"].startswith("Constraint "))
    ]
