"""The log: one line an event, for people or as JSON; never a body, a query or a patient."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import structlog

from fhir_server.settings import Settings

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

ID = re.compile(rb"[!-~]{1,128}")
"""Ids that are repeated to the client and the log: printable, without blanks, not long."""

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
    """ASGI middleware that gives each request its ids, and logs what was asked for, without ids of resources or
    queries, and its milliseconds (http://hl7.org/fhir/R4/http.html#custom).

    `X-Request-Id` is the client's, or one is made; `X-Correlation-Id` is the client's. Both come back with the answer
    and stand in the log. What is not well-formed counts as not given.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500
        ids = scope["ids"] = _ids(scope)

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = [(HEADERS[name], id.encode()) for name, id in ids.items()]
                message["headers"] = [*message.get("headers", ()), *named]
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            took = round((time.perf_counter() - began) * 1000, 1)
            log.info("request", method=scope["method"], status=status, ms=took, **ids, **scope.get("asked", {}))


HEADERS = {"request_id": b"x-request-id", "correlation_id": b"x-correlation-id"}


def _ids(scope: Message) -> dict[str, str]:
    given = dict(scope["headers"])
    found = {name: given.get(header, b"") for name, header in HEADERS.items()}
    ids = {name: id.decode() for name, id in found.items() if ID.fullmatch(id)}
    return {"request_id": uuid.uuid4().hex} | ids
