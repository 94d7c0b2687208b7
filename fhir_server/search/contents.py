"""Resources that are not stored (`ResourceDefinition.contents`), in the shape of the store's documents, so that they
are searched and paged through with the same filters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType

from fhir_server import RELEASED
from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Json
from fhir_server.search.indexing import index
from fhir_server.search.parameters import Frame

PUBLISHED = datetime.fromisoformat(RELEASED).replace(tzinfo=UTC)
"""When what does not say it was last changed."""

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When what is computed was last changed: it has no version, and must have the same place on every page."""


@lru_cache(maxsize=256)
def documents(row: ResourceDefinition, frame: Frame) -> Mapping[str, Json]:
    """The contents of a type by their ids; none if the type is stored. They are made once."""
    resources = map(_versioned, row.contents() if row.contents else ())
    return MappingProxyType({each["id"]: document(row, each, frame, _updated(each)) for each in resources})


def document(row: ResourceDefinition, resource: Json, frame: Frame, updated: datetime) -> Json:
    """A resource as the store would keep it for searching."""
    indexed = index(row, resource, zone=frame.zone, base=frame.base)
    return {"_id": resource["id"], "updated": updated, "resource": resource, **indexed}


def _versioned(resource: Json) -> Json:
    """The resource with a version, which changes when it does, and a time."""
    said = hashlib.blake2s(json.dumps(resource, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()
    updated = PUBLISHED.isoformat().replace("+00:00", "Z")
    return {**resource, "meta": {"lastUpdated": updated, **resource.get("meta", {}), "versionId": said}}


def _updated(resource: Json) -> datetime:
    return datetime.fromisoformat(resource["meta"]["lastUpdated"]).astimezone(UTC)
