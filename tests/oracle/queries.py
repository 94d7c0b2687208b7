"""Random searches: half of what they ask for is in the resources, the other half comes from the same pools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.oracle.clinics import BASE, CANONICALS, CODES, DATES, IDS, MOMENTS, SYSTEMS, TEXTS, UCUM, URIS
from tests.oracle.elements import ELEMENTS, values
from tests.oracle.expressions import All, Expression, Not, One, Test, Through
from tests.oracle.oracle import PREFIXES, ROW, Pair, World, codings, parts, texts_of

Texts = st.SearchStrategy[str]
Pairs = st.SearchStrategy[Pair]

DEPTH_MAX = 2
"""Steps of a chain, and of `_has` in `_has`."""


@dataclass(frozen=True)
class Query:
    """A search; without `count` it is answered on one page."""

    type: str
    pairs: Sequence[Pair]
    sort: Sequence[str] = ()
    count: int | None = None
    post: bool = False

    def parameters(self) -> list[tuple[str, str]]:
        """The pairs as they are sent."""
        pairs = [(name, str(value)) for name, value in self.pairs]
        if self.sort:
            pairs.append(("_sort", ",".join(self.sort)))
        return [*pairs, ("_count", str(self.count or 1000))]

    def __str__(self) -> str:
        return f"{self.type}?" + "&".join(f"{name}={value}" for name, value in self.parameters())


# What is asked for, whatever there is


def escape(text: str) -> str:
    return re.sub(r"([,|$\\])", r"\\\1", text)


def pool(*texts: str) -> Texts:
    return st.sampled_from([escape(text) for text in texts])


def joined(separator: str, *parts: Texts) -> Texts:
    return st.tuples(*parts).map(separator.join)


codes = pool(*CODES)
systems = pool(*SYSTEMS)
texts = pool(*TEXTS, *(text[:3] for text in TEXTS), *(text[1:] for text in TEXTS), "nobody", "e")
tokens = codes | joined("|", systems, codes) | codes.map("|{}".format) | systems.map("{}|".format)
contacts = pool("+1 555 0100", "Zoe@Example.org", "zoe@example.org", "555,1", "555")
ids = pool(*IDS, "nobody")
prefixes = st.sampled_from(("", *PREFIXES))
TIMES = ("2026-03-08T05:00Z", "2026-03-08T00:00", "2026-03-08T03:30", "2026-11-01T01:30", "2026-03-08T05:00:00")
dates = pool(*DATES, *MOMENTS, *TIMES, "2026-03-08T10:30:00.12Z", "2023", "2028-01-01")
numbers = pool("30", "29.5", "30.0", "3e1", "0.5", "1", "60", "1800", "2e3", "7")
units = st.sampled_from(("", "", f"|{UCUM}|min", f"|{UCUM}|h", f"|{UCUM}|s", "||min", "||minutes"))
uris = pool(*URIS, *CANONICALS, "http://a.example", "http://a.example/p/q/r")

ENUMERATED: dict[str, Texts] = {
    "http://hl7.org/fhir/administrative-gender": pool("male", "female", "unknown", "Male"),
    "http://hl7.org/fhir/address-use": pool("home", "work", "old"),
    "http://hl7.org/fhir/appointmentstatus": pool("proposed", "waitlist", "cancelled", "noshow", "fulfilled"),
    "http://hl7.org/fhir/participationstatus": pool("accepted", "declined", "tentative", "needs-action"),
    "http://hl7.org/fhir/device-status": pool("active", "inactive"),
    "http://hl7.org/fhir/publication-status": pool("draft", "active", "retired"),
    "http://hl7.org/fhir/questionnaire-answers-status": pool("in-progress", "completed", "amended"),
    "http://hl7.org/fhir/resource-types": pool("Patient", "Encounter"),
    "http://hl7.org/fhir/encounter-status": pool("planned", "in-progress", "finished", "cancelled"),
    "http://hl7.org/fhir/location-status": pool("active", "suspended", "inactive"),
    "http://hl7.org/fhir/slotstatus": pool("free", "busy", "entered-in-error", "busy-unavailable"),
}
KINDS: dict[str, Texts] = {
    "date": dates,
    "number": numbers,
    "quantity": joined("", numbers, units),
    "string": texts,
    "uri": uris,
}
PREFIXED = ("date", "number", "quantity")


def tokens_of(datatype: str) -> Texts:
    """What to look for in a token of this datatype; a contact, an id and a boolean have no system."""
    name, _, system = datatype.partition(" ")
    if name == "code":
        return ENUMERATED[system] | joined("|", st.just(system) | systems, ENUMERATED[system])
    if name.startswith("ContactPoint"):
        return contacts
    return {"boolean": st.sampled_from(("true", "false")), "id": ids}.get(name, tokens)


def references(types: Sequence[str]) -> Texts:
    local = joined("/", st.sampled_from(types), ids)
    return ids | local | local.map(f"{BASE}/{{}}".format) | local.map("http://elsewhere.example/fhir/{}".format)


def datatype_of(type: str, code: str) -> str:
    return ELEMENTS[type][code].partition(" ")[2]


def targets_of(type: str, code: str) -> tuple[str, ...]:
    return ROW[type][code].target or tuple(ELEMENTS)


def anything(type: str, code: str) -> Texts:
    """What could be asked of the parameter."""
    kind = ROW[type][code].type
    if kind == "token":
        return tokens_of(datatype_of(type, code))
    if kind == "reference":
        return references(targets_of(type, code))
    if kind == "composite":
        status = ENUMERATED["http://hl7.org/fhir/participationstatus"]
        return joined("$", references(("Patient", "Practitioner", "Location")), status)
    return KINDS[kind]


# What is asked for because it is there


SHOWN = ("CodeableConcept", "Coding", "Identifier")
"""What is shown as a text."""


def spellings(world: World, datatype: str, value: Any) -> Iterator[str]:
    """What finds this value."""
    if datatype in ("HumanName", "Address", "string", "family"):
        for part in parts(datatype, value):
            yield from (escape(part), escape(part.split()[-1]))
    elif datatype == "Reference":
        if "reference" in value:
            relative = world.relative(value["reference"])
            yield from (relative, relative.rpartition("/")[2])
    elif datatype == "BackboneElement":
        if "reference" in value["actor"]:
            yield f"{world.relative(value['actor']['reference'])}${value['status']}"
    elif datatype == "Period":
        yield from value.values()
    elif datatype == "Quantity":
        yield str(value["value"])
    elif datatype == "number":
        yield str(value)
    elif datatype in ("instant", "date", "dateTime", "uri", "canonical"):
        yield escape(value)
    else:
        for system, code in codings(datatype, value):
            yield from [escape(code)] if code else []
            yield from [f"{escape(system)}|{escape(code)}"] if system and code else []


@dataclass(frozen=True, repr=False)
class There:
    """What there is to be asked for in a world: texts by (type, code), and (type, code, target) of what is linked."""

    texts: Mapping[tuple[str, str], Sequence[str]]
    shown: Mapping[tuple[str, str], Sequence[str]]
    links: Sequence[tuple[str, str, str]]

    def asked(self, type: str, code: str) -> Texts:
        there = self.texts[type, code]
        return st.sampled_from(there) | anything(type, code) if there else anything(type, code)


def look(world: World) -> There:
    """What there is in the world."""
    found: dict[tuple[str, str], list[str]] = {(type, code): [] for type in ELEMENTS for code in ELEMENTS[type]}
    shown: dict[tuple[str, str], list[str]] = {key: [] for key in found}
    links: dict[tuple[str, str, str], None] = {}
    for resource in world.resources:
        type = resource["resourceType"]
        for code in ELEMENTS[type]:
            datatype, there = values(resource, code)
            for value in there:
                found[type, code] += spellings(world, datatype, value)
                if datatype in SHOWN:
                    shown[type, code] += map(escape, texts_of(datatype, value))
                if datatype == "Reference" and (target := world.target(value)):
                    links[type, code, target["resourceType"]] = None
    return There(found, shown, list(links))


# Conditions


def with_modifier(name: str, modifier: str, values: Texts) -> Pairs:
    return st.tuples(st.just(name + modifier), st.lists(values, min_size=1, max_size=2).map(",".join))


def alternatives(there: There, type: str, code: str) -> list[Pairs]:
    """All ways to ask for a value of the parameter."""
    kind, datatype, asked = ROW[type][code].type, datatype_of(type, code), there.asked(type, code)
    if kind == "composite":
        return [with_modifier(code, "", asked)]
    ways = [with_modifier(code, "", joined("", prefixes, asked) if kind in PREFIXED else asked)]
    if kind == "token":
        ways.append(with_modifier(code, ":not", asked))
    if datatype in SHOWN:
        shown = there.shown[type, code]
        ways.append(with_modifier(code, ":text", st.sampled_from(shown) | texts if shown else texts))
    if datatype == "Identifier":
        ways.append(with_modifier(code, ":of-type", joined("|", systems, codes, codes)))
    if kind == "string":
        ways += [with_modifier(code, modifier, asked) for modifier in (":exact", ":contains")]
    if kind == "uri":
        ways += [with_modifier(code, modifier, asked) for modifier in (":below", ":above")]
    if kind == "reference":
        ways.append(with_modifier(code, ":identifier", tokens))
        typed = st.sampled_from(targets_of(type, code)).flatmap(lambda target: with_modifier(code, f":{target}", ids))
        ways.append(typed)
    return ways


def asking(there: There, type: str, code: str) -> Pairs:
    """Any way to ask for the parameter; whether it is missing, now and then."""
    missing = st.tuples(st.just(f"{code}:missing"), st.sampled_from(("true", "false")))
    asked = st.one_of(alternatives(there, type, code))
    if ROW[type][code].type == "composite":
        return asked
    return st.sampled_from((asked,) * 6 + (missing,)).flatmap(lambda way: way)


def parameters(type: str) -> Texts:
    """A parameter of the type, of each kind as often."""
    kinds = sorted({ROW[type][code].type for code in ELEMENTS[type]})
    of_kind = {kind: [code for code in sorted(ELEMENTS[type]) if ROW[type][code].type == kind] for kind in kinds}
    return st.sampled_from(kinds).flatmap(lambda kind: st.sampled_from(of_kind[kind]))


def alone(there: There, type: str) -> Pairs:
    """One parameter of the type by itself."""
    return parameters(type).flatmap(lambda code: asking(there, type, code))


@st.composite
def conditions(draw: st.DrawFn, there: There, type: str, depth: int = DEPTH_MAX) -> Pair:
    """One parameter: by itself, at the end of a chain, of what refers to it; or a `_filter`."""
    way = draw(st.sampled_from(("alone", "alone", "alone", "chain", "has", "filter"))) if depth else "alone"
    if way == "filter" and depth == DEPTH_MAX:
        return "_filter", draw(expressions(there, type))
    if way == "chain" and type in REFERRING:
        _, code, target = draw(links(there, 0, type))
        name, value = draw(conditions(there, target, depth - 1))
        typed = draw(st.booleans())
        return f"{code}:{target}.{name}" if typed else f"{code}.{name}", value
    if way == "has":
        source, code, _ = draw(links(there, 2, type))
        name, value = draw(conditions(there, source, depth - 1))
        return f"_has:{source}:{code}:{name}", value
    return draw(alone(there, type))


LINKS = sorted(
    (type, code, target)
    for type in ELEMENTS
    for code in ELEMENTS[type]
    if ROW[type][code].type == "reference"
    for target in targets_of(type, code)
    if target in ELEMENTS
)
"""(type, reference parameter, target) of all the ways from type to type."""


REFERRING = frozenset(link[0] for link in LINKS)


@st.composite
def links(draw: st.DrawFn, there: There, end: int, type: str) -> tuple[str, str, str]:
    """A link with the type at this end, mostly one that a resource has."""
    real = [link for link in there.links if link[end] == type]
    mostly = real and draw(st.sampled_from((True, True, True, True, False)))
    return draw(st.sampled_from(real if mostly else [link for link in LINKS if link[end] == type]))


# `_filter`

OPERATORS: dict[str, tuple[str, ...]] = {
    "composite": ("eq",),
    "date": (*PREFIXES, "po"),
    "number": PREFIXES,
    "quantity": PREFIXES,
    "reference": ("eq", "ne", "re"),
    "string": ("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le"),
    "token": ("eq", "ne"),
    "uri": ("eq", "ne"),
}


def comparisons(there: There, type: str, code: str) -> st.SearchStrategy[Test]:
    kind = ROW[type][code].type
    asked = st.sampled_from([text for text in TEXTS if text.isalpha()]) if kind == "string" else there.asked(type, code)
    named = st.just(code)
    ways = [
        st.builds(Test, named, st.sampled_from(OPERATORS[kind]), asked),
        st.builds(Test, named, st.just("pr"), st.sampled_from(("true", "false"))),
    ]
    if kind == "token" and code != "_id":
        ways.append(st.builds(Test, named, st.sampled_from(("co", "sw", "ew")), PIECES))
    return st.one_of(ways)


PIECES = st.sampled_from(("a", "A", "e", "1", "-", "booked", "act", "ed", "zoe"))
"""What may be in a code, or begin or end it."""


def tests(there: There, type: str) -> st.SearchStrategy[Test]:
    """Comparisons of the type's own parameters."""
    return parameters(type).flatmap(lambda code: comparisons(there, type, code))


