"""A resource changed in some of its elements (http://hl7.org/fhir/R4/http.html#patch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fhir_server.outcome import FhirError, Json
from fhir_server.patching import fhirpath_patch, json_patch, xml_patch

JSON_PATCH, XML_PATCH = "application/json-patch+json", "application/xml-patch+xml"

MEDIA = (JSON_PATCH, "application/fhir+json", XML_PATCH, "application/fhir+xml")
"""The media types of patches, as `Accept-Patch` and the CapabilityStatement list them."""

_OTHERS = f"{JSON_PATCH} or {XML_PATCH}"

_APPLY: Mapping[str, Callable[[bytes, Json], Json]] = {JSON_PATCH: json_patch.apply, XML_PATCH: xml_patch.apply}


def apply(media: str, body: Json | None, raw: bytes, resource: Json) -> Json:
    """The resource as the patch makes it: a FHIRPath Patch in `body`, or a patch of another media type in `raw`.

    Pure; `resource` stays as it is, and the result is not validated. Refuses a malformed patch with 400, one that
    cannot be done on this resource with 422, a media type that is no patch's with 415.
    """
    if body is not None:
        patched = fhirpath_patch.apply(body, resource)
    elif raw and media in _APPLY:
        patched = _APPLY[media](raw, resource)
    elif raw and media not in MEDIA:
        text = f"{media or 'A body without a media type'} is no patch; these are: {', '.join(MEDIA)}."
        raise FhirError("not-supported", text, status=415, headers={"Accept-Patch": ", ".join(MEDIA)})
    else:
        raise FhirError("required", f"The body must be a patch: Parameters for a FHIRPath Patch, or {_OTHERS}.")
    for element in ("resourceType", "id"):
        if patched.get(element) != resource.get(element):
            text = f"A patch cannot change the {element} of a resource."
            raise FhirError("invalid", text, f"{resource['resourceType']}.{element}")
    return patched
