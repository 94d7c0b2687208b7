"""`python -m tests.oracle --pairs 20000`: the comparison for as long as one likes."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from fhir_server.store.embedded import running
from tests.oracle.comparing import compare_many, served


def run(mongodb_uri: str, pairs: int, queries: int, first: int) -> None:
    """Asks `queries` searches of one random clinic after the other until there are so many pairs."""
    number, done, began = first, 0, time.monotonic()
    while done < pairs:
        with served(mongodb_uri, number) as one:
            done += compare_many(one, number, min(queries, pairs - done))
            stored = len(one.world.resources)
        elapsed = time.monotonic() - began
        print(f"clinic {number} with {stored} resources: {done} of {pairs} pairs agree, {elapsed:.0f} s", flush=True)
        number += 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000, help="searches to compare")
    parser.add_argument("--queries", type=int, default=500, help="searches of one random clinic")
    parser.add_argument("--first", type=int, default=1, help="number of the first clinic")
    chosen = parser.parse_args()
    given = os.environ.get("MONGODB_URI")
    if given:
        run(given, chosen.pairs, chosen.queries, chosen.first)
        return
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as uri:
        run(uri, chosen.pairs, chosen.queries, chosen.first)


if __name__ == "__main__":
    main()
