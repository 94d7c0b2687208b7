"""What resource types have in common (http://hl7.org/fhir/R4/searchparameter-registry.html)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from fhir_server.definitions import SearchParameter
from fhir_server.outcome import CANONICAL, Issue, Json
from fhir_server.scheduling.holds import EXPIRES

R4 = "http://hl7.org/fhir/SearchParameter"
"""Base of the URLs of R4's own search parameters."""

ACTORS = (
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "RelatedPerson",
    "Device",
    "HealthcareService",
    "Location",
)
"""The types that can be booked, invited or scheduled."""

AUTHORS = ("Practitioner", "Organization", "Device", "Patient", "PractitionerRole", "RelatedPerson")
"""The types that can write something down, or take part in that."""

REASONS = ("Condition", "Observation", "Procedure", "ImmunizationRecommendation")
"""The types that Appointment and Encounter may give as their reason."""


def token(code: str, expression: str, description: str, *, of: str | None = None, system: str = "") -> SearchParameter:
    """A parameter of R4, of this type. Its URL names the resource type that its expression starts with, or
    what it is a definition `of`: R4 defines some for many types at once, such as `clinical-date`. An element of type
    code is of the `system` below http://hl7.org/fhir."""
    url = f"http://hl7.org/fhir/{system}" if system else ""
    return SearchParameter(code, "token", expression, _url(code, expression, of), description, system=url)


def string(code: str, expression: str, description: str, *, of: str | None = None) -> SearchParameter:
    """As `token`, for strings."""
    return SearchParameter(code, "string", expression, _url(code, expression, of), description)


def date(code: str, expression: str, description: str, *, of: str | None = None, many: bool = False) -> SearchParameter:
    """As `token`, for dates; `many` if the element can repeat."""
    return SearchParameter(code, "date", expression, _url(code, expression, of), description, many=many)


def reference(code: str, expression: str, description: str, *target: str, of: str | None = None) -> SearchParameter:
    """As `token`, for references to the types of `target`; none means any type."""
    return SearchParameter(code, "reference", expression, _url(code, expression, of), description, target)


def quantity(code: str, expression: str, description: str) -> SearchParameter:
    """As `token`, for quantities."""
    return SearchParameter(code, "quantity", expression, _url(code, expression, None), description)


def uri(code: str, expression: str, description: str) -> SearchParameter:
    """As `token`, for URIs."""
    return SearchParameter(code, "uri", expression, _url(code, expression, None), description)


def special(code: str, expression: str, description: str) -> SearchParameter:
    """As `token`, for what has rules of its own."""
    return SearchParameter(code, "special", expression, _url(code, expression, None), description)


def _url(code: str, expression: str, of: str | None) -> str:
    return f"{R4}/{of or expression.lstrip('(').partition('.')[0]}-{code}"


def hold_expires(type: str) -> SearchParameter:
    """Ours: when the hold ends that the resource is."""
    expression = f"{type}.extension.where(url='{EXPIRES}').value"
    url = f"{CANONICAL}/SearchParameter/{type}-hold-expires"
    return SearchParameter("hold-expires", "date", expression, url, "When the hold ends that it is")


def address(type: str, of: str) -> tuple[SearchParameter, ...]:
    """The parameters on `address`."""
    path = f"{type}.address"
    return (
        string("address", path, "Any of the string fields of an address", of=of),
        string("address-city", f"{path}.city", "A city in an address", of=of),
        string("address-country", f"{path}.country", "A country in an address", of=of),
        string("address-postalcode", f"{path}.postalCode", "A postal code in an address", of=of),
        string("address-state", f"{path}.state", "A state in an address", of=of),
        token("address-use", f"{path}.use", "The use of an address", of=of, system="address-use"),
    )


def telecom(type: str) -> tuple[SearchParameter, ...]:
    """The parameters on `telecom`: by e-mail address, by telephone number, by any contact."""
    path, of = f"{type}.telecom", "individual"
    return (
        token("email", f"{path}.where(system='email')", "An e-mail address", of=of),
        token("phone", f"{path}.where(system='phone')", "A telephone number", of=of),
        token("telecom", path, "The value of any kind of contact", of=of),
    )


def human_name(type: str) -> tuple[SearchParameter, ...]:
    """The parameters on `name`, a HumanName."""
    path, of = f"{type}.name", "individual"
    return (
        string("family", f"{path}.family", "A portion of the family name", of=of),
        string("given", f"{path}.given", "A portion of a given name", of=of),
        string("name", path, "A portion of any part of a name"),
        string("phonetic", path, "A portion of a name, by its sound", of=of),
    )


def each(owner: Json, element: str) -> Iterator[tuple[int, Json]]:
    """The instances of a repeating element with their positions; what is not an object is left out."""
    values = owner.get(element)
    if isinstance(values, list):
        yield from ((index, value) for index, value in enumerate(values) if isinstance(value, dict))


def exists(owner: Json, *elements: str) -> bool:
    """Whether any of the elements has a value or, if it is a primitive, an extension in place of one."""
    return any(owner.get(element) is not None or f"_{element}" in owner for element in elements)


def out_of_order(resource: Json, *, strictly: bool) -> Sequence[Issue]:
    """The problem of a `start` after `end` (or, `strictly`, not before it); none if either cannot be read."""
    start, end = (_instant(resource.get(element)) for element in ("start", "end"))
    if start is None or end is None or start < end or (start == end and not strictly):
        return ()
    type = resource["resourceType"]
    should = "before" if strictly else "not after"
    return (Issue("invariant", f"start must be {should} end", (f"{type}.start", f"{type}.end")),)


def opening_hours(resource: Json, element: str, opening: str, closing: str) -> Sequence[Issue]:
    """Our invariant on weekly hours: times that are equal say neither "closed" nor "all day".

    An end before the start is a window that crosses midnight; a missing bound is the start or end of the day;
    both are ignored with `allDay` (http://hl7.org/fhir/R4/practitionerrole-definitions.html).
    """
    return [
        Issue(
            "invariant",
            f"{opening} and {closing} must differ; use allDay for the whole day",
            (f"{resource['resourceType']}.{element}[{index}]",),
        )
        for index, hours in each(resource, element)
        if hours.get("allDay") is not True
        and hours.get(opening) is not None
        and hours.get(opening) == hours.get(closing)
    ]


def _instant(value: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return instant if instant and instant.tzinfo else None
