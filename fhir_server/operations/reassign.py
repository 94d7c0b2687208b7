"""$reassign: an Appointment given to another practitioner, room or device at the same time (docs/changing.md)."""

from __future__ import annotations

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.read import existing
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.operations._free_time import read_reference
from fhir_server.operations._intending import BY, OVERRIDING, REASON, TOKEN, intending
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.operations.reschedule import refuse_unmovable
from fhir_server.operations.series import SCOPE, change_series, chosen_of
from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.plan import Stored
from fhir_server.scheduling import moving
from fhir_server.scheduling.policy import Intent
from fhir_server.scheduling.series import SCOPES
from fhir_server.writing import Server, write

REASSIGNABLE = ("pending", "booked", "arrived", "checked-in")

POOL_MAX = 20
"""Candidates of whom the first who is free is taken."""

TRYING = frozenset({409, 422})
"""The statuses of refusals after which the next candidate is tried."""


async def reassign(server: Server, request: Request) -> Response:
    """200 with the Appointment, given to the first of the candidates who can take it; the refusals of all of them if
    nobody can, and then nothing has changed."""
    arguments = read_arguments(OPERATION, request)
    pool = [read_reference(one, None, "to", server.base) for one in arguments["to"]]
    if len(pool) > POOL_MAX:
        raise FhirError("too-costly", f"At most {POOL_MAX} candidates can be given.", "to")
    intent = intending(intent_of(request), arguments)
    issues: list[Issue] = []
    statuses: list[int] = []
    for comer in pool:
        try:
            return await _reassign_to(server, request, arguments, comer, intent)
        except FhirError as refused:
            if refused.status not in TRYING or len(pool) == 1:
                raise
            issues += [_about(comer, issue) for issue in refused.issues if issue.severity == "error"]
            statuses.append(refused.status)
    raise FhirError.of(issues, status=409 if 409 in statuses else 422)


async def _reassign_to(server: Server, request: Request, arguments: Arguments, comer: str, intent: Intent) -> Response:
    id = str(request.id)
    leaver = next((read_reference(one, None, "from", server.base) for one in arguments["from"]), None)
    comment = next(iter(arguments["comment"]), None)

    scope = chosen_of(arguments["scope"], SCOPE, SCOPES)
    give = moving.reassign if scope == "one" else moving.reassign_too

    def edit(known: Json) -> Json:
        given = give(known, leaver, comer, server.base)
        return {**given, "comment": comment} if comment else given

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        known = existing("Appointment", id, before).resource or {}
        refuse_unmovable(id, known, REASSIGNABLE)
        return edit(known)

    if scope != "one":
        return await change_series(server, request, scope, lambda _: edit, intent=intent)
    written = await write(
        server, "Appointment", id, propose, who=request.principal, intent=intent, replay=replay_of(request)
    )
    return Response(written.status, written.stored.resource, versioned=True)


def _about(comer: str, issue: Issue) -> Issue:
    return Issue(issue.code, f"{comer}: {issue.text}", issue.expression, issue.problem, issue.severity)


OPERATION = Operation(
    code="reassign",
    name="Reassign",
    title="Give an appointment to somebody else",
    description="Puts another practitioner, room or device in the place of one who takes part, at the same time and "
    "under all the rules of a booking. Of several candidates the first who is free is taken.",
    resource=("Appointment",),
    levels=("instance",),
    affects_state=True,
    parameters=(
        Parameter("to", "in", 1, "*", "Reference", "Who is to come, the preferred one first"),
        Parameter("from", "in", 0, "1", "Reference", "Who is to leave; the only one of that kind if not given"),
        Parameter("comment", "in", 0, "1", "string", "Appointment.comment"),
        BY,
        REASON,
        TOKEN,
        *OVERRIDING,
        SCOPE,
        Parameter("return", "out", 1, "1", "Resource", "The Appointment; of a series a Bundle of them"),
    ),
    run=reassign,
)
