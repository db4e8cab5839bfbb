"""A change in the middle of a window: it is told once, wherever it is cut, and what changes later is still told."""

import numpy as np
import pytest

from detectors.sequential.packing import pack_memory, unpack_memory
from tests.detectors.sequential_parts import SECOND_US, Stream, gaussian

ROWS = 1_000
BEGINS = 10
"""The window in the middle of which the stream changes."""

CHANGES = {
    "shift": lambda table: table | {"x2": table["x2"] + 0.8},
    "swap": lambda table: table | {"x1": 2.0 * table["x2"] + 1.0, "x2": table["x1"]},
    "unit": lambda table: table | {"x2": 1_000.0 * table["x2"]},
    "missing": lambda table: table | {"x2": np.full(ROWS, np.nan)},
}


def _cut(rng, number, change, since_row):
    """A window in which the rows from `since_row` of the stream on are changed."""
    table = gaussian(rng, ROWS)
    changed = number * ROWS + np.arange(ROWS) >= since_row
    return {name: np.where(changed, change(table)[name], column) for name, column in table.items()}


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_step_in_the_middle_of_a_window_is_told_once_by_each_kind(change, part):
    rng = np.random.default_rng(31)
    stream = Stream(gaussian(rng, 10_000))
    for number in range(BEGINS + 12):
        stream.window(_cut(rng, number, change, (BEGINS + part) * ROWS))
    told = [kind for _, kind, state in stream.seen if state == "opened"]
    assert told
    assert len(told) == len(set(told))
    assert {one.since_us for one in stream.changes} == {BEGINS * SECOND_US}


def test_a_further_step_is_told_once_too_and_a_restart_between_any_two_windows_changes_nothing():
    rng = np.random.default_rng(32)
    stream = Stream(gaussian(rng, 10_000))
    for number in range(BEGINS + 12):
        table = _cut(rng, number, CHANGES["shift"], (BEGINS + 0.5) * ROWS)
        later = number * ROWS + np.arange(ROWS) >= (BEGINS + 2.5) * ROWS
        stream.window(table | {"x0": table["x0"] + 0.6 * later})
        packed = unpack_memory(pack_memory(stream.memory))
        assert packed == stream.memory
        stream.memory = packed
    assert [one.columns[0] for one in stream.changes if one.kind == "data_drift"] == ["x2", "x0"]
    assert stream.changes[-1].since_us == (BEGINS + 2) * SECOND_US


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_another_change_in_the_very_next_window_is_told_as_a_further_one(part):
    rng = np.random.default_rng(33)
    stream = Stream(gaussian(rng, 10_000))
    for number in range(BEGINS + 8):
        table = _cut(rng, number, CHANGES["shift"], (BEGINS + part) * ROWS)
        stream.window(table | {"x0": table["x0"] + 0.6 * (number > BEGINS)})
    assert [one.columns[0] for one in stream.changes] == ["x2", "x0"]
    assert [one.since_us for one in stream.changes] == [BEGINS * SECOND_US, (BEGINS + 1) * SECOND_US]
