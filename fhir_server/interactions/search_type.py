"""search-type: the resources of a type that meet all the conditions (http://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions._searchset import Search, answer
from fhir_server.writing import Server


async def search_type(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle, of stored and computed resources or of those in memory."""
    type = str(request.type)
    return await answer(server, request, Search(type, (type,)))


INTERACTION = Interaction("search-type", "type", "GET", "/{type}", search_type)

BY_POST = Interaction("search-type", "type", "POST", "/{type}/_search", search_type)
