"""FHIR's XML: it says the same as the JSON, and what is not FHIR's is refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from fhir_server import document, markup
from fhir_server.outcome import FhirError

EXAMPLES = Path(__file__).parents[1] / "data" / "r4-examples"
NAMESPACE = 'xmlns="http://hl7.org/fhir"'
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


def patient(inner: str, attributes: str = "") -> bytes:
    return f"<Patient {NAMESPACE}{attributes}>{inner}</Patient>".encode()


def written(resource: dict[str, Any]) -> bytes:
    """What is printed, without its first line."""
    head, body = markup.print(resource).split(b"?>", 1)
    assert head == b'<?xml version="1.0" encoding="UTF-8"'
    return body


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.xml")), ids=lambda file: file.stem)
def test_the_xml_of_an_official_example_says_what_its_json_says(file: Path) -> None:
    resource = document.parse(file.with_suffix(".json").read_bytes())
    assert spelled(markup.parse(file.read_bytes())) == spelled(resource)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.json")), ids=lambda file: file.stem)
def test_what_is_printed_of_an_official_example_is_read_as_it_was(file: Path) -> None:
    resource = document.parse(file.read_bytes())
    for pretty in (False, True):
        assert spelled(markup.parse(markup.print(resource, pretty=pretty))) == spelled(resource)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.xml")), ids=lambda file: file.stem)
def test_an_official_example_is_printed_as_it_was_published(file: Path) -> None:
    printed = markup.print(markup.parse(file.read_bytes()))
    assert canonical(printed) == canonical(file.read_bytes())


def test_a_bundle_of_all_official_examples_is_read_as_it_was() -> None:
    entries = [{"resource": document.parse(file.read_bytes())} for file in sorted(EXAMPLES.glob("*.json"))]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    assert spelled(markup.parse(markup.print(bundle))) == spelled(bundle)


def canonical(xml: bytes) -> str:
    """The XML as all its spellings agree, without comments and without blanks between FHIR's elements."""
    root = etree.fromstring(xml)
    for node in root.iter("{http://hl7.org/fhir}*"):
        node.text = node.tail = None
    for div in root.iter("{http://www.w3.org/1999/xhtml}div"):
        if div.getparent().tag.startswith("{http://hl7.org/fhir}"):
            div.tail = None
    return etree.canonicalize(etree.tostring(root, encoding="unicode"))


def spelled(value: Any) -> Any:
    """The value with its numbers as they are spelled, so that 1.50 differs from 1.5 and 1 from true."""
    if isinstance(value, dict):
        return {name: spelled(each) for name, each in value.items()}
    if isinstance(value, list):
        return [spelled(each) for each in value]
    return (type(value) is bool, type(value) in (int, Decimal), str(value))


def test_elements_are_printed_in_the_order_of_r4() -> None:
    resource = {"resourceType": "Patient", "name": [{"given": ["A"], "family": "B"}], "active": True, "id": "1"}
    assert written(resource) == patient(
        '<id value="1"/><active value="true"/><name><family value="B"/><given value="A"/></name>'
    )


def test_what_stands_beside_primitives_keeps_its_place() -> None:
    gaps = {
        "resourceType": "Patient",
        "_gender": {"id": "g"},
        "gender": "other",
        "name": [
            {
                "given": ["A", None, "B"],
                "_given": [None, {"extension": [{"url": "http://x", "valueInteger": 3}]}, {"id": "b"}],
            }
        ],
    }
    assert written(gaps) == patient(
        '<name><given value="A"/><given><extension url="http://x"><valueInteger value="3"/></extension></given>'
        '<given id="b" value="B"/></name><gender id="g" value="other"/>'
    )
    assert markup.parse(markup.print(gaps)) == gaps


def test_resources_stand_inside_others_under_their_names() -> None:
    inner = {"resourceType": "Slot", "id": "s", "comment": "x"}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inner}, {"resource": inner}]}
    assert b'<entry><resource><Slot><id value="s"/><comment value="x"/></Slot></resource></entry>' in written(bundle)
    contained = {"resourceType": "Patient", "contained": [inner, inner]}
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": inner}]}
    for resource in (bundle, contained, parameters):
        assert markup.parse(markup.print(resource)) == resource


