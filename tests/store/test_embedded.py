"""The embedded store: started once, shared, found again, and never left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymongo import MongoClient

from fhir_server.store import embedded
from fhir_server.store.embedded import StoreNotStarted, running

PROGRAM = """
import sys
from fhir_server.store.embedded import running
with running(sys.argv[1]) as uri:
    print(uri, flush=True)
    sys.stdin.read()
"""


@contextmanager
def using(data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that uses the store until its input ends, and the URI that it was given."""
    process = subprocess.Popen(
        (sys.executable, "-W", "error", "-c", PROGRAM, str(data)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def described(data: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((data / "store.json").read_text())
    return found


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def eventually(claim: Callable[[], bool], seconds_max: float = 10) -> bool:
    deadline = time.monotonic() + seconds_max
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.02)
    return claim()


def test_what_was_stored_is_there_at_the_next_start(tmp_path: Path) -> None:
    with running(tmp_path) as uri, MongoClient[dict[str, int]](uri, w="majority", journal=True) as client:
        client["t"]["c"].insert_one({"_id": 7})
    with running(tmp_path) as uri, MongoClient[dict[str, int]](uri) as client:
        assert client["t"]["c"].find_one() == {"_id": 7}


def test_nothing_is_left_running_afterwards(tmp_path: Path) -> None:
    with running(tmp_path):
        pid = described(tmp_path)["pid"]
        assert alive(pid)
    assert not alive(pid)
    assert not (tmp_path / "store.json").exists()


def test_a_second_process_uses_the_store_that_runs(tmp_path: Path) -> None:
    with using(tmp_path) as (_, first), running(tmp_path) as second:
        assert first == second


def test_the_store_outlives_its_starter_while_others_use_it(tmp_path: Path) -> None:
    with using(tmp_path) as (starter, uri), using(tmp_path) as (guest, _):
        assert starter.stdin and guest.stdin
        pid = described(tmp_path)["pid"]
        starter.stdin.close()
        with MongoClient[dict[str, int]](uri) as client:
            client["t"]["c"].insert_one({"_id": 7})
        assert starter.poll() is None
        guest.stdin.close()
        assert starter.wait(15) == 0
        assert not alive(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_its_starter_stops_the_store(tmp_path: Path, number: signal.Signals) -> None:
    with using(tmp_path) as (starter, _):
        pid = described(tmp_path)["pid"]
        starter.send_signal(number)
        assert starter.wait(15) != 0
        assert not alive(pid)
        assert not (tmp_path / "store.json").exists()


def test_the_terminals_signal_does_not_reach_the_store_itself(tmp_path: Path) -> None:
    with running(tmp_path):
        assert os.getpgid(described(tmp_path)["pid"]) != os.getpgid(0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the next start ends it")
def test_a_store_whose_starter_is_killed_ends_too_and_starts_again(tmp_path: Path) -> None:
    with using(tmp_path) as (starter, uri):
        pid = described(tmp_path)["pid"]
        starter.kill()
        assert eventually(lambda: not alive(pid))
    with running(tmp_path) as again:
        assert again != uri


@pytest.mark.parametrize("text", ['{"pid": 999999999, "port": 1, "engine": "mongod"}', '{"pid": "x"}'])
def test_a_description_that_is_stale_or_broken_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "store.json").write_text(text)
    with running(tmp_path) as uri:
        assert str(described(tmp_path)["port"]) in uri


def test_a_store_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with running(tmp_path / "one"):
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "store").symlink_to(tmp_path / "one" / "store")
        with (
            pytest.raises(StoreNotStarted, match=r"(?s)The end of .*store\.log:\n.*\n"),
            running(tmp_path / "two"),
        ):
            pass


def test_without_an_engine_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("mongod") is None
    with pytest.raises(StoreNotStarted, match="MONGODB_URI"), running(tmp_path / "data"):
        pass


def test_data_of_an_engine_that_is_gone_is_not_given_to_another(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "storage.bson").write_bytes(b"")
    if shutil.which("mongod"):
        pytest.skip("mongod is here, so it would be used")
    with pytest.raises(StoreNotStarted, match="made by mongod"), running(tmp_path):
        pass


def test_a_launched_store_answers_or_has_ended(tmp_path: Path) -> None:
    with running(tmp_path / "one"):
        port = described(tmp_path / "one")["port"]
        (tmp_path / "two").mkdir()
        process = embedded.launch(tmp_path / "two", port)
        try:
            assert process.poll() is not None
        finally:
            embedded.stop(process)
