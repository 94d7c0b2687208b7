"""A search as the specification says it (http://hl7.org/fhir/R4/search.html), slow and obvious: every resource is
looked at, every condition by itself. Nothing of the server's own search is used but what its rows declare.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from fhir_server.resources import ROWS
from fhir_server.search.parameters import parameters
from tests.oracle.elements import Json, values
from tests.oracle.expressions import All, Expression, Not, One, Test, Through

ROW = {type: {row.code: row for row in parameters(definition)} for type, definition in ROWS.items()}
"""The rows as data: which codes there are, of which type, to which targets."""

Pair = tuple[str, "str | Expression"]
Span = tuple[float, float]
"""[low, high) in milliseconds since 1970."""


class Refused(Exception):
    """The search has no meaning and deserves a 400."""


@dataclass(frozen=True)
class World:
    """All the resources there are, and what the meaning of a value depends on."""

    resources: Sequence[Json]
    zone: tzinfo
    base: str
    now: datetime
    by_reference: dict[str, Json] = field(init=False)

    def __post_init__(self) -> None:
        named = {f"{one['resourceType']}/{one['id']}": one for one in self.resources}
        object.__setattr__(self, "by_reference", named)

    def relative(self, reference: str) -> str:
        """The reference without version, and without our own base."""
        return reference.partition("/_history/")[0].removeprefix(self.base + "/")

    def target(self, reference: Json) -> Json | None:
        """What the reference points to, if it is here."""
        return self.by_reference.get(self.relative(reference.get("reference", "")))


def search(world: World, type: str, pairs: Sequence[Pair], sort: Sequence[str] = ()) -> list[str]:
    """The ids of what matches all pairs, in the order of the sort keys and then of ids."""
    found = [one for one in world.resources if one["resourceType"] == type]
    for name, value in pairs:
        found = [one for one in found if holds(world, one, name, value)]
    found.sort(key=lambda one: one["id"])
    for key in reversed(sort):
        code = key.removeprefix("-")
        found.sort(key=lambda one: sort_key(world, one, code, key[0] == "-"), reverse=key[0] == "-")
    return [one["id"] for one in found]


def holds(world: World, resource: Json, name: str, value: str | Expression) -> bool:
    """Whether the resource satisfies one parameter; commas in the value mean or. Without a value it is no condition."""
    if not isinstance(value, str):
        return satisfies(world, resource, value)
    if not value.strip(","):
        return True
    if name.startswith("_has:"):
        _, type, code, rest = name.split(":", 3)
        return any(
            holds(world, one, rest, value)
            for one in world.resources
            if one["resourceType"] == type and any(world.target(each) is resource for each in values(one, code)[1])
        )
    step, chained, rest = name.partition(".")
    code, _, modifier = step.partition(":")
    if chained:
        targets = [world.target(each) for each in values(resource, code)[1]]
        return any(
            holds(world, one, rest, value)
            for one in targets
            if one and modifier in ("", one["resourceType"]) and has_parameter(one["resourceType"], rest)
        )
    texts = [text for text in split(value, ",") if text]
    if modifier == "missing":
        return (not values(resource, code)[1]) == (value == "true")
    if modifier == "not":
        return not any(matches(world, resource, code, "", text) for text in texts)
    return any([matches(world, resource, code, modifier, text) for text in texts])


def has_parameter(type: str, name: str) -> bool:
    """Whether the first parameter of a chain's rest exists on the type."""
    return name.startswith("_has:") or re.split(r"[.:]", name)[0] in ROW[type]


def matches(world: World, resource: Json, code: str, modifier: str, text: str) -> bool:
    """Whether one of the parameter's values is what one text, still with its escapes, asks for."""
    row = ROW[resource["resourceType"]][code]
    if row.type == "composite":
        return together(world, resource, text)
    datatype, found = values(resource, code)
    return COMPARE[row.type](world, (datatype, found, row.type), modifier, text)


Found = tuple[str, list[Any], str]


