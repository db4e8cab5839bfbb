"""What is remembered of a stream, as bytes of a checkpoint."""

import numpy as np
import pytest

from detectors.sequential.feedback import say
from detectors.sequential.packing import UNIT, pack_memory, rounded, unpack_memory
from detectors.sequential.values import Memory, Track
from tests.detectors.sequential_parts import Stream, gaussian


def test_a_packed_memory_is_the_same_memory_in_a_few_bytes():
    rng = np.random.default_rng(3)
    stream = Stream(gaussian(rng, 5_000, 13))
    plain = packed = 0
    for number in range(120):
        table = gaussian(rng, 500, 13)
        if number > 60:
            table["x1"] = table["x1"] + 1.0
        stream.window(table)
        if number in (0, 59, 64, 80, 119):
            data = pack_memory(stream.memory)
            assert unpack_memory(data) == stream.memory
            plain = sum(len(one.at_sums) + len(one.at_rows) for one in stream.memory.tracks.values())
            packed = len(data)
        if number == 80:
            stream.memory = say(stream.plan, stream.memory, "data_drift", "new normal")
            assert unpack_memory(pack_memory(stream.memory)) == stream.memory
    assert stream.seen[0][1:] == ("data_drift", "opened")
    assert packed < plain / 3, (packed, plain)
    assert packed < 60_000


def test_nothing_is_remembered_of_nothing():
    assert unpack_memory(pack_memory(Memory())) == Memory()


@pytest.mark.parametrize("number", [0.1, -1e300, 2.0**51])
def test_sums_that_are_no_small_multiples_are_kept_as_they_are(number):
    sums = np.array([number, 3.0, -2.5]).tobytes()
    memory = Memory(
        tracks={"data_drift": Track(at=(4,), at_us=(4,), shares=(1.0,), at_sums=sums, at_rows=sums)}
    )
    assert unpack_memory(pack_memory(memory)) == memory


def test_sums_are_rounded_by_less_than_chance_moves_them():
    sums = np.random.default_rng(0).normal(size=1_000) * 30
    assert np.abs(rounded(sums) - sums).max() <= UNIT / 2
    assert (rounded(sums) / UNIT == np.rint(rounded(sums) / UNIT)).all()
