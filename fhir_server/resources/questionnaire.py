"""A form: questions, in groups (http://hl7.org/fhir/R4/questionnaire.html)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from fhir_server.definitions import ResourceDefinition, SearchParameter
from fhir_server.outcome import Issue, Json
from fhir_server.resources._shared import R4, date, each, exists, quantity, string, token, uri

OPTIONS = frozenset({"choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity"})
"""The types of items that can be answered from a list (que-5)."""

SIMPLE = frozenset({"boolean", "decimal", "integer", "string", "text", "url", "open-choice"})
"""The types of items whose answers can have a greatest length (que-10)."""

ENABLING_MAX = 2
"""The conditions of an item that need no word on how they join (que-12)."""


def _has(item: Json, *elements: str) -> bool:
    return exists(item, *elements)


ITEM_RULES: Mapping[str, tuple[Callable[[Json], bool], str]] = {
    "que-1": (
        lambda item: bool(item.get("item")) is not {"group": False, "display": True}.get(item["type"]),
        "a group must have items, and a display none",
    ),
    "que-3": (lambda item: item["type"] != "display" or not _has(item, "code"), "a display has no code"),
    "que-4": (
        lambda item: not (_has(item, "answerOption") and _has(item, "answerValueSet")),
        "an item has answerOption or answerValueSet, not both",
    ),
    "que-5": (
        lambda item: item["type"] in OPTIONS or not _has(item, "answerOption", "answerValueSet"),
        f"answerOption and answerValueSet are for items of type {', '.join(sorted(OPTIONS))}",
    ),
    "que-6": (
        lambda item: item["type"] != "display" or not _has(item, "required", "repeats"),
        "a display has neither required nor repeats",
    ),
    "que-8": (
        lambda item: item["type"] not in ("group", "display") or not _has(item, "initial"),
        "a group or a display has no initial value",
    ),
    "que-9": (lambda item: item["type"] != "display" or not _has(item, "readOnly"), "a display has no readOnly"),
    "que-10": (
        lambda item: item["type"] in SIMPLE or not _has(item, "maxLength"),
        f"maxLength is for items of type {', '.join(sorted(SIMPLE))}",
    ),
    "que-11": (
        lambda item: not (_has(item, "answerOption") and _has(item, "initial")),
        "with answerOption, an initial value is said there",
    ),
    "que-12": (
        lambda item: len(item.get("enableWhen", ())) <= ENABLING_MAX or _has(item, "enableBehavior"),
        "several enableWhen need enableBehavior",
    ),
    "que-13": (
        lambda item: item.get("repeats") is True or len(item.get("initial", ())) <= 1,
        "only an item that repeats has several initial values",
    ),
    "que-7": (
        lambda item: all(
            _has(when, "answerBoolean") for _, when in each(item, "enableWhen") if when["operator"] == "exists"
        ),
        "the operator exists is answered by answerBoolean",
    ),
}
"""R4's invariants on an item, and what is right."""


def _items(owner: Json, path: str) -> Iterator[tuple[str, Json]]:
    """The items, those inside items included, each with its place."""
    for index, item in each(owner, "item"):
        here = f"{path}.item[{index}]"
        yield here, item
        yield from _items(item, here)


def _broken_items(resource: Json) -> Sequence[Issue]:
    return [
        Issue("invariant", f"{key}: {text}", (where,))
        for where, item in _items(resource, "Questionnaire")
        for key, (holds, text) in ITEM_RULES.items()
        if not holds(item)
    ]


def _que_2(resource: Json) -> Sequence[Issue]:
    named = Counter(item.get("linkId") for _, item in _items(resource, "Questionnaire"))
    return [
        Issue("invariant", "que-2: a linkId must be unique in the questionnaire", (where,))
        for where, item in _items(resource, "Questionnaire")
        if named[item.get("linkId")] > 1
    ]


def _with_context(code: str, component: str, path: str, description: str) -> SearchParameter:
    """A composite of the type of a use context and its value."""
    return SearchParameter(
        code,
        "composite",
        "Questionnaire.useContext",
        f"{R4}/Questionnaire-{code}",
        description,
        components=(("context-type", "code"), (component, path)),
    )


ROW = ResourceDefinition(
    type="Questionnaire",
    description="A form: questions, in groups.",
    search=(
        token("code", "Questionnaire.item.code", "A code of one of its items"),
        token("context", "(Questionnaire.useContext.value as CodeableConcept)", "What it is meant for"),
        quantity(
            "context-quantity",
            "(Questionnaire.useContext.value as Quantity) | (Questionnaire.useContext.value as Range)",
            "A quantity or range that it is meant for",
        ),
        token("context-type", "Questionnaire.useContext.code", "What kind of thing it is meant for"),
        _with_context(
            "context-type-quantity",
            "context-quantity",
            "value.as(Quantity) | value.as(Range)",
            "What kind of thing it is meant for, together with its quantity or range",
        ),
        _with_context(
            "context-type-value",
            "context",
            "value.as(CodeableConcept)",
            "What kind of thing it is meant for, together with which",
        ),
        date("date", "Questionnaire.date", "When it was last changed"),
        uri("definition", "Questionnaire.item.definition", "The ElementDefinition that an item is of"),
        string("description", "Questionnaire.description", "A portion of its description"),
        date("effective", "Questionnaire.effectivePeriod", "When it is meant to be used"),
        token("identifier", "Questionnaire.identifier", "An external identifier of it"),
        token("jurisdiction", "Questionnaire.jurisdiction", "Where it is meant to be used"),
        string("name", "Questionnaire.name", "A portion of its name for machines"),
        string("publisher", "Questionnaire.publisher", "A portion of the name of its publisher"),
        token("status", "Questionnaire.status", "draft, active, retired or unknown", system="publication-status"),
        token("subject-type", "Questionnaire.subjectType", "What it can be filled in about", system="resource-types"),
        string("title", "Questionnaire.title", "A portion of its name for people"),
        uri("url", "Questionnaire.url", "The canonical URL of it"),
        token("version", "Questionnaire.version", "The business version of it"),
    ),
    invariants=(_que_2, _broken_items),
)
