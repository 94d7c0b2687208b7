"""Processes that end with the one that started them, also when that one is killed."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def end_with_parent(by: signal.Signals) -> Callable[[], None] | None:
    """What a child calls so that the kernel sends it the signal when its parent ends; None where there is no such
    thing (it is Linux's).

    The library is loaded beforehand, since little is safe to call between fork and exec.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def end() -> None:
        prctl(SET_PARENT_DEATH_SIGNAL, by)

    return end
