"""The compartments of R4: what belongs to a patient, a practitioner, a device
(http://hl7.org/fhir/R4/compartmentdefinition.html)."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.definitions import ResourceDefinition
from fhir_server.search.filters import Filter, disjoin
from fhir_server.search.parameters import parameters, place

ITSELF = "{def}"
"""In place of a parameter: the resource that the compartment is of."""

_ACTOR = {"Appointment": ("actor",), "AppointmentResponse": ("actor",), "Schedule": ("actor",)}

COMPARTMENTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Device": {**_ACTOR, "Provenance": ("agent",), "QuestionnaireResponse": ("author",)},
    "Encounter": {"Encounter": (ITSELF,), "QuestionnaireResponse": ("encounter",)},
    "Patient": {
        **_ACTOR,
        "Encounter": ("patient",),
        "Patient": ("link",),
        "Provenance": ("patient",),
        "QuestionnaireResponse": ("subject", "author"),
    },
    "Practitioner": {
        **_ACTOR,
        "Encounter": ("practitioner", "participant"),
        "Patient": ("general-practitioner",),
        "Practitioner": (ITSELF,),
        "PractitionerRole": ("practitioner",),
        "Provenance": ("agent",),
        "QuestionnaireResponse": ("author", "source"),
    },
    "RelatedPerson": {
        **_ACTOR,
        "Encounter": ("participant",),
        "Patient": ("link",),
        "Provenance": ("agent",),
        "QuestionnaireResponse": ("author", "source"),
    },
}
"""The types served that are in a compartment, and the reference parameters that put them there, as R4's
CompartmentDefinitions say. A compartment needs no resource of its own: it is what refers to `Type/id`."""


def definition(compartment: str) -> str:
    """The canonical URL of R4's CompartmentDefinition."""
    return f"http://hl7.org/fhir/CompartmentDefinition/{compartment[0].lower()}{compartment[1:]}"


def within(compartment: str, id: str, row: ResourceDefinition) -> Filter:
    """The filter of the resources of a type in the compartment `compartment/id`."""
    known = {parameter.code: parameter for parameter in parameters(row)}
    codes = COMPARTMENTS[compartment][row.type]
    return disjoin([{"_id": id} if code == ITSELF else {place(known[code]): f"{compartment}/{id}"} for code in codes])
