"""Proof of recovery: what counts as one, and how often it errs."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.scores import Confusion
from detectors.values import Evidence, MetricPoint
from remediation import betting
from remediation.config import VerificationConfig
from remediation.levels import lost
from remediation.outcomes import Period, Tally, period
from remediation.values import Arrangement
from remediation.verification import Observed, Segment, Signal, Verdict, verify
from tests.remediation.fakes import S
from tests.remediation.world import alert, point

CONFIG = VerificationConfig()
HEALTHY, ILL = 0.95, 0.70
LINE = (HEALTHY + ILL) / 2


def _share(rows: int, right: float) -> Tally:
    return Tally(rows=rows, total=right, squares=right)


def _period(windows: int = 1, expected: Mapping[str, float] | None = None, **tallies: Tally) -> Period:
    return Period(windows=windows, tallies=tallies, expected=expected or {})


def _segment(since: Period, ill: Period | None = None) -> Segment:
    before = _period(10, accuracy=_share(5_000, 5_000 * HEALTHY))
    was = ill if ill is not None else _period(3, accuracy=_share(1_500, 1_500 * ILL))
    return Segment(name="all", before=before, ill=was, since=since)


def _verdict(*segments: Segment, **more: Any) -> Verdict:
    bare = Observed(version="2", ill_version="1", since_us=0, segments=segments, signals=(), alerts=())
    return verify(msgspec.structs.replace(bare, **more), CONFIG)


def _since(rows: int, rate: float) -> Verdict:
    return _verdict(_segment(_period(accuracy=_share(rows, rows * rate))))


def test_what_was_lost_has_to_come_back() -> None:
    assert _since(500, 0.95).outcome == "pass"
    assert _since(500, 0.70).outcome == "fail"
    assert _since(20, 0.90).outcome == "inconclusive"
    assert _since(500, LINE).outcome == "inconclusive"
    sentence = _since(1_000, 0.95).sentence
    assert sentence == (
        "version 2 is healthy: accuracy 0.950 on 1,000 labelled rows (0.700 while ill, 0.950 when healthy)"
    )


def test_every_share_that_was_lost_has_to_come_back() -> None:
    """A model that says no to everybody is right often enough where positives are rare."""
    before = _period(accuracy=_share(5_000, 4_900), recall=_share(250, 225))
    ill = _period(accuracy=_share(5_000, 4_750), recall=_share(250, 0))
    blind = _period(accuracy=_share(5_000, 4_900), recall=_share(250, 0))
    well = _period(accuracy=_share(5_000, 4_900), recall=_share(250, 220))
    for since, outcome in ((blind, "fail"), (well, "pass")):
        assert _verdict(Segment(name="all", before=before, ill=ill, since=since)).outcome == outcome


def test_a_world_that_has_become_harder_asks_for_no_more_than_the_new_reference_promises() -> None:
    since = _period(accuracy=_share(2_000, 1_600))
    assert _verdict(_segment(since)).outcome == "inconclusive"
    promised = _period(accuracy=_share(2_000, 1_600), expected={"accuracy": 0.8})
    assert _verdict(_segment(promised)).outcome == "pass"


def test_errors_of_a_regression_are_compared_by_their_mean_and_spread() -> None:
    def errors(mean: float, rows: int = 500) -> Tally:
        return Tally(rows=rows, total=mean * rows, squares=(mean**2 + 1.0) * rows)

    before, ill = _period(mae=errors(2.0)), _period(mae=errors(4.0))
    for mean, outcome in ((2.1, "pass"), (3.9, "fail"), (3.0, "inconclusive")):
        since = _period(mae=errors(mean))
        assert _verdict(Segment(name="all", before=before, ill=ill, since=since)).outcome == outcome


def test_no_traffic_and_no_labels_are_no_success() -> None:
    nothing = Period(tallies={}, expected={})
    assert _verdict(_segment(nothing)).outcome == "inconclusive"
    assert _verdict(_segment(nothing, ill=nothing)).outcome == "inconclusive"
    silent = Signal(name="data drift", windows=0, in_order=0, rows=0)
    found = _verdict(_segment(nothing, ill=nothing), signals=(silent,))
    assert (found.outcome, "no window so far" in found.sentence) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("windows", "in_order", "outcome"), [(6, 6, "inconclusive"), (9, 9, "pass"), (9, 0, "fail")]
)
def test_without_labels_the_windows_of_what_the_alerts_named_decide(
    windows: int, in_order: int, outcome: str
) -> None:
    nothing = Period(tallies={}, expected={})
    signal = Signal(name="data drift", windows=windows, in_order=in_order, rows=500 * windows)
    assert _verdict(_segment(nothing, ill=nothing), signals=(signal,)).outcome == outcome


def test_labels_that_show_harm_outweigh_inputs_in_order() -> None:
    nothing = Period(tallies={}, expected={})
    signal = Signal(name="data drift", windows=20, in_order=20, rows=10_000)
    for rate, outcome in ((0.95, "pass"), (0.6, "fail"), (0.9, "inconclusive")):
        since = _period(accuracy=_share(500, 500 * rate))
        assert _verdict(_segment(since, ill=nothing), signals=(signal,)).outcome == outcome


@pytest.mark.parametrize(
    ("arrangement", "told"),
    [
        (Arrangement(paused=True), "paused and answers nobody"),
        (Arrangement(constant=0.5), "everybody is answered 0.5"),
        (Arrangement(imputed={"texture": None}), "does well without texture"),
    ],
)
def test_harm_that_is_only_stopped_is_contained(arrangement: Arrangement, told: str) -> None:
    found = _verdict(_segment(_period(accuracy=_share(500, 475))), arrangement=arrangement)
    assert found.outcome == "contained"
    assert told in found.sentence


@pytest.mark.parametrize(("again", "outcome"), [(True, "fail"), (False, "pass")])
def test_a_silence_that_comes_back_after_what_was_done_against_it_is_a_failure(
    again: bool, outcome: str
) -> None:
    """Whichever version it names: the newest events may be of another one than the one that serves."""
    known = alert("volume", version="1", at_us=8 * S, change_us=8 * S, evidence=())
    over = msgspec.structs.replace(known, id="over", state="cleared", end_us=11 * S)
    later = alert("volume", version="1", at_us=14 * S, change_us=12 * S, evidence=(), name="later")
    nothing = Period(tallies={}, expected={})
    signal = Signal(name="volume", windows=20, in_order=20, rows=10_000)
    found = _verdict(
        _segment(nothing, ill=nothing),
        ill_version="2",
        since_us=10 * S,
        signals=(signal,),
        alerts=(known, over, later)[: 3 if again else 2],
    )
    assert found.outcome == outcome


def test_an_alert_of_the_version_itself_is_a_failure_and_newly_broken_data_are_no_proof() -> None:
    good = _segment(_period(accuracy=_share(500, 475)))
    assert _verdict(good, alerts=(alert(version="2", at_us=9 * S),)).outcome == "fail"
    assert _verdict(good, alerts=(alert("data_quality", version="2", at_us=9 * S),)).outcome == "inconclusive"
    known = (
        alert("data_quality", version="1", at_us=8 * S),
        alert("data_quality", version="2", at_us=9 * S),
    )
    assert _verdict(good, alerts=known).outcome == "pass"


@pytest.mark.parametrize("measure", ["unit_change", "constant_column", "misaligned_columns"])
def test_what_is_found_of_the_inputs_of_the_version_that_serves_is_no_proof(measure: str) -> None:
    good = _segment(_period(accuracy=_share(500, 475)))
    finding = Evidence(measure=measure, feature="age", value=12, threshold=2, rows=500, effect=6)
    own = alert("data_quality", version="2", at_us=9 * S, evidence=(finding,))
    found = _verdict(good, alerts=(own,))
    assert (found.outcome, found.sentence) == ("inconclusive", "version 2: data newly broken in age")
    known = alert("data_quality", version="1", at_us=8 * S, evidence=(finding,))
    assert _verdict(good, alerts=(known, own)).outcome == "pass"


def test_a_service_that_was_ill_before_the_release_is_no_failure_of_its_rollback() -> None:
    failing = Evidence(measure="error_rate", value=0.1, reference=0.0, threshold=0.02, rows=500, effect=5)
    slow = msgspec.structs.replace(failing, measure="latency_p95_ms")
    nothing = Period(tallies={}, expected={})
    told = alert("data_quality", version="1", at_us=8 * S, evidence=(failing,))
    signal = Signal(name="data quality", windows=9, in_order=9, rows=4_500)
    for shown, outcome in ((failing, "pass"), (slow, "fail")):
        again = alert("data_quality", version="2", at_us=12 * S, evidence=(shown,))
        found = _verdict(
            _segment(nothing, ill=nothing),
            signals=(signal,),
            alerts=(told, again),
            lasting={"error_rate": 0.2},
        )
        assert found.outcome == outcome
    assert (
        "does as it did before version 1 came"
        in _verdict(
            _segment(nothing, ill=nothing), signals=(signal,), alerts=(told,), lasting={"error_rate": 0.2}
        ).sentence
    )


def _trial(generator: np.random.Generator, rate: float, size: int, windows: int) -> tuple[str, int]:
    rows = right = 0
    for window in range(1, windows + 1):
        rows, right = rows + size, right + int(generator.binomial(size, rate))
        found = _verdict(_segment(_period(window, accuracy=_share(rows, right))))
        if found.outcome != "inconclusive":
            return found.outcome, window
    return "inconclusive", windows


@pytest.mark.parametrize("size", [10, 100])
def test_looking_after_every_window_errs_no_more_often_than_stated(size: int) -> None:
    """On the line itself, where it errs most: with 400 trials, 12 and more would show a rate above 1 % (p < 0.001)."""
    generator = np.random.default_rng(size)
    on_the_line = [_trial(generator, LINE, size, 25)[0] for _ in range(400)]
    assert on_the_line.count("pass") < 12
    assert on_the_line.count("fail") < 12
    healed = [_trial(generator, HEALTHY, size, 60) for _ in range(200)]
    assert {outcome for outcome, _ in healed} == {"pass"}
    assert np.median([window for _, window in healed]) <= 80 / size + 1
    assert {_trial(generator, ILL, size, 100)[0] for _ in range(100)} == {"fail"}


def test_the_evidence_against_a_truth_has_a_mean_of_one_at_most() -> None:
    weigh: Callable[[float, float, float], float]
    for weigh, rate in ((betting.share_above, 0.8), (betting.share_below, 0.8)):
        rows, mean = 40, 0.0
        for right in range(rows + 1):
            chance = math.comb(rows, right) * rate**right * (1 - rate) ** (rows - right)
            mean += chance * math.exp(weigh(right, rows, 0.8))
        assert mean == pytest.approx(1.0, abs=1e-9)


def test_means_without_bounds_are_weighed_no_surer_than_stated() -> None:
    generator = np.random.default_rng(5)
    values = generator.exponential(2.0, size=(400, 100, 50))
    wrong = 0
    for trial in values:
        totals, squares = trial.sum(axis=1).cumsum(), (trial**2).sum(axis=1).cumsum()
        rows = 50 * np.arange(1, 101)
        means = totals / rows
        logs = [
            betting.mean_below(float(mean), float(square / count - mean**2), float(count), 2.0, by=0.5)
            for mean, square, count in zip(means, squares, rows, strict=True)
        ]
        wrong += max(logs) >= math.log(100)
    assert wrong < 12


def test_shares_are_counted_again_from_the_points() -> None:
    generator = np.random.default_rng(3)
    for _ in range(500):
        counts = Confusion(*(int(each) for each in generator.integers(1, [60, 30, 40, 300])))
        values = {name: value for name, value in counts.measures().items() if value is not None}
        found = period(_points(values, counts.rows)).tallies
        assert found["accuracy"].total == counts.tp + counts.tn
        if len(found) > 1:
            seen = {
                name: (found[name].total, found[name].rows) for name in ("recall", "specificity", "precision")
            }
            assert seen == {
                "recall": (counts.tp, counts.positives),
                "specificity": (counts.tn, counts.negatives),
                "precision": (counts.tp, counts.tp + counts.fp),
            }


def _points(values: Mapping[str, float], rows: int, end_us: int = 2 * S) -> list[MetricPoint]:
    made = [point("1", end_us=end_us, value=value, measure=name) for name, value in values.items()]
    return [msgspec.structs.replace(each, rows=rows) for each in made]


def test_windows_that_overlap_are_counted_once() -> None:
    def window(end_s: int) -> MetricPoint:
        return point("1", end_us=end_s * S, value=0.9)

    found = period([window(2), window(3), window(4), window(5), window(6)])
    assert (found.windows, found.tallies["accuracy"].rows) == (3, 1_500)
    assert period([window(2), window(4), window(6)], last=2).windows == 2


def _window(at: int, accuracy: float, recalls: float, loss: float) -> list[MetricPoint]:
    """A window of 500 rows of a model with several classes."""
    told = {"accuracy": (accuracy, 0.0), "balanced_accuracy": (recalls, 0.05), "log_loss": (loss, 0.1)}
    return [
        MetricPoint(
            id=f"{at}/{name}",
            model="m",
            version="2",
            axis="label",
            window=f"w{at}",
            start_us=at,
            end_us=at + 1,
            rows=500,
            measure=name,
            value=value,
            low=value - error if error else None,
            high=value + error if error else None,
        )
        for name, (value, error) in told.items()
    ]


def _of(windows: int, accuracy: float, recalls: float, loss: float) -> Period:
    return period([each for at in range(windows) for each in _window(at, accuracy, recalls, loss)])


@pytest.mark.parametrize(
    ("named", "since", "outcome", "told"),
    [
        ((), (0.95, 0.6, 1.2), "pass", "accuracy 0.950"),
        (("balanced_accuracy",), (0.95, 0.6, 1.2), "fail", "balanced_accuracy 0.600 on 5,000 labelled rows"),
        (("balanced_accuracy",), (0.95, 0.9, 1.2), "pass", "balanced_accuracy 0.900"),
        (("log_loss",), (0.95, 0.6, 1.2), "fail", "log_loss 1.200"),
        (("log_loss",), (0.95, 0.6, 0.3), "pass", "log_loss 0.300"),
        (("log_loss",), (0.95, 0.6, 0.75), "inconclusive", "not proven either way"),
    ],
)
def test_with_several_classes_what_alerts_named_has_to_come_back(
    named: tuple[str, ...], since: tuple[float, float, float], outcome: str, told: str
) -> None:
    """A small class that is never found any more costs little accuracy."""
    segment = Segment(
        name="all", before=_of(10, 0.95, 0.9, 0.3), ill=_of(10, 0.92, 0.6, 1.2), since=_of(10, *since)
    )
    found = _verdict(segment, named=frozenset(named))
    assert (found.outcome, told in found.sentence) == (outcome, True), found.sentence


def _of_classes(shares: Mapping[str, float], start: int, end: int) -> list[MetricPoint]:
    """Windows of 2 s of a model with classes a (80 %), b (15 %) and c (5 %), each found as often as is said."""
    sizes = {"a": 400, "b": 75, "c": 25}
    points: list[MetricPoint] = []
    for at in range(start, end, 2):
        right = {name: round(size * shares[name]) for name, size in sizes.items()}
        accuracy = sum(right.values()) / 500
        points.append(point("1", end_us=at * S, value=accuracy))
        points += [
            msgspec.structs.replace(
                point("1", end_us=at * S, value=right[name] / size, measure="class_recall", feature=name),
                rows=size,
            )
            for name, size in sizes.items()
        ]
    return points


@pytest.mark.parametrize(
    ("since", "outcome"),
    [({"a": 0.95, "b": 0.92, "c": 0.2}, "fail"), ({"a": 0.95, "b": 0.92, "c": 0.88}, "pass")],
)
def test_a_class_that_is_found_no_more_has_to_be_found_again_however_rare_it_is(
    since: dict[str, float], outcome: str
) -> None:
    before = period(_of_classes({"a": 0.95, "b": 0.92, "c": 0.88}, 2, 42))
    ill = period(_of_classes({"a": 0.95, "b": 0.92, "c": 0.2}, 42, 60))
    segment = Segment(name="all", before=before, ill=ill, since=period(_of_classes(since, 60, 80)))
    found = _verdict(segment)
    assert found.outcome == outcome
    assert "recall of class c" in found.sentence
    assert "recall of class a" not in found.sentence


def test_one_of_many_classes_is_lost_by_chance_no_more_often_than_one_of_few() -> None:
    generator = np.random.default_rng(8)
    lost_by_chance = 0
    for _ in range(300):
        periods: list[Period] = []
        for rows in (5_000, 1_500):
            tallies = {
                f"recall of class {number}": _share(rows // 20, generator.binomial(rows // 20, 0.9))
                for number in range(20)
            }
            periods.append(
                Period(windows=5, tallies={**tallies, "accuracy": _share(rows, rows * 0.9)}, expected={})
            )
        lost_by_chance += bool(lost(periods[0], periods[1], Period(tallies={}, expected={}), CONFIG))
    assert lost_by_chance <= 4
