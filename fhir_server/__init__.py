"""A FHIR R4 appointment scheduling server (http://hl7.org/fhir/R4/). Read `app.py` first."""

__version__ = "0.1.0"
RELEASED = "2026-11-21"
