"""A server of our own process for clients that nobody here wrote, and Node with theirs, installed once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.clinic import CLINIC, Json

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE_MAJOR_MIN = 20
CONNECT_ATTEMPTS = 7
"""With httpx's pauses between them, half a minute for the server to start."""

STOP_SECONDS_MAX = 30
INSTALL_SECONDS_MAX = 240
SCRIPT_SECONDS_MAX = 60


@pytest.fixture(scope="session")
def base(mongodb_uri: str) -> Iterator[str]:
    """The FHIR base of a server in a process of its own, with the test clinic in it and today's date."""
    database = f"test_clients_{uuid.uuid4().hex}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_SERVER_")}
    chosen = {"MONGODB_URI": mongodb_uri, "FHIR_SERVER_DATABASE": database, "FHIR_SERVER_LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "fhir_server", "serve", "--port", port]
    server = subprocess.Popen(command, cwd=ROOT, env=kept | chosen, stdout=subprocess.DEVNULL)
    try:
        patient = httpx.HTTPTransport(retries=CONNECT_ATTEMPTS)
        with httpx.Client(transport=patient, base_url=f"http://127.0.0.1:{port}/fhir") as client:
            for resource in CLINIC:
                client.put(f"/{resource['resourceType']}/{resource['id']}", json=resource).raise_for_status()
        yield f"http://127.0.0.1:{port}/fhir"
    finally:
        server.terminate()
        server.wait(timeout=STOP_SECONDS_MAX)
        with MongoClient[dict[str, Any]](mongodb_uri) as client:
            client.drop_database(database)


@pytest.fixture(scope="session")
def node() -> Callable[..., Json | list[Json]]:
    """Runs a script of this folder with arguments and returns the JSON that it prints; skips where Node is absent."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        pytest.skip("Node.js and npm are not installed")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").split(".")[0]) < NODE_MAJOR_MIN:
        pytest.skip(f"Node.js is {version.strip()}; the clients need {NODE_MAJOR_MIN}")
    _install(npm)

    def run(script: str, *arguments: str) -> Any:
        command = [program, str(HERE / script), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SCRIPT_SECONDS_MAX, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    return run


def _install(npm: str) -> None:
    """Installs what package-lock.json pins, once for each of its versions; skips where the registry is out of reach."""
    pinned = sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / f".installed-{pinned[:16]}"
    if stamp.exists():
        return
    try:
        ran = subprocess.run(
            [npm, "ci"], cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install the clients in {INSTALL_SECONDS_MAX} s")
    if ran.returncode != 0:
        said = [line for line in ran.stderr.splitlines() if line.startswith("npm error")]
        pytest.skip(f"npm could not install the clients: {' '.join(said[:3])}")
    stamp.touch()
