"""Late rows and wrong clocks are told when they are no chance, beside what is always late of a model."""

import numpy as np
import pytest

from detectors.quality.arrivals import KNOWN, ArrivalMemory, Arrived, take
from detectors.values import ArrivalSlot

SLOT_US = 300_000_000


def told(lates: list[int], rows: int) -> list[tuple[int, Arrived]]:
    memory, found = ArrivalMemory(), list[tuple[int, Arrived]]()
    for number, late in enumerate(lates):
        slot = ArrivalSlot(
            start_us=number * SLOT_US, length_us=SLOT_US, version="1", rows=rows, measured=rows - late, lag_s=2.0,
            ahead=0, ahead_s=0.0, late=late, late_s=700.0,
        )  # fmt: skip
        memory, said = take(memory, slot, {"ahead": 60.0, "late": 600.0, "stale": 0.0})
        found += [(number, one) for one in said]
    return found


@pytest.mark.parametrize("share", [0.001, 0.005, 0.02])
def test_a_share_that_is_always_late_is_not_told_when_chance_brings_more_of_it(share: float) -> None:
    rng = np.random.default_rng(1)
    found = told([int(rng.binomial(300, share)) for _ in range(2_000)], 300)
    assert [number for number, _ in found if number >= KNOWN] == []


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_a_clock_that_is_wrong_from_the_first_slot_on_is_not_called_right_while_it_is_wrong(
    share: float,
) -> None:
    found = told([int(1_000 * share)] * 12, 1_000)
    assert [(number, one.state) for number, one in found] == [(0, "firing")]


@pytest.mark.parametrize("share", [0.001, 0.02])
def test_a_share_that_always_comes_again_is_not_told_either(share: float) -> None:
    rng, memory, told_in = np.random.default_rng(4), ArrivalMemory(), list[int]()
    for number in range(2_000):
        rows = max(int(rng.poisson(300)), 1)
        slot = ArrivalSlot(
            start_us=number * SLOT_US, length_us=SLOT_US, version="1", rows=rows, measured=rows, lag_s=2.0, ahead=0,
            ahead_s=0.0, late=0, late_s=0.0, twice=int(rng.binomial(rows, share)),
        )  # fmt: skip
        memory, said = take(memory, slot, {})
        told_in += [number for _ in said]
    assert [number for number in told_in if number >= KNOWN] == []


def test_more_than_chance_brings_is_told_in_its_first_slot() -> None:
    rng = np.random.default_rng(2)
    usual = [int(rng.binomial(300, 0.005)) for _ in range(100)]
    (number, first), *_ = told([*usual, 30], 300)
    assert (number, first.state, first.measure) == (100, "firing", "late_share")
    (number, first), *_ = told([0, 0, 5], 5)
    assert (number, first.state) == (2, "firing")
