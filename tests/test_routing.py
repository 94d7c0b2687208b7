"""What a method and a path below the FHIR base mean, of one table."""

from __future__ import annotations

import pytest

from fhir_server import conformance, routing
from fhir_server.definitions import Operation, Parameter
from fhir_server.interactions.create import create
from fhir_server.interactions.read import read
from fhir_server.interactions.search_type import search_type
from fhir_server.interactions.vread import vread
from fhir_server.operations.find_slots import find_slots
from fhir_server.outcome import FhirError
from fhir_server.resources import ROWS

FOUND = [
    ("GET", "metadata", conformance.capabilities, {}),
    ("GET", "Patient", search_type, {"type": "Patient"}),
    ("POST", "Patient", create, {"type": "Patient"}),
    ("POST", "Patient/_search", search_type, {"type": "Patient"}),
    ("GET", "Patient/1", read, {"type": "Patient", "id": "1"}),
    ("GET", "Patient/1/_history/2", vread, {"type": "Patient", "id": "1", "version": "2"}),
    ("GET", "Schedule/$find-slots", find_slots, {"type": "Schedule"}),
    ("POST", "Schedule/1/$find-slots", find_slots, {"type": "Schedule", "id": "1"}),
]


@pytest.mark.parametrize(("method", "path", "run", "said"), FOUND, ids=[f"{one[0]} {one[1]}" for one in FOUND])
def test_a_path_leads_to_its_function_and_says_its_parts(
    method: str, path: str, run: object, said: dict[str, str]
) -> None:
    assert routing.match(method, path) == (run, said)
    assert routing.match(method, f"/{path}") == (run, said)


def test_a_head_is_a_get() -> None:
    assert routing.match("HEAD", "Patient/1") == routing.match("GET", "Patient/1")


@pytest.mark.parametrize(
    "path",
    [
        "Unicorn", "Unicorn/1", "patient", "Patient/", "//Patient", "Patient/1/", "Patient/1/2/3",
        "Patient/_unknown", "Patient/$unknown", "Patient/1/$unknown", "$unknown", "_unknown",
        "Patient/1/_history/2/3", "Patient/$find-slots", "Observation",
    ],
)  # fmt: skip
def test_what_is_not_in_the_table_is_not_found(path: str) -> None:
    for method in ("GET", "DELETE"):
        with pytest.raises(FhirError) as refused:
            routing.match(method, path)
        assert (refused.value.status, refused.value.issues[0].code) == (404, "not-found")
    with pytest.raises(FhirError, match="metadata"):
        routing.allowed(path)


def test_a_method_that_a_path_has_not_is_refused_with_those_it_has() -> None:
    with pytest.raises(FhirError) as refused:
        routing.match("DELETE", "metadata")
    assert refused.value.status == 405
    assert refused.value.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert "GET" in refused.value.issues[0].text


def test_an_operation_that_changes_something_is_not_for_get() -> None:
    assert set(routing.allowed("Appointment/$book")) == {"POST", "OPTIONS"}
    assert set(routing.allowed("Schedule/$find-slots")) == {"GET", "HEAD", "POST", "OPTIONS"}


@pytest.mark.parametrize("type", conformance.TYPES)
def test_a_type_of_the_servers_own_can_be_read_and_searched_and_nothing_else(type: str) -> None:
    assert set(routing.allowed(type)) == {"GET", "HEAD", "OPTIONS"}
    assert set(routing.allowed(f"{type}/1")) == {"GET", "HEAD", "OPTIONS"}
    with pytest.raises(FhirError, match="GET, HEAD, OPTIONS are"):
        routing.match("PUT", f"{type}/1")


@pytest.mark.parametrize("type", ROWS)
def test_every_type_can_be_searched_and_read(type: str) -> None:
    assert routing.match("GET", type)[1] == {"type": type}
    assert routing.match("GET", f"{type}/a.b-c")[1] == {"type": type, "id": "a.b-c"}


def test_no_two_routes_are_for_the_same() -> None:
    runs = {(route.method, route.path): route.run for route in routing.ROUTES}
    assert all(runs[route.method, route.path] is route.run for route in routing.ROUTES)


@pytest.mark.parametrize("route", routing.ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_reached(route: routing.Route) -> None:
    values = {"type": "Slot", "id": "1", "version": "2", "target": "Appointment"}
    run, said = routing.match(route.method, route.path.format(**values))
    assert run is route.run
    assert said.items() <= {**values, "type": route.type or "Slot"}.items()


def test_an_operation_is_called_at_each_of_its_levels() -> None:
    def operation(resource: tuple[str, ...], *levels: str) -> Operation:
        parameters: tuple[Parameter, ...] = ()
        return Operation("do", "Do", "", "", resource, levels, False, parameters, read)  # type: ignore[arg-type]

    both = operation(("Slot",), "type", "instance")
    assert list(routing.operation_paths(both)) == [("Slot/$do", "Slot"), ("Slot/{id}/$do", "Slot")]
    assert list(routing.operation_paths(operation((), "system"))) == [("$do", None)]
    assert list(routing.operation_paths(operation(("Resource",), "instance"))) == [("{type}/{id}/$do", None)]
