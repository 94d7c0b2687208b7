"""schemathesis against the OpenAPI document: `python -m tests.fuzz --requests 50000`.

Every operation of the document is called with values as the document has them and with values as it has them not; no
answer may be a 5xx, or of a status, media type, header or schema that the document does not name. Without `--url` a
server and a store of its own are started, with the test clinic in them.

Large resources are what takes time to generate. So requests come in rounds, and each round thins the schemas of what is
sent to a few elements that it chose; the schemas of what is answered stay whole. A part of the ids, references and
resources is of the clinic, so that more is reached than refusals.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from fhir_server.operations import OPERATIONS
from tests.clinic import BUILDERS, CLINIC, Json

ROOT = Path(__file__).parents[1]
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]

CASES = {GenerationMode.POSITIVE: 6, GenerationMode.NEGATIVE: 2}
"""Cases of an operation in one round: as the document has them, and as it has them not."""

ROUND = 500
"""Requests of a round."""

FAILURES_MAX = 20
"""Different failures after which a run ends."""

ELEMENTS = 5
"""Optional elements of what is sent, in one round."""

SECONDS_MAX = 30
CONNECT_ATTEMPTS = 8
STOP_SECONDS_MAX = 30

REFERENCES = [f"{one['resourceType']}/{one['id']}" for one in CLINIC]
NAMES = sorted({parameter.name for one in OPERATIONS for parameter in one.parameters if parameter.use == "in"})
FREE: Mapping[str, Sequence[str]] = {
    "reference": [*REFERENCES, "ann", "http://127.0.0.1/fhir/Patient/ann"],
    "string": ["Ash", "ann", "Main Clinic", "smith,ash", "a\\,b"],
    "token": [
        "free",
        "booked",
        "active",
        "true",
        "http://hl7.org/fhir/slotstatus|free",
        "|x",
        "x|",
        "ann",
        "smith-main",
    ],
    "uri": ["http://hl7.org/fhir/slotstatus", "http://hl7.org/fhir/ValueSet/slotstatus", "urn:oid:1.2"],
}
"""Values that mean something, by the type of a parameter whose value can be any text."""

BOUND: Mapping[str, Sequence[str]] = {
    "composite": ["Practitioner/smith$accepted", "Patient/ann$declined,Patient/bob$accepted"],
    "date": [
        "2026",
        "ge2026-03-02",
        "lt2026-03-03T12:00:00Z",
        "ap2026-03",
        "sa2020,eb2030",
        "2026-03-03T09:00:00.123+14:00",
    ],
    "number": ["5", "gt4.50", "ne1e2", "ap-3"],
    "quantity": ["5", "le30|http://unitsofmeasure.org|min", "5||min"],
    "special": ["47.1|8.2|10|km", "-90|180", "47.1|8.2|1|[mi_us]"],
    "_at": ["2026", "gt2026-03-02", "2026-03-03T09:00:00Z"],
    "_elements": ["name,status", "id", "Patient.name", "banana"],
    "_filter": ['active eq true or _id eq "ann"', "not (_lastUpdated ge 2026-01-01)", "status pr true and _id ne x"],
    "_include": ["Slot:schedule", "Appointment:actor", "*", "Patient:*", "Banana:banana"],
    "_revinclude": ["Slot:schedule", "Appointment:actor:Patient", "*", "Encounter:subject"],
    "_since": ["2026-03-02T09:00:00Z", "2026-03-02T09:00:00.123456-05:00"],
    "_sort": ["-_lastUpdated", "_id,-_id", "name", "status,-date"],
    "_type": ["Patient,Slot", "Schedule", "Patient"],
}
"""Values that mean something, by the type or the name of a parameter whose value is of a form."""

PLACES = ["/active", "/status", "/language", "/name/0/family", "/participant/0/status", "/comment", "/-", "/id"]
"""Places that a JSON Patch can name."""


@dataclass(slots=True)
class Run:
    """What was asked so far: requests by status, and the failures by what is the same of them."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, other: Run) -> dict[str, str]:
        """Counts another run into this one; the failures that are new."""
        self.requests += other.requests
        self.statuses += other.statuses
        new = {same: text for same, text in other.failures.items() if same not in self.failures}
        self.failures |= new
        return new


def fuzz(url: str, document: Json, number: int, most: int) -> Run:
    """One round: up to `most` requests, chosen by its number. What earlier ones deleted of the clinic is put back."""
    chance = random.Random(number)
    schema = schemathesis.openapi.from_dict(adapted(document, chance))
    operations = [found.ok() for found in schema.get_all_operations()]
    chance.shuffle(operations)
    run = Run()
    with requests.Session() as session:
        for one in CLINIC:
            session.put(f"{url}/{one['resourceType']}/{one['id']}", json=one, timeout=SECONDS_MAX)
        for operation in operations:
            for mode, cases in CASES.items():
                if run.requests < most:
                    _call(run, operation, mode, url, session, chance.getrandbits(64), min(cases, most - run.requests))
    return run


def _call(
    run: Run, operation: Any, mode: GenerationMode, url: str, session: requests.Session, number: int, cases: int
) -> None:
    """Calls the operation and notes in the run what came of it."""

    @seed(number)
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    def call(case: Any) -> None:
        response = case.call(base_url=url, session=session, timeout=SECONDS_MAX)
        run.requests += 1
        run.statuses[response.status_code] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as failed:
            for each in failed.exceptions:
                same = f"{operation.label}: {getattr(each, 'title', each)} ({response.status_code})"
                run.failures.setdefault(same, f"{each}\n\n{case.as_curl_command()}")

    with contextlib.suppress(Unsatisfiable):
        call()


