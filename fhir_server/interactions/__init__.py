"""The verbs of FHIR's RESTful API (http://hl7.org/fhir/R4/http.html), one file each, and their table."""

from __future__ import annotations

from fhir_server.definitions import Interaction
from fhir_server.interactions import create, delete, history, read, search_type, update, vread

INTERACTIONS: tuple[Interaction, ...] = (
    read.INTERACTION,
    vread.INTERACTION,
    update.INTERACTION,
    delete.INTERACTION,
    history.INTERACTION,
    create.INTERACTION,
    search_type.INTERACTION,
    search_type.BY_POST,
)
"""Every interaction on resources. What is listed is routed and claimed in the CapabilityStatement."""
