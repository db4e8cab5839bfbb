"""Input that says little: every family of measures says why it says nothing. No NaN in a verdict, and no exception."""

import dataclasses
import json
import re
from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import pytest

from detectors.concept.catalogue import CATALOGUE
from detectors.decide import alert_from, decide, point_from
from detectors.estimation.judging import estimates_of, lesson_of
from detectors.estimation.trust import Trust
from detectors.judgement import Decision, SeriesState, Window
from detectors.learning import with_learned
from detectors.library.judging import further_decisions
from detectors.library.standard import STANDARD, standard
from detectors.measures import measure
from detectors.performance import performance
from detectors.reference import Reference, build_reference
from detectors.scorecard.card import changes, score_card
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.service.measures import service_measures
from detectors.slices.beside import between_segments
from detectors.slices.tally import tallied
from detectors.values import Axis, FeatureSpec, Monitor, Task

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
SPECS = (
    FeatureSpec(name="x"),
    FeatureSpec(name="z"),
    FeatureSpec(name="city", kind="categorical"),
    FeatureSpec(name="vector", kind="embedding", size=3),
)
CLASSES = ("cat", "dog", "owl")


def good(seed: int, count: int, task: Task) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, count)
    features = {
        "x": x,
        "z": rng.exponential(1, count),
        "city": rng.choice(["Rome", "Oslo"], count).astype(object),
    }
    features["vector"] = rng.normal(0, 1, (count, 3))
    if task == "regression":
        return Rows(features, 2 * x, None, 2 * x + rng.normal(0, 0.3, count))
    chance = 1 / (1 + np.exp(-2 * x))
    if task == "binary":
        return Rows(features, (chance > 0.5) * 1.0, chance, (rng.random(count) < chance) * 1.0)
    said = rng.integers(0, 3, count).astype(float)
    truth = np.where(rng.random(count) < 0.8, said, (said + 1) % 3)
    return Rows(features, said, rng.uniform(0.4, 1.0, count), truth)


def changed(rows: Rows, **features: object) -> Rows:
    told = {
        name: np.full(len(rows), value, dtype=object if name == "city" else float)
        for name, value in features.items()
    }
    return dataclasses.replace(rows, features={**rows.features, **told})


def embedded(rows: Rows, value: float) -> Rows:
    return dataclasses.replace(rows, features={**rows.features, "vector": np.full((len(rows), 3), value)})


def half(column: np.ndarray | None, value: float) -> np.ndarray | None:
    return None if column is None else np.where(np.arange(len(column)) % 2, column, value)


CASES: dict[str, Callable[[Rows], Rows]] = {
    "as it should be": lambda rows: rows,
    "constant columns": lambda rows: embedded(changed(rows, x=1.5, z=0.0, city="Rome"), 1.0),
    "all missing": lambda rows: embedded(changed(rows, x=np.nan, z=np.nan, city=None), np.nan),
    "infinite values": lambda rows: embedded(changed(rows, x=np.inf, z=-np.inf), np.inf),
    "one class": lambda rows: dataclasses.replace(rows, labels=np.zeros(len(rows))),
    "one answer": lambda rows: dataclasses.replace(rows, predictions=np.zeros(len(rows))),
    "10 rows": lambda rows: rows.part(slice(0, 10)),
    "one row": lambda rows: rows.part(slice(0, 1)),
    "NaN scores": lambda rows: dataclasses.replace(
        rows, scores=None if rows.scores is None else np.full(len(rows), np.nan)
    ),
    "half of the scores NaN": lambda rows: dataclasses.replace(rows, scores=half(rows.scores, np.nan)),
    "sure scores": lambda rows: dataclasses.replace(
        rows, scores=None if rows.scores is None else np.arange(len(rows)) % 2 * 1.0
    ),
    "no labels": lambda rows: dataclasses.replace(rows, labels=None),
    "half of the labels missing": lambda rows: dataclasses.replace(rows, labels=half(rows.labels, np.nan)),
    "all labels missing": lambda rows: dataclasses.replace(rows, labels=np.full(len(rows), np.nan)),
    "always right": lambda rows: dataclasses.replace(rows, labels=rows.predictions),
    "no outputs": lambda rows: Rows(rows.features),
    "nothing said": lambda rows: dataclasses.replace(rows, predictions=np.full(len(rows), np.nan)),
}


@cache
def reference_of(task: Task, case: str) -> Reference:
    rows = CASES[case](good(1, 200, task))
    outputs = {"scores": rows.scores, "predictions": rows.predictions, "labels": rows.labels}
    plain = build_reference(
        "m", "1", rows.features, SPECS, **outputs, task=task, classes=CLASSES if task == "multiclass" else ()
    )
    return with_baseline(with_learned(plain, rows), rows)


def judged(reference: Reference, rows: Rows, axis: Axis) -> list[Decision]:
    """Two windows, one after the other, by everything that there is."""
    names = tuple(one.name for one in STANDARD)
    monitor = Monitor(
        model="m", task=reference.task, features=SPECS, concept=tuple(sorted(CATALOGUE)), measures=names
    )
    state, lessons, tally, found = SeriesState(), (), None, list[Decision]()
    for n in range(2):
        profile = rows.profile(reference)
        window = Window(
            model="m", version="1", axis=axis, window=str(n), start_us=n, end_us=n + 1, rows=profile.rows
        )
        measured = performance(profile, reference)
        tally = tallied(tally, n, n + 1, profile, measured)
        if axis == "event":
            measured = [*measure(profile, reference, monitor), *service_measures(profile)]
            measured += estimates_of(profile, reference, Trust())
        else:
            lessons, errors = lesson_of(profile, reference, lessons, n + 1)
            tallies = {} if tally is None else {"city=Rome": tally, "city=Oslo": tally}
            measured += [*errors, *between_segments(tallies, ("city", "none"), reference.task)]
        judgement = decide(window, measured, monitor, reference, state, profile)
        state = judgement.state
        told = [*judgement.decisions, *further_decisions(names, standard(), profile, reference)]
        found += told
        for one in told:
            finite(point_from(window, one, monitor, reference))
        for transition in judgement.transitions:
            finite(alert_from(window, transition, monitor, reference))
    finite(state)
    return found


def finite(value: object) -> None:
    """No number in it is NaN or infinite: JSON has neither."""
    json.dumps(msgspec.to_builtins(value, builtin_types=()), allow_nan=False)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("case", CASES)
def test_every_measure_has_a_value_or_says_why_not(task: Task, case: str) -> None:
    sound, bad = good(2, 150, task), CASES[case](good(2, 150, task))
    for known, rows in ((case, sound), ("as it should be", bad), (case, bad)):
        reference = reference_of(task, known)
        for axis in ("event", "label"):
            for one in judged(reference, rows, axis):
                assert (one.value is None) == (one.verdict == "undefined") == (one.undefined is not None), one
                if one.undefined is not None:
                    assert re.search(r"[a-z]+ [a-z]+", one.undefined), one
                    assert "nan" not in one.undefined.lower().split(), one
        profile = rows.profile(reference)
        for score in (*score_card(profile), *changes(profile, profile)):
            finite(score)
            assert (score.value is None) == (score.undefined is not None), score
