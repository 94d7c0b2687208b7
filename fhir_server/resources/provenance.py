"""Who made a version of a resource, when and why (http://hl7.org/fhir/R4/provenance.html)."""

from __future__ import annotations

from fhir_server.definitions import ResourceDefinition
from fhir_server.resources._shared import AUTHORS, date, reference, token

ROW = ResourceDefinition(
    type="Provenance",
    description="Who made a version of a resource, when and why.",
    search=(
        reference("agent", "Provenance.agent.who", "Who took part", *AUTHORS),
        token("agent-role", "Provenance.agent.role", "The role of who took part"),
        token("agent-type", "Provenance.agent.type", "How who took part did"),
        reference("entity", "Provenance.entity.what", "What was used"),
        reference("location", "Provenance.location", "Where it took place", "Location"),
        reference(
            "patient",
            "Provenance.target.where(resolve() is Patient)",
            "The patient that it tells of",
            "Patient",
        ),
        date("recorded", "Provenance.recorded", "When it was written down"),
        token("signature-type", "Provenance.signature.type", "Why the signature was made"),
        reference("target", "Provenance.target", "What it tells of, whatever the version"),
        date("when", "(Provenance.occurred as dateTime)", "When it happened"),
    ),
)
