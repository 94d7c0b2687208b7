"""search-system: resources of several types, or of all (http://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions._searchset import Search, answer
from fhir_server.writing import Server


async def search_system(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle over the types that `_type` names, or over all that are stored."""
    return await answer(server, request, Search("", tuple(server.rows), (*server.rows, *server.library)))


INTERACTION = Interaction("search-system", "system", "GET", "/", search_system)

BY_POST = Interaction("search-system", "system", "POST", "/_search", search_system)
