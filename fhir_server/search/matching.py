"""What a rule asks for, as a filter (plan.Matching)."""

from __future__ import annotations

from fhir_server.definitions import ResourceDefinition
from fhir_server.plan import Matching
from fhir_server.search.filters import Filter, any_of, conjoin
from fhir_server.search.parameters import parameters, place


def filter_of(row: ResourceDefinition, load: Matching) -> Filter:
    """The filter of the documents that the load is for, as they are stored and as they would be."""
    known = {parameter.code: parameter for parameter in parameters(row)}
    filters = [any_of(place(known[code]), sorted(values)) for code, values in sorted(load.where.items())]
    if load.window:
        code, start, end = load.window
        bounds = {"$gte": start, "$lt": end}
        path = place(known[code])
        filters.append({path: {"$elemMatch": {"l": bounds}}} if known[code].many else {f"{path}.l": bounds})
    return conjoin(*filters)
