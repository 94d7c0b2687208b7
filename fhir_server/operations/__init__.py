"""The extended verbs (http://hl7.org/fhir/R4/operations.html): one file each; the folder is the registry."""

from __future__ import annotations

import importlib
import pkgutil

from fhir_server.definitions import Operation

OPERATIONS: tuple[Operation, ...] = tuple(
    module.OPERATION
    for name in sorted(found.name for found in pkgutil.iter_modules(__path__))
    if hasattr(module := importlib.import_module(f"{__name__}.{name}"), "OPERATION")
)
"""Every operation, by file name. What is listed is routed and claimed in the CapabilityStatement."""
