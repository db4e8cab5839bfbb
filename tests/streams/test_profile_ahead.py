"""Reading ahead changes nothing but the time that it takes."""

import dataclasses

import numpy as np

from streams.profile.stage import ProfileStage
from streams.stages import Flush, Foresighted, InputRecord
from tests.streams.stream_data import label_record, make_configuration, make_events, prediction_record

MODEL = "loan"


def records() -> list[InputRecord]:
    events, found = make_events(400, seed=4), list[InputRecord]()
    for number, start in enumerate(range(0, 400, 50)):
        rows = np.arange(start, start + 50)
        found.append(prediction_record(events, rows, MODEL, 3 * number, "1"))
        found.append(label_record(events, rows[::3], MODEL, 3 * number + 1))
        found.append(prediction_record(events, rows[::2], MODEL, 3 * number + 2, "2"))
    found[7] = dataclasses.replace(found[7], value=b"damaged")
    found[9] = dataclasses.replace(found[9], value=None)
    found[11] = dataclasses.replace(found[11], headers=())
    return [dataclasses.replace(record, offset=offset) for offset, record in enumerate(found)]


def result(ahead: int) -> tuple[Flush | None, list[tuple[str, str] | None]]:
    stage, unknown = ProfileStage(0, 1, make_configuration(MODEL, ("1", "2"))), list[tuple[str, str] | None]()
    assert isinstance(stage, Foresighted)
    given = records()
    for number, record in enumerate(given):
        if ahead and number % ahead == 0:
            stage.look_ahead([dataclasses.replace(one) for one in given[number : number + ahead]])
        unknown.append(stage.unconfigured(record))
        if record.offset > stage.offset:
            stage.process(record)
    stage.end()
    return stage.flush(final=True), unknown


def test_what_was_read_ahead_gives_the_same_outputs_and_state() -> None:
    plain = result(0)
    assert result(5) == plain
    assert result(100) == plain


def test_only_the_very_record_that_was_read_ahead_is_taken_from_there() -> None:
    stage = ProfileStage(0, 1, make_configuration(MODEL, ("1", "2")))
    first, _, second = records()[:3]
    stage.look_ahead([dataclasses.replace(second, offset=0)])
    stage.process(first)
    other = ProfileStage(0, 1, make_configuration(MODEL, ("1", "2")))
    other.process(first)
    assert stage.flush(final=True) == other.flush(final=True)
