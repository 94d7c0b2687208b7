"""The machine of `tests/machine.py`, shortened: what people do in any order, beside a model; and where both agree."""

from __future__ import annotations

from dataclasses import replace

from tests import machine
from tests.model import Model, Visit


def test_b2_whatever_happens_in_any_order_what_is_booked_claimed_and_found_is_what_a_simple_model_says(
    mongodb_uri: str,
) -> None:
    machine.run(mongodb_uri, examples=5, steps=18)


def test_a9_what_is_found_books_and_what_is_not_found_is_refused_with_the_reasons_that_are_explained(
    mongodb_uri: str,
) -> None:
    """Every ten minutes of a morning: `ask_why` compares $availability, $validate-booking and the model."""
    with machine.site(mongodb_uri) as site:
        asking = type("Asking", (machine.Machine,), {"site": site})()
        asking.begin()
        asking.book(start=550, minutes=20, patient="ann", who="smith", room=False, door="create")
        asking.hold(start=570, minutes=30, patient="bob", who="jones", room=True)
        asking.publish(start=700, minutes=20, status="free")
        asking.publish(start=620, minutes=20, status="busy")
        asking.let_time_pass(minutes=45)
        asking.everything_agrees()
        for who, calendar in asking.model.calendars.items():
            offered = asking.model.offered(calendar)
            found = asking.found()[who]
            assert found.keys() == offered.keys()
            if who == "room":
                continue
            for start in range(8 * 60 + 30, 12 * 60, 10):
                asking.ask_why(start=start, minutes=calendar.duration, who=who, room=start % 20 == 0)
            for start, end in offered:
                book_found(asking, Visit("booked", start, end, machine.ASKING, who), found[start, end]["id"])


def book_found(asking: machine.Machine, visit: Visit, slot: str) -> None:
    """The Slot that was found is booked by its reference, and given back."""
    named = {"name": "slot", "valueReference": {"reference": f"Slot/{slot}"}}
    whose = {"name": "patient", "valueReference": {"reference": f"Patient/{visit.patient}"}}
    answer = asking.operate("/Appointment/$book", named, whose)
    assert answer.status_code == 201, answer.text
    given = {"name": "cancelationReason", "valueCodeableConcept": machine.REASON}
    assert asking.operate(f"/Appointment/{answer.json()['id']}/$cancel", given).status_code == 200


def test_the_model_knows_what_is_over_capacity() -> None:
    model = Model(dict(machine.CALENDARS), machine.OPENS)
    first = Visit("booked", 540, 560, "ann", "smith")
    model.visits |= {"1": first, "2": replace(first, start=559, end=580, patient="bob")}
    assert model.over_capacity() == {("Practitioner/smith", 559)}
    model.change("2", status="pending", expires=machine.OPENS)
    assert not model.over_capacity()
    assert model.conflicts(replace(first, start=560, end=580, patient="bob")) == {"smith"}
    assert not model.conflicts(replace(first, start=570, end=590, patient="bob"))
    grouped = replace(first, who="jones")
    model.visits = {name: replace(grouped, patient=name) for name in ("ann", "bob", "cleo")}
    assert not model.over_capacity()
    assert model.conflicts(replace(grouped, patient="dora")) == {"jones"}
