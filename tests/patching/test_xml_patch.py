"""XML Patch, by itself (RFC 5261)."""

from __future__ import annotations

import copy

import pytest

from fhir_server.outcome import FhirError
from fhir_server.patching.limits import OPERATIONS_MAX, VISITS_MAX
from fhir_server.patching.xml_patch import apply
from tests.clinic import patient
from tests.patches import Json, xml_patch

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">a<b>c</b>d</div>'
ANN = patient()
TOLD = patient(text={"status": "generated", "div": DIV})


def refused(raw: bytes, status: int, resource: Json = ANN) -> str:
    """The text of the refusal, which must have this status; the resource stays as it was."""
    before = copy.deepcopy(resource)
    with pytest.raises(FhirError) as caught:
        apply(raw, resource)
    assert caught.value.status == status, caught.value
    assert resource == before
    return caught.value.issues[0].text


def told(*operations: str) -> str:
    """What the operations make of the inside of the narrative."""
    div = apply(xml_patch(*operations), TOLD)["text"]["div"]
    return str(div).removeprefix('<div xmlns="http://www.w3.org/1999/xhtml">').removesuffix("</div>")


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ('<replace sel="Patient/active/@value">false</replace>', {"active": False}),
        ('<replace sel="/Patient/active/@value">false</replace>', {"active": False}),
        ('<replace sel="*/active/@value">false</replace>', {"active": False}),
        ('<replace sel="Patient/*[2]/@value">false</replace>', {"active": False}),
        ("<replace sel=\"Patient/*[@value='true']/@value\">false</replace>", {"active": False}),
        ('<replace sel="Patient/active"><active value="false"/></replace>', {"active": False}),
        ('<replace sel="Patient/active">\n  <active value="false"/>\n</replace>', {"active": False}),
        ('<replace sel="Patient/name"><name><text value="Ann"/></name></replace>', {"name": [{"text": "Ann"}]}),
        ('<remove sel="Patient/active"/>', {"active": None}),
        ('<remove sel="Patient/active" ws="both"/>', {"active": None}),
        ('<remove sel="Patient/name[1]/given[last()]"/>', {"name": [{"family": "Ash"}]}),
        ('<add sel="Patient"><birthDate value="1930"/></add>', {"birthDate": "1930"}),
        ('<add sel="Patient/active" pos="after"><birthDate value="1930"/></add>', {"birthDate": "1930"}),
        ('<add sel="Patient/active" pos="before"><language value="en"/></add>', {"language": "en"}),
        (
            '<add sel="Patient/name[family/@value=\'Ash\']/given" pos="before"><given value="Bo"/></add>',
            {"name": [{"family": "Ash", "given": ["Bo", "Ann"]}]},
        ),
        (
            '<add sel="Patient/name" pos="prepend"><use value="usual"/></add>',
            {"name": [{"use": "usual", "family": "Ash", "given": ["Ann"]}]},
        ),
        (
            '<add sel="Patient/name">\n <given value="X"/>\n <given value="Y"/>\n</add>',
            {"name": [{"family": "Ash", "given": ["Ann", "X", "Y"]}]},
        ),
        ('<add sel="Patient/name" type="@id">n</add>', {"name": [{"id": "n", "family": "Ash", "given": ["Ann"]}]}),
        ("<!-- nothing -->", {}),
        ("", {}),
    ],
)
def test_operations_change_the_resource(patch: str, changed: Json) -> None:
    expected = {name: value for name, value in {**ANN, **changed}.items() if value is not None}
    assert apply(xml_patch(patch), ANN) == expected


def test_the_whole_resource_can_be_replaced() -> None:
    whole = '<replace sel="Patient"><Patient><id value="ann"/><gender value="male"/></Patient></replace>'
    assert apply(xml_patch(whole), ANN) == {"resourceType": "Patient", "id": "ann", "gender": "male"}


def test_attributes_are_removed() -> None:
    named = patient(name=[{"id": "n", "family": "Ash", "given": ["Ann"]}])
    assert apply(xml_patch('<remove sel="Patient/name/@id"/>'), named) == ANN


def test_a_prefix_of_the_patch_is_that_of_its_selectors() -> None:
    operation = '<replace sel="f:Patient/f:active/@value">false</replace>'
    raw = f'<diff xmlns:f="http://hl7.org/fhir">{operation}</diff>'.encode()
    assert apply(raw, ANN)["active"] is False
    bare = '<diff><replace sel="Patient/active/@value">false</replace></diff>'
    assert "http://hl7.org/fhir" in refused(bare.encode(), 422)
    own = '<diff><replace xmlns="http://hl7.org/fhir" sel="Patient/active/@value">false</replace></diff>'
    assert apply(own.encode(), ANN)["active"] is False


def test_operations_see_what_those_before_them_did() -> None:
    patch = xml_patch(
        '<add sel="Patient"><contact><gender value="male"/></contact></add>',
        '<replace sel="Patient/contact/gender/@value">female</replace>',
    )
    assert apply(patch, ANN)["contact"] == [{"gender": "female"}]