def together(world: World, resource: Json, text: str) -> bool:
    """Composite: actor and status of the same participant."""
    actor, status = split(text, "$")
    return any(
        matches(world, {**resource, "participant": [one]}, "actor", "", actor)
        and matches(world, {**resource, "participant": [one]}, "part-status", "", status)
        for one in resource.get("participant", ())
    )


# Texts


def split(text: str, separator: str) -> list[str]:
    r"""The parts between separators that no backslash escapes."""
    return [
        found.group() for found in re.finditer(rf"(?:^|(?<=[{separator}]))(?:\\.|[^\\{separator}]|\\$)*", text, re.S)
    ]


def plain(text: str) -> str:
    return re.sub(r"\\([,|$\\])", r"\1", text)


def fold(text: str) -> str:
    """Without case and accents; an apostrophe or a dot is nothing, any other punctuation a blank."""
    bare = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(one for one in bare if unicodedata.category(one) != "Mn")
    bare = re.sub(r"['’‘`´.]", "", bare)
    return " ".join("".join(" " if unicodedata.category(one)[0] in "PZC" else one for one in bare).split())


# Strings: http://hl7.org/fhir/R4/search.html#string

NAME_PARTS = ("family", "given", "prefix", "suffix")
ADDRESS_PARTS = ("line", "city", "district", "state", "postalCode", "country")


def parts(datatype: str, value: Any) -> list[str]:
    """The texts of a value: all the string parts of a HumanName or an Address."""
    if not isinstance(value, dict):
        return [value]
    names = (*NAME_PARTS, "text") if datatype == "HumanName" else (*ADDRESS_PARTS, "text")
    found = [value[name] for name in names if name in value]
    return [text for one in found for text in (one if isinstance(one, list) else [one])]


def is_string(_: World, found: Found, modifier: str, text: str) -> bool:
    datatype, there = found[:2]
    texts = [part for value in there for part in parts(datatype, value)]
    wanted = plain(text)
    if modifier == "exact":
        return wanted in texts
    if not fold(wanted):
        raise Refused("nothing to look for")
    if modifier == "contains":
        return any(fold(wanted) in fold(one) for one in texts)
    by_word = datatype in ("HumanName", "Address", "family")
    return any(start.startswith(fold(wanted)) for one in texts for start in starts(fold(one), by_word))


def starts(text: str, by_word: bool) -> list[str]:
    """Where a search may begin: the start of the text, in names and addresses that of every word."""
    words = text.split()
    return [" ".join(words[at:]) for at in range(len(words))] if by_word else [text]


# Tokens: http://hl7.org/fhir/R4/search.html#token


def is_token(_: World, found: Found, modifier: str, text: str) -> bool:
    datatype, there = found[:2]
    if modifier == "text":
        return any(starts_with(one, text) for value in there for one in texts_of(datatype, value))
    if modifier == "of-type":
        system, code, value = map(plain, split(text, "|"))
        return any(is_of_type(one, system, code) and one.get("value") == value for one in there)
    wanted = [plain(part) for part in split(text, "|")]
    return any(is_coded(pair, wanted, datatype) for value in there for pair in codings(datatype, value))


CASELESS = ("ContactPoint", "boolean")
"""What is compared without regard to case; a code may differ from another by nothing else."""


def starts_with(text: str, wanted: str) -> bool:
    return fold(text).startswith(fold(plain(wanted)))


def texts_of(datatype: str, value: Json) -> list[str]:
    """What a code is shown as: the text of a concept, of an identifier's type, the display of a coding."""
    if datatype == "Identifier":
        return [one for one in [value.get("type", {}).get("text")] if one]
    coded = [value] if datatype == "Coding" else value.get("coding", [])
    return [one for one in [value.get("text"), *(coding.get("display") for coding in coded)] if one]


def is_of_type(identifier: Json, system: str, code: str) -> bool:
    coded = identifier.get("type", {}).get("coding", ())
    return any(one.get("system") == system and one.get("code") == code for one in coded)


