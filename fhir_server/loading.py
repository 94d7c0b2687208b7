"""Files of resources, through the one door for writes: what is read, in which order, and what was refused."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from fhir_server import document
from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.resources import REFERRED_FIRST
from fhir_server.scheduling.policy import Intent
from fhir_server.writing import Server, write

SUFFIXES = frozenset({".json", ".ndjson", ".jsonl"})
"""The files that are read of a directory."""

STDIN = "-"

Result: TypeAlias = Literal["created", "updated", "refused", "skipped"]
RESULTS: tuple[Result, ...] = get_args(Result)


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource to load and where it was found, or why there is none."""

    source: str
    resource: Json | None
    issues: tuple[Issue, ...] = ()

    @property
    def reference(self) -> str:
        """`Type/id` as far as the resource says them."""
        resource = self.resource or {}
        return "/".join(str(resource[name]) for name in ("resourceType", "id") if name in resource)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of an entry."""

    entry: Entry
    result: Result
    issues: tuple[Issue, ...] = ()


def read(paths: Iterable[str]) -> Iterator[Entry]:
    """Every resource of the files, of the directories' files, and of the standard input for `-`.

    A file holds a resource, a Bundle, or NDJSON: one of these per line. What cannot be read is an entry with
    issues, so that the rest is still loaded.
    """
    for path in paths:
        if path == STDIN:
            yield from parse("stdin", sys.stdin.buffer.read())
            continue
        for file in _files(Path(path)):
            try:
                content = file.read_bytes()
            except OSError as error:
                yield Entry(str(file), None, (Issue("not-found", error.strerror or "cannot be read"),))
            else:
                yield from parse(str(file), content)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def parse(source: str, content: bytes) -> Iterator[Entry]:
    """The resources that `content` spells; lines count from 1 and Bundle entries from 0."""
    lines = [(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    if len(lines) > 1 and _is_object(lines[0][1]):
        for number, line in lines:
            yield from _parse_one(f"{source}:{number}", line)
    else:
        yield from _parse_one(source, content)


def _is_object(line: bytes) -> bool:
    """Whether a line begins and ends an object, as in NDJSON; a pretty-printed file does not on its first."""
    return line.strip().startswith(b"{") and line.strip().endswith(b"}")


def _parse_one(source: str, content: bytes) -> Iterator[Entry]:
    try:
        resource = document.parse(content)
    except FhirError as error:
        yield Entry(source, None, error.issues)
        return
    if resource.get("resourceType") == "Bundle":
        yield from _entries(source, resource)
    else:
        yield Entry(source, _with_id(resource))


def _entries(source: str, bundle: Json) -> Iterator[Entry]:
    """The resources of a Bundle of any type. Its own `urn:` names for them become references that last."""
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield Entry(source, None, (Issue("structure", "entry must be a list of objects", ("Bundle.entry",)),))
        return
    resources = [_with_id(entry["resource"]) if _has_resource(entry) else None for entry in entries]
    names = {
        entry["fullUrl"]: f"{resource['resourceType']}/{resource['id']}"
        for entry, resource in zip(entries, resources, strict=True)
        if resource and _is_urn(entry.get("fullUrl")) and "resourceType" in resource
    }
    for index, resource in enumerate(resources):
        where = f"{source} Bundle.entry[{index}]"
        if resource is None:
            yield Entry(where, None, (Issue("informational", "no resource in it", severity="information"),))
        else:
            yield Entry(where, _rename(resource, names))


def _has_resource(entry: Json) -> bool:
    return isinstance(entry.get("resource"), dict)


def _is_urn(url: object) -> bool:
    return isinstance(url, str) and url.startswith("urn:")


def _with_id(resource: Json) -> Json:
    """The resource; one without an id gets one of its content, so that loading it again adds nothing."""
    if "id" in resource:
        return resource
    return {**resource, "id": sha256(document.print(resource)).hexdigest()[:32]}


def _rename(value: Any, names: dict[str, str]) -> Any:
    """The value with every Reference to one of `names` pointing to what it names."""
    if not names:
        return value
    if isinstance(value, list):
        return [_rename(one, names) for one in value]
    if isinstance(value, dict):
        return {
            element: names[one] if element == "reference" and _is_urn(one) and one in names else _rename(one, names)
            for element, one in value.items()
        }
    return value


def arrange(entries: Iterable[Entry]) -> list[Entry]:
    """The entries so that what is referred to comes first: by type, and a whole before what is part of it."""
    ranks = {type: rank for rank, type in enumerate(REFERRED_FIRST)}
    listed = list(entries)
    by_reference = {entry.reference: entry.resource for entry in listed if entry.resource}

    def depth(resource: Json | None) -> int:
        count = 0
        while resource and count < len(REFERRED_FIRST):
            part_of = resource.get("partOf")
            target = part_of.get("reference") if isinstance(part_of, dict) else None
            resource = by_reference.get(target) if isinstance(target, str) else None
            count += 1
        return count

    def place(entry: Entry) -> tuple[int, int]:
        return ranks.get(str((entry.resource or {}).get("resourceType")), len(REFERRED_FIRST)), depth(entry.resource)

    return sorted(listed, key=place)


async def load(server: Server, entries: Sequence[Entry], *, recording: bool = True) -> AsyncIterator[Loaded]:
    """Writes the entries in their order, each on its own, and says what became of each as it happens.

    With `recording` what happened is written down: a visit in the past needs no notice and no grid.
    """
    for entry in entries:
        yield await _load_one(server, entry, Intent(recording=recording))


async def _load_one(server: Server, entry: Entry, intent: Intent) -> Loaded:
    resource = entry.resource
    if resource is None:
        only_said = all(issue.severity == "information" for issue in entry.issues)
        return Loaded(entry, "skipped" if only_said else "refused", entry.issues)
    if problem := _unloadable(resource, server.rows):
        return Loaded(entry, "skipped" if problem.severity == "information" else "refused", (problem,))
    try:
        written = await write(server, resource["resourceType"], resource["id"], lambda _: resource, intent=intent)
    except FhirError as error:
        return Loaded(entry, "refused", error.issues)
    return Loaded(entry, "created" if written.status == 201 else "updated")


def _unloadable(resource: Json, rows: Collection[str]) -> Issue | None:
    type, id = resource.get("resourceType"), resource.get("id")
    if not isinstance(type, str):
        return Issue("structure", "no resourceType: not a FHIR resource", ("Resource",))
    if type not in rows:
        return Issue("not-supported", f"{type} is not served here", (type,), severity="information")
    if not isinstance(id, str):
        return Issue("value", "an id is a string", (f"{type}.id",))
    return None


def entries_of(resources: Iterable[Json], source: str) -> list[Entry]:
    """Resources at hand as entries, numbered from 0."""
    return [Entry(f"{source}[{index}]", resource) for index, resource in enumerate(resources)]
