"""The measurement of benchmarks/find.py for one question: what is asked of the store does not grow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FIND = Path(__file__).parents[1] / "benchmarks" / "find.py"
SIZE = ("--schedules", "100", "--bookings", "20000", "--questions", "window")
WORKDAYS, STARTS, BOOKED = 22, 20, 200


def test_a9_many_schedules_and_bookings_take_as_many_round_trips_as_one(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, FIND, *SIZE, "--data", str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(run.stdout)
    one, many = figures["one"]["window"], figures["many"]["window"]
    assert one["commands"] == many["commands"] > 0
    assert one["found"] == WORKDAYS * STARTS - BOOKED
    assert many["found"] == 100 * one["found"]