def codings(datatype: str, value: Any) -> Iterator[tuple[str | None, str | None]]:
    """(system, code) of a value of any type that a token can be."""
    if datatype == "CodeableConcept":
        for coding in value.get("coding", ()):
            yield coding.get("system"), coding.get("code")
    elif datatype in ("Coding", "Identifier"):
        yield value.get("system"), value.get("code" if datatype == "Coding" else "value")
    elif datatype == "ContactPoint":
        yield None, value.get("value", "").lower()
    elif datatype == "boolean":
        yield None, str(value).lower()
    else:
        yield datatype.partition(" ")[2] or None, value


def is_coded(pair: tuple[str | None, str | None], wanted: list[str], datatype: str) -> bool:
    system, code = pair
    if len(wanted) == 1:
        return code == (wanted[0].lower() if datatype in CASELESS else wanted[0])
    if not wanted[1]:
        return system == wanted[0]
    return (system or "") == wanted[0] and code == wanted[1]


# References: http://hl7.org/fhir/R4/search.html#reference


def is_reference(world: World, found: Found, modifier: str, text: str) -> bool:
    there = found[1]
    if modifier == "identifier":
        wanted = [plain(part) for part in split(text, "|")]
        logical = [one["identifier"] for one in there if "identifier" in one]
        return any(is_coded(pair, wanted, "Identifier") for one in logical for pair in codings("Identifier", one))
    sought = world.relative(plain(text))
    if "/" not in sought and ":" not in sought:
        local = [world.relative(one.get("reference", "")).split("/") for one in there]
        return any(len(one) == 2 and one[1] == sought and modifier in ("", one[0]) for one in local)
    return any(world.relative(one.get("reference", "")) == sought for one in there)


# Dates: http://hl7.org/fhir/R4/search.html#date

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = float("inf")
PREFIXES = ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap")


def prefixed(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if text.startswith(PREFIXES) else ("eq", text)


def span(text: str, zone: tzinfo) -> Span:
    """What a date, of any precision, stands for."""
    if "T" in text:
        moment = datetime.fromisoformat(text)
        low = milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=zone))
        clock = re.split(r"Z|[+-]", text.partition("T")[2])[0]
        fraction = clock.partition(".")[2]
        return low, low + (60_000 if clock.count(":") == 1 else 10 ** max(3 - len(fraction), 0))
    year, month, day = [*map(int, text.split("-")), 0, 0][:3]
    first = date(year, month or 1, day or 1)
    month_after = date(year + 1, 1, 1) if month in (0, 12) else date(year, month + 1, 1)
    return midnight(first, zone), midnight(first + timedelta(days=1) if day else month_after, zone)


def midnight(day: date, zone: tzinfo) -> int:
    return milliseconds(datetime(day.year, day.month, day.day, tzinfo=zone))


