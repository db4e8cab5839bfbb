"""Findings about the data keep a part of the false-alarm budget: how far chance goes is asked of it."""

import math

import numpy as np
import pytest
from msgspec.structs import replace

from detectors.judgement import Window
from detectors.learning import with_learned
from detectors.profile import Profile
from detectors.quality.findings import findings
from detectors.quality.values import SURPRISE
from detectors.reference import Reference, build_reference
from detectors.sequential.blocks import Rows
from detectors.sequential.budget import FINDINGS, part_of
from detectors.sequential.judging import besides_of, findings_surprise
from detectors.values import Budget, FeatureSpec, Monitor

SPECS = (FeatureSpec(name="x"),)
MONITOR = Monitor(model="m", features=SPECS)
HOUR_US = 3_600_000_000
PLACE = Window(model="m", version="1", axis="event", window="0", start_us=0, end_us=HOUR_US, rows=100)
IN_TIME = {length: Budget(incidents=1, windows=2_160, every_s=length * 86_400.0) for length in (90, 9_000)}


def taught(values: np.ndarray) -> Reference:
    return with_learned(build_reference("m", "1", {"x": values}, SPECS), Rows({"x": values}))


def counted(reference: Reference, values: np.ndarray) -> Profile:
    found = Profile.empty(reference)
    found.fold({"x": values}, None, None)
    return found


def test_a_tight_budget_asks_for_longer_odds_and_a_wide_one_for_a_million_to_one() -> None:
    rng = np.random.default_rng(1)
    reference = taught(rng.normal(0, 1, 2_000))
    profile = counted(reference, rng.normal(0, 1, 100))
    asked = [
        findings_surprise(PLACE, profile, replace(MONITOR, budget=budget), reference)
        for budget in (Budget(incidents=1, windows=1_000), IN_TIME[90], IN_TIME[9_000])
    ]
    assert asked[:2] == [SURPRISE, SURPRISE]
    tests, windows = 3, 9_000 * 24
    assert tests * math.exp(-asked[2]) * windows == pytest.approx(0.05, rel=0.3)
    assert findings_surprise(replace(PLACE, axis="label"), profile, MONITOR, reference) == SURPRISE


def test_findings_and_all_other_kinds_share_one_budget() -> None:
    reference = taught(np.random.default_rng(1).normal(0, 1, 2_000))
    profile = counted(reference, np.zeros(100))
    for segment in ("all", "plan=gold"):
        besides = besides_of(replace(PLACE, segment=segment), profile, MONITOR)
        assert besides == (FINDINGS,)
    kinds = ("data_drift", "data_quality", "prediction_drift", FINDINGS)
    parts = [part_of(kind, kinds, labels=True, segments=0, is_segment=False) for kind in kinds]
    assert sum(parts) == pytest.approx(0.75)
    assert 0 < parts[-1] < 0.05


def test_what_few_rows_may_be_away_by_chance_is_no_unit() -> None:
    rng = np.random.default_rng(2)
    reference = taught(rng.lognormal(3, 2, 10_000))
    assert not any(findings(counted(reference, rng.lognormal(3, 2, 30)), reference) for _ in range(400))
    narrow = taught(rng.lognormal(3, 0.5, 10_000))
    (unit,) = findings(counted(narrow, rng.lognormal(3, 0.5, 30) * 2.54), narrow)
    assert (unit.kind, unit.value) == ("unit_change", pytest.approx(2.54))
    assert unit.threshold > 0.45


def test_a_level_that_wanders_about_nothing_has_not_changed_its_sign() -> None:
    rng = np.random.default_rng(3)
    steps = rng.normal(0, 1, 41_000)
    for i in range(1, len(steps)):
        steps[i] = 0.9 * steps[i - 1] + (1 - 0.81) ** 0.5 * steps[i]
    reference = taught(steps[:1_000])
    parts = np.split(steps[1_000:], 800)
    assert not any(findings(counted(reference, part), reference) for part in parts)
    paid = taught(rng.lognormal(3, 0.5, 10_000))
    (sign,) = findings(counted(paid, -rng.lognormal(3, 0.5, 100)), paid)
    assert (sign.kind, sign.value) == ("unit_change", -1.0)
