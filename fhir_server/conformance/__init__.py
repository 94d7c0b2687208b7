"""tables → CapabilityStatement, OperationDefinitions, SearchParameters, StructureDefinitions and the code systems.

Folds over the rows (http://hl7.org/fhir/R4/conformance-module.html); nothing here is listed twice, and nothing varies
from run to run.
"""

from fhir_server.conformance.library import definitions, library
from fhir_server.conformance.readonly import READ_ONLY, TYPES
from fhir_server.conformance.serving import capabilities, welcome
from fhir_server.conformance.statement import capability_statement, terminology_capabilities

__all__ = [
    "READ_ONLY",
    "TYPES",
    "capabilities",
    "capability_statement",
    "definitions",
    "library",
    "terminology_capabilities",
    "welcome",
]
