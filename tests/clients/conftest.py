"""A server of our own process for clients that nobody here wrote, and Node with theirs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.clients import nodejs
from tests.clinic import CLINIC, Json

ROOT = Path(__file__).parents[2]
CONNECT_ATTEMPTS = 7
"""With httpx's pauses between them, half a minute for the server to start."""

STOP_SECONDS_MAX = 30
WAIT_SECONDS_MAX = 60


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
        with httpx.Client(
            transport=patient, base_url=f"http://127.0.0.1:{port}/fhir", timeout=WAIT_SECONDS_MAX
        ) as client:
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
    try:
        return nodejs.runner()
    except nodejs.Absent as absent:
        pytest.skip(str(absent))
