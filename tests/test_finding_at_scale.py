"""The measurement of benchmarks/find.py, with fewer bookings: the questions to the store do not grow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FIND = Path(__file__).parents[1] / "benchmarks" / "find.py"


def test_a9_many_schedules_and_bookings_take_as_many_round_trips_as_one(tmp_path: Path) -> None:
    arguments = ["--schedules", "100", "--bookings", "300", "--data", str(tmp_path)]
    run = subprocess.run([sys.executable, FIND, *arguments], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(run.stdout)
    assert figures["one"]["window"]["found"] * 100 == figures["many"]["window"]["found"]
    assert figures["many"]["next"]["commands"] <= figures["many"]["window"]["commands"]
