"""The R4B models of fhir.resources compiled to what a walk over JSON needs, trimmed to R4.

R4B (4.3) changed none of the elements, cardinalities and reference targets of the types served here; what it
added to the data types, and what the models leave out of the code lists, is in the tables below.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin
from uuid import UUID

from fhir.resources.R4B import get_fhir_model_class
from fhir_core.fhirabstractmodel import FHIRAbstractModel
from fhir_core.types import FhirBase
from pydantic.fields import FieldInfo

Model: TypeAlias = type[FHIRAbstractModel]

NOT_IN_R4 = frozenset({"CodeableReference", "RatioRange"})
"""Data types that R4B added: elements of these types do not exist in R4."""

_ENCOUNTER_STATUS = (
    "planned",
    "arrived",
    "triaged",
    "in-progress",
    "onleave",
    "finished",
    "cancelled",
    "entered-in-error",
    "unknown",
)
_COMPARATOR = ("<", "<=", ">=", ">")
_WHEN = (
    *("MORN", "MORN.early", "MORN.late", "NOON", "AFT", "AFT.early", "AFT.late", "EVE", "EVE.early"),
    *("EVE.late", "NIGHT", "PHS", "HS", "WAKE", "C", "CM", "CD", "CV", "AC", "ACM", "ACD", "ACV"),
    *("PC", "PCM", "PCD", "PCV"),
)

_ITEM_TYPE = (
    *("group", "display", "boolean", "decimal", "integer", "date", "dateTime", "time", "string", "text"),
    *("url", "choice", "open-choice", "attachment", "reference", "quantity"),
)
_UDI_ENTRY_TYPE = ("barcode", "rfid", "manual", "card", "self-reported", "unknown")

_RESOURCE_TYPES = """
    Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse
    AuditEvent Basic Binary BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan
    CareTeam CatalogEntry ChargeItem ChargeItemDefinition Claim ClaimResponse ClinicalImpression
    CodeSystem Communication CommunicationRequest CompartmentDefinition Composition ConceptMap Condition
    Consent Contract Coverage CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue
    Device DeviceDefinition DeviceMetric DeviceRequest DeviceUseStatement DiagnosticReport
    DocumentManifest DocumentReference EffectEvidenceSynthesis Encounter Endpoint EnrollmentRequest
    EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario
    ExplanationOfBenefit FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse
    HealthcareService ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation
    ImplementationGuide InsurancePlan Invoice Library Linkage List Location Measure MeasureReport Media
    Medication MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest
    MedicationStatement MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication
    MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction
    MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical
    MedicinalProductUndesirableEffect MessageDefinition MessageHeader MolecularSequence NamingSystem
    NutritionOrder Observation ObservationDefinition OperationDefinition OperationOutcome Organization
    OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation Person PlanDefinition
    Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse RelatedPerson
    RequestGroup ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject
    RiskAssessment RiskEvidenceSynthesis Schedule SearchParameter ServiceRequest Slot Specimen
    SpecimenDefinition StructureDefinition StructureMap Subscription Substance SubstanceNucleicAcid
    SubstancePolymer SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial
    SubstanceSpecification SupplyDelivery SupplyRequest Task TerminologyCapabilities TestReport
    TestScript ValueSet VerificationResult VisionPrescription
