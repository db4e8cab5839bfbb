"""Deciding: thresholds that know their samples, patience, and alerts that fire once and clear once."""

import msgspec
import numpy as np
import pytest

from detectors.decide import alert_from, decide, point_from
from detectors.errors import MonitorInvalid
from detectors.judgement import SeriesState, Window
from detectors.measurement import Measurement, undefined
from detectors.reference import build_reference
from detectors.thresholds import FLOORS, KINDS, false_alarm_shares, threshold
from detectors.values import Budget, FeatureSpec, Monitor

MONITOR = Monitor(model="m")
REFERENCE = build_reference(
    "m",
    "1",
    {"x": np.linspace(0, 1, 1_000)},
    [FeatureSpec(name="x")],
    scores=np.linspace(0, 1, 1_000),
    labels=np.arange(1_000) % 2,
)


def missing(value, size=500.0):
    return Measurement(
        measure="missing_rate",
        feature="x",
        value=value,
        reference=0.01,
        rows=500,
        size=size,
        reference_size=1_000.0,
    )


def ks(value):
    return Measurement(measure="ks", feature="x", value=value, rows=500, size=500.0, reference_size=1_000.0)


def accuracy(value, size=500.0):
    return Measurement(
        measure="accuracy", value=value, reference=0.95, rows=500, size=size, reference_size=1_000.0
    )


def window(number, axis="event"):
    return Window(
        model="m",
        version="1",
        axis=axis,
        window=f"w{number}",
        start_us=number * 10,
        end_us=number * 10 + 10,
        rows=500,
    )


def play(*windows):
    """Transitions as (window, kind, state, change_us) of a series of windows, and the last judgement."""
    state, seen, judgement = SeriesState(), [], None
    for number, measurements in enumerate(windows):
        judgement = decide(window(number), measurements, MONITOR, REFERENCE, state)
        state = msgspec.json.decode(msgspec.json.encode(judgement.state), type=SeriesState)
        assert state == judgement.state
        seen += [(number, one.kind, one.state, one.change_us) for one in judgement.transitions]
    assert judgement is not None
    return seen, judgement


CLEAN, DRIFT = [missing(0.01), ks(0.02)], [missing(0.01), ks(0.4)]


def test_drift_fires_in_the_second_window_says_since_when_and_clears_after_two_clean_ones():
    seen, _ = play(CLEAN, DRIFT, DRIFT, DRIFT, CLEAN, CLEAN, CLEAN)
    assert seen == [(2, "data_drift", "firing", 10), (5, "data_drift", "cleared", 40)]


def test_a_single_window_or_a_changing_measure_is_not_an_alert():
    other = Measurement(
        measure="psi", feature="x", value=2.0, rows=500, size=500.0, reference_size=1_000.0, groups=10
    )
    assert play(CLEAN, DRIFT, CLEAN, DRIFT, CLEAN)[0] == []
    assert play(DRIFT, [ks(0.02), other], DRIFT)[0] == []


def test_gross_damage_fires_at_once_and_ordinary_damage_waits():
    assert play(CLEAN, [missing(0.95), ks(0.02)])[0] == [(1, "data_quality", "firing", 10)]
    assert play(CLEAN, [missing(0.1), ks(0.02)])[0] == []
    out = Measurement(
        measure="out_of_range_rate",
        feature="x",
        value=1.0,
        reference=0.002,
        rows=500,
        size=500.0,
        reference_size=1e3,
    )
    assert play([out])[0] == []
    assert play([out], [out])[0] == [(1, "data_quality", "firing", 0)]


def test_undefined_neither_begins_nor_ends_an_alert():
    nothing = [undefined("ks", "x", 3, "there are only 3 rows")]
    assert play(DRIFT, nothing, nothing)[0] == []
    assert play(DRIFT, nothing, DRIFT)[0] == [(2, "data_drift", "firing", 0)]
    assert play(DRIFT, DRIFT, nothing, nothing, nothing)[0] == [(1, "data_drift", "firing", 0)]


def test_a_measure_on_the_edge_does_not_flap():
    limit = threshold(ks(0.0), false_alarm_shares(MONITOR, REFERENCE)["data_drift"])
    assert limit is not None
    seen, _ = play(DRIFT, DRIFT, *[[ks(limit * 0.95)]] * 4, [ks(limit * 1.1)], *[[ks(limit * 0.5)]] * 2)
    assert seen == [(1, "data_drift", "firing", 0), (8, "data_drift", "cleared", 70)]


def test_kinds_without_a_measure_in_a_window_are_left_alone():
    seen, judgement = play(DRIFT, DRIFT, [accuracy(0.95)], [accuracy(0.95)])
    assert seen == [(1, "data_drift", "firing", 0)]
    assert judgement.state.kinds["data_drift"].firing


