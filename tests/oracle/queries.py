"""Random searches, from the same pools as the resources."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.oracle.clinics import BASE, CANONICALS, CODES, DATES, IDS, MOMENTS, SYSTEMS, TEXTS, UCUM, URIS
from tests.oracle.elements import ELEMENTS
from tests.oracle.expressions import All, Expression, Not, One, Test, Through
from tests.oracle.oracle import PREFIXES, ROW, Pair

Texts = st.SearchStrategy[str]

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
TIMES = (
    "2026-03-08T05:00Z",
    "2026-03-08T00:00",
    "2026-03-08T03:30",
    "2026-11-01T01:30",
    "2026-03-08T05:00:00",
    "2026-03",
)
dates = joined("", prefixes, pool(*DATES, *MOMENTS, *TIMES, "2026-03-08T10:30:00.12Z", "2023", "2028-01-01"))
numbers = joined("", prefixes, pool("30", "29.5", "30.0", "3e1", "0.5", "1", "60", "1800", "2e3", "7"))
units = st.sampled_from(("", "", f"|{UCUM}|min", f"|{UCUM}|h", f"|{UCUM}|s", "||min", "||minutes"))
uris = pool(*URIS, *CANONICALS, "http://a.example", "http://a.example/p/q/r")

ENUMERATED: dict[str, Texts] = {
    "http://hl7.org/fhir/administrative-gender": pool("male", "female", "unknown", "Male"),
    "http://hl7.org/fhir/address-use": pool("home", "work", "old"),
    "http://hl7.org/fhir/appointmentstatus": pool("proposed", "waitlist", "cancelled", "noshow", "fulfilled"),
    "http://hl7.org/fhir/participationstatus": pool("accepted", "declined", "tentative", "needs-action"),
    "http://hl7.org/fhir/encounter-status": pool("planned", "in-progress", "finished", "cancelled"),
    "http://hl7.org/fhir/location-status": pool("active", "suspended", "inactive"),
    "http://hl7.org/fhir/slotstatus": pool("free", "busy", "entered-in-error", "busy-unavailable"),
}


PARTICIPATION = ENUMERATED["http://hl7.org/fhir/participationstatus"]


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


def with_modifier(name: str, modifier: str, values: Texts) -> st.SearchStrategy[Pair]:
    return st.tuples(st.just(name + modifier), st.lists(values, min_size=1, max_size=2).map(",".join))


def alternatives(type: str, code: str) -> list[st.SearchStrategy[Pair]]:
    """All ways to ask for one parameter, by itself."""
    row = ROW[type][code]
    datatype = ELEMENTS[type][code].partition(" ")[2]
    ways = [with_modifier(code, "", VALUES[row.type])] if row.type in VALUES else []
    if row.type == "token":
        ways += [with_modifier(code, modifier, tokens_of(datatype)) for modifier in ("", ":not")]
    if row.type == "token" and datatype in ("CodeableConcept", "Coding", "Identifier"):
        ways.append(with_modifier(code, ":text", texts))
    if datatype == "Identifier":
        ways.append(with_modifier(code, ":of-type", joined("|", systems, codes, codes)))
    if row.type == "string":
        ways += [with_modifier(code, modifier, texts) for modifier in (":exact", ":contains")]
    if row.type == "uri":
        ways += [with_modifier(code, modifier, uris) for modifier in (":below", ":above")]
    if row.type == "reference":
        types = row.target or tuple(ELEMENTS)
        ways.append(with_modifier(code, "", references(types)))
        ways.append(with_modifier(code, ":identifier", tokens))
        ways += [with_modifier(code, f":{target}", ids) for target in types]
    if code == "actor-part-status":
        return [with_modifier(code, "", ANSWERS)]
    missing = st.tuples(st.just(f"{code}:missing"), st.sampled_from(("true", "false")))
    return [*ways, missing]


VALUES: dict[str, Texts] = {
    "date": dates,
    "quantity": joined("", numbers, units),
    "string": texts,
    "uri": uris,
}


@st.composite
def conditions(draw: st.DrawFn, type: str, depth: int = DEPTH_MAX) -> Pair:
    """One parameter of the type: by itself, at the end of a chain, or of what refers to it."""
    way = draw(st.sampled_from(("itself", "itself", "itself", "chain", "has", "filter"))) if depth else "itself"
    if way == "filter" and depth == DEPTH_MAX:
        return "_filter", draw(expressions(type))
    if way == "chain" and (links := [link for link in LINKS if link[0] == type]):
        _, code, target = draw(st.sampled_from(links))
        name, value = draw(conditions(target, depth - 1))
        typed = draw(st.booleans())
        return f"{code}:{target}.{name}" if typed else f"{code}.{name}", value
    if way == "has" and (links := [link for link in LINKS if link[2] == type]):
        source, code, _ = draw(st.sampled_from(links))
        name, value = draw(conditions(source, depth - 1))
        return f"_has:{source}:{code}:{name}", value
    return draw(st.sampled_from(sorted(ELEMENTS[type])).flatmap(lambda code: st.one_of(alternatives(type, code))))


LINKS = sorted(
    (type, code, target)
    for type in ELEMENTS
    for code in ELEMENTS[type]
    if ROW[type][code].type == "reference"
    for target in ROW[type][code].target or ELEMENTS
    if target in ELEMENTS
)
"""(type, reference parameter, target) of all the ways from type to type."""


def tests(type: str) -> st.SearchStrategy[Test]:
    """Comparisons of the type's own parameters."""
    return st.sampled_from(sorted(ELEMENTS[type])).flatmap(lambda code: comparisons(type, code))


