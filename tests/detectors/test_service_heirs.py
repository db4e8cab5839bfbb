"""A new version is compared with what was usual of the one before it, and not with its own beginning."""

import numpy as np

from detectors.columns import Floats
from detectors.service.judging import begun_with
from detectors.service.usual import LASTING, LEARNED
from detectors.service.values import ServiceMemory
from tests.detectors.test_service_judging import Stream, heavy

WARM = 12
"""Windows of ten seconds in the two minutes that a freshly loaded version is given."""


def heir_of(before: Stream, seed: int = 9) -> Stream:
    """The stream of the version that comes next."""
    assert before.memory is not None
    after = Stream(seed)
    after.number, after.memory = before.number, begun_with(before.memory)
    return after


def settled(seed: int = 1) -> Stream:
    """A version whose service is known."""
    stream = Stream(seed)
    stream.run(LEARNED + 14, heavy)
    return stream


def slow(rng: np.random.Generator, rows: int) -> Floats:
    return 2.5 * heavy(rng, rows)


def test_a_version_that_is_slow_from_its_first_window_is_told() -> None:
    after = heir_of(settled())
    first = after.number
    after.run(WARM + 14, slow)
    ((number, told),) = after.told
    assert first + WARM + LASTING - 1 <= number <= first + WARM + LASTING + 2
    assert told.change_us == (first + WARM) * 10_000_000
    assert "the service is worse than usual" in told.reason


def test_a_version_that_warms_up_or_has_one_slow_burst_is_not_told() -> None:
    after = heir_of(settled())
    after.run(WARM, lambda rng, rows: 8 * heavy(rng, rows))
    after.run(LASTING - 1, slow)
    after.run(30, heavy)
    assert after.told == []


def test_a_version_that_fails_from_its_first_window_is_told_at_once() -> None:
    after = heir_of(settled())
    after.run(1, heavy, failing=0.2)
    assert [one.decisions[0].measure for _, one in after.told] == ["error_rate"]


def test_the_jitter_of_a_machine_is_no_slow_release() -> None:
    """Half a millisecond that becomes four is eight times as long, and nobody notices; nor a third of a slow one."""
    quick, plain = Stream(2), settled()
    quick.run(LEARNED + 14, lambda rng, rows: 0.5 * rng.lognormal(0, 0.3, rows))
    jittery, slightly = heir_of(quick), heir_of(plain)
    jittery.run(40, lambda rng, rows: 4 * rng.lognormal(0, 0.3, rows))
    slightly.run(40, lambda rng, rows: 1.25 * heavy(rng, rows))
    assert (jittery.told, slightly.told) == ([], [])


def test_an_heir_learns_what_is_usual_of_itself_for_the_next_one_but_not_while_it_is_ill() -> None:
    well, ill = heir_of(settled()), heir_of(settled())
    well.run(WARM + LEARNED, lambda rng, rows: 1.25 * heavy(rng, rows))
    ill.run(WARM + LEARNED + 10, slow)
    assert well.memory is not None
    assert ill.memory is not None
    own, known = well.memory.own, well.memory.usual
    assert own is not None
    assert known is not None
    assert own.quantiles_ms[0] > 1.1 * known.quantiles_ms[0]
    assert (ill.memory.own, ill.memory.learning, begun_with(ill.memory)) == (None, (), None)
    following = begun_with(well.memory)
    assert following is not None
    assert following == ServiceMemory(usual=own, inherited=True)


def test_an_heir_that_tells_latencies_is_judged_by_them_though_the_version_before_told_none() -> None:
    mute = Stream(4)
    mute.run(LEARNED + 2, lambda rng, rows: np.full(rows, np.nan))
    after = heir_of(mute)
    after.run(WARM + LEARNED, heavy)
    assert after.told == []
    after.run(10, lambda rng, rows: 3 * heavy(rng, rows))
    ((_, told),) = after.told
    assert told.decisions[0].measure.startswith("latency_")


def test_what_the_version_before_has_begun_to_learn_is_learned_on() -> None:
    young = Stream(3)
    young.run(LEARNED - 1, heavy)
    assert young.memory is not None
    after = heir_of(young)
    after.run(1, heavy)
    assert after.memory is not None
    assert (after.memory.usual is not None, after.memory.inherited) == (True, False)
    assert begun_with(ServiceMemory()) is None
