"""The log: one line an event, for people or as JSON; never a body, a query or a patient."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import structlog

from fhir_server.settings import Settings

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

log = structlog.get_logger()


def configure(settings: Settings) -> None:
    """Says what is logged and how: from `log_level` on, as JSON if `log_json`."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    printed = structlog.processors.JSONRenderer() if settings.log_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            printed,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )


class Requests:
    """ASGI middleware that logs what each request asked for, without ids or queries, and its milliseconds."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            took = round((time.perf_counter() - began) * 1000, 1)
            log.info("request", method=scope["method"], status=status, ms=took, **scope.get("asked", {}))
