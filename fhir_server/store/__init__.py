"""The store: MongoDB behind read, search, load, transact and follow. Nothing else in the server knows MongoDB.

`transact` is the only write. Its promises are in conformance/decisions/0001-the-guard.md, the documents in
conformance/decisions/0002-document-shape.md. Whatever MongoDB cannot do at present is a 503 with Retry-After.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from fhir_server import search
from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Claim, Claimed, Decision, Load, Matching, Plan, Stored
from fhir_server.store import documents, outbox, reading, writes
from fhir_server.store.failures import LostRace, answering, is_duplicate
from fhir_server.store.measure import Commands, counted
from fhir_server.store.outbox import Happened
from fhir_server.store.schema import Client, Database, connect, database, prepare
from fhir_server.store.transactions import Attempt, KeyedMutex, Session, transact
from fhir_server.store.reading import Page, Versions
from fhir_server.store.writes import Replay
