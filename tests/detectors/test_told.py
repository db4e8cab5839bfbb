"""What nobody reads is not worked out, and no alert and no memory is another for it."""

import numpy as np

from detectors.decide import alert_from, decide
from detectors.judgement import SeriesState, Window
from detectors.measures import measure
from detectors.performance import performance
from detectors.reference import build_reference
from detectors.sequential.blocks import Rows
from detectors.single import Told, unread
from detectors.thresholds import is_small, threshold
from detectors.values import Alert, FeatureSpec, Monitor

ROWS, SPECS = 500, tuple(FeatureSpec(name=name) for name in ("a", "b", "c", "d"))
MONITOR = Monitor(model="m", features=SPECS)


def rows(rng: np.random.Generator, count: int, moved: float, wrong: float) -> Rows:
    """Columns of which the second moves and the last is constant, and labels of which some are turned round."""
    columns = {name: rng.normal(size=count) for name in ("a", "b", "c")} | {"d": np.ones(count)}
    columns["b"] += moved
    scores = 1 / (1 + np.exp(-2 * columns["a"]))
    labels = (rng.random(count) < scores).astype(float)
    return Rows(columns, None, scores, np.where(rng.random(count) < wrong, 1 - labels, labels))


def judged(told: Told | None, *, alone: bool) -> tuple[list[Alert], SeriesState]:
    """Windows of which the middle ones drift. alone: decided on window by window, without the sequential tests."""
    rng = np.random.default_rng(3)
    good = rows(rng, 5_000, 0.0, 0.0)
    reference = build_reference("m", "1", good.features, SPECS, scores=good.scores, labels=good.labels)
    state, found, shortened = SeriesState(), list[Alert](), list[int]()
    for number in range(24):
        drifts = 8 <= number < 16
        profile = rows(rng, ROWS, 0.9 * drifts, 0.3 * drifts).profile(reference)
        window = Window(
            model="m",
            version="1",
            axis="event",
            window=str(number),
            start_us=number,
            end_us=number + 1,
            rows=ROWS,
        )
        everything = measure(profile, reference, MONITOR)
        read = measure(profile, reference, MONITOR, unread(told, state.kinds))
        left = [one for one in everything if one not in read]
        assert all(one.value is None or is_small(one) for one in left)
        assert {one.feature for one in left} <= {"b", "c"}
        shortened.append(len(left))
        measured = [*read, *performance(profile, reference, told)]
        for one in measured:
            limit = threshold(one, 0.01)
            if is_small(one) and limit is not None and one.value is not None:
                start = one.reference or 0.0
                assert (one.value - start) / (limit - start) <= 1
        judgement = decide(window, measured, MONITOR, reference, state, None if alone else profile, told)
        state = judgement.state
        found += [alert_from(window, one, MONITOR, reference) for one in judgement.transitions]
    assert any(shortened) == (told is not None)
    return found, state


def test_alerts_and_memory_do_not_depend_on_what_is_read() -> None:
    for alone in (False, True):
        whole = judged(None, alone=alone)
        assert {one.state for one in whole[0]} == {"firing", "cleared"}
        assert judged(lambda _: False, alone=alone) == whole
        assert judged(lambda name: name == "accuracy", alone=alone) == whole
