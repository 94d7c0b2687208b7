"""HL7's definitions of R4, as the tests of clients install them."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "clients" / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4"

needed = pytest.mark.skipif(not FOLDER.exists(), reason="HL7's definitions are not installed in tests/clients")
