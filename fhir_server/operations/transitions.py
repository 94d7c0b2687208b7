"""$transitions: what can become of an Appointment now, until when, and why not (docs/changing.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.read import existing
from fhir_server.operations._intending import TOKEN, intending
from fhir_server.operations.arguments import read_arguments
from fhir_server.operations.reschedule import MOVABLE
from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.plan import Stored
from fhir_server.scheduling import lifecycle, policies, reasons, telehealth
from fhir_server.scheduling.elements import instant, say
from fhir_server.scheduling.policies import PATIENT, Terms
from fhir_server.scheduling.policy import Change, Intent
from fhir_server.writing import Asked, Server, rehearse

NO_VIDEO = frozenset({"not-virtual", "no-meeting", "not-booked"})
"""What says that there is nothing to join, at whatever time."""


@dataclass(frozen=True, slots=True)
class Transition:
    """Something that can become of an Appointment: a status, or `reschedule` or `join`. `since` and `until` are when it
    can, as far as that depends on the time; `refused` why it cannot now; `left` how often it still can."""

    code: str
    refused: Issue | None = None
    since: datetime | None = None
    until: datetime | None = None
    left: int | None = None


async def transitions(server: Server, request: Request) -> Response:
    """200 with each legal move, whether it would be allowed now, and if not, the problem."""
    arguments = read_arguments(OPERATION, request)
    id = str(request.id)
    stored = existing("Appointment", id, await server.store.read("Appointment", id))
    known = stored.resource or {}
    intent = intending(intent_of(request), {**arguments, "by": arguments["by"] or [PATIENT]})
    terms = await _terms(server, stored, intent)
    found = [await _status(server, stored, status, intent, terms) for status in lifecycle.APPOINTMENT[known["status"]]]
    if known["status"] in MOVABLE and "start" in known:
        found.append(await _reschedule(server, stored, intent, terms))
    found += await _join(server, id, known)
    said: list[Json] = [{"name": "status", "valueCode": known["status"]}]
    if terms.contact:
        said.append({"name": "contact", "valueString": terms.contact})
    said += [{"name": "transition", "part": _parts(one)} for one in found]
    return Response(200, {"resourceType": "Parameters", "parameter": said})


async def _terms(server: Server, stored: Stored, intent: Intent) -> Terms:
    """What binds a patient; staff nothing does."""
    known = stored.resource or {}
    if not policies.is_bound(known):
        return Terms()
    change = Change("Appointment", stored.id, stored, known, server.now(), server.policy, stored.id, intent)
    terms: Terms = await server.store.run(policies.load_terms(change, known))
    return terms if intent.by == PATIENT else Terms(contact=terms.contact)


async def _status(server: Server, stored: Stored, status: str, intent: Intent, terms: Terms) -> Transition:
    """A move of the status, tried as it would be written."""
    known = stored.resource or {}
    bare = {name: value for name, value in known.items() if name != "cancelationReason"}
    reason = {"cancelationReason": {"coding": [{"system": reasons.HL7, "code": "other"}]}}
    wanted = {**bare, "status": status, **(reason if status == "cancelled" else {})}
    refused = await _refusal(server, stored, wanted, intent)
    since = None
    if status == "noshow" and "start" in known and server.policy.noshow_waits_for_join_window:
        since = instant(known["start"]) + timedelta(minutes=server.policy.join_window_after_minutes)
    return Transition(status, refused, since, terms.cancel_until if status == "cancelled" else None)


async def _refusal(server: Server, stored: Stored, wanted: Json, intent: Intent) -> Issue | None:
    """Why the Appointment cannot be written like that."""
    try:
        await rehearse(server, Asked("Appointment", stored.id, lambda _: wanted), intent)
    except FhirError as error:
        if error.status >= 500:
            raise
        return error.issues[0]
    return None


async def _reschedule(server: Server, stored: Stored, intent: Intent, terms: Terms) -> Transition:
    """A move, as far as it does not depend on where to."""
    known = stored.resource or {}
    moves = policies.moves_of(known)
    refused = terms.refuse_move(moves, server.now()) or await _refusal(server, stored, known, intent)
    left = max(terms.moves_max - moves, 0) if terms.moves_max is not None else None
    return Transition("reschedule", refused, until=terms.move_until, left=left)


async def _join(server: Server, id: str, known: Json) -> list[Transition]:
    """The room of a visit by video, if it is one."""
    if "start" not in known:
        return []
    opens = instant(known["start"]) - timedelta(minutes=server.policy.join_window_before_minutes)
    closes = instant(known["start"]) + timedelta(minutes=server.policy.join_window_after_minutes)
    refused = None
    try:
        await server.store.run(telehealth.join(id, known, server.now(), server.policy))
    except FhirError as error:
        refused = error.issues[0]
        if refused.problem in NO_VIDEO:
            return []
    return [Transition("join", refused, opens, max(closes, instant(known["end"])))]


def _parts(one: Transition) -> list[Json]:
    refused = one.refused
    values: Mapping[str, tuple[str, object]] = {
        "code": ("valueCode", one.code),
        "allowed": ("valueBoolean", refused is None),
        "from": ("valueInstant", one.since and say(one.since)),
        "until": ("valueInstant", one.until and say(one.until)),
        "remaining": ("valueUnsignedInt", one.left),
        "problem": ("valueCode", refused and refused.problem),
        "text": ("valueString", refused and refused.text),
    }
    return [{"name": name, element: value} for name, (element, value) in values.items() if value is not None]


OPERATION = Operation(
    code="transitions",
    name="Transitions",
    title="What can become of an appointment",
    description="The statuses that the Appointment may move to, and whether it can be rescheduled or joined: each as "
    "it would be allowed now, with the cut-off and the problem, so that nobody has to try.",
    resource=("Appointment",),
    levels=("instance",),
    affects_state=False,
    parameters=(
        Parameter(
            "by", "in", 0, "1", "code", "For whom: `patient`, as if not given, who is bound by cut-offs, or `staff`"
        ),
        TOKEN,
        Parameter("status", "out", 1, "1", "code", "Appointment.status now"),
        Parameter("contact", "out", 0, "1", "string", "The telephone number to call for what is not allowed"),
        Parameter(
            "transition",
            "out",
            0,
            "*",
            "",
            "What can become of it",
            parts=(
                Parameter("code", "out", 1, "1", "code", "A status, or `reschedule` or `join`"),
                Parameter("allowed", "out", 1, "1", "boolean", "Whether it is allowed now"),
                Parameter("from", "out", 0, "1", "instant", "From when it is"),
                Parameter("until", "out", 0, "1", "instant", "The cut-off"),
                Parameter("remaining", "out", 0, "1", "unsignedInt", "How often it still is"),
                Parameter("problem", "out", 0, "1", "code", "Why not, in our codes"),
                Parameter("text", "out", 0, "1", "string", "Why not, for people"),
            ),
        ),
    ),
    run=transitions,
)
