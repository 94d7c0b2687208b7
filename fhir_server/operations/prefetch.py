"""Slot/$prefetch: free Slots by Argonaut's names, as $find-slots finds them (docs/doors.md)."""

from __future__ import annotations

from dataclasses import replace

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations._naming import ask_people, locations_at, merge, naming, references, say
from fhir_server.operations.arguments import CURSOR, read_arguments
from fhir_server.operations.find_slots import find_slots
from fhir_server.outcome import Json
from fhir_server.scheduling import elements
from fhir_server.writing import Server

NAMES = {"organization": "organization", "location-reference": "location"}
"""The names of $find-slots for Argonaut's."""

TYPES = {"practitioner": "Practitioner", "organization": "Organization", "location-reference": "Location"}


async def prefetch(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle of free Slots; its links are those of $find-slots, which answers the same."""
    arguments = read_arguments(OPERATION, request)
    pairs = [(name, elements.say(arguments[name][0])) for name in ("start", "end")]
    nowhere = False
    for name, type in TYPES.items():
        found = merge(await references(server, name, type, [say(one, type) for one in arguments[name]]))
        if name == "location-reference":
            found += await locations_at(server, arguments["location-string"])
        asked = arguments[name] or (name == "location-reference" and arguments["location-string"])
        nowhere = nowhere or (bool(asked) and not found)
        named = await ask_people(server, found) if name == "practitioner" else {NAMES[name]: found}
        pairs += [(other, one) for other, those in named.items() for one in those]
    if nowhere:
        bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": 0}
        return Response(200, bundle)
    pairs += [(name, str(one)) for name in ("_count", "_cursor") for one in arguments[name]]
    slots = replace(request, method="GET", path="Schedule/$find-slots", type="Schedule", query=pairs, body=None)
    return await find_slots(server, slots)


OPERATION = Operation(
    code="prefetch",
    name="Prefetch",
    title="Find free slots (Argonaut)",
    description="The free Slots in a period, as `$find-slots` finds them, by Argonaut's names.",
    resource=("Slot",),
    levels=("type",),
    affects_state=False,
    parameters=(
        Parameter("start", "in", 1, "1", "dateTime", "Start of the period, with a time zone"),
        Parameter("end", "in", 1, "1", "dateTime", "End of the period, with a time zone"),
        naming("practitioner", "Only Slots of these Practitioners or PractitionerRoles"),
        naming("organization", "Only Slots of these Organizations"),
        Parameter("location-string", "in", 0, "*", "string", "A part of an address: a city, a state, a postal code"),
        naming("location-reference", "Only Slots at these Locations"),
        Parameter("_count", "in", 0, "1", "positiveInt", "Slots on a page"),
        CURSOR,
        Parameter("return", "out", 1, "1", "Bundle", "Searchset of free Slots in time order"),
    ),
    run=prefetch,
)
