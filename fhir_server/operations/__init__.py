"""The extended verbs (http://hl7.org/fhir/R4/operations.html): one file each; the folder is the registry."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from fhir_server.definitions import Operation


def _rows() -> Iterator[Operation]:
    """The row of each module, `OPERATION`, or its `OPERATIONS` where one file has several that belong together."""
    for name in sorted(found.name for found in iter_modules(__path__)):
        module = import_module(f"{__name__}.{name}")
        if hasattr(module, "OPERATION"):
            yield module.OPERATION
        yield from getattr(module, "OPERATIONS", ())


OPERATIONS: tuple[Operation, ...] = tuple(_rows())
"""Every operation, by file name. What is listed is routed and claimed in the CapabilityStatement."""
