"""What a Reference may point to (http://hl7.org/fhir/R4/references.html)."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence

from fhir_server.outcome import Issue, Json
from fhir_server.validation.shapes import RESOURCE_TYPES

_LITERAL = re.compile(
    r"(?P<base>https?://(?:[A-Za-z0-9\-\\.:%$_~]*/)+)?"
    r"(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_DEFINITION = "http://hl7.org/fhir/StructureDefinition/"


def faults(reference: Json, path: str, targets: Sequence[str], contained: Mapping[str, str], root: str) -> list[Issue]:
    """The problems of a Reference: malformed, dangling (`#id`), or of a type that is not in `targets`.

    No targets means any type; `contained` are the contained resources, id to type; `#` alone is the `root`.
    A URL that is no FHIR URL, and a urn, can be of any type.
    """
    value, declared = reference.get("reference"), reference.get("type")
    issues: list[Issue] = []
    named = None
    if isinstance(value, str) and value:
        where = f"{path}.reference"
        named, problem = _named(value, contained, root)
        if problem:
            issues.append(Issue(problem[0], problem[1], (where,)))
        elif named is not None and not _allowed(named, targets):
            issues.append(Issue("value", f"the reference must be to {_listed(targets)}", (where,)))
    if isinstance(declared, str) and declared:
        issues += _declared_faults(declared.removeprefix(_DEFINITION), named, f"{path}.type", targets)
    return issues


def _named(value: str, contained: Mapping[str, str], root: str) -> tuple[str | None, tuple[str, str] | None]:
    """The type that a literal reference names, if any, and the code and text of what is wrong with it."""
    if value == "#":
        return root, None
    if value.startswith("#"):
        if value[1:] in contained:
            return contained[value[1:]], None
        return None, ("invariant", "ref-1: there is no contained resource with this id")
    literal = _LITERAL.fullmatch(value)
    if literal and literal["type"] in RESOURCE_TYPES:
        return literal["type"], None
    if _ABSOLUTE.fullmatch(value):
        return None, None
    return None, ("value", "the reference must be Type/id, an absolute URL, a urn or #id")


def _declared_faults(declared: str, named: str | None, where: str, targets: Sequence[str]) -> list[Issue]:
    if "/" not in declared and declared not in RESOURCE_TYPES:
        return [Issue("value", "the type must be a resource type", (where,))]
    if "/" in declared or not declared:
        return []
    if named is not None and named != declared:
        return [Issue("value", "the type is not the one of the reference", (where,))]
    if not _allowed(declared, targets):
        return [Issue("value", f"the type must be {_listed(targets)}", (where,))]
    return []


def _allowed(type: str, targets: Container[str] | Sequence[str]) -> bool:
    return not targets or type in targets


def _listed(targets: Sequence[str]) -> str:
    return targets[0] if len(targets) == 1 else f"{', '.join(targets[:-1])} or {targets[-1]}"
