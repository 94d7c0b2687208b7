"""Token parameters: codes, codings, identifiers (http://hl7.org/fhir/R4/search.html#token).

The index of a token is a list of texts: `system|code`, `*|code` for any system, `system|` for any code, and
`|code` where there is no system. What is compared without regard to case is kept in lower case as `*|text`
and `~|text`, so that only a search with capitals has two texts to look for. `text …` are what a code is shown as,
folded, and `of-type system|code|value` an identifier by its type; no system has a blank, so they are nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from fhir_server.definitions import SearchParameter
from fhir_server.search.filters import Filter, any_of, disjoin, starting_with
from fhir_server.search.parameters import STORED, Frame, Scalar, bad_value, place
from fhir_server.search.string import TEXT_LENGTH_MAX, fold, folded_value
from fhir_server.search.text import split, unescape

MODIFIERS: tuple[str, ...] = ("not", "text", "of-type")

TEXT = "text "
OF_TYPE = "of-type "

CONTACT_SYSTEMS = frozenset({"phone", "fax", "email", "pager", "url", "sms", "other"})
"""What tells a ContactPoint from an Identifier; its system is a kind and no part of the token."""


def extract(parameter: SearchParameter, values: Sequence[Any], __: Frame) -> tuple[list[str], list[Scalar]]:
    """The texts to find the values by, and the codes to sort them by."""
    pairs = [(system or parameter.system, code) for value in values for system, code in _pairs(value)]
    keys = [key for system, code in pairs for key in spellings(system, code)]
    keys += [key for value in values if isinstance(value, dict) for key in (*_shown(value), *_typed(value))]
    return list(dict.fromkeys(keys)), [code for _, code in pairs if code]


def compile(parameter: SearchParameter, modifier: str, values: Sequence[str], _: Frame, __: datetime) -> Filter:
    """The filter for any of the values. `:not` keeps resources without a value: it negates the set. `:text` is a start
    of what the code is shown as, `:of-type` an identifier as `system|code|value`."""
    if modifier == "text":
        texts = [folded_value(parameter, unescape(value)) for value in values]
        return disjoin([starting_with(place(parameter), f"{TEXT}{text}") for text in texts])
    if modifier == "of-type":
        return any_of(place(parameter), [_sought_of_type(parameter, value) for value in values])
    wanted = [key for value in values for key in sought(parameter, value)]
    if parameter.code in STORED:
        wanted = [key.partition("|")[2] if key[:1] in "*|" else key for key in wanted if key[:1] != "~"]
    return {place(parameter): {"$nin": wanted}} if modifier == "not" else any_of(place(parameter), wanted)


def spellings(system: str | None, code: str) -> Iterator[str]:
    """The texts under which a code is found; system `~` stands for one without system and without case."""
    if code:
        yield f"{system or ''}|{code}"
        yield f"*|{code}"
    if system and system != "~":
        yield f"{system}|"


def sought(parameter: SearchParameter, value: str) -> Iterator[str]:
    """The texts that `code`, `system|code`, `|code` or `system|` asks for; anything else is a 400."""
    system, *rest = (unescape(part) for part in split(value, "|"))
    if not rest:
        yield f"*|{system}"
        if system != system.lower():
            yield f"~|{system.lower()}"
    elif len(rest) > 1 or not (system or rest[0]):
        raise bad_value(parameter, value, "'code', 'system|code', '|code' or 'system|'")
    else:
        yield f"{system}|{rest[0]}"


def _pairs(value: Any) -> Iterator[tuple[str | None, str]]:
    match value:
        case bool():
            yield "~", str(value).lower()
        case {"coding": [*codings]}:
            for coding in codings:
                yield from _pairs(coding)
        case {"system": str(system), "value": str(text)} if system in CONTACT_SYSTEMS:
            yield "~", text.lower()
        case dict():
            yield value.get("system"), str(value.get("value") or value.get("code") or "")
        case _:
            yield None, str(value)


def _shown(value: Any) -> Iterator[str]:
    """The texts of a CodeableConcept and its codings, the display of a Coding, the text of an Identifier's type."""
    of_type = value.get("type")
    shown = [value.get("text"), value.get("display"), of_type.get("text") if isinstance(of_type, dict) else None]
    shown += [coding.get("display") for coding in value.get("coding", ())]
    for text in filter(None, shown):
        if folded := fold(text)[:TEXT_LENGTH_MAX]:
            yield f"{TEXT}{folded}"


def _typed(value: Any) -> Iterator[str]:
    of_type = value.get("type")
    for coding in of_type.get("coding", ()) if isinstance(of_type, dict) and value.get("value") else ():
        if coding.get("system") and coding.get("code"):
            yield f"{OF_TYPE}{coding['system']}|{coding['code']}|{value['value']}"


def _sought_of_type(parameter: SearchParameter, value: str) -> str:
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) != 3 or not all(parts):
        raise bad_value(parameter, value, "'system|code|value' of the identifier's type and the identifier")
    return f"{OF_TYPE}{'|'.join(parts)}"
