"""FHIR's JSON, read strictly and printed as it was sent."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import document
from fhir_server.outcome import FhirError

REFUSED = {
    "an array": (b"[]", "structure", "Resource"),
    "a text": (b'"Slot"', "structure", "Resource"),
    "nothing": (b"", "structure", None),
    "trailing data": (b'{"resourceType":"Slot"} x', "structure", None),
    "a trailing comma": (b'{"resourceType":"Slot",}', "structure", None),
    "a comment": (b'{"resourceType":"Slot" /* free */}', "structure", None),
    "UTF-16": ('{"resourceType":"Slot"}'.encode("utf-16"), "structure", None),
    "Latin-1": ('{"resourceType":"Slot","comment":"Zoë"}'.encode("latin-1"), "structure", None),
    "NaN": (b'{"resourceType":"Slot","a":NaN}', "structure", "Slot.a"),
    "Infinity": (b'{"resourceType":"Slot","a":[1,-Infinity]}', "structure", "Slot.a[1]"),
    "a repeated name": (b'{"resourceType":"Slot","status":"free","status":"busy"}', "structure", "Slot.status"),
    "a repeated name inside": (b'{"resourceType":"Slot","meta":{"id":"1","id":"1"}}', "structure", "Slot.meta.id"),
    "null": (b'{"resourceType":"Slot","comment":null}', "structure", "Slot.comment"),
    "null alone in an array": (b'{"resourceType":"Patient","given":[null]}', "structure", "Patient.given"),
    "an empty text": (b'{"resourceType":"Slot","comment":""}', "value", "Slot.comment"),
    "an empty array": (b'{"resourceType":"Slot","specialty":[]}', "structure", "Slot.specialty"),
    "an empty object": (b'{"resourceType":"Slot","specialty":[{}]}', "structure", "Slot.specialty[0]"),
    "half a surrogate pair": (b'{"resourceType":"Slot","comment":"\\ud83d"}', "value", "Slot.comment"),
    "NUL": (b'{"resourceType":"Slot","comment":"\\u0000"}', "value", "Slot.comment"),
    "a raw line feed": (b'{"resourceType":"Slot","comment":"\n"}', "structure", None),
    "a control character in a name": (b'{"resourceType":"Slot","a\\u0001":1}', "structure", "Slot"),
    "35 digits": (b'{"resourceType":"Slot","a":1.' + b"1" * 34 + b"}", "value", "Slot.a"),
    "5000 digits": (b'{"resourceType":"Slot","a":' + b"9" * 5000 + b"}", "value", "Slot.a"),
    "a large exponent": (b'{"resourceType":"Slot","a":1e6112}', "value", "Slot.a"),
    "an endless exponent": (b'{"resourceType":"Slot","a":1e' + b"9" * 500 + b"}", "value", "Slot.a"),
    "a small exponent": (b'{"resourceType":"Slot","a":1e-6177}', "value", "Slot.a"),
    "a leading zero": (b'{"resourceType":"Slot","a":01}', "structure", None),
    "a leading plus": (b'{"resourceType":"Slot","a":+1}', "structure", None),
    "a hundred thousand arrays": (b'{"a":' + b"[" * 100_000, "structure", "Resource"),
    "an operator that sets null": (b'{"resourceType":"Slot","status":{"$ne":null}}', "structure", "Slot.status"),
}


@pytest.mark.parametrize(("body", "code", "expression"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_fhir_json_is_refused(body: bytes, code: str, expression: str | None) -> None:
    with pytest.raises(FhirError) as refused:
        document.parse(body)
    assert (refused.value.status, refused.value.issues[0].code) == (400, code)
    assert refused.value.issues[0].expression == ((expression,) if expression else ())


def test_a_syntax_error_names_line_and_column() -> None:
    with pytest.raises(FhirError, match="line 2, column 13"):
        document.parse(b'{\n  "status": free }')


def test_the_deepest_nesting_is_read_and_one_more_is_refused() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' + b"[" * (depth - 1) + b"1" + b"]" * (depth - 1) + b"}"

    assert document.parse(nested(document.DEPTH_MAX))
    with pytest.raises(FhirError, match="deeper than 64"):
        document.parse(nested(document.DEPTH_MAX + 1))


def test_as_many_elements_as_are_allowed_are_read_and_one_more_is_refused() -> None:
    def listing(count: int) -> bytes:
        return b'{"a":[' + b"1," * (count - 3) + b"1,1]}"

    assert len(document.parse(listing(document.ELEMENTS_MAX))["a"]) == document.ELEMENTS_MAX - 1
    with pytest.raises(FhirError) as refused:
        document.parse(listing(document.ELEMENTS_MAX + 1))
    assert (refused.value.status, refused.value.issues[0].code) == (413, "too-long")


def test_a_byte_order_mark_is_skipped() -> None:
    assert document.parse(b'\xef\xbb\xbf{"resourceType":"Slot"}') == {"resourceType": "Slot"}


@pytest.mark.parametrize(
    "number",
    ["1.50", "0.0", "-0", "-0.00", "1E+3", "1.0E-6000", "9" * 34, "0." + "1" * 34, "9223372036854775807", "1E-7"],
)
def test_every_digit_of_a_number_is_kept(number: str) -> None:
    body = f'{{"resourceType":"Encounter","length":{{"value":{number}}}}}'.encode()
    assert document.print(document.parse(body)) == body


def test_whole_numbers_are_ints_and_others_are_decimals() -> None:
    read = document.parse(b'{"a":[1,-7,1.0,1e2,9223372036854775808]}')["a"]
    assert read == [1, -7, Decimal("1.0"), Decimal("1E+2"), Decimal(2**63)]
    assert [type(number) for number in read] == [int, int, Decimal, Decimal, Decimal]


def test_gaps_in_arrays_and_their_extensions_are_read() -> None:
    body = b'{"resourceType":"HumanName","given":[null,"Bo"],"_given":[{"id":"a"},null]}'
    assert document.print(document.parse(body)) == body


def test_pretty_json_says_the_same() -> None:
    resource = document.parse(b'{"resourceType":"Encounter","length":{"value":1.50,"unit":"\xc3\xa9"}}')
    pretty = document.print(resource, pretty=True)
    assert b'\n  "length": {\n    "value": 1.50' in pretty
    assert document.parse(pretty) == resource


_TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=8)
_SCALAR = st.booleans() | st.integers(-(2**63), 2**63 - 1) | _TEXT
_JSON = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(_TEXT, inner, min_size=1, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_TEXT, _JSON, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_was_sent_is_what_is_printed(resource: dict[str, object]) -> None:
    sent = json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()
    assert json.loads(document.print(document.parse(sent))) == resource
    assert list(document.parse(sent)) == list(resource)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(lambda d: len(d.as_tuple().digits) < 35))
@settings(max_examples=150, deadline=None)
def test_decimals_are_printed_digit_by_digit(value: Decimal) -> None:
    sent = f'{{"value":{value}}}'.encode()
    read = document.parse(sent)["value"]
    assert document.parse(document.print({"value": read}))["value"] == read
    assert Decimal(read).as_tuple() == value.as_tuple()


@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        assert isinstance(document.parse(body), dict)
    except FhirError as refused:
        assert refused.status == 400
