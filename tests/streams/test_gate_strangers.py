"""Names of models that nobody has registered: taken up to a bound, and everything beyond it is counted."""

from collections import Counter
from typing import Any

import pytest

from detectors.values import UNKNOWN_MODEL, Monitor
from streams.control.configuration import Configuration
from streams.control.schemas import FeatureSchema, build_schema
from streams.gate import strangers
from streams.gate.output import Output, Target, output_of
from streams.gate.strangers import Strangers
from tests.streams.gate_parts import json_record, new_reader

MOST = 3


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MAX_STRANGERS", MOST)


def event(model: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    found = {"kind": "prediction", "model": model, "version": "1", "id": f"p{number}", "time": 1_790_000_000}
    return found | {"features": {"x": 1.0}, "prediction": 1} | changes


def label(model: str) -> dict[str, Any]:
    return {"kind": "label", "model": model, "id": "p0", "time": 1_790_000_000, "value": 1}


def passed(found: Strangers, *events: dict[str, Any]) -> Output:
    reader = new_reader()
    reader.read([json_record(one, offset) for offset, one in enumerate(events)])
    return output_of(reader, Target(partitions=1, producer="gate-0", offset=9, admits=found.admits))


def test_those_beyond_the_bound_are_dead_letters_of_no_model() -> None:
    events = [event(f"m{number}", number) for number in range(5)] + [label("m4"), label("m0")]
    output = passed(Strangers(Configuration()), *events)
    assert {batch.key for batch in output.batches} == {b"m0", b"m1", b"m2"}
    assert {name: (one.received, one.label_received) for name, one in output.counts.items()} == {
        "m0": (1, 1),
        "m1": (1, 0),
        "m2": (1, 0),
        UNKNOWN_MODEL: (2, 1),
    }
    unknown = output.counts[UNKNOWN_MODEL]
    assert (unknown.deadlettered, unknown.label_deadlettered) == (2, 1)
    assert Counter((one.model, one.field) for one in output.letters) == {(UNKNOWN_MODEL, "model"): 3}
    assert b'"m3"' in b"".join(one.original for one in output.letters)
    assert "no monitor, reference or schema names this model" in output.letters[0].reason


def test_names_in_refused_rows_are_bounded_too() -> None:
    events = [event(f"m{number}", number, prediction=["?"]) for number in range(50)]
    output = passed(Strangers(Configuration()), *events)
    assert len(output.letters) == 50
    assert {name: one.deadlettered for name, one in output.counts.items()} == {
        "m0": 1,
        "m1": 1,
        "m2": 1,
        UNKNOWN_MODEL: 47,
    }


def test_what_is_registered_is_never_refused_and_makes_room() -> None:
    registered = Configuration()
    found = Strangers(registered)
    passed(found, *(event(f"m{number}", number) for number in range(MOST)))
    assert not found.admits("late")
    registered.add_monitor(Monitor(model="late"))
    assert found.admits("late")
    assert not found.admits("m9")
    registered.add_schema(build_schema("m0", "1", [FeatureSchema(name="x")]))
    assert found.admits("m9")
    assert not found.admits("m10")
    assert found.admits("m0")
    assert found.admits(UNKNOWN_MODEL)


def test_names_with_an_account_stay_after_a_restart() -> None:
    found = Strangers(Configuration())
    for number in range(5):
        found.restore(f"m{number}")
    assert found.admits("m4")
    assert not found.admits("m5")
