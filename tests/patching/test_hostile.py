"""Whatever is sent as a patch, it is applied or refused, and the resource stays as it was."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_server import validation
from fhir_server.outcome import FhirError
from fhir_server.patching import MEDIA, apply
from fhir_server.resources import ROWS
from tests.clinic import patient
from tests.patches import JSON_PATCH, XML_PATCH, json_patch, operation, parameters, xml_patch

EXTENDED = {"extension": [{"url": "http://example.org", "valueCode": "a"}]}
ANN = patient(
    identifier=[{"system": "http://example.org", "value": "1"}, {"value": "2"}],
    birthDate="1930-01-01",
    _birthDate=EXTENDED,
    deceasedBoolean=False,
    contained=[{"resourceType": "Location", "id": "room", "name": "Room"}],
    contact=[{"name": {"given": [None, "Bo"], "_given": [EXTENDED, None]}}],
)

steps = st.sampled_from(["0", "1", "-", "given", "_given", "family", "value", "extension", "~0", "id", "x", ""])
tops = st.sampled_from(
    ["name", "identifier", "contact/0/name", "_birthDate", "deceasedBoolean", "contained", "id", "x"]
)
pointers = st.builds(lambda top, below: "/".join(["", top, *below]), tops, st.lists(steps, max_size=2)) | st.just("")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["value", "x", "_x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
json_patches = st.lists(
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
            "path": pointers,
            "from": pointers,
        },
        optional={"value": st.sampled_from(["x", {"value": "3"}, [{"text": "y"}], False]) | anything},
    ),
    max_size=3,
).map(lambda operations: json_patch(*operations))

tokens = ["Patient", "name", "given", "identifier", "birthDate", "deceased", "extension", "contained", "value", "id"]
marks = [".", ".", ".", "[0]", "[1]", "(", ")", " = ", " and ", " or ", " as ", "'1'", "1", "true", "$this"]
calls = [".where(", ".first()", ".last()", ".single()", ".exists()", ".not()", ".ofType(boolean)", ".extension("]
places = ["", ".name", ".name[0]", ".name.given", ".identifier", ".identifier[1].value", ".birthDate", ".deceased"]
places += [".contained", ".contained.name", ".contact.name.given", ".birthDate.extension", ".extension", ".id"]
noise = st.lists(st.sampled_from([*tokens, *marks, *calls]), max_size=8).map("".join).filter(bool)
known = st.sampled_from(places).map("Patient{}".format)
paths = known | known | noise
values = st.sampled_from(
    [
        {"valueString": "x"},
        {"valueBoolean": True},
        {"valueIdentifier": {"value": "3"}},
        {"valueDate": "1931", "_valueDate": {"id": "y"}},
        {"resource": {"resourceType": "Location", "id": "hall", "name": "Hall"}},
        {"part": [{"name": "url", "valueUri": "http://example.org"}, {"name": "value", "valueString": "x"}]},
    ]
)
names = st.sampled_from([*tokens, "value[x]", "gender", "contact", "_name", "resourceType", "é"])
indexes = st.integers(-1, 2)
fhirpath_operations = (
    st.builds(lambda path, name, value: operation("add", path, name=name, value=value), paths, names, values)
    | st.builds(lambda path, index, value: operation("insert", path, index=index, value=value), paths, indexes, values)
    | st.builds(lambda path: operation("delete", path), paths)
    | st.builds(lambda path, value: operation("replace", path, value=value), paths, values)
    | st.builds(lambda path, a, b: operation("move", path, source=a, destination=b), paths, indexes, indexes)
)

nodes = [
    "name",
    "name/given",
    "identifier",
    "identifier/value",
    "birthDate",
    "contact/name/given",
    "id",
    "*",
    "x:y",
    "",
]
ends = [
    "",
    "",
    "/@value",
    "/@id",
    "/text()",
    "[1]",
    "[last()]",
    "[value/@value='1']",
    "[@value='Ann']",
    "[.='']",
    "[//x]",
]
selectors = st.builds("Patient/{}{}".format, st.sampled_from(nodes), st.sampled_from(ends))
contents = ["text", '<gender value="male"/>', "<name/>", '<x y="z">t</x>', "<!-- -->", "<?x?>", "<", ""]
places_to_add = st.sampled_from(
    ["", "", "pos='before'", "pos='after'", "pos='prepend'", "type='@id'", "type='@x:y'", "ws='both'"]
)
xml_operations = (
    st.builds('<add sel="{}" {}>{}</add>'.format, selectors, places_to_add, st.sampled_from(contents))
    | st.builds('<replace sel="{}">{}</replace>'.format, selectors, st.sampled_from(contents))
    | st.builds('<remove sel="{}"/>'.format, selectors)
)


def applied_or_refused(media: str, body: Any, raw: bytes) -> None:
    """The patch gives a resource that the validation can judge, or an error of the client."""
    before = copy.deepcopy(ANN)
    with suppress(FhirError):
        patched = apply(media, body, raw, ANN)
        validation.check(ROWS["Patient"], patched)
        assert (patched["resourceType"], patched["id"]) == ("Patient", "ann")
    assert before == ANN


@given(json_patches)
def test_any_json_patch(raw: bytes) -> None:
    applied_or_refused(JSON_PATCH, None, raw)


@given(st.lists(fhirpath_operations, max_size=2))
def test_any_fhirpath_patch(operations: list[Any]) -> None:
    applied_or_refused("application/fhir+json", parameters(*operations), b"")


@given(st.lists(xml_operations, max_size=2))
def test_any_xml_patch(operations: list[str]) -> None:
    applied_or_refused(XML_PATCH, None, xml_patch(*operations))


@given(st.sampled_from([*MEDIA, "", "text/plain"]), anything, st.binary(max_size=20))
def test_any_bytes(media: str, body: Any, raw: bytes) -> None:
    applied_or_refused(media, body if isinstance(body, dict) else None, raw)
