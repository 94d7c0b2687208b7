"""The race of benchmarks/race.py, shortened: two servers on one store, bookers in several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RACE = Path(__file__).parents[1] / "benchmarks" / "race.py"


@pytest.mark.parametrize("more", [(), ("--kill-server", "1")], ids=["undisturbed", "servers killed"])
def test_racing_bookers_never_book_anybody_twice_and_lose_nothing(tmp_path: Path, more: tuple[str, ...]) -> None:
    arguments = ["--seconds", "3", "--bookers", "16", "--processes", "2", "--data", str(tmp_path), *more]
    run = subprocess.run([sys.executable, RACE, *arguments], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout[run.stdout.index("{") :])
    assert told["answers"]["book 201"]
    assert bool(told["servers killed"]) == bool(more)
