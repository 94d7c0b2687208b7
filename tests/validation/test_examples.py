"""The official examples of R4 are accepted and given back as they were."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from fhir_server import document
from fhir_server.resources import ROWS
from fhir_server.validation import check

EXAMPLES = sorted((Path(__file__).parents[1] / "data" / "r4-examples").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_official_example_is_accepted_unchanged(path: Path) -> None:
    sent = path.read_bytes()
    resource = document.parse(sent)
    before = copy.deepcopy(resource)
    assert check(ROWS[resource["resourceType"]], resource) == []
    assert resource == before
    assert document.parse(document.print(resource)) == before


def test_every_type_has_an_example() -> None:
    assert {path.stem.split("-")[0] for path in EXAMPLES} >= {
        *("Appointment", "AppointmentResponse", "Encounter", "HealthcareService", "Location", "Organization"),
        *("Patient", "Practitioner", "PractitionerRole", "Schedule", "Slot"),
    }
