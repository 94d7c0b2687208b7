"""The grammar of a search value: lists, parts and escapes (http://hl7.org/fhir/R4/search.html#escaping)."""

from __future__ import annotations

import re

ESCAPED = re.compile(r"\\([,|$\\])")


def split(value: str, separator: str) -> list[str]:
    """The parts between separators that are not escaped; the parts keep their escapes."""
    parts, part, at = [], "", 0
    while at < len(value):
        taken = value[at : at + 2] if value[at] == "\\" else value[at]
        if taken == separator:
            parts.append(part)
            part = ""
        else:
            part += taken
        at += len(taken)
    return [*parts, part]


def unescape(value: str) -> str:
    r"""The value without the backslashes of `\,` `\|` `\$` and `\\`; a backslash before anything else
    stays."""
    return ESCAPED.sub(r"\1", value)