"""
RESOURCE_TYPES = frozenset(_RESOURCE_TYPES.split())
"""The resource types of R4 (http://hl7.org/fhir/R4/resourcelist.html)."""

REQUIRED_CODES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("Encounter", "status"): _ENCOUNTER_STATUS,
    ("EncounterStatusHistory", "status"): _ENCOUNTER_STATUS,
    **{(type, "comparator"): _COMPARATOR for type in ("Quantity", "Age", "Count", "Distance", "Duration")},
    ("TimingRepeat", "when"): _WHEN,
    ("CapabilityStatement", "format"): (),
    ("DeviceUdiCarrier", "entryType"): _UDI_ENTRY_TYPE,
    ("Questionnaire", "subjectType"): (*sorted(RESOURCE_TYPES), "DomainResource", "Resource"),
    ("QuestionnaireItem", "type"): _ITEM_TYPE,
}
"""Required bindings whose codes the models do not list, or not wholly; none where any media type is right."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: `type` is FHIR's name; `model` is None for primitives and for "Resource" (any type).

    `codes` are those of a required binding, `targets` the types a reference may point to; empty means any.
    `choice` is the name before [x]. `summary` says that it is one of the elements of a summary.
    """

    name: str
    type: str
    model: Model | None
    many: bool
    required: bool
    codes: tuple[str, ...]
    targets: tuple[str, ...]
    choice: str
    summary: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """A type: its elements by their JSON name, in R4's order. `choices` maps each choice to whether it must be made."""

    type: str
    is_resource: bool
    elements: Mapping[str, Element]
    required: tuple[Element, ...]
    choices: Mapping[str, bool]


def resource_shape(type: str) -> Shape | None:
    """The shape of a resource type; None if R4 has no such type, or the models have not."""
    return _modelled(type) if type in RESOURCE_TYPES else None


@cache
def _modelled(type: str) -> Shape | None:
    try:
        return shape(get_fhir_model_class(type))
    except (KeyError, ValueError):
        return None


@cache
def shape(model: Model) -> Shape:
    """The shape of a model."""
    type = model.get_resource_type()
    order = {name: place for place, name in enumerate(model.elements_sequence())}
    found = sorted(_elements(type, model), key=lambda element: order[element.name])
    elements = {element.name: element for element in found}
    choices = {
        str(extra["one_of_many"]): bool(extra["one_of_many_required"])
        for extra in map(_extra, model.model_fields.values())
        if "one_of_many" in extra
    }
    return Shape(
        type=type,
        is_resource=model.has_resource_base(),
        elements=elements,
        required=tuple(element for element in elements.values() if element.required),
        choices=choices,
    )


def _elements(type: str, model: Model) -> Iterator[Element]:
    for field_name, field in model.model_fields.items():
        if field_name == "fhir_comments" or field_name.endswith("__ext"):
            continue
        name, extra = field.alias or field_name, _extra(field)
        element_type, element_model, many = _type(field.annotation, ())
        if element_type in NOT_IN_R4:
            continue
        codes = REQUIRED_CODES.get((type, name), tuple(extra.get("enum_values", ())))
        yield Element(
            name=name,
            type=element_type,
            model=element_model,
            many=many,
            required=field.is_required() or bool(extra.get("element_required")),
            codes=() if element_type != "code" or {"+", "etc."} & set(codes) else codes,
            targets=tuple(t for t in extra.get("enum_reference_types", ()) if t != "Resource"),
            choice=str(extra.get("one_of_many", "")),
            summary=bool(extra.get("summary_element_property")),
        )


def _extra(field: FieldInfo) -> Mapping[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _type(annotation: Any, metadata: tuple[Any, ...]) -> tuple[str, Model | None, bool]:
    """FHIR's type name, the model of a complex type, and whether it repeats."""
    primitive = next((m.__visit_name__ for m in metadata if hasattr(m, "__visit_name__")), None)
    if primitive:
        return primitive, None, False
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _type(inner, tuple(more))
    if origin in (Union, types.UnionType):
        return _type(next(a for a in get_args(annotation) if a is not type(None)), ())
    if origin is list:
        return (*_type(get_args(annotation)[0], ())[:2], True)
    if annotation in _PLAIN:
        return _PLAIN[annotation], None, False
    if not (isinstance(annotation, type) and issubclass(annotation, FhirBase)):
        raise TypeError(f"the models use a type that is not known here: {annotation}")
    name = annotation.__name__.removesuffix("Type")
    return name, None if name == "Resource" else annotation.get_model_klass(), False


_PLAIN: Mapping[type, str] = {bool: "boolean", UUID: "uuid"}

PRIMITIVE_EXTENSION = shape(get_fhir_model_class("FHIRPrimitiveExtension"))
"""What stands beside a primitive under its name with an underscore."""
