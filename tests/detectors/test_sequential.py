"""Sequential deciding: what it finds, what it leaves alone, and that a budget is a budget."""

import numpy as np
import pytest
from msgspec import structs

from detectors.errors import MonitorInvalid
from detectors.reference import build_reference
from detectors.sequential.budget import part_of, threshold_of
from detectors.sequential.explain import sentence
from detectors.sequential.hermite import scores_of
from detectors.sequential.kernels import log_count, log_gaussian
from detectors.sequential.plan import plan_of
from detectors.sequential.values import Moved, ScoreName
from detectors.values import Budget, FeatureSpec
from tests.detectors.sequential_parts import SECOND_US, Stream, empty, gaussian


@pytest.mark.parametrize("counts", [[10] * 64, [1, 5, 30, 400, 30, 5, 1], [0, 70, 0, 0, 30, 900, 0]])
def test_scores_of_a_histogram_are_orthonormal_under_its_counts(counts):
    shares = np.array(counts) / sum(counts)
    found = scores_of(np.array(counts))
    values = found.values
    assert np.abs(values @ shares).max() < 1e-9
    assert (values * shares) @ values.T == pytest.approx(np.eye(len(values)), abs=1e-9)
    assert np.isfinite(values).all()


def test_few_bins_have_few_scores_and_one_bin_has_none():
    assert len(scores_of(np.array([40, 60])).values) == 1
    assert scores_of(np.array([0, 60, 0])) is None
    assert scores_of(np.zeros(5, dtype=np.int64)) is None


def test_evidence_is_at_most_one_on_average_where_nothing_has_changed():
    rng = np.random.default_rng(1)
    for prior in (0.05**2, 0.2**2):
        found = np.exp([log_gaussian(z, 1e-3, prior, 0.0, 0) for z in rng.standard_normal(4_000)])
        assert found.mean() < 1.1
    for rate, side in ((0.001, 0), (0.02, 0), (0.02, 1)):
        before, now = rng.poisson(10_000 * rate, 2_000), rng.poisson(1_000 * rate, 2_000)
        found = np.exp(
            [log_count(float(c), float(b), 1 / 11, side) for b, c in zip(before, now, strict=True)]
        )
        assert found.mean() < 1.3


def test_nothing_alarms_where_nothing_changes_and_a_shift_is_found_with_its_column_and_its_time():
    rng = np.random.default_rng(22)
    stream = Stream(gaussian(rng, 4_000))
    for _ in range(40):
        stream.window(gaussian(rng, 500))
    assert stream.seen == []
    for _ in range(6):
        table = gaussian(rng, 500)
        stream.window(table | {"x2": table["x2"] + 0.4})
    assert [one[1:] for one in stream.seen] == [("data_drift", "opened")]
    assert 40 <= stream.seen[0][0] <= 43
    (change,) = stream.changes
    assert change.columns[0] == "x2"
    assert abs(change.since_us - 40 * SECOND_US) <= SECOND_US
    assert change.statistic >= change.threshold
    assert change.in_force == "guaranteed"
    assert change.moved[0].name.family == "location"
    assert change.moved[0].change == pytest.approx(0.4, abs=0.15)
    assert abs(change.moved[0].change) > change.moved[0].least > 0
    assert sentence(change.moved[0]).startswith("x2 moved by +0.")


@pytest.mark.parametrize("moved", [np.nan, 50.0])
def test_a_change_of_all_rows_is_dated_to_the_window_in_which_it_began(moved):
    rng = np.random.default_rng(23)
    stream = Stream(gaussian(rng, 4_000))
    for _ in range(12):
        stream.window(gaussian(rng, 1_000))
    table = gaussian(rng, 1_000)
    stream.window(table | {"x2": np.full(1_000, moved)})
    change = next(one for one in stream.changes if one.kind == "data_quality")
    assert (change.windows, change.since_us) == (1, 12 * SECOND_US)
    assert change.moved[0].rows == 1_000
    assert change.moved[0].now == pytest.approx(1.0)


def test_what_tells_only_together_with_others_is_not_said_to_tell_alone():
    name = ScoreName(family="location", column="income")
    strong = Moved(name=name, change=0.2, least=0.1, now=None, before=None, rows=500, weight=9.0)
    assert sentence(strong).endswith("over 500 rows (told from 0.10)")
    assert sentence(structs.replace(strong, least=0.3)).endswith("over 500 rows (alone told from 0.30)")


