"""What is wrong with the data, and what carries a change, in the judge's alerts."""

from collections.abc import Sequence

import numpy as np

from detectors.columns import Column, Floats
from detectors.decide import alert_from, decide
from detectors.judgement import Judgement, SeriesState, Window
from detectors.learning import with_learned
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.sequential.blocks import Rows
from detectors.values import Alert, Axis, FeatureSpec, Monitor

NAMES = ("age", "income", "height")
Columns = dict[str, Column]
MONITOR = Monitor(model="m", features=tuple(FeatureSpec(name=name) for name in NAMES))


def people(rng: np.random.Generator, rows: int, older: float = 0.0) -> tuple[Columns, Floats, Floats]:
    """Age decides; height means nothing to the model. Scores are what they promise."""
    columns: Columns = {
        "age": rng.normal(45 + older, 12, rows),
        "income": rng.lognormal(7.5, 0.5, rows),
        "height": rng.normal(170, 9, rows),
    }
    scores = 1 / (1 + np.exp(-(columns["age"] - 45) / 8))
    return columns, scores, (rng.random(rows) < scores).astype(float)


def reference() -> Reference:
    columns, scores, labels = people(np.random.default_rng(1), 6_000)
    found = build_reference("m", "1", columns, MONITOR.features, scores=scores, labels=labels)
    return with_learned(found, Rows(columns, None, scores, labels))


REFERENCE = reference()


def profile_of(columns: Columns, scores: Floats, labels: Floats | None = None) -> Profile:
    found = Profile.empty(REFERENCE)
    said = (scores >= 0.5).astype(float)
    cells = found.fold(columns, said, scores)
    if labels is not None:
        found.fold_outcomes(said, scores, labels, cells)
    return found


def context(number: int, rows: int, axis: Axis = "event") -> Window:
    return Window(
        model="m",
        version="1",
        axis=axis,
        window=str(number),
        start_us=number * 1_000_000,
        end_us=(number + 1) * 1_000_000,
        rows=rows,
    )


def judge(
    number: int, profile: Profile, state: SeriesState, axis: Axis = "event"
) -> tuple[Judgement, list[Alert]]:
    window = context(number, profile.rows, axis)
    found = measure(profile, REFERENCE, MONITOR) if axis == "event" else performance(profile, REFERENCE)
    judgement = decide(window, found, MONITOR, REFERENCE, state, profile)
    return judgement, [alert_from(window, one, MONITOR, REFERENCE) for one in judgement.transitions]


def run(windows: Sequence[tuple[Columns, Floats]]) -> list[list[Alert]]:
    state, told = SeriesState(), list[list[Alert]]()
    for number, rows in enumerate(windows):
        judgement, alerts = judge(number, profile_of(*rows), state)
        state = judgement.state
        told.append(alerts)
    return told


def swapped(rng: np.random.Generator) -> tuple[Columns, Floats]:
    columns, scores, _ = people(rng, 300)
    return columns | {"age": columns["height"], "height": columns["age"]}, scores


def test_swapped_columns_are_named_at_once_and_the_alert_ends_once() -> None:
    rng = np.random.default_rng(2)
    windows = [people(rng, 300)[:2] for _ in range(3)] + [swapped(rng) for _ in range(2)]
    told = run([*windows, *(people(rng, 300)[:2] for _ in range(12))])
    quality = [[one for one in alerts if one.kind == "data_quality"] for alerts in told]
    assert not any(quality[:3])
    (first,) = quality[3]
    assert first.state == "firing"
    assert "age holds height" in first.reason
    assert {one.feature for one in first.evidence if one.measure == "misaligned_columns"} == {"age", "height"}
    states = [one.state for alerts in quality for one in alerts]
    assert states.count("cleared") == 1
    assert states[-1] == "cleared"


def test_a_changed_unit_is_told_with_its_factor() -> None:
    rng = np.random.default_rng(3)
    columns, scores, _ = people(rng, 300)
    (alerts,) = run([(columns | {"income": columns["income"] * 100}, scores)])
    first = next(one for one in alerts if one.kind == "data_quality")
    assert "another unit" in first.reason
    evidence = next(one for one in first.evidence if one.measure == "unit_change")
    assert evidence.feature == "income"
    assert abs(evidence.value - 100) < 5


def test_drift_is_attributed_by_what_a_feature_means_to_the_model() -> None:
    rng = np.random.default_rng(4)
    windows = [people(rng, 300)[:2] for _ in range(3)]
    for _ in range(4):
        columns, scores, _ = people(rng, 1_000, older=8)
        windows.append((columns | {"height": columns["height"] + 12}, scores))
    alerts = [one for each in run(windows) for one in each if one.kind == "data_drift"]
    first = alerts[0]
    assert [one.feature for one in first.attribution] == ["age", "height"]
    age, height = first.attribution
    assert age.importance is not None
    assert height.importance is not None
    assert age.importance > 5 * height.importance
    assert "height (" in first.reason
    assert "means little to the model" in first.reason


def test_a_loss_is_split_into_what_the_shift_explains_and_concept_drift() -> None:
    rng, state, found = np.random.default_rng(5), SeriesState(), list[Alert]()
    for number in range(8):
        columns, scores, labels = people(rng, 1_000)
        if number > 2:
            labels = np.where(rng.random(1_000) < 0.3, 1 - labels, labels)
        judgement, alerts = judge(number, profile_of(columns, scores, labels), state, "label")
        state, found = judgement.state, found + alerts
    lost = next(one for one in found if one.kind == "performance")
    assert "what remains is concept drift" in lost.reason
