"""The race of benchmarks/race.py, shortened: many bookers, two servers, one store."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks import race

RACE = Path(__file__).parents[1] / "benchmarks" / "race.py"


@pytest.mark.parametrize("more", [(), ("--kill-server", "1")], ids=["undisturbed", "servers killed"])
def test_racing_bookers_never_book_anybody_twice_and_lose_nothing(tmp_path: Path, more: tuple[str, ...]) -> None:
    arguments = ["--seconds", "2", "--bookers", "16", "--processes", "1", "--data", str(tmp_path), *more]
    run = subprocess.run([sys.executable, RACE, *arguments], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout[run.stdout.index("{") :])
    assert all(told["answers"].get(what, 0) >= least for what, least in race.DONE_MIN.items())
    assert bool(told["servers killed"]) == bool(more)


def test_the_judge_sees_who_is_over_capacity_and_lets_a_group_share_its_room() -> None:
    def visits(*actors: str) -> list[dict[str, Any]]:
        starts = [datetime(2026, 12, 1, 10, minute, tzinfo=UTC) for minute in (0, 15, 30)]
        return [{**race.appointment(at, 30, actors), "id": f"visit-{n}"} for n, at in enumerate(starts)]

    places = {"Practitioner/group": 2}
    alone = list(race.overfull(visits("Practitioner/1", "Location/1"), places))
    assert [line.partition(" ")[0] for line in alone] == ["Practitioner/1"] * 2 + ["Location/1"] * 2
    assert not list(race.overfull(visits("Practitioner/group", "Location/1"), places))
    assert list(race.overfull(visits("Practitioner/group", "Location/1"), {"Practitioner/group": 1}))
    mixed = visits("Practitioner/group", "Location/1")[:1] + visits("Practitioner/1", "Location/1")[1:2]
    assert list(race.overfull(mixed, places)) == [
        "Location/1 is booked twice: Appointment/visit-0, Appointment/visit-1"
    ]