def test_one_change_is_one_incident_and_ends_when_it_has_passed():
    rng = np.random.default_rng(3)
    stream = Stream(gaussian(rng, 4_000))
    for number in range(70):
        table = gaussian(rng, 500)
        factor = 1.6 if 10 <= number < 40 else 1.0
        stream.window(table | {"x1": table["x1"] * factor})
    mine = [one for one in stream.seen if one[1] == "data_drift"]
    assert [one[2] for one in mine] == ["opened", "closed"]
    opened, closed = (one[0] for one in mine)
    assert 10 <= opened <= 12
    assert 41 <= closed <= 55


def test_a_restart_between_any_two_windows_changes_nothing():
    tables = [gaussian(np.random.default_rng([4, i]), 300) for i in range(30)]
    for table in tables[18:]:
        table["x0"] = table["x0"] + 0.5
    reference = gaussian(np.random.default_rng(4), 2_000)
    plain, restarted = Stream(reference), Stream(reference)
    for table in tables:
        expected = plain.window(table)
        assert restarted.window(table) == expected
        restarted.forget_nothing()
        assert restarted.memory == plain.memory
    assert plain.seen


def test_the_memory_is_bounded():
    rng = np.random.default_rng(5)
    stream = Stream(gaussian(rng, 1_000, 2))
    counters = [stream.reference and empty(stream.reference) for _ in range(8)]
    for each in counters:
        each[:] = 0
    sizes = []
    for number in range(600):
        stream.counted([counters[number % 8]])
        sizes.append(len(stream.memory.tracks["data_drift"].at))
    assert sizes[99] <= 40
    assert sizes[599] <= 60


def test_new_vanished_and_rare_categories():
    rng = np.random.default_rng(6)

    def draw(rows, shares):
        names = np.array(["a", "b", "c", "d", "new"], dtype=object)
        return {"town": names[rng.choice(5, size=rows, p=shares)], "x": rng.standard_normal(rows)}

    shares = (0.55, 0.3, 0.149, 0.001, 0.0)
    stream = Stream(draw(5_000, shares))
    for _ in range(60):
        stream.window(draw(300, shares))
    assert stream.seen == []
    stream.window(draw(1_000, (0.55, 0.28, 0.149, 0.001, 0.02)))
    assert stream.seen == [(60, "data_quality", "opened")]
    assert stream.changes[0].moved[0].name.family == "new_category_rate"
    assert "a category that the reference does not know" in sentence(stream.changes[0].moved[0])
    for _ in range(3):
        stream.window(draw(300, (0.70, 0.3, 0.0, 0.0, 0.0)))
    assert stream.seen[1][1:] == ("data_drift", "opened")
    assert stream.changes[1].moved[0].name.item == "c"


def test_heavy_tails_rare_values_and_long_lists_of_categories_do_not_alarm():
    rng = np.random.default_rng(7)

    def draw(rows):
        return {
            "heavy": rng.standard_t(2, rows),
            "sparse": np.where(rng.random(rows) < 0.99, 0.0, rng.exponential(1, rows)),
            "town": rng.zipf(1.5, rows).clip(0, 10**6).astype(str).astype(object),
            "count": rng.poisson(2.0, rows).astype(float),
        }

    for _ in range(3):
        stream = Stream(draw(3_000))
        for _ in range(60):
            stream.window(draw(300))
        assert stream.seen == []


def test_missing_values_are_found_and_what_is_not_there_is_no_evidence():
    rng = np.random.default_rng(8)
    table = gaussian(rng, 2_000, 2) | {"constant": np.ones(2_000), "nothing": np.full(2_000, np.nan)}
    stream = Stream(table)
    families = {(one.family, one.column) for track in stream.plan.tracks for one in track.names}
    assert ("location", "constant") not in families
    assert ("location", "nothing") not in families
    stream.window({})
    stream.counted([empty(stream.reference)])
    for _ in range(5):
        stream.window({name: column[:10] for name, column in table.items()})
    assert [one for one in stream.seen if one[0] == 0] == []
    gone = {name: column[:500].copy() for name, column in table.items()}
    gone["x1"][:50] = np.nan
    stream.window(gone)
    assert stream.changes[-1].kind == "data_quality"
    assert stream.changes[-1].columns[0] == "x1"
    assert stream.changes[-1].moved[0].name.family == "missing_rate"


