"""Search in a compartment: what belongs to a patient, a practitioner, a device
(http://hl7.org/fhir/R4/http.html#vsearch)."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.compartments import COMPARTMENTS, within
from fhir_server.definitions import Interaction, Request, Response
from fhir_server.interactions._searchset import Search, answer
from fhir_server.outcome import FhirError
from fhir_server.writing import Server


async def search_compartment(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle of the resources of the type `target` in the compartment `type/id`, with `*` of all
    types in it or of those that `_type` names. 404 for a type that is in no such compartment.

    The resource that the compartment is of need not be here.
    """
    compartment, id, target = str(request.type), str(request.id), str(request.target)
    members = COMPARTMENTS[compartment]
    if target != "*" and target not in members:
        text = f"{target} is in no {compartment} compartment; {', '.join(sorted(members))} are."
        raise FhirError("not-found", text)
    path = f"{compartment}/{id}/{target}"
    filters = {type: within(compartment, id, server.rows[type]) for type in members}
    if target == "*":
        return await answer(server, request, Search(path, sorted(members), sorted(members), filters))
    return await answer(server, request, Search(path, (target,), within=filters))


def _interactions() -> Iterator[Interaction]:
    for compartment in COMPARTMENTS:
        path = f"/{compartment}/{{id}}/{{target}}"
        yield Interaction("search-compartment", "instance", "GET", path, search_compartment)
        yield Interaction("search-compartment", "instance", "POST", f"{path}/_search", search_compartment)


INTERACTIONS = tuple(_interactions())