def test_only_a_drop_of_performance_is_an_illness():
    assert play([accuracy(1.0)], [accuracy(1.0)])[0] == []
    assert play([accuracy(0.8)], [accuracy(0.8)])[0] == [(1, "performance", "firing", 0)]


def test_thresholds_know_both_samples_and_keep_their_floor():
    chance = 1e-5
    small, large = threshold(accuracy(0.9, 100.0), chance), threshold(accuracy(0.9, 1e6), chance)
    assert small is not None
    assert large is not None
    assert small < large <= 0.95 - FLOORS["accuracy"]
    shares = [threshold(missing(0.5, size), chance) for size in (50.0, 500.0, 1e9)]
    assert shares[0] > shares[1] > shares[2] >= 0.01 + FLOORS["missing_rate"]
    lower = Measurement(
        measure="positive_rate", value=0.1, reference=0.5, rows=500, size=500.0, reference_size=500.0
    )
    assert threshold(lower, chance) < 0.4
    shown = Measurement(measure="recall", value=0.1, reference=0.9, rows=50, size=50.0, reference_size=50.0)
    assert threshold(shown, chance) is None


def test_every_threshold_is_crossed_at_effect_one():
    for found in (missing(0.5), ks(0.3), accuracy(0.7)):
        limit = play([found])[1].decisions[0].threshold
        for factor, verdict in ((1.001, "breach"), (0.999, "ok")):
            start = found.reference or 0.0
            moved = start + (limit - start) * factor
            again = play([type(found)(**{**msgspec.structs.asdict(found), "value": moved})])[1].decisions[0]
            assert again.verdict == verdict


def test_a_smaller_budget_asks_for_more_evidence():
    strict = Monitor(model="m", budget=Budget(incidents=1, windows=1_000_000))
    for kind, share in false_alarm_shares(strict, REFERENCE).items():
        assert share == pytest.approx(false_alarm_shares(MONITOR, REFERENCE)[kind] / 1_000)
    assert set(false_alarm_shares(MONITOR, REFERENCE)) == set(KINDS.values()) - {"estimated_performance"}
    for budget in (Budget(incidents=0), Budget(windows=0), Budget(incidents=5, windows=2)):
        with pytest.raises(MonitorInvalid, match="more than none and less than one per window"):
            false_alarm_shares(Monitor(model="m", budget=budget), REFERENCE)


def test_an_alert_explains_itself_and_has_a_lasting_id():
    judgement = decide(window(1), [missing(0.95), ks(0.02)], MONITOR, REFERENCE, SeriesState())
    alert = alert_from(window(1), judgement.transitions[0], MONITOR, REFERENCE)
    assert alert == alert_from(window(1), judgement.transitions[0], MONITOR, REFERENCE)
    assert (alert.kind, alert.state, alert.window, alert.change_us) == ("data_quality", "firing", "w1", 10)
    assert alert.reason.startswith(
        "Data quality: x is missing in 95.0 % of the rows (reference 1.0 %, alarm above"
    )
    evidence = alert.evidence[0]
    assert (evidence.measure, evidence.feature, evidence.value, evidence.rows) == (
        "missing_rate",
        "x",
        0.95,
        500,
    )
    assert evidence.effect > 3
    assert alert.id != alert_from(window(2), judgement.transitions[0], MONITOR, REFERENCE).id


def test_evidence_is_ranked_and_capped():
    many = [
        Measurement(
            measure="missing_rate",
            feature=f"f{i}",
            value=0.5 + i / 100,
            reference=0.01,
            rows=500,
            size=500.0,
            reference_size=1e3,
        )
        for i in range(15)
    ]
    judgement = decide(window(0), many, MONITOR, REFERENCE, SeriesState())
    alert = alert_from(window(0), judgement.transitions[0], MONITOR, REFERENCE)
    assert [one.feature for one in alert.evidence] == [f"f{i}" for i in range(14, 4, -1)]
    assert "and 12 more" in alert.reason


def test_points_carry_the_verdict_and_a_correction_keeps_the_id():
    judgement = decide(
        window(0),
        [missing(0.95), undefined("ks", "x", 3, "there are only 3")],
        MONITOR,
        REFERENCE,
        SeriesState(),
    )
    first, second = (point_from(window(0), one, MONITOR, REFERENCE) for one in judgement.decisions)
    assert (first.verdict, first.value, first.undefined) == ("breach", 0.95, None)
    assert (second.verdict, second.value, second.undefined) == ("undefined", None, "there are only 3")
    assert first.id != second.id
    corrected = point_from(window(0), judgement.decisions[0], MONITOR, REFERENCE, revision=2)
    assert (corrected.id, corrected.revision) == (first.id, 2)


def test_the_end_is_told_in_words():
    _, judgement = play(DRIFT, DRIFT, CLEAN, CLEAN)
    assert (
        judgement.transitions[0].reason == "Data drift: nothing beyond its threshold for 2 windows in a row."
    )
