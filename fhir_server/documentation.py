"""rows → the tables in README.md and docs/. Pure: from the text of a page to the same page with its tables made anew.

A table stands between two comments; everything outside them is written by hand:

    <!-- rows: settings -->
    | ... |
    <!-- end of rows -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from fhir_server import terminology
from fhir_server.compartments import COMPARTMENTS, ITSELF
from fhir_server.conformance.readonly import SEARCH
from fhir_server.definitions import Interaction, Operation
from fhir_server.extensions import EXTENSIONS
from fhir_server.interactions import INTERACTIONS
from fhir_server.operations import OPERATIONS
from fhir_server.operations.arguments import ANY_RESOURCE
from fhir_server.resources import ROWS
from fhir_server.scheduling import lifecycle
from fhir_server.scheduling.problems import PROBLEM_TEXTS
from fhir_server.search import COMMON, include, supported
from fhir_server.search.kinds import KINDS
from fhir_server.settings import Settings, variable

MARKED = re.compile(r"(<!-- rows: ([a-z-]+) -->\n)(.*?)(<!-- end of rows -->)", re.DOTALL)


def rewrite(page: str) -> str:
    """The page with every marked table made anew from the rows. ValueError if there is no table of that name."""
    return MARKED.sub(lambda found: f"{found[1]}{_made(found[2])}{found[4]}", page)


def _made(name: str) -> str:
    if name not in TABLES:
        raise ValueError(f"There is no table {name}; there are {', '.join(sorted(TABLES))}.")
    return TABLES[name]()


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown. A cell is one line; a bar in it is escaped."""
    names = list(head)
    return "".join(_line(cells) for cells in (names, ["---"] * len(names), *rows))


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"


def _code(text: object) -> str:
    return f"`{text}`"


def _codes(texts: Iterable[object], nothing: str = "") -> str:
    return ", ".join(map(_code, texts)) or nothing


def _settings() -> str:
    fields = Settings.model_fields.items()
    lines = (
        (_option(name), _variables(name, field), _default(field), field.description or "") for name, field in fields
    )
    return _table(("Option", "Environment variable", "Default", "What it does"), lines)


def _option(name: str) -> str:
    return _code(f"--{name.replace('_', '-')}")


