"""The parameters of a query, a form or a condition (http://hl7.org/fhir/R4/search.html#escaping)."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fhir_server.outcome import FhirError

FIELDS_MAX = 1000


def read_pairs(text: str | bytes) -> list[tuple[str, str]]:
    """The names and values, in order. 400 for what is not UTF-8, and for more than `FIELDS_MAX`."""
    try:
        spelled = text.decode() if isinstance(text, bytes) else text
        return parse_qsl(spelled, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except UnicodeDecodeError:
        raise FhirError("invalid", "The parameters must be UTF-8, percent-encoded.", status=400) from None
    except ValueError:
        raise FhirError("too-costly", f"A request has at most {FIELDS_MAX} parameters.", status=400) from None