@pytest.mark.parametrize("number", ["1.50", "0.0", "-0.00", "1E+3", "1E-7", "3", "-7", "0." + "1" * 34])
def test_every_digit_of_a_decimal_is_kept(number: str) -> None:
    xml = f'<Encounter {NAMESPACE}><length><value value="{number}"/></length></Encounter>'.encode()
    assert written(markup.parse(xml)) == xml
    assert spelled(markup.parse(xml)) == spelled(document.parse(document.print(markup.parse(xml))))


def test_xhtml_is_kept_letter_by_letter() -> None:
    div = f"{DIV}\n<p class='a'>1 &lt; 2 &#160;<br />  <!-- so --><b></b></p></div>"
    xml = patient(f'<text><status value="generated"/>{div}</text>')
    assert markup.parse(xml)["text"]["div"] == div
    assert written(markup.parse(xml)) == xml


def test_xhtml_takes_along_the_namespaces_that_it_has_from_outside() -> None:
    xmlns = ' xmlns:h="http://www.w3.org/1999/xhtml" xmlns:unused="http://x"'
    read = markup.parse(patient('<text><status value="generated"/><h:div id="a"><h:b>1</h:b></h:div></text>', xmlns))
    assert read["text"]["div"] == '<h:div xmlns:h="http://www.w3.org/1999/xhtml" id="a"><h:b>1</h:b></h:div>'
    turned = (
        '<f:Patient xmlns:f="http://hl7.org/fhir" xmlns="http://www.w3.org/1999/xhtml"><f:text>'
        '<f:status value="generated"/><div>1</div></f:text></f:Patient>'
    )
    assert markup.parse(turned.encode())["text"]["div"] == f"{DIV}1</div>"


def test_what_introduces_xhtml_that_stands_alone_is_not_repeated_inside() -> None:
    narrative = {"status": "generated", "div": f'<?xml version="1.0"?>\n{DIV}1</div>'}
    printed = markup.print({"resourceType": "Patient", "text": narrative})
    assert markup.parse(printed)["text"]["div"] == f"{DIV}1</div>"


def test_texts_are_kept_whatever_is_in_them() -> None:
    resource = {"resourceType": "Slot", "comment": " a\n\tb\r\n\"c\" <d> & 'e' ü 😀 "}
    assert markup.parse(markup.print(resource)) == resource


def test_what_xml_cannot_say_is_replaced() -> None:
    printed = markup.print({"resourceType": "Slot", "comment": "a\x01\uffff"})
    assert markup.parse(printed)["comment"] == "a\ufffd\ufffd"


def test_pretty_xml_has_a_line_for_each_element() -> None:
    pretty = markup.print({"resourceType": "Patient", "name": [{"family": "B"}]}, pretty=True)
    assert pretty.decode().split("\n")[1:] == [
        f"<Patient {NAMESPACE}>", "  <name>", '    <family value="B"/>', "  </name>", "</Patient>",
    ]  # fmt: skip


def test_comments_and_schema_locations_are_skipped() -> None:
    xsi = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://hl7.org/fhir patient.xsd"'
    read = markup.parse(patient('<!-- a --><active value="true"/><!-- b -->', xsi))
    assert read == {"resourceType": "Patient", "active": True}


ONE = '<id value="1"/>'
ENTITIES = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(7))
ENTITY = '<!DOCTYPE x [<!ENTITY a "1">]>'
FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
BOMB = f'<!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">{ENTITIES}]>'
EMPTY_DIV = '<text><div xmlns="http://www.w3.org/1999/xhtml"/></text>'
TWO_SLOTS = f"<contained><Slot>{ONE}</Slot><Slot>{ONE}</Slot></contained>"


def length(number: str) -> bytes:
    return f'<Encounter {NAMESPACE}><length><value value="{number}"/></length></Encounter>'.encode()