def milliseconds(moment: datetime) -> int:
    return (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def span_of(value: Any, zone: tzinfo) -> Span:
    """What a stored value covers: a Period reaches to the end of its end, a moment is a millisecond long."""
    if isinstance(value, dict):
        low = span(value["start"], zone)[0] if "start" in value else -FOREVER
        return low, span(value["end"], zone)[1] if "end" in value else FOREVER
    low, high = span(value, zone)
    return low, low + 1 if "T" in value else high


def is_date(world: World, found: Found, _: str, text: str) -> bool:
    prefix, written = prefixed(plain(text))
    sl, sh = span(written, world.zone)
    if prefix == "ap":
        margin = abs(milliseconds(world.now) - sl) / 10
        sl, sh = sl - margin, sh + margin
    return any(is_when(prefix, (sl, sh), span_of(value, world.zone)) for value in found[1])


def is_when(prefix: str, search: Span, target: Span) -> bool:
    (sl, sh), (tl, th) = search, target
    equal, above, below = sl <= tl and th <= sh, th > sh, tl < sl
    return {
        "eq": equal,
        "ne": not equal,
        "gt": above,
        "lt": below,
        "ge": above or equal,
        "le": below or equal,
        "sa": tl >= sh,
        "eb": th <= sl,
        "ap": tl < sh and th > sl,
    }[prefix]


# Quantities: http://hl7.org/fhir/R4/search.html#quantity


UCUM = "http://unitsofmeasure.org"
SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "min": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
"""Units of time are converted into each other, other units are not."""

Bound = tuple[Decimal, int]
"""A number, or what lies just below (-1) or above (1) it."""

EVER = Decimal("Infinity")


def is_bare_number(world: World, found: Found, modifier: str, text: str) -> bool:
    datatype, numbers, kind = found
    return is_quantity(world, (datatype, [{"value": one} for one in numbers], kind), modifier, text)


def is_quantity(_: World, found: Found, __: str, text: str) -> bool:
    number, *unit = (plain(part) for part in split(text, "|"))
    prefix, written = prefixed(number)
    wanted = Decimal(written)
    margin = Decimal(1).scaleb(int(wanted.as_tuple().exponent)) / 2
    if prefix == "ap":
        margin = max(margin, abs(wanted) / 10)
    return any(is_number(prefix, numbers_of(one, unit), wanted, margin) for one in found[1] if is_unit(one, unit))


def numbers_of(value: Json, unit: list[str]) -> tuple[Bound, Bound]:
    """The numbers that a Quantity can be, in the unit of the search if that is one of time: `<5` is all below 5."""
    number = Decimal(str(value["value"]))
    if unit and unit[0] == UCUM and unit[1] in SECONDS:
        number = number * SECONDS[value["code"]] / SECONDS[unit[1]]
    lowest, highest = (-EVER, 0), (EVER, 0)
    return {
        "<": (lowest, (number, -1)),
        "<=": (lowest, (number, 0)),
        ">": ((number, 1), highest),
        ">=": ((number, 0), highest),
    }.get(value.get("comparator", ""), ((number, 0), (number, 0)))


def is_number(prefix: str, there: tuple[Bound, Bound], number: Decimal, margin: Decimal) -> bool:
    low, high = there
    first, wanted, last = (number - margin, 0), (number, 0), (number + margin, 0)
    equal = first <= low and high < last
    return {
        "eq": equal,
        "ne": not equal,
        "gt": high > wanted,
        "lt": low < wanted,
        "ge": high >= wanted,
        "le": low <= wanted,
        "sa": low > wanted,
        "eb": high < wanted,
        "ap": low <= last and high >= first,
    }[prefix]


def is_unit(value: Json, unit: list[str]) -> bool:
    """Whether the unit is that: a code of a system, or without a system a code or a unit as it is written."""
    if not any(unit):
        return True
    system, code = unit
    if system == UCUM and code in SECONDS:
        return value.get("system") == UCUM and value.get("code") in SECONDS
    if system:
        return value.get("system") == system and value.get("code") == code
    return code in (value.get("code"), value.get("unit"))


# URIs: http://hl7.org/fhir/R4/search.html#uri


def is_uri(_: World, found: Found, modifier: str, text: str) -> bool:
    """A canonical is also found without its version."""
    datatype, there = found[:2]
    bare = [one.partition("|")[0] for one in there] if datatype == "canonical" else []
    sought = plain(text)
    if modifier == "below":
        return any(one.startswith(sought) for one in (*there, *bare))
    if modifier == "above":
        return any(sought == one or sought.startswith(one.rstrip("/") + "/") for one in (*there, *bare))
    return sought in (*there, *bare)


COMPARE: dict[str, Callable[[World, Found, str, str], bool]] = {
    "string": is_string,
    "token": is_token,
    "reference": is_reference,
    "date": is_date,
    "number": is_bare_number,
    "quantity": is_quantity,
    "uri": is_uri,
}

# Order: http://hl7.org/fhir/R4/search.html#sort


def sort_key(world: World, resource: Json, code: str, descending: bool) -> tuple[bool, Any]:
    """What to sort by: the value that comes first in that direction; what has none comes before what has one."""
    datatype, found = values(resource, code)
    kind = ROW[resource["resourceType"]][code].type
    keys = [key for value in found for key in keys_of(world, kind, datatype, value)]
    return (True, max(keys) if descending else min(keys)) if keys else (False, None)


def keys_of(world: World, kind: str, datatype: str, value: Any) -> list[Any]:
    if kind == "string":
        return [one for one in [fold(" ".join(parts(datatype, value)))] if one]
    if kind == "token":
        return [code for _, code in codings(datatype, value) if code]
    if kind == "date":
        return [span_of(value, world.zone)[0]]
    if kind == "number":
        return [Decimal(value)]
    if kind == "quantity":
        seconds = SECONDS.get(value.get("code", ""), 1) if value.get("system") == UCUM else 1
        return [Decimal(str(value["value"])) * seconds]
    if kind == "reference":
        return [world.relative(value["reference"])] if "reference" in value else []
    return [value]


# Filters: http://hl7.org/fhir/R4/search_filter.html


def satisfies(world: World, resource: Json, expression: Expression) -> bool:
    """Whether the resource satisfies a `_filter`."""
    match expression:
        case All(left, right):
            return satisfies(world, resource, left) and satisfies(world, resource, right)
        case One(left, right):
            return satisfies(world, resource, left) or satisfies(world, resource, right)
        case Not(inner):
            return not satisfies(world, resource, inner)
        case Through(code, inner, rest):
            targets = [world.target(one) for one in values(resource, code)[1]]
            return any(satisfies(world, one, inner) and satisfies(world, one, rest) for one in targets if one)
        case Test(path, operator, value):
            return compares(world, resource, path, operator, value)


def compares(world: World, resource: Json, path: str, operator: str, value: str) -> bool:
    """One comparison. `ne` of what has no order finds what has a value, none of which is equal."""
    step, chained, rest = path.partition(".")
    if chained:
        targets = [world.target(one) for one in values(resource, step)[1]]
        return any(
            compares(world, one, rest, operator, value)
            for one in targets
            if one and has_parameter(one["resourceType"], rest)
        )
    kind = ROW[resource["resourceType"]][step].type
    datatype, found = values(resource, step)
    if operator == "pr":
        return bool(found) == (value == "true")
    if kind == "string":
        texts = [fold(part) for one in found for part in parts(datatype, one)]
        return compares_text(datatype, texts, operator, fold(value))
    if operator == "po":
        sl, sh = span(value, world.zone)
        return any(is_when("ap", (sl, sh), span_of(one, world.zone)) for one in found)
    if kind in ("date", "number", "quantity"):
        return matches(world, resource, step, "", operator + value)
    if operator in AFFIXES:
        wanted = value.lower() if datatype in CASELESS else value
        there = [code for one in found for _, code in codings(datatype, one) if code]
        return any(AFFIXES[operator](code, wanted) for code in there)
    equal = matches(world, resource, step, "", value)
    return bool(found) and not equal if operator == "ne" else equal


AFFIXES: dict[str, Callable[[str, str], bool]] = {
    "co": str.__contains__,
    "sw": str.startswith,
    "ew": str.endswith,
}


def compares_text(datatype: str, texts: list[str], operator: str, wanted: str) -> bool:
    by_word = datatype in ("HumanName", "Address", "family")
    return {
        "eq": wanted in texts,
        "ne": bool(texts) and wanted not in texts,
        "co": any(wanted in one for one in texts),
        "gt": any(one > wanted for one in texts),
        "lt": any(one < wanted for one in texts),
        "ge": any(one >= wanted for one in texts),
        "le": any(one <= wanted for one in texts),
        "sw": any(start.startswith(wanted) for one in texts for start in starts(one, by_word)),
        "ew": any(one.endswith(wanted) for one in texts),
    }[operator]
