"""Patches for tests, in all three formats."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
XML_PATCH = "application/xml-patch+xml"
FHIR_JSON = "application/fhir+json"
FHIR_XML = "application/fhir+xml"


def operation(type: str, path: str, **parts: Any) -> Json:
    """One operation of a FHIRPath Patch: a number is a valueInteger, a text a valueString, a dict as it is."""

    def part(name: str, value: Any) -> Json:
        if isinstance(value, dict):
            return {"name": name, **value}
        return {"name": name, "valueInteger" if isinstance(value, int) else "valueString": value}

    given = [{"name": "type", "valueCode": type}, part("path", path)]
    return {"name": "operation", "part": given + [part(name, value) for name, value in parts.items()]}


def parameters(*operations: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": list(operations)}


def json_patch(*operations: Json) -> bytes:
    return json.dumps(operations).encode()


def xml_patch(*operations: str) -> bytes:
    """A patch whose unprefixed names are FHIR's, `h:` XHTML's."""
    inside = "".join(operations)
    return f'<diff xmlns="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml">{inside}</diff>'.encode()
