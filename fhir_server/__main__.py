"""The command line: `fhir-server`, also `python -m fhir_server`. Its options are the fields of `settings`."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from functools import partial
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any, NoReturn
from zoneinfo import ZoneInfo

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from uvicorn.supervisors import Multiprocess

from fhir_server import app, conformance, demo, document, documentation, loading
from fhir_server.greeting import say_what_to_try
from fhir_server.heads import BoundedProtocol
from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.resources import ROWS
from fhir_server.settings import Settings, environment, variable
from fhir_server.store.embedded import StoreNotStarted, running
from fhir_server.writing import Server

STORE_OPTIONS = ("data", "mongodb_uri", "database", "base_url", "time_zone")
"""The settings that a command needs which works on the store and does not serve."""

SERVE_OPTIONS = tuple(Settings.model_fields)

KEEP_ALIVE_SECONDS = 15
SHUTDOWN_SECONDS_MAX = 10

stderr = Console(stderr=True, highlight=False)


def serve(
    settings: Settings,
    with_demo: Annotated[bool, typer.Option("--demo", help="Load the demo network on the first start.")] = False,
) -> None:
    """Serve FHIR until Ctrl-C.

    A store is started along with it, unless a MongoDB is named.
    """
    with _listening(settings) as listener, _stored(settings) as stored:
        if with_demo and asyncio.run(_wants_demo(stored)):
            typer.echo("First start: loading the demo network.")
            asyncio.run(_load(stored, _demo_entries(stored), recording=True))
        say = partial(typer.echo, err=stored.log_json)
        threading.Thread(target=say_what_to_try, args=(stored, say), daemon=True).start()
        _serve(stored, listener)


def load(
    settings: Settings,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Resources, Bundles, NDJSON (JSON all), directories of them; - for the standard input.",
        ),
    ],
    book: Annotated[
        bool,
        typer.Option("--book", help="Treat Appointments as new bookings instead of writing down what happened."),
    ] = False,
) -> None:
    """Load resources from files.

    They go through the same rules as writes over HTTP. The exit code is 1 if any is refused.
    """
    _load_into(settings, loading.arrange(loading.read(files)), recording=not book)


def load_demo(
    settings: Settings,
    show: Annotated[bool, typer.Option("--print", help="Write the network as a Bundle instead of loading it.")] = False,
) -> None:
    """Load the demo network.

    Two clinics, a dozen practitioners, and some hundred bookings around today; nobody in it is real.
    """
    entries = _demo_entries(settings)
    if show:
        entry = [{"resource": one.resource} for one in entries]
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": entry}
        sys.stdout.buffer.write(document.print(bundle) + b"\n")
        return
    _load_into(settings, entries, recording=True)


def reindex(settings: Settings) -> None:
    """Make the search index anew.

    For every stored resource; the server may go on serving meanwhile.
    """
    with _stored(settings) as stored:
        asyncio.run(_reindex(stored))


def write_conformance(
    directory: Annotated[Path, typer.Option(help="Where the definitions are kept.")] = Path("conformance/definitions"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if they differ.")] = False,
) -> None:
    """Write the published definitions.

    What the server says of itself: CapabilityStatement, OperationDefinitions and the rest, and the tables in the
    pages beside them (README.md, docs).
    """
    pages = _pages(directory)
    wanted = {directory / name: _spell(definition) for name, definition in conformance.definitions().items()}
    wanted |= {page: documentation.rewrite(page.read_text("utf-8")).encode() for page in pages}
    kept = {file: file.read_bytes() for file in (*directory.glob("*.json"), *pages)}
    changed = sorted(file for file in wanted.keys() | kept.keys() if wanted.get(file) != kept.get(file))
    for file in changed:
        typer.echo(f"{'gone' if file not in wanted else 'new' if file not in kept else 'changed'}  {file.name}")
    if check:
        raise typer.Exit(1 if changed else 0)
    directory.mkdir(parents=True, exist_ok=True)
    for file in changed:
        if file in wanted:
            file.write_bytes(wanted[file])
        else:
            file.unlink()


def _pages(definitions: Path) -> list[Path]:
    """The pages for people of the project whose `conformance/definitions` these are."""
    project = definitions.parent.parent
    return sorted((*project.glob("README.md"), *project.glob("docs/*.md")))


def version() -> None:
    """Print the version."""
    typer.echo(version_of("fhir-scheduling-server"))


def _serve(settings: Settings, listener: socket.socket) -> None:
    """Serves on the socket until a signal; with several workers each process has its own event loop."""
    os.environ.update(environment(settings))
    config = uvicorn.Config(
        "fhir_server.app:worker" if settings.workers > 1 else "fhir_server.app:create",
        factory=True,
        http=BoundedProtocol,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
    )
    with suppress(KeyboardInterrupt):
        if settings.workers > 1:
            Multiprocess(config, [listener]).run()
        else:
            uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """The socket to serve on. It is taken first, so that nothing is started for a port that is in use."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen()
        except OSError as error:
            reason = error.strerror or str(error)
            _fail(f"Cannot listen on {settings.host} port {settings.port}: {reason}. Choose another with --port.")
        listener.set_inheritable(True)
        yield listener


