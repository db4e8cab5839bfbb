"""A segment is compared with itself: what is wrong with its data, and what is estimated of it."""

import numpy as np
from msgspec.structs import replace

from detectors.decide import decide
from detectors.estimation.judging import estimates_of
from detectors.estimation.segments import LEARNED, beside_own
from detectors.estimation.trust import Trust
from detectors.judgement import Judgement, SeriesState, Transition
from detectors.measurement import Measurement
from detectors.measures import measure
from detectors.thresholds import false_alarm_shares
from detectors.values import AlertKind
from tests.streams.test_judge_findings import MONITOR, REFERENCE, Columns, context, people, profile_of

OF_GOLD = replace(MONITOR, segments=("plan",))
Rows = tuple[Columns, np.ndarray]


def told(windows: list[Rows], kind: AlertKind) -> list[tuple[int, Transition]]:
    state, found = SeriesState(), list[tuple[int, Transition]]()
    for number, (columns, scores) in enumerate(windows):
        profile = profile_of(columns, scores)
        window = replace(context(number, profile.rows), segment="plan=gold")
        estimates = estimates_of(profile, REFERENCE, Trust(), is_segment=True)
        measured = [*measure(profile, REFERENCE, OF_GOLD), *estimates]
        judgement: Judgement = decide(window, measured, OF_GOLD, REFERENCE, state, profile)
        state = judgement.state
        found += [(number, one) for one in judgement.transitions if one.kind == kind]
    return found


def metric(rng: np.random.Generator, rows: int = 300) -> Rows:
    columns, scores, _ = people(rng, rows, older=5)
    return columns, scores


def inches(rng: np.random.Generator) -> Rows:
    columns, scores = metric(rng)
    return columns | {"height": columns["height"] / 2.54}, scores


def test_a_unit_that_changes_in_a_segment_is_told_in_the_second_window() -> None:
    rng = np.random.default_rng(1)
    found = told([*(metric(rng) for _ in range(6)), *(inches(rng) for _ in range(3))], "data_quality")
    words = [(number, one.reason) for number, one in found if "another unit" in one.reason]
    assert [number for number, _ in words] == [7]
    assert words[0][1].startswith("Data quality: height")


def test_a_segment_that_always_had_its_own_unit_has_it() -> None:
    rng = np.random.default_rng(2)
    found = told([inches(rng) for _ in range(9)], "data_quality")
    assert not any("another unit" in one.reason for _, one in found)


def test_an_estimate_that_falls_below_what_is_usual_of_the_segment_is_told() -> None:
    rng = np.random.default_rng(3)
    usual = [metric(rng, 2_000) for _ in range(LEARNED + 3)]
    unsure = [
        (columns, np.full(len(scores), 0.5)) for columns, scores in (metric(rng, 2_000) for _ in range(4))
    ]
    found = told([*usual, *unsure], "estimated_performance")
    assert found
    number, first = found[0]
    assert number == LEARNED + 4
    assert first.state == "firing"
    assert "the estimated accuracy is" in first.reason
    assert told([metric(rng, 2_000) for _ in range(20)], "estimated_performance") == []


def test_segments_share_half_of_the_budget() -> None:
    whole = false_alarm_shares(MONITOR, REFERENCE)
    of_all, of_one = (false_alarm_shares(OF_GOLD, REFERENCE, is_segment=each) for each in (False, True))
    kind: AlertKind = "estimated_performance"
    assert of_all[kind] + 16 * of_one[kind] == whole[kind]


def test_the_first_windows_teach_and_another_reference_begins_anew() -> None:
    one = Measurement(measure="estimated_accuracy", value=0.8, rows=100, error=0.01)
    memory = None
    for _ in range(LEARNED):
        (found,), memory = beside_own([one], "r1", memory)
        assert found.reference is None
    (found,), memory = beside_own([one], "r1", memory)
    assert found.reference is not None
    assert abs(found.reference - 0.8) < 1e-9
    (found,), memory = beside_own([one], "r2", memory)
    assert found.reference is None
