"""What the meaning of a search depends on besides its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from fhir_server.definitions import ResourceDefinition
from fhir_server.search.parameters import Frame


@dataclass(frozen=True, slots=True)
class Scope:
    """The types that can be searched and chained to, the zone of dates that name none, our own base URL, the present.

    `strict` refuses unknown parameters instead of ignoring them. `_count` is `count_default` where it is not said, and
    `count_max` where more is.
    """

    rows: Mapping[str, ResourceDefinition]
    zone: tzinfo
    base: str
    now: datetime
    strict: bool = False
    count_default: int = 50
    count_max: int = 1000

    @property
    def frame(self) -> Frame:
        return Frame(self.zone, self.base)