def comparisons(type: str, code: str) -> st.SearchStrategy[Test]:
    row = ROW[type][code]
    operators, asked = COMPARISONS[row.type]
    if row.type == "token":
        asked = tokens_of(ELEMENTS[type][code].partition(" ")[2])
    elif row.type == "reference":
        asked = references(row.target or tuple(ELEMENTS))
    present = st.builds(Test, st.just(code), st.just("pr"), st.sampled_from(("true", "false")))
    return st.one_of(st.builds(Test, st.just(code), st.sampled_from(operators), asked), present)


ANSWERS = joined("$", references(("Patient", "Practitioner", "Location")), PARTICIPATION)

COMPARISONS: dict[str, tuple[tuple[str, ...], Texts]] = {
    "composite": (("eq",), ANSWERS),
    "date": ((*PREFIXES, "po"), pool(*DATES, *MOMENTS)),
    "quantity": (PREFIXES, joined("", st.sampled_from(("30", "29.5", "0.5", "60")), units)),
    "reference": (("eq", "ne", "re"), ids),
    "string": (("eq", "ne", "co", "sw", "ew"), st.sampled_from([text for text in TEXTS if text.isalpha()])),
    "token": (("eq", "ne"), tokens),
    "uri": (("eq", "ne"), uris),
}


@st.composite
def chained(draw: st.DrawFn, type: str) -> Test | Through:
    """A comparison at the end of a chain, if the type has any."""
    links = [link for link in LINKS if link[0] == type]
    if not links:
        return draw(tests(type))
    _, code, target = draw(st.sampled_from(links))
    test = draw(tests(target))
    if draw(st.booleans()) or len(ROW[type][code].target) != 1:
        return Test(f"{code}.{test.path}", test.operator, test.value)
    return Through(code, draw(tests(target)), test)


def expressions(type: str) -> st.SearchStrategy[Expression]:
    leaves = tests(type) | chained(type)
    return st.recursive(
        leaves,
        lambda inner: st.builds(All, inner, inner) | st.builds(One, inner, inner) | st.builds(Not, inner),
        max_leaves=3,
    )


def repeated(type: str) -> st.SearchStrategy[list[Pair]]:
    """The same parameter several times, such as both ends of a window."""

    def lists(code: str) -> st.SearchStrategy[list[Pair]]:
        return st.lists(st.one_of(alternatives(type, code)), min_size=2, max_size=3)

    return st.sampled_from(sorted(ELEMENTS[type])).flatmap(lists)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    type = draw(st.sampled_from(sorted(ELEMENTS)))
    pairs = draw(st.lists(conditions(type), max_size=2) | repeated(type))
    keys = st.sampled_from([code for code in sorted(ELEMENTS[type]) if ROW[type][code].type != "composite"])
    sort = draw(st.lists(st.tuples(st.sampled_from(("", "-")), keys).map("".join), max_size=2))
    return Query(type, tuple(pairs), tuple(sort), draw(st.sampled_from((None, None, 1, 2, 3))), draw(st.booleans()))