MALFORMED = {
    "nothing": b"",
    "JSON": b'{"resourceType":"Patient"}',
    "half a document": b"<Patient",
    "two documents": patient(ONE) * 2,
    "UTF-16 that does not say so": patient(ONE).decode().encode("utf-16-le"),
    "UTF-16": patient(ONE).decode().encode("utf-16"),
    "Latin-1": b'<?xml version="1.0" encoding="iso-8859-1"?>' + patient(ONE),
    "bytes that are not UTF-8": patient(ONE).replace(b"1", b"\xff"),
    "a DOCTYPE": b"<!DOCTYPE Patient>" + patient(ONE),
    "an internal entity": ENTITY.encode() + patient('<id value="&a;"/>'),
    "an external entity": FILE.encode() + patient("&a;"),
    "an external DTD": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">' + patient(ONE),
    "entities in entities": BOMB.encode() + patient('<id value="&e7;"/>'),
    "an entity of HTML": patient(f"<text>{DIV}&nbsp;</div></text>"),
    "no namespace": f"<Patient>{ONE}</Patient>".encode(),
    "another namespace": f'<Patient xmlns="urn:hl7-org:v3">{ONE}</Patient>'.encode(),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_plain_xml_is_refused(body: bytes) -> None:
    with pytest.raises(FhirError, match=r"line \d+, column \d+$|byte \d+ is not$") as refused:
        markup.parse(body)
    assert (refused.value.status, refused.value.issues[0].code) == (400, "structure")


REFUSED = {
    "a processing instruction": (patient(f"<?php 1 ?>{ONE}"), "structure", "Patient"),
    "one in XHTML": (patient(f"<text>{DIV}<?php 1 ?></div></text>"), "structure", "Patient.text.div"),
    "XInclude": (patient('<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="x"/>'), "structure", "Patient"),
    "an unknown type": (f"<Unicorn {NAMESPACE}/>".encode(), "structure", "Unicorn"),
    "a data type": (f'<HumanName {NAMESPACE}><text value="1"/></HumanName>'.encode(), "structure", "HumanName"),
    "an unknown element": (patient('<wings value="2"/>'), "structure", "Patient.wings"),
    "a misspelled element": (patient('<birthdate value="2000"/>'), "structure", "Patient.birthdate"),
    "an unknown attribute": (patient('<active values="true"/>'), "structure", "Patient.active.@values"),
    "an attribute of a resource": (patient('<active value="true"/>', ' id="1"'), "structure", "Patient.@id"),
    "an id inside": (patient(f"<name>{ONE}</name>"), "structure", "Patient.name[0].id"),
    "text": (patient("<active>true</active>"), "structure", "Patient.active"),
    "an empty value": (patient('<active value=""/>'), "value", "Patient.active"),
    "no value": (patient("<active/>"), "structure", "Patient.active"),
    "an empty element": (patient("<name/>"), "structure", "Patient.name[0]"),
    "an element twice": (patient('<active value="true"/><active value="false"/>'), "structure", "Patient.active"),
    "a boolean that is none": (patient('<active value="yes"/>'), "value", "Patient.active"),
    "an integer that is none": (
        patient('<multipleBirthInteger value="1.0"/>'),
        "value",
        "Patient.multipleBirthInteger",
    ),
    "a decimal that is none": (length("1,5"), "value", "Encounter.length.value"),
    "35 digits": (length("1" * 35), "value", "Encounter.length.value"),
    "XHTML elsewhere": (patient(f"{DIV}1</div>"), "structure", "Patient"),
    "a div that is no XHTML": (patient("<text><div>1</div></text>"), "structure", "Patient.text.div"),
    "empty XHTML": (patient(EMPTY_DIV), "structure", "Patient.text.div"),
    "two resources in one place": (patient(TWO_SLOTS), "structure", "Patient.contained[0]"),
    "no resource in its place": (patient("<contained/>"), "structure", "Patient.contained[0]"),
    "a data type in its place": (
        patient('<contained><HumanName><text value="1"/></HumanName></contained>'),
        "structure",
        "Patient.contained[0]",
    ),
    "a hundred thousand elements": (patient("<name>" * 100_000), "structure", "Patient"),
}


@pytest.mark.parametrize(("body", "code", "expression"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_fhir_xml_is_refused(body: bytes, code: str, expression: str) -> None:
    with pytest.raises(FhirError) as refused:
        markup.parse(body)
    assert (refused.value.status, refused.value.issues[0].code) == (400, code)
    assert refused.value.issues[0].expression == (expression,)


def test_a_misspelled_element_is_told_the_right_one() -> None:
    with pytest.raises(FhirError, match="birthDate is one"):
        markup.parse(patient('<birthdate value="2000"/>'))


def nested(depth: int) -> bytes:
    """JSON's depth: the Encounter, and two for each extension, but for the value of the last one."""
    levels = (depth - 1) // 2
    return (
        f"<Encounter {NAMESPACE}>"
        + '<extension url="x">' * levels
        + '<valueCode value="a"/>'
        + "</extension>" * levels
        + "</Encounter>"
    ).encode()


def test_the_deepest_nesting_is_that_of_json_and_one_more_is_refused() -> None:
    assert document.parse(document.print(markup.parse(nested(63))))
    with pytest.raises(FhirError, match="deeper than 64"):
        markup.parse(nested(65))


def test_as_many_elements_as_are_allowed_are_read_and_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "ELEMENTS_MAX", 10)
    assert (
        len(
            markup.parse(
                patient(
                    '<name><text value="a"/></name>' + '<photo><url value="b"/></photo>' * 3 + '<active value="true"/>'
                )
            )["photo"]
        )
        == 3
    )
    with pytest.raises(FhirError) as refused:
        markup.parse(patient('<name><text value="a"/></name>' + '<photo><url value="b"/></photo>' * 4))
    assert (refused.value.status, refused.value.issues[0].code) == (413, "too-long")


def test_as_many_attributes_as_are_allowed_are_read_and_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "ELEMENTS_MAX", 10)
    for number, status, code in ((8, 400, "structure"), (9, 413, "too-long")):
        with pytest.raises(FhirError) as refused:
            markup.parse(patient("<active " + " ".join(f'a{n}="b"' for n in range(number)) + ' value="true"/>'))
        assert (refused.value.status, refused.value.issues[0].code) == (status, code)


def test_as_many_prefixes_as_are_allowed_are_read_and_one_more_is_refused() -> None:
    xmlns = [f' xmlns:a{n}="u"' for n in range(markup.PREFIXES_MAX)]
    assert markup.parse(patient(ONE, "".join(xmlns[1:])))["id"] == "1"
    with pytest.raises(FhirError, match="prefixes") as refused:
        markup.parse(patient(ONE, "".join(xmlns)))
    assert refused.value.status == 400


def test_the_server_does_not_print_what_is_no_element() -> None:
    with pytest.raises(ValueError, match="Slot has no element wings"):
        markup.print({"resourceType": "Slot", "wings": 2})
    with pytest.raises(ValueError, match="Unicorn"):
        markup.print({"resourceType": "Unicorn"})


_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=8
)
_CODING = st.fixed_dictionaries(
    {}, optional={"id": _TEXT, "system": _TEXT, "code": _TEXT, "userSelected": st.booleans()}
)
_SIMPLE = st.fixed_dictionaries({"url": _TEXT, "valueString": _TEXT})
_EXTENSION = _SIMPLE | st.fixed_dictionaries({"url": _TEXT, "extension": st.lists(_SIMPLE, min_size=1, max_size=3)})
_BESIDE = st.fixed_dictionaries({"extension": st.lists(_EXTENSION, min_size=1, max_size=2)}, optional={"id": _TEXT})


