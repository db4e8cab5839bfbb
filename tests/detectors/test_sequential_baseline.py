"""What a reference must know besides its histograms: pairs, dependence, seasons, calibration."""

import numpy as np
import pytest

from detectors.errors import ReferenceInvalid
from detectors.reference import Reference, build_reference
from detectors.sequential.baseline import build_baseline, with_baseline
from detectors.sequential.blocks import Rows
from detectors.sequential.kernels import mean_evidence
from tests.detectors.sequential_parts import Stream, gaussian, specs_of


def autoregressive(rng, rows, coefficient):
    noise = rng.standard_normal(rows) * (1 - coefficient**2) ** 0.5
    values, last = np.empty(rows), rng.standard_normal()
    for row in range(rows):
        last = coefficient * last + noise[row]
        values[row] = last
    return values


def test_a_correlation_that_flips_is_found_with_both_columns():
    rng = np.random.default_rng(1)

    def draw(rows, sign):
        table = gaussian(rng, rows, 5)
        table["x3"] = sign * 0.5 * table["x1"] + 0.75**0.5 * table["x3"]
        return table

    table = draw(4_000, 1)
    reference = build_reference("m", "1", table, specs_of(table))
    baseline = build_baseline(reference, Rows(table))
    assert len(baseline.pairs) == 10
    stream = Stream(None, baseline, reference=reference)
    for _ in range(20):
        stream.window(draw(400, 1))
    assert stream.seen == []
    stream.window(draw(1_000, -1))
    assert stream.seen == [(20, "data_drift", "opened")]
    assert set(stream.changes[0].columns[:2]) == {"x1", "x3"}
    assert stream.changes[0].moved[0].name.family == "correlation"


def test_pairs_with_heavy_tails_are_left_out():
    rng = np.random.default_rng(2)
    table = {
        "heavy": rng.standard_t(2, 5_000),
        "other": rng.standard_t(2, 5_000),
        "x": rng.standard_normal(5_000),
    }
    reference = build_reference("m", "1", table, specs_of(table))
    stream = Stream(None, build_baseline(reference, Rows(table)), reference=reference)
    pairs = {one.key for track in stream.plan.tracks for one in track.names if one.family == "correlation"}
    assert not [one for one in pairs if "heavy" in one and "other" in one]


def test_independent_rows_are_taken_for_what_they_are_and_dependent_ones_too():
    rng = np.random.default_rng(3)
    table = {
        "free": rng.standard_normal(10_000),
        "bound": autoregressive(rng, 10_000, 0.6),
        "tied": autoregressive(rng, 10_000, 0.97),
    }
    reference = build_reference("m", "1", table, specs_of(table))
    found = build_baseline(reference, Rows(table)).dependence
    by_column = {key.split("\x1f")[1]: one for key, one in found.items() if key.startswith("location")}
    assert "free" not in by_column
    assert by_column["bound"].inflation == pytest.approx(4.0, rel=0.35)
    assert by_column["bound"].freedom >= 20
    assert by_column["tied"].refused.startswith("rows that follow each other depend too much on each other")
    assert "would need about" in by_column["tied"].refused


@pytest.mark.parametrize("moved", [0.5, -0.5])
def test_dependent_rows_say_as_much_as_the_fewer_independent_ones_they_are_worth_also_of_a_skewed_score(
    moved,
):
    def evidence(rows, inflation):
        figures = np.array([[2.8], [12.0], [inflation], [0.0], [0.0]])
        few, many = np.array([[rows]]), np.array([[50.0 * rows]])
        return mean_evidence(0, 0, 0, figures, np.ones((1, 1)), few, many, moved)

    assert evidence(300.0, 3.0) == pytest.approx(evidence(100.0, 1.0))
    assert evidence(300.0, 3.0) != pytest.approx(evidence(300.0, 1.0))


def test_a_dependent_stream_keeps_quiet():
    for seed in range(3):
        rng = np.random.default_rng([4, seed])
        table = {f"x{i}": autoregressive(rng, 5_000, 0.6) for i in range(3)}
        reference = build_reference("m", "1", table, specs_of(table))
        stream = Stream(None, build_baseline(reference, Rows(table)), reference=reference)
        for _ in range(25):
            stream.window({f"x{i}": autoregressive(rng, 500, 0.6) for i in range(3)})
        assert stream.seen == []


def test_a_season_is_no_drift_and_drift_is_found_in_spite_of_it():
    rng = np.random.default_rng(5)

    def draw(rows, phase):
        table = gaussian(rng, rows, 3)
        return table | {"x0": table["x0"] + 2.0 * phase}

    parts = [draw(1_500, phase) for phase in (0, 1)]
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    phases = np.repeat([0, 1], 1_500)
    reference = build_reference("m", "1", table, specs_of(table))
    baseline = build_baseline(reference, Rows(table, phases=phases), phases=("night", "day"))
    stream = Stream(None, baseline, reference=reference)
    assert stream.plan.strata == ("night", "day")

    def window(number, shift):
        table = draw(300, number % 2)
        counters = np.zeros((2, len(Rows(table).profile(reference).counters)), dtype=np.int64)
        counters[number % 2] = Rows(table | {"x1": table["x1"] + shift}).profile(reference).counters
        return stream.counted(list(counters))

    for number in range(40):
        window(number, 0.0)
    assert stream.seen == []
    for number in range(8):
        window(number, 0.5)
    assert stream.seen[0][1:] == ("data_drift", "opened")
    assert stream.changes[0].columns[0] == "x1"


def test_a_season_needs_rows_of_each_phase():
    table = gaussian(np.random.default_rng(6), 200, 1)
    reference = build_reference("m", "1", table, specs_of(table))
    with pytest.raises(ReferenceInvalid, match="phase 'day' has 10 rows"):
        build_baseline(reference, Rows(table, phases=np.repeat([0, 1], [190, 10])), phases=("night", "day"))
    with pytest.raises(ReferenceInvalid, match="every row of the reference needs one of the phases"):
        build_baseline(reference, Rows(table), phases=("night", "day"))
    with pytest.raises(ReferenceInvalid, match="has 200 rows, and 150 were given"):
        build_baseline(reference, Rows({"x0": table["x0"][:150]}))


def test_a_calibration_lowers_the_threshold_and_is_the_same_each_time():
    table = gaussian(np.random.default_rng(7), 3_000)
    reference = build_reference("m", "1", table, specs_of(table))
    first, second = (build_baseline(reference, Rows(table), calibration_windows=300) for _ in range(2))
    assert first == second
    assert first.calibration.windows == 300
    assert 0.4 <= first.calibration.factor < 1.0
    stream = Stream(None, first, reference=reference)
    step = stream.window(gaussian(np.random.default_rng(8), 500))[1]
    plain = Stream(None, reference=reference).window(gaussian(np.random.default_rng(8), 500))[1]
    assert step.threshold == pytest.approx(plain.threshold * first.calibration.factor)


def test_a_reference_carries_its_baseline():
    table = gaussian(np.random.default_rng(9), 1_000)
    plain = build_reference("m", "1", table, specs_of(table))
    complete = with_baseline(plain, Rows(table))
    assert complete.revision != plain.revision
    assert Reference.from_json(complete.to_json()) == complete
    assert {one.family for one in Stream(None, reference=complete).plan.tracks[1].names} >= {"correlation"}


def test_few_rows_tell_nothing_about_their_order():
    table = gaussian(np.random.default_rng(10), 120, 1)
    reference = build_reference("m", "1", table, specs_of(table))
    assert "taken for independent" in build_baseline(reference, Rows(table)).note
