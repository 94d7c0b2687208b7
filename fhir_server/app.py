"""The server: tables → routes; every exception → OperationOutcome. Read this first.

Each row of `INTERACTIONS` and `OPERATIONS` becomes a route; a request goes `wire.receive` → the row's function →
`wire.send`, and whatever is raised on the way becomes an OperationOutcome.
"""

from __future__ import annotations

import signal
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from fhir_server import conformance, logs, wire
from fhir_server.definitions import Handler, Operation
from fhir_server.interactions import INTERACTIONS
from fhir_server.operations import OPERATIONS
from fhir_server.outcome import FhirError, Issue
from fhir_server.processes import end_with_parent
from fhir_server.resources import ROWS
from fhir_server.settings import Settings, policy
from fhir_server.store import Store
from fhir_server.writing import Server, utc_now

log = structlog.get_logger()

Endpoint = Callable[[HttpRequest], Awaitable[HttpResponse]]


def create(settings: Settings | None = None, now: Callable[[], datetime] = utc_now) -> FastAPI:
    """The application; it opens the store at `settings.mongodb_uri` when it starts and closes it when it stops."""
    chosen = settings or Settings()
    logs.configure(chosen)
    app = FastAPI(lifespan=_lifespan(chosen, now), openapi_url=None, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    app.router.routes[:] = list(routes(chosen))
    app.add_middleware(logs.Requests)
    app.add_exception_handler(FhirError, _refuse)
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
        try:
            yield
        finally:
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
    return Server(store, settings, policy(settings), ROWS, now)


def routes(settings: Settings) -> Iterator[Route]:
    """Every route: the rows under the FHIR base, and the pages for people and orchestrators."""
    base = "/fhir"
    yield Route("/", _welcome)
    yield Route("/health/live", _live)
    yield Route("/health/ready", _ready)
    yield Route(f"{base}", _welcome)
    yield Route(f"{base}/metadata", _endpoint(settings, conformance.capabilities, typed=False))
    yield from _operation_routes(settings, base)
    for type in conformance.TYPES:
        yield Route(f"{base}/{type}", _endpoint(settings, conformance.search, type))
        yield Route(f"{base}/{type}/{{id}}", _endpoint(settings, conformance.read, type))
    by_path: dict[str, dict[str, Handler]] = {}
    for interaction in INTERACTIONS:
        by_path.setdefault(interaction.path, {})[interaction.method] = interaction.run
    for path, methods in by_path.items():
        yield Route(f"{base}{path}", _by_method(settings, methods), methods=list(methods))


def _operation_routes(settings: Settings, base: str) -> Iterator[Route]:
    for operation in OPERATIONS:
        methods = ["POST"] if operation.affects_state else ["GET", "POST"]
        for path in operation_paths(operation):
            type = path.split("/")[1] if operation.resource else None
            yield Route(f"{base}{path}", _endpoint(settings, operation.run, type), methods=methods)


def operation_paths(operation: Operation) -> Iterator[str]:
    """The paths under the base at which an operation is called."""
    if "system" in operation.levels:
        yield f"/${operation.code}"
    for type in operation.resource:
        if "type" in operation.levels:
            yield f"/{type}/${operation.code}"
        if "instance" in operation.levels:
            yield f"/{type}/{{id}}/${operation.code}"


def _by_method(settings: Settings, methods: dict[str, Handler]) -> Endpoint:
    endpoints = {method: _endpoint(settings, run) for method, run in methods.items()}

    async def endpoint(http: HttpRequest) -> HttpResponse:
        return await endpoints["GET" if http.method == "HEAD" else http.method](http)

    return endpoint


def _endpoint(settings: Settings, run: Handler, type: str | None = None, *, typed: bool = True) -> Endpoint:
    async def endpoint(http: HttpRequest) -> HttpResponse:
        asked = type or http.path_params.get("type")
        if typed and type is None:
            _refuse_unserved(str(asked), settings)
        http.scope["asked"] = {"run": run.__name__, "type": asked}
        try:
            request = await wire.receive(http, settings)
            request.type = asked
            return wire.send(request, await run(http.app.state.server, request))
        except (FhirError, HTTPException):
            raise
        except Exception as error:
            return _fail(http, error)

    return endpoint


def _refuse_unserved(type: str, settings: Settings) -> None:
    if type in conformance.TYPES:
        text = f"The server's own {type} resources can be read and searched, nothing else."
        raise FhirError("not-supported", text, status=405, headers={"Allow": "GET, HEAD"})
    if type not in ROWS:
        raise FhirError("not-found", f"{type} is not a resource type of this server; see {settings.base}/metadata.")


async def _refuse(http: HttpRequest, error: Exception) -> HttpResponse:
    assert isinstance(error, FhirError)
    return wire.refuse(error, pretty="_pretty=true" in http.url.query)


_ISSUE_BY_STATUS = {404: "not-found", 405: "not-supported"}


async def _refuse_framework(http: HttpRequest, error: Exception) -> HttpResponse:
    """What the framework itself refuses: a path of no route, a method a path does not have."""
    assert isinstance(error, HTTPException)
    allowed = f" Allowed: {error.headers['Allow']}." if error.headers and "Allow" in error.headers else ""
    text = f"{http.method} {http.url.path}: {error.detail}.{allowed}"
    issue = Issue(_ISSUE_BY_STATUS.get(error.status_code, "invalid"), text)
    return wire.outcome(error.status_code, [issue], dict(error.headers or {}))


def _fail(http: HttpRequest, error: Exception) -> HttpResponse:
    """A fault of ours: the client gets an id; the log gets the places, without the values that were there."""
    id = uuid.uuid4().hex
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    log.error("fault", id=id, method=http.method, error=type(error).__name__, places=places)
    return wire.outcome(500, [Issue("exception", f"The server failed; its log knows this as {id}.")])


async def _live(_: HttpRequest) -> HttpResponse:
    return JSONResponse({"status": "live"})


async def _ready(http: HttpRequest) -> HttpResponse:
    ready = await http.app.state.server.store.ready()
    return JSONResponse({"status": "ready" if ready else "the store does not answer"}, 200 if ready else 503)


async def _welcome(http: HttpRequest) -> HttpResponse:
    return HTMLResponse(conformance.welcome(http.app.state.server.base))
