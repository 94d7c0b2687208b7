"""What can go wrong in the store, said to the client without a word of the driver's."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from pymongo.errors import BulkWriteError, ConnectionFailure, ExecutionTimeout, OperationFailure, PyMongoError

from fhir_server.outcome import FhirError

log = logging.getLogger(__name__)

DUPLICATE_KEY = 11000
WRITE_CONFLICT = 112
NO_SUCH_TRANSACTION = 251

RETRY_AFTER = {"Retry-After": "1"}


class LostRace(Exception):
    """What was decided on is not what is stored any more: read again, decide again. Nothing was written."""


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Turns every failure of the driver into a 503 with Retry-After; the log has the rest."""
    try:
        yield
    except ExecutionTimeout as error:
        log.warning("the store stopped a statement that took too long: %s", error)
        raise FhirError(
            "too-costly", "The search took too long and was stopped. Ask for less: a shorter period, one type."
        ) from None
    except PyMongoError as error:
        log.exception("the store does not answer")
        raise unavailable() from error


def unavailable() -> FhirError:
    """The store cannot be reached, or cannot do its work at present."""
    return FhirError("transient", "The store does not answer at present. Try again.", headers=RETRY_AFTER)


def overdue() -> FhirError:
    """The deadline passed while others were writing the same; nothing was written."""
    text = "Too many were writing the same at the same time. Nothing was written; try again."
    return FhirError("transient", text, headers=RETRY_AFTER)


def uncertain() -> FhirError:
    """The store stopped answering while it was told to commit."""
    text = (
        "The store stopped answering at the last moment: whether this was written is unknown. Try again with the "
        "same Idempotency-Key, or read first what is there."
    )
    return FhirError("transient", text, headers=RETRY_AFTER)


def codes(error: PyMongoError) -> set[int]:
    """The server's codes in the error: its own, and one for each write of a batch that failed."""
    details: Any = error.details if isinstance(error, OperationFailure) else None
    found = {error.code} if isinstance(error, OperationFailure) else set()
    if isinstance(error, BulkWriteError) and details:
        found |= {each.get("code") for each in details.get("writeErrors", ())}
    return {code for code in found if code is not None}


def is_transient(error: PyMongoError) -> bool:
    """Whether the whole transaction may succeed when it is tried again."""
    conflict = codes(error) & {WRITE_CONFLICT, NO_SUCH_TRANSACTION}
    lost = isinstance(error, ConnectionFailure)
    return bool(conflict) or lost or error.has_error_label("TransientTransactionError")


def is_uncertain(error: PyMongoError) -> bool:
    """Whether a commit that failed so may have happened."""
    return error.has_error_label("UnknownTransactionCommitResult")


def is_duplicate(error: PyMongoError) -> bool:
    """Whether somebody else has stored a document with the same unique key."""
    return DUPLICATE_KEY in codes(error)