def test_texts_of_a_narrative_are_patched() -> None:
    div = "Patient/text/h:div"
    assert told(f'<replace sel="{div}/text()[1]">A</replace>') == "A<b>c</b>d"
    assert told(f'<replace sel="{div}/text()[2]">D</replace>') == "a<b>c</b>D"
    assert told(f'<remove sel="{div}/text()[1]"/>') == "<b>c</b>d"
    assert told(f'<remove sel="{div}/h:b"/>') == "ad"
    assert told(f'<remove sel="{div}/h:b"/>', f'<add sel="{div}" pos="prepend">z</add>') == "zad"
    assert told(f'<replace sel="{div}/h:b"><h:i>e</h:i></replace>') == "a<i>e</i>d"
    assert told(f'<add sel="{div}">e<h:i>f</h:i>g</add>') == "a<b>c</b>de<i>f</i>g"
    assert told(f'<add sel="{div}" pos="prepend"><h:i>f</h:i>g</add>') == "<i>f</i>ga<b>c</b>d"
    assert told(f'<add sel="{div}/h:b" pos="before">e</add>') == "ae<b>c</b>d"
    assert told(f'<add sel="{div}/h:b" pos="after">e</add>') == "a<b>c</b>ed"
    assert told(f"<replace sel=\"{div}/h:b[.='c']/text()\">e</replace>") == "a<b>e</b>d"


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ('<replace sel="Patient/gender/@value">male</replace>', "none were found"),
        ('<remove sel="Patient/*"/>', "3 were found"),
        ('<remove sel="Encounter"/>', "none were found"),
        ('<remove sel="Patient"/>', "cannot be removed"),
        ('<add sel="Patient" pos="before"><Patient/></add>', "nothing can be beside the resource"),
        ('<add sel="Patient/active" type="@value">false</add>', "there already"),
        ('<add sel="Patient/active/@value">false</add>', "only to an element"),
    ],
)
def test_what_cannot_be_done_is_unprocessable(patch: str, why: str) -> None:
    assert why in refused(xml_patch(patch), 422)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not well-formed"),
        (b"<diff>", "not well-formed"),
        (b"\xff\xfe", "UTF-8"),
        (b"<Patient/>", "must be diff"),
        (b'<!DOCTYPE diff [<!ENTITY a "b">]><diff/>', "DOCTYPE"),
        (b"<diff>&a;</diff>", "not well-formed"),
        (xml_patch('<move sel="Patient"/>'), "add, replace, remove"),
        (xml_patch("<remove/>"), "needs a `sel`"),
        (xml_patch('<remove sel="//name"/>'), "needs a `sel`"),
        (xml_patch('<remove sel="Patient/name[count(//*)=1]"/>'), "needs a `sel`"),
        (xml_patch("<remove sel=\"document('file:///x')\"/>"), "needs a `sel`"),
        (xml_patch(f'<remove sel="Patient/{"a" * 1000}"/>'), "at most 1000 characters"),
        (xml_patch('<remove sel="Patient/x:name"/>'), "not declared"),
        (xml_patch('<remove sel="Patient/name" ws="none"/>'), "`ws`"),
        (xml_patch('<remove sel="Patient/name">x</remove>'), "must be empty"),
        (xml_patch('<remove sel="Patient/name" pos="after"/>'), "has no attribute pos"),
        (xml_patch('<add sel="Patient" pos="first"/>'), "`pos`"),
        (xml_patch('<add sel="Patient" type="namespace::x">y</add>'), "`type`"),
        (xml_patch('<add sel="Patient" type="@x:y">z</add>'), "not declared"),
        (xml_patch('<add sel="Patient/name" type="@id"><id/></add>'), "a text in it"),
        (xml_patch('<replace sel="Patient/name"/>'), "one element"),
        (xml_patch('<replace sel="Patient/active/@value"><active/></replace>'), "a text in it"),
        (xml_patch('<add sel="Patient"><nothing value="x"/></add>'), "not an element"),
        (xml_patch('<add sel="Patient">text</add>'), "text"),
        (xml_patch('<remove sel="Patient/active/@value"/>'), "value"),
        (xml_patch('<replace sel="Patient/active/@value">perhaps</replace>'), "true or false"),
    ],
)
def test_what_is_malformed_is_a_bad_request(raw: bytes, why: str) -> None:
    assert why in refused(raw, 400)


def test_operations_are_limited() -> None:
    operation = '<replace sel="Patient/active/@value">true</replace>'
    assert apply(xml_patch(*[operation] * OPERATIONS_MAX), ANN) == ANN
    assert "1000 operations" in refused(xml_patch(*[operation] * (OPERATIONS_MAX + 1)), 422)


def test_looking_is_limited() -> None:
    big = patient(identifier=[{"value": str(number)} for number in range(6000)])
    operation = "<replace sel=\"Patient/identifier[value/@value='1']/value/@value\">1</replace>"
    assert str(VISITS_MAX) in refused(xml_patch(*[operation] * 60), 422, big)
