"""What a resource refers to, whatever the element (http://hl7.org/fhir/R4/references.html#literal)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir_server.search.reference import LOCAL, normalize


def referred(resource: Any, base: str) -> list[str]:
    """The `Type/id` of every literal reference to a resource of ours, contained resources' references included; each
    once, in order."""
    return sorted({reference for reference in _references(resource, base) if LOCAL.fullmatch(reference)})


def _references(value: Any, base: str) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _references(each, base)
    elif isinstance(value, dict):
        for element, each in value.items():
            if element == "reference" and isinstance(each, str):
                yield normalize(each, base)
            else:
                yield from _references(each, base)
