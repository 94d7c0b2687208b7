"""What a patch may cost."""

from __future__ import annotations

OPERATIONS_MAX = 1_000
"""Operations of one patch."""

DEPTH_MAX = 64
"""Levels below the resource at which a patch may put something."""

MOVED_MAX = 100_000
"""Elements that one patch moves or copies, so that copies of copies end."""

PATH_MAX = 1_000
"""Characters of a path."""

NESTING_MAX = 16
"""Brackets inside one another in a path."""

VISITS_MAX = 1_000_000
"""Elements that the paths of one patch look at."""


def shorten(path: str) -> str:
    """A path as a text may repeat it."""
    return path if len(path) <= 200 else f"{path[:200]}…"