def _variables(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [variable(name)]
    return _codes(choices)


def _default(field: FieldInfo) -> str:
    default = field.default
    return "" if default is None else _code(str(default).lower() if isinstance(default, bool) else default)


def _moves(type: str) -> str:
    table = lifecycle.TABLES[type]
    lines = ((_code(status), _codes(moves, "nothing follows")) for status, moves in table.items())
    return _table((f"`{type}.status`", "May become"), lines)


def _slots_of_appointments() -> str:
    lines = ((_code(status), _code(slot)) for status, slot in lifecycle.SLOT_STATUS.items())
    return _table(("`Appointment.status`", "`Slot.status` once no place is left"), lines)


def _words() -> str:
    lines = (
        (
            word.display,
            _code(word.code),
            _code(word.status),
            "the same" if word.exact else "narrower",
            ", ".join(f"{_code(element)} is {value}" for element, value in word.also),
        )
        for word in lifecycle.WORDS
    )
    return _table(("Word", "Code", "`Appointment.status`", "The word is", "Goes with"), lines)


def _problems() -> str:
    return _table(("Code", "Meaning"), ((_code(code), text) for code, text in sorted(PROBLEM_TEXTS.items())))


def _parameters(operation: Operation) -> str:
    lines = (
        (_code(one.name), one.use, f"{one.min}..{one.max}", one.type or "parts", one.documentation)
        for one in operation.parameters
    )
    return _table(("Parameter", "Use", "Cardinality", "Type", "What it says"), lines)


def _scheduling_parameters() -> str:
    extension = next(one for one in EXTENSIONS if one.id == "scheduling-parameters")
    lines = (
        (_code(part.name), _codes(f"value{type[0].upper()}{type[1:]}" for type in part.value), part.documentation)
        for part in extension.parts
    )
    return _table(("Part", "Value", "What it says"), lines)


def _extensions() -> str:
    lines = ((_code(one.id), _codes(one.context), one.description) for one in EXTENSIONS)
    return _table(("Extension", "Stands on", "What it says"), lines)


def _interactions() -> str:
    lines = dict.fromkeys((_code(one.code), _code(f"{one.method} {_request(one)}")) for one in INTERACTIONS)
    return _table(("Interaction", "Request"), [("`capabilities`", "`GET /metadata`"), *lines])


def _request(interaction: Interaction) -> str:
    """The path of an interaction below the base, for any type and any compartment."""
    path = interaction.path.replace("{", "[").replace("}", "]") or "/"
    if interaction.conditional:
        return f"{path}?[condition]" if interaction.method != "POST" else path
    return f"/[compartment]/{path.split('/', 2)[2]}" if "[target]" in path else path


def _operations() -> str:
    lines = ((_calls(one), one.description) for one in OPERATIONS)
    return _table(("Operation", "What it does"), lines)


def _calls(operation: Operation) -> str:
    types = ["[type]" if type == ANY_RESOURCE else type for type in operation.resource]
    places = [f"{type}{'/[id]' if level == 'instance' else ''}/" for type in types for level in _levels(operation)]
    if "system" in operation.levels:
        places.insert(0, "")
    return _codes(f"{place}${operation.code}" for place in places)


def _levels(operation: Operation) -> list[str]:
    return [level for level in operation.levels if level != "system"]


def _name(operation: Operation) -> str:
    """What a table about the operation is called: its code, after its type where another has the same code."""
    shared = sum(one.code == operation.code for one in OPERATIONS) > 1
    return f"{operation.resource[0].lower()}-{operation.code}" if shared else operation.code


def _types() -> str:
    lines = ((_code(row.type), _codes(one.code for one in row.search if supported(one))) for row in ROWS.values())
    common = ("every type", _codes(one.code for one in COMMON if supported(one)))
    return _table(("Resource type", "Search parameters"), [*lines, common])


def _kinds() -> str:
    lines = ((kind, _codes(f":{one}" for one in ("missing", *KINDS[kind].modifiers))) for kind in KINDS)
    return _table(("Kind of parameter", "Modifiers"), lines)


def _compartments() -> str:
    lines = (
        (_code(f"{compartment}/[id]/{type}"), _codes(codes).replace(f"`{ITSELF}`", "the resource itself"))
        for compartment, members in COMPARTMENTS.items()
        for type, codes in sorted(members.items())
    )
    return _table(("Search", "What puts a resource there"), lines)


def _includes() -> str:
    lines = (
        (_code(row.type), _codes(include.claims(ROWS, row.type)), _codes(include.reverse_claims(ROWS, row.type)))
        for row in ROWS.values()
    )
    return _table(("Resource type", "`_include`", "`_revinclude`"), lines)


def _read_only_types() -> str:
    lines = ((_code(type), _codes(one.code for one in parameters)) for type, parameters in SEARCH.items())
    return _table(("Resource type", "Search parameters"), lines)


def _value_sets() -> str:
    """The value sets that elements are bound to, with how many codes of each there are."""
    bound: dict[str, list[str]] = {}
    for path, (strength, url) in terminology.bindings().items():
        bound.setdefault(url, []).append(f"{_code(path)} ({strength})")
    lines = (
        (
            _code(url),
            "not here" if terminology.unavailable(url) else str(len(terminology.expand(url))),
            ", ".join(paths),
        )
        for url, paths in sorted(bound.items())
    )
    return _table(("Value set", "Codes", "Elements that are bound to it"), lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "compartments": _compartments,
    "extensions": _extensions,
    "includes": _includes,
    "interactions": _interactions,
    "operations": _operations,
    "problems": _problems,
    "read-only-types": _read_only_types,
    "scheduling-parameters": _scheduling_parameters,
    "search-kinds": _kinds,
    "settings": _settings,
    "slots-of-appointments": _slots_of_appointments,
    "types": _types,
    "value-sets": _value_sets,
    "words": _words,
    **{f"{_name(operation)}-parameters": partial(_parameters, operation) for operation in OPERATIONS},
    **{f"{type.lower()}-statuses": partial(_moves, type) for type in lifecycle.TABLES},
}
"""Every table by the name that its comment gives."""