@st.composite
def chained(draw: st.DrawFn, there: There, type: str) -> Test | Through:
    """A comparison at the end of a chain, if the type has any."""
    if type not in REFERRING:
        return draw(tests(there, type))
    _, code, target = draw(links(there, 0, type))
    test = draw(tests(there, target))
    if draw(st.booleans()) or len(targets_of(type, code)) != 1:
        return Test(f"{code}.{test.path}", test.operator, test.value)
    return Through(code, draw(tests(there, target)), test)


@st.composite
def expressions(draw: st.DrawFn, there: There, type: str, depth: int = DEPTH_MAX) -> Expression:
    way = draw(st.sampled_from(("test", "chain", "and", "or", "not"))) if depth else "test"
    if way == "test":
        return draw(tests(there, type))
    if way == "chain":
        return draw(chained(there, type))
    inner = expressions(there, type, depth - 1)
    if way == "not":
        return Not(draw(inner))
    return (All if way == "and" else One)(draw(inner), draw(inner))


# Searches


def repeated(there: There, type: str) -> st.SearchStrategy[list[Pair]]:
    """The same parameter several times, such as both ends of a window."""

    def lists(code: str) -> st.SearchStrategy[list[Pair]]:
        return st.lists(asking(there, type, code), min_size=2, max_size=3)

    return parameters(type).flatmap(lists)


@st.composite
def queries(draw: st.DrawFn, there: There) -> Query:
    type = draw(st.sampled_from(sorted(ELEMENTS)))
    way = draw(st.sampled_from(("one", "one", "one", "two", "repeated", "sorted")))
    one = conditions(there, type)
    if way == "repeated":
        pairs = draw(repeated(there, type))
    else:
        pairs = [draw(one) for _ in range({"one": 1, "two": 2}.get(way, 0))]
    keys = st.sampled_from([code for code in sorted(ELEMENTS[type]) if ROW[type][code].type != "composite"])
    signed = st.tuples(st.sampled_from(("", "-")), keys).map("".join)
    sort = draw(st.lists(signed, min_size=1, max_size=3)) if way == "sorted" else draw(st.lists(signed, max_size=1))
    return Query(type, tuple(pairs), tuple(sort), draw(st.sampled_from((None, None, 1, 2, 3))), draw(st.booleans()))
