"""What a client prefers (RFC 7240, http://hl7.org/fhir/R4/http.html#ops)."""

from __future__ import annotations

from fhir_server.definitions import Request

STRICTNESS = {"strict": True, "lenient": False}


def preference(request: Request, name: str) -> str | None:
    """The value of a preference in `Prefer`, None if it is not given."""
    for part in request.headers.get("prefer", "").replace(";", ",").split(","):
        key, _, value = part.strip().partition("=")
        if key.lower() == name:
            return value.strip('" ')
    return None


def strictness(request: Request) -> bool | None:
    """Whether unknown parameters are to be refused, by `Prefer: handling=`; None if that is as the settings say."""
    return STRICTNESS.get(preference(request, "handling") or "")
