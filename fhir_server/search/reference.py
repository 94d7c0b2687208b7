"""Reference parameters (http://hl7.org/fhir/R4/search.html#reference).

The index of a reference is a list of texts: `Type/id` and `*/id` for a resource of ours, the URL as it is for any other
(of a canonical with a version also without it), and `identifier:` with the texts of a token for a logical reference.
`#` says that there is a reference, though to nothing that could be asked for: what is contained, or only has a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.outcome import FhirError
from fhir_server.search.filters import Filter, any_of
from fhir_server.search.parameters import Frame, Scalar, bad_value, place
from fhir_server.search.text import unescape
from fhir_server.search.token import sought, spellings

MODIFIERS: tuple[str, ...] = ("identifier", "[type]")

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
LOCAL = re.compile(r"([A-Z][A-Za-z]*)/([A-Za-z0-9\-.]{1,64})")
UNNAMED = "#"

VERSION = re.compile(r"/_history/[A-Za-z0-9\-.]{1,64}$")


def extract(_: SearchParameter, values: Sequence[Any], frame: Frame) -> tuple[list[str], list[Scalar]]:
    """The texts to find the references by, and the references without version to sort them by."""
    keys = dict.fromkeys(key for value in values for key in _keys(value, frame.base))
    order = [key for key in keys if not key.startswith(("*/", "identifier:"))]
    return list(keys) or [UNNAMED for _ in values[:1]], order


def compile(parameter: SearchParameter, modifier: str, values: Sequence[str], frame: Frame, _: datetime) -> Filter:
    """The filter for any of the values: `id`, `Type/id`, a URL, or with `:identifier` a token."""
    if modifier == "identifier":
        wanted = [f"identifier:{key}" for value in values for key in sought(parameter, value)]
    else:
        wanted = [_sought(parameter, modifier, unescape(value), frame.base) for value in values]
    return any_of(place(parameter), wanted)


def normalize(reference: str, base: str) -> str:
    """The reference without version, and relative if it is absolute below our own base."""
    own = base.rstrip("/") + "/"
    return VERSION.sub("", reference.removeprefix(own) if base else reference)


def _keys(value: Any, base: str) -> Iterator[str]:
    if isinstance(value, str):
        url, _, version = value.partition("|")
        yield from _keys({"reference": url}, base)
        value = {"reference": value if version else ""}
    reference = value.get("reference", "")
    if reference and not reference.startswith("#"):
        reference = normalize(reference, base)
        yield reference
        if local := LOCAL.fullmatch(reference):
            yield f"*/{local[2]}"
    if identifier := value.get("identifier"):
        for key in spellings(identifier.get("system"), identifier.get("value", "")):
            yield f"identifier:{key}"


def _sought(parameter: SearchParameter, type: str, value: str, base: str) -> str:
    if type and parameter.target and type not in parameter.target:
        raise FhirError(
            "not-supported",
            f"'{parameter.code}' never refers to {type}, only to {', '.join(parameter.target)}.",
            status=400,
        )
    if ID.fullmatch(value):
        return f"{type or '*'}/{value}"
    reference = normalize(value, base)
    local = LOCAL.fullmatch(reference)
    if not (local or "://" in reference or reference.startswith("urn:")):
        raise bad_value(parameter, value, "an id, 'Type/id' or an absolute URL")
    if local and type and local[1] != type:
        raise bad_value(parameter, value, f"a reference to {type}, as the modifier says")
    return reference
