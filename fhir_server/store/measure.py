"""Counts what goes to the store, so that tests can hold the number of its round trips fixed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

_commands: ContextVar[list[str] | None] = ContextVar("commands", default=None)


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """The names of the commands that are sent within, by this task and those it starts, in order."""
    commands: list[str] = []
    token = _commands.set(commands)
    try:
        yield commands
    finally:
        _commands.reset(token)


class Commands(CommandListener):
    """Notes each command as it is sent."""

    def started(self, event: CommandStartedEvent) -> None:
        commands = _commands.get()
        if commands is not None:
            commands.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing: a command counts when it is sent."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing: a command counts when it is sent."""
