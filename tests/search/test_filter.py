"""`_filter`: its grammar, its operators on each kind of parameter, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.outcome import FhirError
from fhir_server.search.expression import Comparison, Expression, Joined, Name, Negated, read
from tests.search.rows import ask, finds


def spelled(expression: Expression) -> str:
    """The expression with a parenthesis around every join."""
    match expression:
        case Negated(part):
            return f"not({spelled(part)})"
        case Joined(word, parts):
            return f"({f' {word} '.join(map(spelled, parts))})"
        case Comparison(path, operator, value):
            names = (name.code + (f"[{spelled(name.filter)}]" if name.filter else "") for name in path)
            return f"{'.'.join(names)} {operator} {value}"


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("a eq 1", "a eq 1"),
        ("  a   eq   1  ", "a eq 1"),
        ("a eq 1 and b eq 2 and c eq 3", "(a eq 1 and b eq 2 and c eq 3)"),
        ("a eq 1 or b eq 2 and c eq 3", "((a eq 1 or b eq 2) and c eq 3)"),
        ("a eq 1 or (b eq 2 and c eq 3)", "(a eq 1 or (b eq 2 and c eq 3))"),
        ("not (a eq 1)", "not(a eq 1)"),
        ("not(a eq 1 or b eq 2) and c eq 3", "(not((a eq 1 or b eq 2)) and c eq 3)"),
        ("(a eq 1)and(b eq 2)", "(a eq 1 and b eq 2)"),
        ("a.b-c._d sw x", "a.b-c._d sw x"),
        ("a[b eq 1 or c eq 2].d.e pr true", "a[(b eq 1 or c eq 2)].d.e pr true"),
        ("not eq 1", "not eq 1"),
        ("and eq or and or eq and", "(and eq or and or eq and)"),
        (r'a eq "x) \"y\" \\ é ]"', 'a eq x) "y" \\ é ]'),
        ("a eq http://s|1,2", "a eq http://s|1,2"),
        ("a[b eq 1].c eq 2", "a[b eq 1].c eq 2"),
    ],
)
def test_it_is_read_from_left_to_right(text: str, read_as: str) -> None:
    assert spelled(read(text)) == read_as


def test_a_path_has_its_names_and_the_comparison_its_place() -> None:
    assert read(" a.b eq c") == Comparison((Name("a", None), Name("b", None)), "eq", "c", 2)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a", 2),
        ("a eq", 5),
        ("a is 1", 3),
        ("a EQ 1", 3),
        ("1 eq 1", 1),
        ("a eq 1 and", 8),
        ("a eq 1 and ", 12),
        ("a eq 1 and )", 12),
        ("a eq 1 b eq 2", 8),
        ("(a eq 1", 8),
        ("a eq 1)", 7),
        ("not (a eq 1", 12),
        ("not (a eq 1]", 12),
        ("a[b eq 1] eq 2", 10),
        ("a[b eq 1", 9),
        ("a[].b eq 1", 3),
        ("a. b eq 1", 3),
        ("a.b. eq 1", 5),
        ('a eq "open', 6),
        ('a eq "x"y', 9),
        ('a eq "\\x"', 6),
        ("a eq )", 6),
        ("()", 2),
        ("a:exact eq 1", 2),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_position(text: str, position: int) -> None:
    with pytest.raises(FhirError) as refused:
        read(text)
    assert (refused.value.status, refused.value.issues[0].code) == (400, "value")
    assert f"position {position}:" in refused.value.issues[0].text


@given(st.text('ab.[]()"\\ eqornt1', max_size=40))
def test_whatever_is_sent_is_read_or_refused(text: str) -> None:
    try:
        read(text)
    except FhirError as refused:
        assert refused.status == 400


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        ("a eq " + "x" * 3995, "a eq " + "x" * 3996),
        (" and ".join(["a eq 1"] * 100), " and ".join(["a eq 1"] * 101)),
        ("(" * 16 + "a eq 1" + ")" * 16, "(" * 17 + "a eq 1" + ")" * 17),
        ("a[" * 16 + "b eq 1" + "].c eq 1" * 16, "a[" * 17 + "b eq 1" + "].c eq 1" * 17),
        ("a eq 1 and a eq 1 or " * 8 + "a eq 1", "a eq 1 and a eq 1 or " * 9 + "a eq 1"),
    ],
)
def test_one_beyond_a_limit_is_refused(within: str, beyond: str) -> None:
    read(within)
    with pytest.raises(FhirError) as refused:
        read(beyond)
    assert (refused.value.status, refused.value.issues[0].code) == (400, "too-costly")


ANY = {
    "status": "booked",
    "type": [{"coding": [{"system": "urn:s", "code": "Abc"}, {"code": "d"}]}],
    "telecom": [{"system": "email", "value": "Ana@Example.org"}],
    "name": [{"family": "Carreño Quiñones", "given": ["Ana"]}],
    "alias": ["Main"],
    "start": "2026-01-15T09:00:00Z",
    "period": {"start": "2026-01-10", "end": "2026-01-20"},
    "participant": [{"actor": {"reference": "Patient/p1"}, "status": "accepted"}],
    "probability": 0.8,
    "length": {"value": 30, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"},
    "url": "http://a.example/fhir/x",
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name eq ana", True),
        ("name eq ANA", True),
        ('name eq "carreno quinones"', True),
        ("name eq quinones", False),
        ("name ne ana", False),
        ("name ne bob", True),
        ("name co ones", True),
        ("name co xyz", False),
        ("name co c.*o", False),
        ("name sw quin", True),
        ("name sw uin", False),
        ("name ew ones", True),
        ("name ew quin", False),
        ("name gt main", False),
        ("name ge main", True),
        ("name lt ana", False),
        ("name le ana", True),
        ("name pr true", True),
        ("name pr false", False),
        ("address-city pr false", True),
        ("address-city ne x", False),
        ("status eq booked", True),
        ("status eq x", False),
        ("status ne x", True),
        ("status ne booked", False),
        ("type eq urn:s|Abc", True),
        ("type eq urn:t|Abc", False),
        ("type ne d", False),
        ("type co b", True),
        ("type co B", False),
        ("type sw A", True),
        ("type sw urn", False),
        ("type ew c", True),
        ("type ew b", False),
        ("telecom sw ANA@", True),
        ("telecom ew EXAMPLE.org", True),
        ("telecom eq ANA@example.org", True),
        ("_id eq 1", True),
        ("_id ne 1", False),
        ("_id ne 2", True),
        ("_id pr true", True),
        ("actor eq Patient/p1", True),
        ("actor re Patient/p1", True),
        ("actor re https://clinic.example/fhir/Patient/p1", True),
        ("actor re Patient/p2", False),
        ("actor ne Patient/p1", False),
        ("actor ne p2", True),
        ("about ne p2", False),
        ("start eq 2026-01-15", True),
        ("start ne 2026-01-15", False),
        ("start gt 2026-01-15T08:00:00Z", True),
        ("start ge 2026-01-15", True),
        ("start lt 2026-01-15", False),
        ("start le 2026-01-15", True),
        ("start sa 2026-01-14", True),
        ("start eb 2026-01-16", True),
        ("start ap 2026-01-15", True),
        ("start po 2026-01-15", True),
        ("start po 2026-01-16", False),
        ("date po 2026-01-20", True),
        ("date po 2026-01-21", False),
        ("date po 2026", True),
        ("date eq 2026-01", True),
        ("_lastUpdated po 2026-01-15", True),
        ("_lastUpdated gt 2026-01-16", False),
        ("probability gt 0.7", True),
        ("probability eq 0.8", True),
        ("probability ne 0.80", False),
        ("probability lt 0.7", False),
        ("probability ap 0.75", True),
        ("length ge 0.5|http://unitsofmeasure.org|h", True),
        ("length eq 30", True),
        ("length sa 30", False),
        ("url eq http://a.example/fhir/x", True),
        ("url ne http://a.example/fhir/x", False),
        ("url sw http://a.example", True),
        ("url co example", True),
        ("url ew /x", True),
        ("url ew /y", False),
        ("phonetic eq Anna", True),
        ("phonetic eq Bob", False),
        ("actor-part-status eq p1$accepted", True),
        ("actor-part-status eq p1$declined", False),
        ("actor-part-status pr true", True),
        ("status eq booked and name eq ana", True),
        ("status eq booked and name eq bob", False),
        ("status eq x or name eq ana", True),
        ("status eq x or name eq bob", False),
        ("not (status eq x)", True),
        ("not (status eq booked or name eq bob)", False),
        ("not (status eq x) and not (name eq bob)", True),
        ("status eq x or name eq ana and start lt 2020", False),
        ("status eq booked or (name eq ana and start lt 2020)", True),
        ('type eq "urn:s|Abc"', True),
    ],
)
def test_an_operator_finds(text: str, found: bool) -> None:
    assert finds([("_filter", text)], ANY) is found


def test_filters_and_conditions_hold_together() -> None:
    assert finds([("_filter", "status eq booked"), ("_filter", "name eq ana"), ("start", "ge2026")], ANY)
    assert not finds([("_filter", "status eq booked"), ("_filter", "name eq bob")], ANY)
    assert not finds([("_filter", "status eq booked"), ("start", "lt2026")], ANY)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("type in http://hl7.org/fhir/ValueSet/x", "not-supported", "neither value sets"),
        ("type ni http://hl7.org/fhir/ValueSet/x", "not-supported", "neither value sets"),
        ("type ss urn:s|A", "not-supported", "neither value sets"),
        ("type sb urn:s|A", "not-supported", "neither value sets"),
        ("colour eq red", "not-supported", "no search parameter 'colour'"),
        ("status eq booked and colour eq red", "not-supported", "no search parameter 'colour'"),
        ("not (colour eq red)", "not-supported", "no search parameter 'colour'"),
        ("name.family eq x", "not-supported", "no reference"),
        ("actor.name eq x", "not-supported", "none of that is served"),
        ("status gt a", "not-supported", "What works: eq, ne, co, sw, ew, pr"),
        ("name sa a", "not-supported", "What works"),
        ("start co a", "not-supported", "What works"),
        ("actor co a", "not-supported", "What works"),
        ("status re a", "not-supported", "What works"),
        ("url po a", "not-supported", "What works"),
        ("near ne 1|2", "not-supported", "What works"),
        ("phonetic co a", "not-supported", "What works"),
        ("actor-part-status ne a$b", "not-supported", "What works"),
        ("status pr yes", "not-supported", "'true' or 'false'"),
        ("start eq soon", "value", "date"),
        ("start eq ge2020", "value", "date"),
        ("start po ge2020", "value", "date"),
        ("probability gt gt1", "value", "number"),
        ("length eq 1|x", "value", "number"),
        ('name eq "..."', "value", "letter"),
        (r'url co "a\u0000"', "value", "null"),
        (r'type ew "a\u0000"', "value", "null"),
        ("name co " + "a" * 101, "too-costly", "100"),
        ("name eq " + "a" * 1001, "too-costly", "1000"),
    ],
)
def test_what_has_no_meaning_is_refused(text: str, code: str, said: str) -> None:
    for strict in (False, True):
        with pytest.raises(FhirError) as refused:
            ask([("_filter", text)], strict=strict)
        assert (refused.value.status, refused.value.issues[0].code) == (400, code)
        assert said in refused.value.issues[0].text
