"""What the headers of a write say beside the resource."""

from __future__ import annotations

from fhir_server.definitions import Request
from fhir_server.scheduling.policy import Intent

TOKEN_HEADER = "x-hold-token"
"""The secret of whoever holds an Appointment (docs/booking.md)."""


def intent_of(request: Request) -> Intent:
    """The hold token that is given, and who asks."""
    return Intent(token=request.headers.get(TOKEN_HEADER) or None, client=request.principal)
