"""What was told of outputs and outcomes ends, with the reason, under a new reference that cannot tell it any more."""

from collections.abc import Sequence

import numpy as np
import pytest

from detectors import explain
from detectors.decide import decide
from detectors.judgement import SeriesState, Transition, Window
from detectors.learning import with_learned
from detectors.reference import Reference, build_reference
from detectors.sequential.blocks import Rows
from detectors.values import AlertKind, Axis, FeatureSpec, Monitor
from streams.judge.points import performed, unlabelled

SPECS = (FeatureSpec(name="age"),)
MONITOR = Monitor(model="m", features=SPECS)


def people(seed: int, rows: int, younger: float = 0.0, turned: float = 0.0) -> Rows:
    """Age decides, and the model is sure of the old. turned: share of the labels that are the other way round."""
    rng = np.random.default_rng(seed)
    age = rng.normal(70, 8, rows) - younger
    scores = 1 / (1 + np.exp(-(age - 45) / 8))
    labels = (rng.random(rows) < scores).astype(float)
    labels = np.where(rng.random(rows) < turned, 1 - labels, labels)
    return Rows({"age": age}, (scores >= 0.5).astype(float), scores, labels)


def built(rows: Rows, *, labels: bool = True, learned: bool = True) -> Reference:
    known = rows if labels else Rows(rows.features, rows.predictions, rows.scores)
    plain = build_reference(
        "m", "1", known.features, SPECS,
        scores=known.scores, predictions=known.predictions, labels=known.labels,
    )  # fmt: skip
    return with_learned(plain, known) if learned else plain


GOOD = people(1, 6_000)
REFERENCE = built(GOOD)


def told(
    windows: Sequence[tuple[Rows, Reference]], axis: Axis, kind: AlertKind
) -> list[tuple[int, Transition]]:
    state, found = SeriesState(), list[tuple[int, Transition]]()
    for number, (rows, reference) in enumerate(windows):
        profile = rows.profile(reference)
        window = Window(
            model="m", version="1", axis=axis, window=str(number),
            start_us=number * 1_000_000, end_us=(number + 1) * 1_000_000, rows=profile.rows,
        )  # fmt: skip
        measured = (
            unlabelled(window, profile, MONITOR, reference, ())
            if axis == "event"
            else performed(window, profile, reference)
        )
        judged = decide(window, measured, MONITOR, reference, state, profile)
        state = judged.state
        found += [(number, one) for one in judged.transitions if one.kind == kind]
    return found


@pytest.mark.parametrize(
    ("after", "because"),
    [
        (built(GOOD, learned=False), "the reference has no estimator"),
        (built(GOOD, labels=False), "the reference has no labels"),
    ],
)
def test_an_estimate_ends_where_the_reference_has_none(after: Reference, because: str) -> None:
    windows = [(people(2 + number, 2_000, younger=20), REFERENCE) for number in range(3)]
    windows += [(people(5 + number, 2_000, younger=20), after) for number in range(3)]
    (begun, first), *ended = told(windows, "event", "estimated_performance")
    assert (begun, first.state) == (1, "firing")
    ((number, over),) = ended
    assert (number, over.state, over.change_us) == (3, "cleared", 3_000_000)
    assert over.reason == f"Estimated performance: nothing is told of it any more, for {because}."


@pytest.mark.parametrize(
    ("axis", "kind", "after"),
    [
        ("label", "performance", built(GOOD, labels=False)),
        ("event", "prediction_drift", build_reference("m", "1", GOOD.features, SPECS)),
    ],
)
def test_what_no_score_can_tell_any_more_ends_once(axis: Axis, kind: AlertKind, after: Reference) -> None:
    drawn = [people(2 + number, 2_000, younger=20, turned=0.3) for number in range(6)]
    windows = list(zip(drawn, [REFERENCE] * 3 + [after] * 3, strict=True))
    (begun, first), *ended = told(windows, axis, kind)
    assert (begun, first.state) == (0, "firing")
    ((number, over),) = [one for one in ended if one[1].state == "cleared"]
    assert (number, over.reason) == (3, f"{explain.KIND_NAMES[kind]}: the reference is another one.")
