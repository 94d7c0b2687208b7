"""Types to search in the tests, and the shortest way from resources and a query to what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import parse_qsl

from fhir_server.definitions import ResourceDefinition, SearchParameter, SearchType
from fhir_server.search import Query, Scope, index, matches, parse

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
BASE = "https://clinic.example/fhir"


def parameter(
    code: str, type: SearchType, expression: str, target: tuple[str, ...] = (), many: bool = False
) -> SearchParameter:
    return SearchParameter(code, type, expression, f"{BASE}/SearchParameter/{code}", code, target, many)


ANY = ResourceDefinition(
    "Any",
    "A type with a parameter of every kind.",
    (
        parameter("status", "token", "Any.status"),
        parameter("active", "token", "Any.active"),
        parameter("type", "token", "Any.type"),
        parameter("identifier", "token", "Any.identifier"),
        parameter("telecom", "token", "Any.telecom"),
        parameter("email", "token", "Any.telecom.where(system='email')"),
        parameter("deceased", "token", "Any.deceased.exists() and Any.deceased != false"),
        parameter("death-date", "date", "(Any.deceased as dateTime)"),
        parameter("birthdate", "date", "Any.birthDate"),
        parameter("date", "date", "Any.period"),
        parameter("start", "date", "Any.start"),
        parameter("location-period", "date", "Any.location.period", many=True),
        parameter("actor", "reference", "Any.participant.actor", ("Patient", "Practitioner")),
        parameter("patient", "reference", "Any.participant.actor.where(resolve() is Patient)", ("Patient",)),
        parameter("about", "reference", "Any.about"),
        parameter("name", "string", "Any.name | Any.alias"),
        parameter("family", "string", "Any.name.family"),
        parameter("address-city", "string", "Any.address.city"),
        parameter("probability", "number", "Any.probability"),
        parameter("length", "quantity", "Any.length"),
        parameter("url", "uri", "Any.url"),
        parameter("phonetic", "string", "Any.name"),
        parameter("near", "special", "Any.position"),
        parameter("part-status", "token", "Any.participant.status"),
        replace(
            parameter("actor-part-status", "composite", "Any.participant"),
            components=(("actor", "actor"), ("part-status", "status")),
        ),
    ),
)


def document(resource: Mapping[str, Any], id: str = "1", updated: datetime = NOW, zone: tzinfo = UTC) -> dict[str, Any]:
    """The resource as it would be stored."""
    body = {"resourceType": "Any", "id": id, **resource}
    entries = index(ANY, body, zone=zone, base=BASE)
    return {"_id": id, "version": 1, "updated": updated, "resource": body, **entries}


def ask(query: str | Sequence[tuple[str, str]], zone: tzinfo = UTC, strict: bool = False) -> Query:
    """The query of an URL's query string, or of decoded pairs."""
    pairs = parse_qsl(query, keep_blank_values=True) if isinstance(query, str) else query
    return parse(Scope({"Any": ANY}, zone, BASE, NOW, strict), "Any", pairs)


def finds(query: str | Sequence[tuple[str, str]], resource: Mapping[str, Any], zone: tzinfo = UTC) -> bool:
    """Whether the query finds the resource."""
    return matches(ask(query, zone).filter, document(resource, zone=zone))
