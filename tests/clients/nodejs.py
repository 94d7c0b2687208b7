"""Node.js with the clients that nobody here wrote, installed once for all runs."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MAJOR_MIN = 20
INSTALL_SECONDS_MAX = 240
SCRIPT_SECONDS_MAX = 60


class Absent(Exception):
    """That there is no Node.js to use, and why."""


def runner() -> Callable[..., Any]:
    """What runs a script of this folder with arguments and returns the JSON that it prints. Raises Absent."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        raise Absent("Node.js and npm are not installed")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").split(".")[0]) < MAJOR_MIN:
        raise Absent(f"Node.js is {version.strip()}; the clients need {MAJOR_MIN}")
    with (HERE / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(npm)

    def run(script: str, *arguments: str) -> Any:
        command = [program, str(HERE / script), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SCRIPT_SECONDS_MAX, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    return run


def _install(npm: str) -> None:
    """Installs what package-lock.json pins, once for each of its versions. Raises Absent where the registry is out of
    reach."""
    pinned = sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / f".installed-{pinned[:16]}"
    if stamp.exists():
        return
    try:
        ran = subprocess.run(
            [npm, "ci"], cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"npm could not install the clients in {INSTALL_SECONDS_MAX} s") from None
    if ran.returncode != 0:
        said = [line for line in ran.stderr.splitlines() if line.startswith("npm error")]
        raise Absent(f"npm could not install the clients: {' '.join(said[:3])}")
    stamp.touch()
