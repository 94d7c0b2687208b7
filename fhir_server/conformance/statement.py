"""rows → CapabilityStatement and TerminologyCapabilities (http://hl7.org/fhir/R4/capabilitystatement.html,
http://hl7.org/fhir/R4/terminologycapabilities.html): what the server does, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fhir_server import RELEASED, __version__, compartments, patching, terminology, wire
from fhir_server.conformance.published import operation_url
from fhir_server.conformance.readonly import READ_ONLY, SEARCH
from fhir_server.definitions import Interaction, Operation, ResourceDefinition, SearchParameter
from fhir_server.interactions import INTERACTIONS
from fhir_server.operations import OPERATIONS
from fhir_server.outcome import Json
from fhir_server.resources import ROWS
from fhir_server.search import COMMON, include, parsing, supported
from fhir_server.settings import Settings
from fhir_server.vocabulary import publish

ID = "scheduling-server"

ANY_TYPE = "Resource"
"""An operation on this is on every type of stored resources."""

ON_TYPES = ("read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type")
ON_SYSTEM = ("transaction", "batch", "search-system", "history-system")
"""The interactions that a CapabilityStatement can claim of a type and of the whole system."""


def capability_statement(settings: Settings) -> Json:
    """What an installation with these settings does."""
    return _published("CapabilityStatement", settings) | {
        "software": {"name": "FHIR scheduling server", "version": __version__, "releaseDate": RELEASED},
        "fhirVersion": "4.0.1",
        "format": [*dict.fromkeys(wire.FORMATS.values()), *(name for name in wire.FORMATS if "/" not in name)],
        **({"patchFormat": list(patching.MEDIA)} if _runs("patch") else {}),
        "rest": [_rest(settings)],
    }


def _published(type: str, settings: Settings) -> Json:
    return publish(type, ID) | {
        "name": "SchedulingServer",
        "title": "FHIR scheduling server",
        "kind": "instance",
        "software": {"name": "FHIR scheduling server", "version": __version__},
        "implementation": {"description": "FHIR scheduling server", "url": settings.base},
    }


def _rest(settings: Settings) -> Json:
    resources = [
        *(_stored(row, settings) for row in ROWS.values()),
        *(_read_only(type, parameters) for type, parameters in SEARCH.items()),
    ]
    operations = [one for one in OPERATIONS if "system" in one.levels]
    return {
        "mode": "server",
        "documentation": "Appointment scheduling: computed availability, booking without double booking, enforced "
        "statuses. A search also takes chains, `_has`, `_filter` and, about the answer, "
        f"{', '.join(f'`{name}`' for name in sorted({*parsing.ONCE, *parsing.RESULTS} - {'_contained'}))}.",
        "security": {
            "cors": settings.cors_origins != "none",
            "description": "This server has no access control of its own yet: whoever reaches it may do everything.",
        },
        "resource": sorted(resources, key=lambda one: str(one["type"])),
        "interaction": _claims(ON_SYSTEM),
        "searchParam": _parameters(COMMON),
        **_operations(operations),
        "compartment": [compartments.definition(type) for type in compartments.COMPARTMENTS],
    }


def _stored(row: ResourceDefinition, settings: Settings) -> Json:
    resource: Json = {
        "type": row.type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{row.type}",
        "documentation": row.description,
        "interaction": _claims(ON_TYPES),
        "versioning": "versioned-update",
        "readHistory": _runs("vread"),
        "updateCreate": settings.create_by_put,
        "conditionalCreate": _conditional("create"),
        "conditionalRead": "full-support",
        "conditionalUpdate": _conditional("update"),
        "conditionalDelete": _conditional_delete(settings),
        "referencePolicy": ["literal", "logical"],
        **_includes(row.type),
        "searchParam": _parameters((*COMMON, *row.search)),
    }
    return resource | _operations(one for one in OPERATIONS if {row.type, ANY_TYPE} & set(one.resource))


def _read_only(type: str, parameters: Sequence[SearchParameter]) -> Json:
    resource: Json = {
        "type": type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type}",
        "documentation": "The server's own definitions, read-only.",
        "interaction": _claims(READ_ONLY),
        "conditionalRead": "full-support",
        **_includes(type),
        "searchParam": _parameters((*COMMON, *parameters)),
    }
    return resource | _operations(one for one in OPERATIONS if type in one.resource)


def _includes(type: str) -> Json:
    """What can be included, with the wildcards."""
    referred, referring = include.claims(ROWS, type), include.reverse_claims(ROWS, type)
    wildcards = dict.fromkeys(f"{one.partition(':')[0]}:*" for one in referring)
    return {
        **({"searchInclude": ["*", f"{type}:*", *referred]} if referred else {}),
        **({"searchRevInclude": ["*", *wildcards, *referring]} if referring else {}),
    }


def _runs(code: str) -> bool:
    return any(row.code == code for row in INTERACTIONS)


def _conditional(code: str) -> bool:
    return any(row.code == code and row.conditional for row in INTERACTIONS)


def _conditional_delete(settings: Settings) -> str:
    if not _conditional("delete"):
        return "not-supported"
    return "single" if settings.conditional_delete_max == 1 else "multiple"


def _claims(codes: Sequence[str]) -> list[Json]:
    """The interactions among these that there are rows of, each with what its rows say of it."""
    return [
        {"code": code, **({"documentation": text} if (text := _documentation(code)) else {})}
        for code in codes
        if _runs(code)
    ]


def _documentation(code: str) -> str:
    texts: Iterator[Interaction] = (row for row in INTERACTIONS if row.code == code and row.documentation)
    return " ".join(dict.fromkeys(row.documentation for row in texts))


def _parameters(parameters: Iterable[SearchParameter]) -> list[Json]:
    return [
        {"name": one.code, "definition": one.url, "type": one.type, "documentation": one.description}
        for one in parameters
        if supported(one)
    ]


def _operations(operations: Iterable[Operation]) -> Json:
    claimed = [{"name": one.code, "definition": operation_url(one)} for one in operations]
    return {"operation": claimed} if claimed else {}


def terminology_capabilities(settings: Settings) -> Json:
    """The code systems that an installation knows, and what its terminology operations can be asked."""
    expand = next(one for one in OPERATIONS if one.code == "expand")
    return _published("TerminologyCapabilities", settings) | {
        "description": "The code systems and value sets that the served types are bound to, and those of this server.",
        "codeSystem": [
            {"uri": url, **({"version": [{"code": one["version"], "isDefault": True}]} if "version" in one else {})}
            for url, one in terminology.code_systems().items()
        ],
        "expansion": {
            "hierarchical": False,
            "paging": True,
            "incomplete": False,
            "parameter": [
                {"name": one.name, "documentation": one.documentation} for one in expand.parameters if one.use == "in"
            ],
            "textFilter": "Each word must be in the code or its display, in any case.",
        },
        "validateCode": {"translations": False},
        "translation": {"needsMap": True},
    }
