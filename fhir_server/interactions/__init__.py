"""The verbs of FHIR's RESTful API (http://hl7.org/fhir/R4/http.html), one file each, and their table."""

from __future__ import annotations

from fhir_server.definitions import Interaction
from fhir_server.interactions import (
    bundle,
    create,
    delete,
    history,
    patch,
    read,
    search_compartment,
    search_system,
    search_type,
    update,
    vread,
)

INTERACTIONS: tuple[Interaction, ...] = (
    read.INTERACTION,
    vread.INTERACTION,
    update.INTERACTION,
    update.CONDITIONAL,
    patch.INTERACTION,
    patch.CONDITIONAL,
    delete.INTERACTION,
    delete.CONDITIONAL,
    history.INTERACTION,
    history.OF_TYPE,
    history.OF_SYSTEM,
    create.INTERACTION,
    search_type.INTERACTION,
    search_type.BY_POST,
    bundle.INTERACTION,
    bundle.BATCH,
    search_system.INTERACTION,
    search_system.BY_POST,
    *search_compartment.INTERACTIONS,
)
"""Every interaction on resources. What is listed is routed and claimed in the CapabilityStatement."""
