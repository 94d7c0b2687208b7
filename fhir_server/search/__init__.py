"""Search: what is indexed of a resource, and what is asked of the index (http://hl7.org/fhir/R4/search.html).

Pure: `index` and `indexes` serve the store, `parse` turns query pairs into a `Query`, `remaining`,
`following` and `merge` make pages of it, and `matches` evaluates the same filters on what is not stored.
"""

from fhir_server.search.indexing import index, indexes
from fhir_server.search.match import in_order, matches, merge
from fhir_server.search.page import after, cursor, following, remaining
from fhir_server.search.parameters import COMMON, SUPPORTED_TYPES, check, parameters, supported
from fhir_server.search.parsing import parse, warnings
from fhir_server.search.query import Query

__all__ = [
    "COMMON",
    "SUPPORTED_TYPES",
    "Query",
    "after",
    "check",
    "cursor",
    "following",
    "in_order",
    "index",
    "indexes",
    "matches",
    "merge",
    "parameters",
    "parse",
    "remaining",
    "supported",
    "warnings",
]
