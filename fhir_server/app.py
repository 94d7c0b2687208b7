"""The server: tables → routes; every exception → OperationOutcome. Read this first.

A request below the FHIR base goes `routing.match` → `wire.receive` → the row's function → `wire.finish` → `wire.send`,
and whatever is raised on the way becomes an OperationOutcome. An entry of a Bundle takes the same way without the wire.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import cache

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fhir_server import conformance, document, logs, offering, openapi, patching, routing, settling, wire
from fhir_server.definitions import Handler, Request, Response
from fhir_server.outcome import FhirError
from fhir_server.processes import end_with_parent
from fhir_server.resources import ROWS
from fhir_server.settings import Settings, policy
from fhir_server.store import Store
from fhir_server.writing import Server, utc_now

log = structlog.get_logger()


def create(settings: Settings | None = None, now: Callable[[], datetime] = utc_now) -> FastAPI:
    """The application; it opens the store at `settings.mongodb_uri` when it starts and closes it when it stops."""
    chosen = settings or Settings()
    logs.configure(chosen)
    app = FastAPI(lifespan=_lifespan(chosen, now), openapi_url=None, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    app.router.routes[:] = list(routes())
    app.add_middleware(logs.Requests)
    app.add_exception_handler(HTTPException, _refuse_framework)
    return app


def worker() -> FastAPI:
    """The application in one of several processes; settings are those of the environment. It ends with its parent."""
    if end := end_with_parent(signal.SIGTERM):
        end()
    return create()


def _lifespan(
    settings: Settings, now: Callable[[], datetime]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server = await open_server(settings, now)
        app.state.server = server
        seconds = settings.sweep_seconds
        watching = asyncio.create_task(settling.watch(server, seconds)) if seconds else None
        try:
            yield
        finally:
            if watching:
                watching.cancel()
            await server.store.close()

    return lifespan


async def open_server(settings: Settings, now: Callable[[], datetime] = utc_now) -> Server:
    """The server without HTTP around it: the store open, its collections and indexes made."""
    if settings.mongodb_uri is None:
        raise RuntimeError("settings.mongodb_uri is not set; `fhir-server serve` starts a store and sets it")
    store = await Store.open(
        settings.mongodb_uri,
        settings.database,
        ROWS,
        base=settings.base,
        zone=policy(settings).zone,
        deadline_seconds=settings.booking_deadline_seconds,
        now=now,
    )
    library = conformance.library(settings)
    server = Server(store, settings, policy(settings), ROWS, now, library=library, dispatch=dispatcher(lambda: server))
    return server


BASE_PATH = "/fhir"


def routes() -> Iterator[Route]:
    """Everything below the FHIR base through one table (`routing`), and the pages for people and orchestrators."""
    yield Route("/", _welcome)
    yield Route("/openapi.json", _openapi)
    yield Route("/health/live", _live)
    yield Route("/health/ready", _ready)
    yield Route(BASE_PATH, _EveryMethod())
    yield Route(f"{BASE_PATH}/{{path:path}}", _EveryMethod())


class _EveryMethod:
    """The application below the base. Starlette would answer for the methods that a function is not named for, but only
    the table knows which those are."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await _fhir(HttpRequest(scope, receive))
        await answer(scope, receive, send)


async def _fhir(http: HttpRequest) -> HttpResponse:
    """Any request below the base."""
    path = f"/{below}" if (below := http.path_params.get("path")) else ""
    settings = http.app.state.server.settings
    if not path and wire.wants_page(http):
        return await _welcome(http)
    try:
        if http.method == "OPTIONS":
            return wire.send(http, settings, _options(path))
        run, parameters = routing.match(http.method, path)
        http.scope["asked"] = {"run": run.__name__, "type": parameters.get("type")}
        request = await wire.receive(http, settings, path)
        return wire.send(http, settings, await _answer(http.app.state.server, request, run, parameters))
    except FhirError as error:
        return wire.send(http, settings, _refused(http.method, path, error))
    except Exception as error:
        return wire.send(http, settings, _fail(http, error))


