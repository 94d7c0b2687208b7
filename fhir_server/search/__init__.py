"""Search: what is indexed of a resource, and what is asked of the index (http://hl7.org/fhir/R4/search.html).

Pure: `index` and `indexes` serve the store, `parse` turns query pairs into a `Query`, whose filter `resolve` makes one
that MongoDB understands, `remaining`, `merge` and `weave` make pages of it (`page`), and `matches` evaluates the same
filters on what is not stored.
"""

from fhir_server.search.conditions import modifiers
from fhir_server.search.indexing import index, indexes
from fhir_server.search.match import in_order, matches, merge, weave
from fhir_server.search.matching import filter_of
from fhir_server.search.page import after, remaining
from fhir_server.search.parameters import COMMON, SUPPORTED_TYPES, check, parameters, supported
from fhir_server.search.parsing import parse
from fhir_server.search.query import Query, spell
from fhir_server.search.referring import referred
from fhir_server.search.resolving import resolve, resolve_filter
from fhir_server.search.scope import Scope

__all__ = [
    "COMMON",
    "SUPPORTED_TYPES",
    "Query",
    "Scope",
    "after",
    "check",
    "filter_of",
    "in_order",
    "index",
    "indexes",
    "matches",
    "merge",
    "modifiers",
    "parameters",
    "parse",
    "referred",
    "remaining",
    "resolve",
    "resolve_filter",
    "spell",
    "supported",
    "weave",
]