@st.composite
def _names(draw: st.DrawFn) -> dict[str, Any]:
    """A name whose given names have gaps in which something stands beside them."""
    pairs = draw(st.lists(st.tuples(st.none() | _TEXT, st.none() | _BESIDE).filter(any), min_size=1, max_size=3))
    given, beside = [one for one, _ in pairs], [other for _, other in pairs]
    name: dict[str, Any] = {"family": draw(_TEXT)}
    return name | ({"given": given} if any(given) else {}) | ({"_given": beside} if any(beside) else {})


_PATIENTS = st.fixed_dictionaries(
    {"resourceType": st.just("Patient"), "id": _TEXT},
    optional={
        "active": st.booleans(),
        "multipleBirthInteger": st.integers(-(2**31), 2**31 - 1),
        "_birthDate": _BESIDE,
        "extension": st.lists(_EXTENSION, min_size=1, max_size=2),
        "name": st.lists(_names(), min_size=1, max_size=2),
        "maritalStatus": _CODING.filter(len).map(lambda coding: {"coding": [coding]}),
    },
)


@given(_PATIENTS)
@settings(max_examples=150)
def test_whatever_is_printed_is_read_as_it_was(resource: dict[str, Any]) -> None:
    assert markup.parse(markup.print(resource)) == resource
    assert markup.parse(markup.print(resource, pretty=True)) == resource


@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=200)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        assert isinstance(markup.parse(f"<Patient {NAMESPACE}>".encode() + body + b"</Patient>"), dict)
    except FhirError as refused:
        assert refused.status == 400


def test_a_resource_without_elements_is_one() -> None:
    assert markup.parse(b'<Parameters xmlns="http://hl7.org/fhir"/>') == {"resourceType": "Parameters"}
