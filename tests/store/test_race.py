"""Several processes book over the same few actors; what they leave is judged by the Appointments themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fhir_server.resources import ROWS
from fhir_server.store import Store, embedded
from tests.store.bookings import violations
from tests.store.conftest import BASE
from tests.store.test_failures import Server, free_port

SECONDS = 4.0


def start(uri: str, database: str, output: Path, seed: str) -> subprocess.Popen[bytes]:
    """A booker whose acknowledgements go to the file."""
    with output.open("wb") as told:
        return subprocess.Popen(
            (sys.executable, "-m", "tests.store.booker", uri, database, str(SECONDS), seed),
            stdout=told,
            cwd=Path(__file__).parents[2],
        )


def wait_until_all_book(outputs: Sequence[Path]) -> None:
    """Until each booker was told of something: until then a store that goes away only keeps it from beginning."""
    until = time.monotonic() + 60
    while not all(output.stat().st_size for output in outputs):
        assert time.monotonic() < until, "a booker does not begin"
        time.sleep(0.05)


def acknowledged(outputs: Sequence[Path]) -> dict[str, int]:
    """The newest version of each Appointment that somebody was told of; a line cut short was not told."""
    newest: dict[str, int] = {}
    for line in "".join(output.read_text() for output in outputs).splitlines(keepends=True):
        if line.endswith("\n"):
            id, version = line.split()
            newest[id] = max(newest.get(id, 0), int(version))
    return newest


async def lost(store: Store, told: dict[str, int]) -> list[str]:
    """The Appointments whose stored version is older than the one that was acknowledged."""
    stored = {each["_id"]: each["version"] async for each in store.db["Appointment"].find()}
    return [id for id, version in told.items() if stored.get(id, 0) < version]


async def test_processes_that_race_and_one_that_is_killed_leave_no_double_booking_and_nothing_lost(
    mongodb_uri: str, store: Store, tmp_path: Path
) -> None:
    outputs = [tmp_path / name for name in ("one", "two", "killed")]
    bookers = [start(mongodb_uri, store.db.name, output, output.name) for output in outputs]
    try:
        wait_until_all_book(outputs)
        bookers[2].kill()
        assert [booker.wait(60) for booker in bookers] == [0, 0, -9]
    finally:
        for booker in bookers:
            booker.kill()
    told = acknowledged(outputs)
    assert len(told) > 20
    assert await lost(store, told) == []
    assert await violations(store) == []


@pytest.mark.skipif("MONGODB_URI" in os.environ, reason="it kills the store")
async def test_a_store_that_is_killed_again_and_again_loses_nothing_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    port = free_port()
    server = Server(tmp_path, port, embedded.launch(tmp_path, port))
    outputs = [tmp_path / name for name in ("one", "two")]
    bookers = [start(server.uri, "fhir", output, output.name) for output in outputs]
    try:
        wait_until_all_book(outputs)
        for _ in range(2):
            server.kill()
            server.start()
            time.sleep(SECONDS / 4)
        assert [booker.wait(60) for booker in bookers] == [0, 0]
        told = acknowledged(outputs)
        store = await Store.open(server.uri, "fhir", ROWS, base=BASE)
        try:
            assert len(told) > 20
            assert await lost(store, told) == []
            assert await violations(store) == []
        finally:
            await store.close()
    finally:
        for booker in bookers:
            booker.kill()
        server.kill()
