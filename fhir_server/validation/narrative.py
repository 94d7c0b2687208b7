"""The XHTML that a Narrative may hold (http://hl7.org/fhir/R4/narrative.html): refused, never cleaned up."""

from __future__ import annotations

import re
from typing import NoReturn
from xml.parsers import expat

_NAMESPACE = "http://www.w3.org/1999/xhtml"
_XML = "http://www.w3.org/XML/1998/namespace"

_ELEMENT_NAMES = """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5
    h6 hr i img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
"""
_ATTRIBUTE_NAMES = """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char
    charoff charset cite class colspan compact coords dir frame headers height href hreflang hspace id
    lang longdesc name nowrap rel rev rowspan rules scope shape span src start style summary tabindex
    title type valign value vspace width
"""
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_ATTRIBUTES = frozenset([*_ATTRIBUTE_NAMES.split(), f"{_XML} lang"])
_SCHEMES = {
    "href": frozenset({"http", "https", "mailto", "tel", "urn"}),
    "cite": frozenset({"http", "https", "urn"}),
    "longdesc": frozenset({"http", "https", "urn"}),
    "src": frozenset({"http", "https", "cid"}),
}
_IMAGE = re.compile(r"data:image/(?:png|gif|jpeg|webp);base64,[A-Za-z0-9+/=\s]+")
_ACTIVE_STYLE = re.compile(r"\\|@import|expression|script:|behaviou?r|-moz-binding|url\s*\(", re.I)


class _Refused(Exception):
    """Carries out of the parser what is wrong."""


def fault(div: str) -> str | None:
    """What is wrong with a `Narrative.div`, by txt-1 and txt-2; None if nothing is.

    Allowed are the elements and attributes of R4's list; links to web pages, mail and telephone numbers;
    images; passive styles. Scripts, forms, frames, event handlers, processing instructions, a DOCTYPE and
    entities other than XML's own are refused, and what ends elsewhere for a reader of HTML: CDATA, some comments.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    content = False
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal content, depth
        namespace, _, local = name.rpartition(" ")
        if namespace != _NAMESPACE or (depth == 0 and local != "div"):
            raise _Refused(f'txt-1: the root must be <div xmlns="{_NAMESPACE}">, all of that namespace')
        if local not in _ELEMENTS:
            raise _Refused("txt-1: the narrative has an element that is not allowed")
        for attribute, value in attributes.items():
            _check_attribute(attribute, value)
        content = content or local == "img"
        depth += 1

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def comment(text: str) -> None:
        if depth == 0:
            raise _Refused("txt-1: the narrative must have nothing before or after its div")
        _check_comment(text)

    def characters(text: str) -> None:
        nonlocal content
        content = content or not text.isspace()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = _refuse_declaration
    parser.ProcessingInstructionHandler = _refuse_declaration
    parser.StartCdataSectionHandler = _refuse_cdata
    parser.CommentHandler = comment
    parser.XmlDeclHandler = _refuse_declaration
    try:
        parser.Parse(div, True)
    except _Refused as refused:
        return str(refused)
    except (expat.ExpatError, ValueError):
        return "txt-1: the narrative must be well-formed XHTML, without HTML's entities"
    return None if content else "txt-2: the narrative must have content"


def _check_attribute(attribute: str, value: str) -> None:
    if attribute not in _ATTRIBUTES:
        raise _Refused("txt-1: the narrative has an attribute that is not allowed")
    if attribute in _SCHEMES:
        target = re.sub(r"[\x00-\x20\x7f-\xa0]", "", value).lower()
        scheme = re.match(r"([^/?#:]*):", target)
        is_image = attribute == "src" and _IMAGE.fullmatch(value) is not None
        if scheme and scheme[1] not in _SCHEMES[attribute] and not is_image:
            raise _Refused("txt-1: the narrative has a link that is neither web, mail nor telephone")
    if attribute == "style" and _ACTIVE_STYLE.search(value):
        raise _Refused("txt-1: the narrative has a style that loads or runs something")


def _refuse_declaration(*_: object) -> NoReturn:
    raise _Refused("txt-1: the narrative must not have an XML declaration, a DOCTYPE or processing instructions")


def _refuse_cdata() -> NoReturn:
    raise _Refused("txt-1: the narrative must not have CDATA, which HTML does not know")


def _check_comment(text: str) -> None:
    """Refuses a comment that HTML takes to end at its begin, so that the rest of it would be elements."""
    if text.startswith((">", "->")):
        raise _Refused("txt-1: a comment in the narrative must not begin with > or ->")
