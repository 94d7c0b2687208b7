"""What the server says in a run, one of each shape, kept for the validator that has the last word
(tests/clients/validator.py)."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from fhir_server import document, markup
from tests.clients import nodejs
from tests.clients.validator import problems
from tests.clinic import Json

SHOWN_MAX = 20
ALIKE_MAX = 8
BYTES_MAX = 64_000_000
"""How many of one shape are kept, and how much in all."""

Shape: TypeAlias = Any


def _of_xml(body: bytes) -> Json:
    return json.loads(document.print(markup.parse(body)))  # type: ignore[no-any-return]


READ: dict[str, Callable[[bytes], Json]] = {
    **dict.fromkeys(("application/fhir+json", "application/json"), json.loads),
    **dict.fromkeys(("application/fhir+xml", "application/xml", "text/xml"), _of_xml),
}
"""How what is said is read, by its media type."""


class Emitted:
    """Resources as they were sent, in a file of one JSON object per line: {"said": where, "resource": …}."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept = 0
        self.full = False
        self._alike: Counter[Shape] = Counter()
        self._file = path.open("wb")

    async def note(self, response: httpx.Response) -> None:
        """Keeps what a response says; an event hook of httpx."""
        media = response.headers.get("content-type", "").partition(";")[0]
        body = await response.aread() if media in READ else b""
        if body and "resourceType" in (resource := READ[media](body)):
            request = response.request
            test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
            said = f"{response.status_code} for {request.method} {request.url.raw_path.decode()} in {test}"
            self.keep(resource, said)

    def keep(self, resource: Json, said: str) -> None:
        """Keeps a resource, and those that a Bundle holds, unless enough of their shape are kept."""
        for entry in resource.get("entry", ()) if resource["resourceType"] == "Bundle" else ():
            if "resource" in entry:
                self.keep(entry["resource"], said)
        shape = shape_of(resource)
        if self._alike[shape] >= ALIKE_MAX:
            return
        self._alike[shape] += 1
        line = json.dumps({"said": said, "resource": resource}).encode() + b"\n"
        self.full = self.full or self._file.tell() + len(line) > BYTES_MAX
        if not self.full:
            self._file.write(line)
            self.kept += 1

    def flush(self) -> None:
        """Brings what is kept into the file, for others to read."""
        self._file.flush()

    def faults(self) -> list[str]:
        """What the validator says against what is kept, the first few of it; nothing where there is no Node.js."""
        self.flush()
        try:
            node = nodejs.runner()
        except nodejs.Absent:
            return []
        return problems(node, self.path)[:SHOWN_MAX] if self.kept else []

    def close(self) -> None:
        self._file.close()


def shape_of(value: Any) -> Shape:
    """What has the same shape differs in its primitives only, in how often an element repeats, and in the resources
    that it holds."""
    if isinstance(value, dict):
        return frozenset(
            (name, one["resourceType"] if name == "resource" and "resourceType" in one else shape_of(one))
            for name, one in value.items()
        )
    if isinstance(value, list):
        return frozenset(shape_of(one) for one in value)
    return type(value).__name__


@pytest.fixture(scope="session")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emitted]:
    """What the servers under test said so far. At the end all of it must be valid, or the last test has an error."""
    kept = Emitted(tmp_path_factory.mktemp("emitted") / "said.ndjson")
    yield kept
    found = kept.faults()
    kept.close()
    assert not kept.full, "more was said than is kept: raise BYTES_MAX"
    assert not found, f"what the server said is not valid R4 ({kept.kept} resources):\n" + "\n".join(found)