def adapted(document: Json, chance: random.Random) -> Json:
    """The document with smaller schemas of what is sent, and with values of the clinic among those to choose from."""
    document = copy.deepcopy(document)
    schemas = document["components"]["schemas"]
    schemas |= {f"sent-{name}": _thin(name, schema, chance) for name, schema in schemas.items()}
    for path, methods in document["paths"].items():
        for said in methods.values():
            for parameter in said["parameters"]:
                _suggest(parameter, path)
            for content in said.get("requestBody", {}).get("content", {}).values():
                if "schema" in content:
                    content["schema"] = _sent(content["schema"])
    for parameter in document["components"]["parameters"].values():
        _suggest(parameter, "")
    return document


def _suggest(parameter: Json, path: str) -> None:
    if parameter.get("name") == "id":
        of = path.split("/")[1]
        ids = [reference.partition("/")[2] for reference in REFERENCES if reference.startswith(f"{of}/")]
        parameter["schema"] = {"anyOf": [{"enum": [*ids, of.lower(), "slotstatus"]}, parameter["schema"]]}
        return
    for known in (parameter.get("name"), parameter.get("x-search-type")):
        if known in FREE:
            parameter["schema"] = {"anyOf": [{"enum": FREE[known]}, parameter["schema"]]}
        elif known in BOUND:
            parameter["schema"] = {"enum": BOUND[known]}


def _sent(schema: Json) -> Json:
    """The schema of a body: thin, or a whole resource of the clinic; places of patches that there are."""
    if schema.get("type") == "array":
        place = schema["items"]["properties"]["path"]
        place |= {"anyOf": [{"enum": PLACES}, dict(place)]}
        place.pop("type", None)
        return schema
    types = [one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", [schema]) if "$ref" in one]
    built = [BUILDERS[type](type.lower()) for type in types if type in BUILDERS]
    built += [one for one in CLINIC if one["resourceType"] in types]
    bodies = [{"$ref": f"#/components/schemas/sent-{type}"} for type in types] or [schema]
    return {"anyOf": [*([{"enum": built}] if built else []), *bodies]}


def _thin(name: str, schema: Json, chance: random.Random) -> Json:
    """The schema with some of its optional elements."""
    if "properties" not in schema:
        return copy.deepcopy(schema)
    required = schema.get("required", [])
    optional = sorted(schema["properties"].keys() - set(required))
    kept = {*required, *chance.sample(optional, min(len(optional), ELEMENTS if "resourceType" in required else 2))}
    if name == "Reference":
        return {"type": "object", "required": ["reference"], "properties": {"reference": {"enum": REFERENCES}}}
    if name in ("Bundle", "BundleEntry", "BundleEntryRequest", "Parameters", "ParametersParameter"):
        kept |= set(optional) & {"type", "entry", "resource", "request", "method", "url", "parameter", "name"}
    properties = {each: _inner(schema["properties"][each]) for each in sorted(kept)}
    if name == "ParametersParameter":
        properties["name"] = {"enum": NAMES}
    return {**schema, "properties": properties}


def _inner(schema: Any) -> Any:
    """The schema with references to the thin ones, and short lists."""
    if isinstance(schema, list):
        return [_inner(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    said = {key: _inner(value) for key, value in schema.items()}
    if "$ref" in said:
        said["$ref"] = said["$ref"].replace("/schemas/", "/schemas/sent-")
    return said | ({"maxItems": 2} if said.get("type") == "array" else {})


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The FHIR base of a server on a new store, with the test clinic in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_SERVER_")}
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "fhir_server", "serve", "--port", port, "--data", data, "--log-level", "error"]
        server = subprocess.Popen(command, cwd=ROOT, env=kept, stdout=subprocess.DEVNULL)
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=CONNECT_ATTEMPTS)) as client:
                for one in CLINIC:
                    url = f"http://127.0.0.1:{port}/fhir/{one['resourceType']}/{one['id']}"
                    client.put(url, json=one, timeout=SECONDS_MAX).raise_for_status()
            yield f"http://127.0.0.1:{port}/fhir"
        finally:
            server.terminate()
            server.wait(timeout=STOP_SECONDS_MAX)


def run(url: str, most: int, number: int, processes: int) -> Run:
    """`most` requests to the server in rounds, fewer if much fails; it tells how it goes and what fails."""
    answer = httpx.get(f"{url.removesuffix('/fhir')}/openapi.json", timeout=SECONDS_MAX)
    document: Json = answer.raise_for_status().json()
    total, began = Run(), time.monotonic()
    sizes = [min(ROUND, most - start) for start in range(0, most, ROUND)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        rounds = [pool.submit(fuzz, url, document, number + place, size) for place, size in enumerate(sizes)]
        for each in as_completed(rounds):
            for same, reproduction in total.add(each.result()).items():
                print(f"\n{same}\n{reproduction}\n")
            pace = total.requests / (time.monotonic() - began)
            print(f"{total.requests} requests, {pace:.0f} a second, {len(total.failures)} failures", flush=True)
            if len(total.failures) >= FAILURES_MAX:
                pool.shutdown(cancel_futures=True)
                break
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="how many requests")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="the same run again")
    parser.add_argument("--processes", type=int, default=2, help="processes that send them")
    parser.add_argument("--url", help="the FHIR base of a server that runs; its data will not be the same afterwards")
    given_ = parser.parse_args()
    with contextlib.nullcontext(given_.url) if given_.url else served() as url:
        total = run(url, given_.requests, given_.seed, given_.processes)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(total.statuses.items()))
    print(f"{total.requests} requests with seed {given_.seed}: {len(total.failures)} failures; {statuses}")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
