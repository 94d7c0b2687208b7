"""Reading and writing the elements that scheduling looks at: references, instants, tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo

from fhir_server.outcome import CANONICAL, Json

COMPUTED_TAG: Json = {"system": f"{CANONICAL}/CodeSystem/tag", "code": "computed"}
"""Marks a Slot that the server computed. Stored and free, it stands for nothing: it is computed anew."""

_LOCAL = re.compile(r"(?P<target>[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]{1,64})?")


def target(reference: Json | None, base: str) -> str | None:
    """The `Type/id` that a Reference points to on this server, version left out; None if it points elsewhere."""
    text = (reference or {}).get("reference")
    if not isinstance(text, str):
        return None
    local = _LOCAL.fullmatch(text.removeprefix(base.rstrip("/") + "/"))
    return local["target"] if local else None


def targets(references: Iterable[Json], base: str, *types: str) -> Iterator[str]:
    """The local targets of the references, in order; of the given types only, if any are given."""
    for reference in references:
        found = target(reference, base)
        if found and (not types or kind(found) in types):
            yield found


def kind(reference: str) -> str:
    """The type part of `Type/id`."""
    return reference.partition("/")[0]


def instant(text: str) -> datetime:
    """A FHIR instant, which validation has accepted, as UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def say(moment: datetime, zone: tzinfo = UTC) -> str:
    """A FHIR instant in the zone; milliseconds only if there are any."""
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(zone).isoformat(timespec=precision).replace("+00:00", "Z")


def is_computed(slot: Json) -> bool:
    """Whether a stored Slot was materialised from a computed one."""
    tags = slot.get("meta", {}).get("tag", ())
    return any(all(tag.get(key) == COMPUTED_TAG[key] for key in COMPUTED_TAG) for tag in tags)


def is_room(location: Json) -> bool:
    """Whether a Location can be taken up by one visit: a room, bed, vehicle or cabinet, not a site or a building
    (http://hl7.org/fhir/R4/valueset-location-physical-type.html)."""
    codings = location.get("physicalType", {}).get("coding", ())
    return any(coding.get("code") in ("ro", "bd", "ve", "ca") for coding in codings)


def claimed_as(reference: str, resources: Mapping[str, Json], base: str) -> str | None:
    """Whose time is taken when `reference` takes part: the person behind a PractitionerRole, a room but not a
    site; None for what is not taken up."""
    match kind(reference):
        case "Patient" | "Practitioner" | "Device":
            return reference
        case "PractitionerRole":
            role = resources.get(reference, {})
            return target(role.get("practitioner"), base) or reference
        case "Location":
            return reference if is_room(resources.get(reference, {})) else None
    return None