@contextmanager
def _stored(settings: Settings) -> Iterator[Settings]:
    """The settings with the URI of a store that runs: the one they name, or one started for as long as needed.
    A store that cannot be used ends the command with a sentence instead of a traceback."""
    try:
        if settings.mongodb_uri:
            yield settings
            return
        with running(settings.data) as uri:
            yield settings.model_copy(update={"mongodb_uri": uri})
    except (StoreNotStarted, FhirError) as error:
        _fail(str(error))


def _demo_entries(settings: Settings) -> list[loading.Entry]:
    today = datetime.now(ZoneInfo(settings.time_zone)).date()
    return loading.entries_of(demo.network(today), "demo")


async def _wants_demo(settings: Settings) -> bool:
    """Whether nothing is stored yet, or a first start was interrupted while it loaded the network."""
    async with _opened(settings) as server:
        counts = {type: await server.store.count(type) for type in ROWS}
        ours = await server.store.read("Organization", demo.ORGANIZATION)
    return not any(counts.values()) or (ours is not None and not counts["Encounter"])


def _load_into(settings: Settings, entries: Sequence[loading.Entry], *, recording: bool) -> None:
    with _stored(settings) as stored:
        refused = asyncio.run(_load(stored, entries, recording=recording))
    raise typer.Exit(1 if refused else 0)


async def _load(settings: Settings, entries: Sequence[loading.Entry], *, recording: bool) -> bool:
    """Loads with a progress bar, then reports; returns whether anything was refused."""
    results: list[loading.Loaded] = []
    async with _opened(settings) as server:
        with _progress() as progress:
            task = progress.add_task("loading", total=len(entries))
            async for one in loading.load(server, entries, recording=recording):
                results.append(one)
                progress.update(task, advance=1, description=one.entry.reference.partition("/")[0])
            progress.update(task, description="loaded")
    _report(results)
    return any(one.result == "refused" for one in results)


async def _reindex(settings: Settings) -> None:
    async with _opened(settings) as server:
        with _progress() as progress:
            for type in sorted(ROWS):
                task = progress.add_task(type, total=await server.store.count(type))
                await server.store.reindex(type, partial(_advance, progress, task))


def _advance(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Server]:
    server = await app.open_server(settings)
    try:
        yield server
    finally:
        await server.store.close()


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
    return Progress(*columns, console=stderr)


def _report(results: Sequence[loading.Loaded]) -> None:
    """Every entry that was not written, with all that was wrong with it, and then how many became what."""
    for one in results:
        if one.result in ("refused", "skipped"):
            typer.echo(" ".join(filter(None, (f"{one.result:<8}", one.entry.source, one.entry.reference))))
            for issue in one.issues:
                typer.echo(f"    {_spell_issue(issue)}")
    counts = Counter(one.result for one in results)
    typer.echo(", ".join(f"{counts[result]} {result}" for result in loading.RESULTS))


def _spell_issue(issue: Issue) -> str:
    where = f" ({', '.join(issue.expression)})" if issue.expression else ""
    return f"{issue.problem or issue.code}: {issue.text}{where}"


def _spell(definition: Json) -> bytes:
    return document.print(definition, pretty=True) + b"\n"


def _fail(text: str) -> NoReturn:
    """Ends the command with what was wrong and exit code 1."""
    typer.echo(text, err=True)
    raise typer.Exit(1)


def _choose(given: Mapping[str, Any]) -> Settings:
    """The settings of the options that were given, else of the environment; what is wrong with them, else."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            name = str(problem["loc"][0])
            typer.echo(f"{_flag(name)} ({variable(name)}): {problem['msg'].removeprefix('Value error, ')}", err=True)
        raise typer.Exit(2) from None


def _flag(name: str) -> str:
    return f"--{name.lower().replace('_', '-')}"


def _option(name: str) -> inspect.Parameter:
    """The command line option of a setting: its name, type and help."""
    setting = Settings.model_fields[name]
    flag = _flag(name)
    flags = f"{flag}/--no-{flag[2:]}" if setting.annotation is bool else flag
    default = setting.default
    said = "" if default is None else f" Default: {str(default).lower() if flags != flag else default}."
    text = f"{setting.description} Environment: {variable(name)}.{said}"
    option = typer.Option(None, flags, help=text, show_default=False)
    kind: Any = setting.annotation
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def _with_settings(run: Callable[..., None], names: Sequence[str]) -> Callable[..., None]:
    """`run` as a command: its own parameters, and an option for each setting instead of `settings`."""

    def command(**given: Any) -> None:
        settings = _choose({name: given.pop(name) for name in names})
        run(settings, **given)

    own = [one for one in inspect.signature(run, eval_str=True).parameters.values() if one.name != "settings"]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + [_option(name) for name in names]
    command.__doc__ = run.__doc__
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _commands() -> typer.Typer:
    cli = typer.Typer(
        help="A FHIR R4 appointment scheduling server.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
    )
    cli.command("serve")(_with_settings(serve, SERVE_OPTIONS))
    cli.command("load")(_with_settings(load, STORE_OPTIONS))
    cli.command("demo")(_with_settings(load_demo, STORE_OPTIONS))
    cli.command("reindex")(_with_settings(reindex, STORE_OPTIONS))
    cli.command("conformance")(write_conformance)
    cli.command("version")(version)
    return cli


def main() -> None:
    """Runs the command line."""
    _commands()(prog_name="fhir-server")


if __name__ == "__main__":
    main()
