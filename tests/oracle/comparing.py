"""A server with a random clinic in it, and whether it answers a search as the oracle does."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from motor.motor_asyncio import AsyncIOMotorClient

from fhir_server import loading
from fhir_server.settings import Settings
from tests.emitted import Emitted
from tests.oracle import clinics, oracle
from tests.oracle.elements import Json
from tests.oracle.queries import Query, look, queries
from tests.served import Clock, opened

NOW = datetime(2030, 1, 1, tzinfo=UTC)
"""After everything, so that no Slot is computed."""

REPLACED = 12
"""Resources that have another version before the one that counts."""

OTHERS = 1_000_000
"""From which number on the clinics are that those versions come from."""

DELETED = 5
"""Resources that are deleted afterwards, unless the server refuses it."""


@dataclass(frozen=True)
class Answer:
    """What a server says: the ids in order, or the status and text of a refusal."""

    status: int
    ids: list[str]
    total: int = 0
    text: str = ""


@dataclass(frozen=True)
class Served:
    """A server with the resources of a world in it."""

    client: httpx.AsyncClient
    world: oracle.World
    runner: asyncio.Runner

    def ask(self, query: Query) -> Answer:
        return self.runner.run(_ask(self.client, query))


@contextmanager
def served(
    mongodb_uri: str, number: int, emitted: Emitted | None = None, *, everything: bool = False
) -> Iterator[Served]:
    """A server of its own on a database of its own, with the resources of this number, or with some of everything."""
    database = f"oracle_{uuid.uuid4().hex}"
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            client, clock = runner.run(_open(stack, mongodb_uri, database, emitted))
            fill = _fill_with_everything if everything else _fill
            references = runner.run(fill(client, clock, number))
            yield Served(client, runner.run(_read(client, references)), runner)
        finally:
            runner.run(_close(stack, mongodb_uri, database))


async def _open(
    stack: AsyncExitStack, mongodb_uri: str, database: str, emitted: Emitted | None
) -> tuple[httpx.AsyncClient, Clock]:
    clock = [NOW]
    chosen = Settings(
        mongodb_uri=mongodb_uri,
        database=database,
        base_url=clinics.BASE,
        time_zone=clinics.ZONE,
        log_level="error",
    )
    client = await opened(stack, chosen, lambda: clock[0], emitted, f"{clinics.BASE}/")
    client.headers["prefer"] = "handling=strict"
    return client, clock


async def _fill(client: httpx.AsyncClient, clock: Clock, number: int) -> list[str]:
    random = Random(number)
    references: dict[str, None] = {}
    for entry in _versions(random, number):
        clock[0] = datetime.fromisoformat(random.choice(clinics.MOMENTS)).astimezone(UTC)
        async for _ in loading.load(client.app.state.server, [entry]):  # type: ignore[attr-defined]
            references[entry.reference] = None
    for reference in random.sample(list(references), DELETED):
        await client.delete(f"/{reference}")
    clock[0] = NOW
    return list(references)


async def _fill_with_everything(client: httpx.AsyncClient, _: Clock, number: int) -> list[str]:
    """Writes all but what the rules refuse."""
    entries = loading.arrange(loading.entries_of(clinics.everything(number), "clinic"))
    written = loading.load(client.app.state.server, entries)  # type: ignore[attr-defined]
    return [loaded.entry.reference async for loaded in written]


async def _read(client: httpx.AsyncClient, references: list[str]) -> oracle.World:
    read = [await client.get(f"/{reference}") for reference in references]
    resources = [response.json() for response in read if response.status_code == 200]
    return oracle.World(resources, ZoneInfo(clinics.ZONE), clinics.BASE, NOW)


def _versions(random: Random, number: int) -> list[loading.Entry]:
    """The resources of this number, some of them in another version before, so that every order of writes occurs."""
    earlier = random.sample(clinics.resources(number + OTHERS), REPLACED)
    return [
        entry
        for resources in (earlier, clinics.resources(number))
        for entry in loading.arrange(loading.entries_of(resources, "clinic"))
    ]


async def _close(stack: AsyncExitStack, mongodb_uri: str, database: str) -> None:
    await stack.aclose()
    client: AsyncIOMotorClient[Json] = AsyncIOMotorClient(mongodb_uri)
    await client.drop_database(database)
    client.close()


async def _ask(client: httpx.AsyncClient, query: Query) -> Answer:
    """The answer on all its pages."""
    if query.post:
        response = await client.post(f"/{query.type}/_search", data=_form(query))
    else:
        response = await client.get(f"/{query.type}", params=tuple(query.parameters()))
    if response.status_code != 200:
        return Answer(response.status_code, [], text=response.text)
    pages = await _walk(client, response.json(), "next")
    back = await _walk(client, pages[-1], "previous")
    assert [_ids(page) for page in reversed(back)] == [_ids(page) for page in pages], f"{query}: other pages backwards"
    full = all(len(_ids(page)) == query.count for page in pages[:-1])
    assert full and all(map(_ids, pages[1:])), f"{query}: a page is not full that is not the last, or empty"
    return Answer(200, [id for page in pages for id in _ids(page)], pages[0]["total"])


async def _walk(client: httpx.AsyncClient, page: Json, relation: str) -> list[Json]:
    """The page and all that follow it in this direction."""
    pages = [page]
    while url := next((link["url"] for link in pages[-1]["link"] if link["relation"] == relation), None):
        pages.append((await client.get(url)).json())
    return pages


def _form(query: Query) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    for name, value in query.parameters():
        form.setdefault(name, []).append(value)
    return form


def _ids(bundle: Json) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ())]


def compare(served: Served, query: Query) -> None:
    """Fails with the query, both answers and the resources that make the difference."""
    try:
        expected = Answer(200, oracle.search(served.world, query.type, query.pairs, query.sort))
    except oracle.Refused as refused:
        expected = Answer(400, [], text=str(refused))
    got = served.ask(query)
    agreed = (got.status, got.ids) == (expected.status, expected.ids)
    assert agreed and got.total == len(got.ids), _difference(served.world, query, got, expected)


def _difference(world: oracle.World, query: Query, got: Answer, expected: Answer) -> str:
    odd = set(got.ids) ^ set(expected.ids) or set(got.ids)
    named = [f"{query.type}/{id}" for id in sorted(odd)]
    involved = [world.by_reference.get(reference, {"nowhere": reference}) for reference in named]
    involved += [target for one in involved for target in _targets(world, one)]
    lines = [
        f"query:  {query}",
        f"server: {got.status} {got.ids} total {got.total} {got.text if got.status != 200 else ''}",
        f"oracle: {expected.status} {expected.ids} {expected.text}",
        *(json.dumps(one, ensure_ascii=False) for one in involved[:6]),
    ]
    return "\n".join(lines)


def _targets(world: oracle.World, value: Any) -> Iterator[Json]:
    """What a resource refers to."""
    if isinstance(value, list):
        for one in value:
            yield from _targets(world, one)
    elif isinstance(value, dict):
        if isinstance(value.get("reference"), str) and (target := world.target(value)):
            yield target
        for one in value.values():
            yield from _targets(world, one)


def compare_many(served: Served, number: int, count: int) -> int:
    """Compares so many random queries, the same for the same number; a difference is shrunk to a small one.

    Each is from a run of its own: Hypothesis varies what it has found, and fresh queries find more than variations.
    """
    asked: set[Query] = set()

    @settings(
        max_examples=2,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(queries(look(served.world)))
    def agree(query: Query) -> None:
        if query not in asked:
            compare(served, query)
            asked.add(query)

    run = number * RUNS
    while len(asked) < count:
        seed(run)(agree)()
        run += 1
    return len(asked)


RUNS = 1_000_000
"""More than there are runs for one clinic."""
