"""What _include and _revinclude add to a page of matches (http://hl7.org/fhir/R4/search.html#include)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fhir_server.outcome import Issue, Json
from fhir_server.search import Query, Scope, include
from fhir_server.search.filters import Filter, conjoin
from fhir_server.search.include import Include
from fhir_server.writing import Server


@dataclass(frozen=True, slots=True)
class Included:
    """What is included, in the order in which it was found, and what the client should know of it."""

    resources: Sequence[Json]
    notes: Sequence[Issue] = ()


async def gather(server: Server, scope: Scope, includes: Sequence[Include], matches: Sequence[Json]) -> Included:
    """Everything that the includes name, from the matches on, each once and none that is a match.

    A step is one round trip whatever the size of the page. A limit that is reached is said, and what was found until
    then is included.
    """
    room = server.settings.included_max
    seen = {_name(each) for each in matches}
    found: list[Json] = []
    fresh: Sequence[Json] = matches
    for step in range(include.STEPS_MAX + 1):
        active = [each for each in includes if step == 0 or each.iterate]
        fresh, more = await _step(server, scope, active, fresh, seen, room - len(found))
        if fresh and step == include.STEPS_MAX:
            return Included(found, [_limit(f"inclusion is iterated {include.STEPS_MAX} times at most")])
        found += fresh
        if more:
            return Included(found, [_limit(f"a page includes {room} resources at most")])
        if not fresh:
            break
        seen |= {_name(each) for each in fresh}
    return Included(found)


async def _step(
    server: Server, scope: Scope, includes: Sequence[Include], found: Sequence[Json], seen: set[str], room: int
) -> tuple[list[Json], bool]:
    """What the includes add to what was found, at most `room`, and whether there would have been more."""
    references = sorted(include.referenced(scope, includes, found) - seen)
    filters = include.referring(scope, includes, found)
    following = server.store.run(include.follow(references[: room + 1]))
    queries = [_query(server, type, filter, seen, room + 1) for type, filter in filters.items()]
    referred, pages = await asyncio.gather(following, asyncio.gather(*map(server.store.search, queries)))
    resources = [*referred, *(document["resource"] for page in pages for document in page.documents)]
    added = list({_name(each): each for each in resources}.values())
    return added[:room], len(added) > room or len(references) > room + 1


def _query(server: Server, type: str, filter: Filter, seen: Iterable[str], count: int) -> Query:
    """The search for what refers to something: without what is there already and what stands for nothing."""
    computed = server.rows[type].computed
    hidden: Filter = {"$nor": [computed.hidden]} if computed else {}
    known = (name.removeprefix(f"{type}/") for name in seen if name.startswith(f"{type}/"))
    wanted = conjoin(include.apart_from(filter, known), hidden)
    return Query(type, wanted, (("_id", 1),), count, "none", None, (), (), (), "")


def _name(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _limit(text: str) -> Issue:
    return Issue("too-costly", f"Not everything that was asked for is included: {text}.", severity="warning")