def test_a_constant_that_changes_is_outside_of_what_is_known():
    rng = np.random.default_rng(9)
    table = {"x": rng.standard_normal(1_000), "constant": np.ones(1_000)}
    stream = Stream(table)
    stream.window({"x": rng.standard_normal(300), "constant": np.full(300, 2.0)})
    assert stream.changes[0].columns == ("constant",)


def test_a_change_that_is_worth_no_ones_time_is_not_told_however_many_rows_prove_it():
    rng = np.random.default_rng(10)
    stream = Stream({"x": rng.standard_normal(100_000)})
    for _ in range(4):
        stream.window({"x": rng.standard_normal(200_000) + 0.01})
    assert stream.seen == []
    stream.window({"x": rng.standard_normal(200_000) + 0.05})
    assert stream.seen


def test_rows_of_few_subjects_are_worth_few_rows():
    """Two groups of 150 patients, each drawn again and again: they differ as two groups of 150 do."""
    for seed in range(4):
        rng = np.random.default_rng([11, seed])
        first, second = ({f"x{i}": rng.standard_normal(150) for i in range(4)} for _ in range(2))
        stream = Stream(first)
        for _ in range(30):
            drawn = rng.integers(0, 150, 500)
            stream.window({name: column[drawn] for name, column in second.items()})
        assert stream.seen == []
        assert stream.memory.repeats / stream.memory.pairs == pytest.approx(1 / 150, rel=0.1)


def test_performance_is_judged_when_labels_arrive_and_only_a_drop_is_an_illness():
    rng = np.random.default_rng(12)
    specs = [FeatureSpec(name="x")]

    def draw(rows, wrong):
        x = rng.standard_normal(rows)
        scores = 1 / (1 + np.exp(-3 * x))
        labels = (rng.random(rows) < scores) ^ (rng.random(rows) < wrong)
        return {"x": x}, (scores > 0.5).astype(float), scores, labels.astype(float)

    features, said, scores, labels = draw(4_000, 0.05)
    reference = build_reference("m", "1", features, specs, scores=scores, predictions=said, labels=labels)
    stream = Stream(None, reference=reference, axis="label")
    for _ in range(20):
        stream.window(*draw(400, 0.05))
    for _ in range(10):
        stream.window(*draw(400, 0.0))
    assert stream.seen == []
    for _ in range(12):
        stream.window(*draw(400, 0.15))
    assert [one[1:] for one in stream.seen] == [("performance", "opened")]
    told = stream.changes[0].moved[0]
    assert told.name.family in {"error_rate", "brier_loss"}


def test_the_budget_in_time_is_that_in_windows_where_windows_are_of_one_length():
    windows = threshold_of(Budget(incidents=1.0, windows=1_000), 0.5, 7.0, None)
    time = threshold_of(Budget(incidents=1.0, every_s=7_000.0), 0.5, 7.0, None)
    assert windows.value / windows.share == pytest.approx(time.value / time.share)
    assert windows.in_force == "guaranteed"
    assert threshold_of(Budget(every_s=100.0), 1.0, 1e6, None).share == pytest.approx(5.0)
    for budget in (Budget(incidents=0), Budget(windows=0), Budget(incidents=3, windows=2)):
        with pytest.raises(MonitorInvalid, match="more than none and less than one per window"):
            threshold_of(budget, 1.0, 1.0, None)


@pytest.mark.parametrize("labels", [True, False])
def test_the_parts_of_the_budget_add_up_to_it(labels):
    kinds = ("data_quality", "data_drift", "prediction_drift")
    total = 0.0
    for is_segment, series in ((False, 1), (True, 32)):
        mine = [part_of(k, kinds, labels=labels, segments=32, is_segment=is_segment) for k in kinds]
        label = part_of("performance", ("performance",), labels=labels, segments=32, is_segment=is_segment)
        concept = part_of(
            "concept_drift", ("concept_drift",), labels=True, segments=32, is_segment=is_segment
        )
        total += series * (sum(mine) + concept + (label if labels else 0.0))
    assert total == pytest.approx(1.0)


