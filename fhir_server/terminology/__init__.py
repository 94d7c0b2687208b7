"""Code systems and value sets: which codes there are, what they mean, which of them an element may have
(http://hl7.org/fhir/R4/terminology-module.html).

HL7's definitions are the files beside this (README.md there says where they are from); ours are in `vocabulary`.
"""

from fhir_server.terminology.codes import Concept, concepts, value_of
from fhir_server.terminology.definitions import bindings, code_systems, concept_maps, find, of_id, value_sets
from fhir_server.terminology.sets import expand, member, unavailable, value_set

__all__ = [
    "Concept",
    "bindings",
    "code_systems",
    "concept_maps",
    "concepts",
    "expand",
    "find",
    "member",
    "of_id",
    "unavailable",
    "value_of",
    "value_set",
    "value_sets",
]