def _refused(method: str, path: str, error: FhirError) -> Response:
    """The answer to what is refused; with 405 it says what is not (RFC 9110, 15.5.6)."""
    response = wire.refuse(error)
    if error.status == 405 and "Allow" not in response.headers:
        response.headers["Allow"] = ", ".join(one for one in routing.allowed(path) if one != method)
    return response


def _options(path: str) -> Response:
    """What can be asked of a path; of one that can be patched, in which formats (RFC 5789, 3.1)."""
    methods = routing.allowed(path)
    patches = {"Accept-Patch": ", ".join(patching.MEDIA)} if "PATCH" in methods else {}
    return Response(204, headers={"Allow": ", ".join(methods), **patches})


def dispatcher(server: Callable[[], Server]) -> Callable[[Request], Awaitable[Response]]:
    """What answers requests that come inside another one, with the server that is asked for when the first comes."""

    async def dispatch(request: Request) -> Response:
        run, parameters = routing.match(request.method, request.path)
        return await _answer(server(), request, run, parameters)

    return dispatch


SHOWING_HOLDS = frozenset({"Appointment", "AppointmentResponse", "Slot", "Schedule", "*"})
"""Whoever asks for these sees what is held."""


async def _answer(server: Server, request: Request, run: Handler, parameters: Mapping[str, str]) -> Response:
    request.base = server.base
    request.type, request.id = parameters.get("type"), parameters.get("id")
    request.version, request.target = parameters.get("version"), parameters.get("target")
    if {request.type, request.target} & SHOWING_HOLDS or (request.type is None and request.path != "/metadata"):
        await settling.settle(server)
    response = await run(server, request)
    await offering.offer_freed(server)
    return wire.finish(request, response)


_ISSUE_BY_STATUS = {404: "not-found", 405: "not-supported"}


async def _refuse_framework(http: HttpRequest, error: Exception) -> HttpResponse:
    """What the framework itself refuses: a path of no route, a method a path does not have."""
    assert isinstance(error, HTTPException)
    allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
    text = f"{http.method} {http.url.path}: {error.detail}.{f' Allowed: {allow}.' if allow else ''}"
    issue = _ISSUE_BY_STATUS.get(error.status_code, "invalid")
    headers = {**(error.headers or {}), **({"Allow": allow} if allow else {})}
    refused = FhirError(issue, text, status=error.status_code, headers=headers)
    return wire.send(http, http.app.state.server.settings, wire.refuse(refused))


def _fail(http: HttpRequest, error: Exception) -> Response:
    """A fault of ours: the client gets an id; the log gets the places, without the values that were there."""
    id = http.scope["ids"]["request_id"]
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    log.error("fault", method=http.method, error=type(error).__name__, places=places, **http.scope["ids"])
    return wire.refuse(FhirError("exception", f"The server failed; its log knows this request as {id}."))


async def _openapi(http: HttpRequest) -> HttpResponse:
    settings = http.app.state.server.settings
    return wire.send_document(http, settings, *_printed(settings))


@cache
def _printed(settings: Settings) -> tuple[bytes, str]:
    """The OpenAPI document of an installation and its tag; it takes long to make."""
    body = document.print(openapi.document(settings))
    return body, hashlib.sha256(body).hexdigest()[:16]


async def _live(_: HttpRequest) -> HttpResponse:
    return JSONResponse({"status": "live"})


async def _ready(http: HttpRequest) -> HttpResponse:
    ready = await http.app.state.server.store.ready()
    return JSONResponse({"status": "ready" if ready else "the store does not answer"}, 200 if ready else 503)


async def _welcome(http: HttpRequest) -> HttpResponse:
    return HTMLResponse(conformance.welcome(http.app.state.server.base), headers=wire.HEADERS)