def test_classes_and_regressions_are_judged_by_their_labels_too():
    rng = np.random.default_rng(14)

    def classes(rows, wrong):
        truth = rng.integers(0, 3, rows).astype(float)
        said = np.where(rng.random(rows) < wrong, (truth + 1) % 3, truth)
        return {"x": rng.standard_normal(rows)}, said, None, truth

    def numbers(rows, wrong):
        said = rng.standard_normal(rows)
        return {"x": said}, said, None, said + rng.standard_normal(rows) * (0.5 + wrong)

    for task, draw, family in (
        ("multiclass", classes, "error_rate"),
        ("regression", numbers, "absolute_error"),
    ):
        features, said, _, truth = draw(3_000, 0.1)
        names = ("a", "b", "c") if task == "multiclass" else ()
        specs = [FeatureSpec(name="x")]
        reference = build_reference(
            "m", "1", features, specs, predictions=said, labels=truth, task=task, classes=names
        )
        outputs = Stream(None, reference=reference)
        assert "prediction_drift" in {track.kind for track in outputs.plan.tracks}
        stream = Stream(None, reference=reference, axis="label")
        for _ in range(10):
            stream.window(*draw(300, 0.1))
            outputs.window(*draw(300, 0.1))
        assert stream.seen == outputs.seen == []
        for _ in range(6):
            stream.window(*draw(300, 0.4))
        assert [one[1:] for one in stream.seen] == [("performance", "opened")]
        assert stream.changes[0].moved[0].name.family == family


def test_what_is_not_watched_is_not_judged():
    rng = np.random.default_rng(15)
    reference = build_reference("m", "1", gaussian(rng, 500), [FeatureSpec(name=f"x{i}") for i in range(4)])
    plan = plan_of(reference, "event", columns=("x1",), small=True)
    names = [name for track in plan.tracks for name in track.names]
    assert {name.column for name in names} == {"x1"}
    assert not {"skewness", "tails"} & {name.family for name in names}
    assert plan.name != plan_of(reference, "event").name


def test_numbers_that_are_none_are_no_error_and_no_evidence():
    rng = np.random.default_rng(16)
    stream = Stream(gaussian(rng, 1_000))
    table = gaussian(rng, 300)
    table["x0"][:150] = np.inf
    stream.window(table | {"x1": np.full(300, np.nan)}, scores=np.full(300, np.nan))
    assert {one.columns[0] for one in stream.changes} <= {"x0", "x1"}
    for track in stream.memory.tracks.values():
        assert np.isfinite(np.frombuffer(track.at_sums)).all()
        assert np.isfinite(np.frombuffer(track.sums)).all()


def test_a_further_change_is_told_while_an_incident_is_open_and_its_end_is_none():
    rng = np.random.default_rng(17)
    stream = Stream(gaussian(rng, 4_000))
    for number in range(50):
        table = gaussian(rng, 500)
        table["x0"] = table["x0"] + (0.6 if 5 <= number < 35 else 0.0)
        table["x3"] = table["x3"] + (0.6 if 20 <= number < 35 else 0.0)
        stream.window(table)
    assert [one[2] for one in stream.seen] == ["opened", "opened", "closed"]
    assert [one.columns[0] for one in stream.changes] == ["x0", "x3"]
    assert abs(stream.changes[1].since_us - 20 * SECOND_US) <= SECOND_US
    assert 36 <= stream.seen[2][0] <= 42


def test_a_small_change_that_has_passed_ends_about_as_soon_as_it_was_told():
    rng = np.random.default_rng(5)
    stream = Stream(gaussian(rng, 20_000))
    for window in range(44):
        table = gaussian(rng, 1_000)
        if 10 <= window < 24:
            table["x1"] = table["x1"] + 0.1
        stream.window(table)
    told = [(kind, what) for _, kind, what in stream.seen]
    assert told == [("data_drift", "opened"), ("data_drift", "closed")]
    assert stream.seen[0][0] < 24 <= stream.seen[1][0] <= 34


def test_windows_of_a_reference_of_which_nothing_can_be_judged_pass():
    stream = Stream(gaussian(np.random.default_rng(25), 300, 1), axis="label")
    assert stream.plan.tracks == ()
    assert stream.counted([empty(stream.reference)]) == ()
    assert stream.memory.windows == 1
