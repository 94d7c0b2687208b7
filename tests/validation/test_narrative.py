"""The XHTML of a narrative: refused when it could do more than be read."""

from __future__ import annotations

import pytest

from fhir_server.validation.narrative import fault

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


@pytest.mark.parametrize(
    "content",
    [
        "plain",
        "<p class='a' style='color: red'>a &amp; b &#160; &lt;script></p>",
        "<table border='1'><thead><tr><th>a</th></tr></thead><tbody><tr><td colspan='2'>b</td></tr></tbody></table>",
        "<a href='https://example.org/a?b=c#d'>a</a><a name='x'/><a href='#x'>b</a><a href='Patient/1'>c</a>",
        "<a href='mailto:a@example.org'>a</a> <a href='tel:+4930'>b</a>",
        "<img src='data:image/png;base64,AAAA' alt='x'/>",
        "<!-- a comment --><b>a</b>",
        "<!-- of > and -> and <b>markup</b> --><b>a</b>",
        "<span lang='de' xml:lang='de'>ä</span>",
    ],
)
def test_formatting_links_and_images_are_allowed(content: str) -> None:
    assert fault(f"<div {XHTML}>{content}</div>") is None


@pytest.mark.parametrize(
    "content",
    [
        "<script>alert(1)</script>",
        "<SCRIPT>alert(1)</SCRIPT>",
        "<iframe src='https://example.org'/>",
        "<object data='x'/>",
        "<form action='x'><input name='y'/></form>",
        "<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>",
        "<math xmlns='http://www.w3.org/1998/Math/MathML'/>",
        "<style>p { color: red }</style>",
        "<link href='x'/>",
        "<p onclick='x()'>a</p>",
        "<img src='x' onerror='x()'/>",
        "<a href='javascript:x()'>a</a>",
        "<a href=' java&#10;script:x()'>a</a>",
        "<a href='&#1;vbscript:x'>a</a>",
        "<a href='data:text/html;base64,AAAA'>a</a>",
        "<img src='data:image/svg+xml;base64,AAAA'/>",
        "<p style='background: url(https://example.org/x)'>a</p>",
        "<p style='width: expression(x)'>a</p>",
        "<p style='w\\69dth: 1'>a</p>",
        "<?php x ?>a",
        "<p>a",
        "&nbsp;",
        "<p a='1' a='2'>b</p>",
        "a<![CDATA[plain]]>",
        "a<![CDATA[><img src='x' onerror='x()'>]]>",
        "a<!--><img src='x' onerror='x()'>-->",
        "a<!---><img src='x' onerror='x()'>-->",
    ],
)
def test_what_runs_loads_or_is_malformed_is_refused(content: str) -> None:
    problem = fault(f"<div {XHTML}>{content}</div>")
    assert problem is not None
    assert problem.startswith("txt-1")


@pytest.mark.parametrize(
    "div",
    [
        "text",
        "<div>no namespace</div>",
        f"<p {XHTML}>no div</p>",
        f"<div {XHTML}>a</div><div {XHTML}>b</div>",
        f"<!DOCTYPE div [<!ENTITY a 'b'>]><div {XHTML}>&a;</div>",
        f"<!DOCTYPE div SYSTEM 'file:///etc/passwd'><div {XHTML}>a</div>",
        f"<?xml version='1.0'?><div {XHTML}>a</div>",
        f"<!-- before --><div {XHTML}>a</div>",
        f"<div {XHTML}>a</div><!-- after -->",
        f"<div {XHTML}>a</div>after",
    ],
)
def test_the_root_is_one_div_and_nothing_is_beside_it(div: str) -> None:
    problem = fault(div)
    assert problem is not None
    assert problem.startswith("txt-1")


@pytest.mark.parametrize("content", ["", "   \n", "<p> </p>", "<br/>"])
def test_a_narrative_without_content_is_refused(content: str) -> None:
    problem = fault(f"<div {XHTML}>{content}</div>")
    assert problem is not None
    assert problem.startswith("txt-2")
