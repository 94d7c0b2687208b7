"""The document in MongoDB, and back (conformance/decisions/0002-document-shape.md).

<Type>           {_id: id, version, updated, method, first, resource, index, order, refs}   what is there now
<Type>_history   {_id: "id/version", id, version, updated, until, method, first, resource}   what was; resource
                 null: deleted
claims           {_id, owner, actor, day: "actor|yyyymmdd", start, end, claim}
                 one piece for each UTC day; [start, end) is the piece, `claim` the whole
guards           {_id: "actor|yyyymmdd", day, moves}
outbox, events   {_id, at, resource, version, action, …}                   before and after they have a number
idempotency      {_id: key, fingerprint, answers: [{type, id, version, status, where, unchanged}], at}
conditions       {_id: condition, met, at}                                  how often something was made to meet it
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from bson.codec_options import CodecOptions, TypeCodec, TypeRegistry
from bson.decimal128 import Decimal128

from fhir_server import search
from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Claim, Stored, Write

DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
CLAIM_DAYS_MAX = 400


class _Decimals(TypeCodec):
    """Decimals keep their digits: 1.00 stays 1.00."""

    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        return Decimal128(value)

    def transform_bson(self, value: Decimal128) -> Decimal:
        return value.to_decimal()


CODEC: CodecOptions[Json] = CodecOptions(tz_aware=True, tzinfo=UTC, type_registry=TypeRegistry([_Decimals()]))


def instant(moment: datetime) -> datetime:
    """The moment as MongoDB keeps it: in UTC, whole milliseconds, the rest cut off."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def version_of(
    row: ResourceDefinition,
    write: Write,
    version: int,
    updated: datetime,
    resource: Json,
    *,
    first: bool,
    zone: tzinfo,
    base: str,
) -> Json:
    """The document of a version; the resource gets its id, meta.versionId and meta.lastUpdated."""
    stamp = updated.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    meta = {**resource.get("meta", {}), "versionId": str(version), "lastUpdated": stamp}
    stamped = {"resourceType": row.type, "id": write.id, "meta": meta} | {
        name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")
    }
    said = {"_id": write.id, "version": version, "updated": updated, "method": write.method, "first": first}
    return said | {"resource": stamped} | indexed(row, stamped, zone=zone, base=base)


def indexed(row: ResourceDefinition, resource: Json, *, zone: tzinfo, base: str) -> Json:
    """What is kept beside a resource to find it by; `refs` are all the resources of ours that it refers to."""
    return {**search.index(row, resource, zone=zone, base=base), "refs": search.referred(resource, base)}


def superseded(document: Mapping[str, Any], until: datetime) -> Json:
    """What history keeps of a current document: it was current `until` then."""
    return _past(document["_id"], document) | {"until": until, "resource": document["resource"]}


def deletion(version: Mapping[str, Any]) -> Json:
    """The version that says that the resource was deleted; what it says is lasting until there is a newer one."""
    return _past(version["id"], version) | {"until": None, "resource": None}


def _past(id: str, said: Mapping[str, Any]) -> Json:
    kept = {element: said[element] for element in ("version", "updated", "method", "first") if element in said}
    return {"_id": f"{id}/{said['version']}", "id": id, **kept}


def stored(type: str, document: Mapping[str, Any]) -> Stored:
    """The version that a document holds, of a current collection or of a history."""
    id = document.get("id", document["_id"])
    method, first = document.get("method", "PUT"), document.get("first", False)
    return Stored(type, id, document["version"], document["updated"], document["resource"], method, first)


def exact(claim: Claim) -> Claim:
    """The claim as it will be read back: whole milliseconds, outwards, so that it never gets shorter."""
    return Claim(
        claim.actor,
        instant(claim.start),
        _not_before(claim.end),
        claim.owner,
        instant(claim.core_start),
        _not_before(claim.core_end),
        claim.pool,
        claim.capacity,
        claim.units,
        claim.expires and instant(claim.expires),
        claim.forced,
    )


def _not_before(moment: datetime) -> datetime:
    whole = instant(moment)
    return whole if whole == moment else whole + MILLISECOND


def days(start: datetime, end: datetime) -> Iterator[datetime]:
    """The UTC midnights that begin the days which [start, end) touches."""
    day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < end:
        yield day
        day += DAY


def day_key(actor: str, day: datetime) -> str:
    """The key of an actor's UTC day."""
    return f"{actor}|{day.year:04}{day:%m%d}"


def day_keys(claim: Claim) -> Iterator[str]:
    """The keys of the days that the claim touches. A claim of too many days is refused."""
    if claim.end - claim.start > CLAIM_DAYS_MAX * DAY:
        raise FhirError("too-costly", f"One entry may occupy at most {CLAIM_DAYS_MAX} days; use several.")
    return (day_key(claim.actor, day) for day in days(claim.start, claim.end))


def pieces(claim: Claim) -> Iterator[Json]:
    """The documents of a claim: one for each UTC day, each with the whole claim in it.

    claim            [=============|==========)
    pieces           [=============)[=========)
    """
    whole = {
        "start": claim.start,
        "end": claim.end,
        "core_start": claim.core_start,
        "core_end": claim.core_end,
        "pool": claim.pool,
        "capacity": claim.capacity,
        "units": claim.units,
        "expires": claim.expires,
        "forced": claim.forced,
    }
    for day in days(claim.start, claim.end):
        yield {
            "owner": claim.owner,
            "actor": claim.actor,
            "day": day_key(claim.actor, day),
            "start": max(claim.start, day),
            "end": min(claim.end, day + DAY),
            "claim": whole,
        }


def claim_of(piece: Mapping[str, Any]) -> Claim:
    """The whole claim that a piece belongs to."""
    return Claim(actor=piece["actor"], owner=piece["owner"], **piece["claim"])


def claims_of(found: Iterable[Mapping[str, Any]], now: datetime) -> list[Claim]:
    """The claims whose pieces were found that have not expired, each once, ordered by actor and start."""
    claims = {claim for piece in found if not has_expired(claim := claim_of(piece), now)}
    return sorted(claims, key=lambda claim: (claim.actor, claim.start, claim.end, claim.owner))


def has_expired(claim: Claim, now: datetime) -> bool:
    """Whether the claim is of a hold that is over."""
    return claim.expires is not None and claim.expires <= now
