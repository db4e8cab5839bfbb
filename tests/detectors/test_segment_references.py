"""What a reference keeps of its segments, and what each is compared with."""

import msgspec
import numpy as np
import pytest

from detectors import segment_profiles
from detectors.decide import decide
from detectors.judgement import Judgement, SeriesState, Transition, Window
from detectors.reference import Reference, build_reference
from detectors.season import SEASONS, expected, window_of
from detectors.segment_profiles import LEAST_ROWS, with_segments
from detectors.segments import compared, own_of, profile_of
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.sequential.packing import pack_memory, unpack_memory
from detectors.values import Axis, FeatureSpec, Monitor
from streams.judge.points import performed, unlabelled

SPECS = (FeatureSpec(name="age"), FeatureSpec(name="plan", kind="categorical"), FeatureSpec(name="spent"))
MONITOR = Monitor(model="m", features=SPECS, segments=("plan",))


def people(rng: np.random.Generator, rows: int, plan: str | None = None, older: float = 0.0) -> Rows:
    """People with gold are older, spend more, and the model errs on them more often."""
    plans = (
        rng.choice(["basic", "gold", "rare"], rows, p=[0.74, 0.25, 0.01]) if plan is None else [plan] * rows
    )
    is_gold = np.array([one != "basic" for one in plans])
    scores = rng.random(rows)
    wrong = rng.random(rows) < np.where(is_gold, 0.3, 0.05)
    columns = {
        "age": rng.normal(40, 10, rows) + 15 * is_gold + older,
        "plan": np.array(plans, dtype=object),
        "spent": rng.exponential(10, rows) * np.where(is_gold, 5, 1),
    }
    said = scores >= 0.5
    return Rows(
        columns, None, scores, np.where(wrong, ~said, said).astype(float), segments={"plan": list(plans)}
    )


@pytest.fixture(scope="module")
def reference() -> Reference:
    rows = people(np.random.default_rng(1), 6_000)
    plain = build_reference("m", "1", rows.features, SPECS, scores=rows.scores, labels=rows.labels)
    return with_segments(with_baseline(plain, rows), rows)


def judged(
    reference: Reference, segment: str, windows: list[Rows], axis: Axis = "event"
) -> tuple[list[tuple[int, Transition]], list[Judgement]]:
    state, found, all_of_it = SeriesState(), list[tuple[int, Transition]](), list[Judgement]()
    for number, rows in enumerate(windows):
        profile, at = rows.profile(reference), number * 10**6
        name = Window(
            model="m", version="1", segment=segment, axis=axis, window=str(number), start_us=at,
            end_us=at + 10**6, rows=profile.rows,
        )  # fmt: skip
        measured = (
            unlabelled(name, profile, MONITOR, reference, ())
            if axis == "event"
            else performed(name, profile, reference)
        )
        judgement = decide(name, measured, MONITOR, reference, state, profile)
        state = judgement.state
        found += [(number, one) for one in judgement.transitions]
        all_of_it.append(judgement)
    return found, all_of_it


@pytest.mark.parametrize("axis", ["event", "label"])
@pytest.mark.parametrize("plan", ["gold", "rare"])
def test_a_segment_that_always_differs_is_well(reference: Reference, plan: str, axis: Axis) -> None:
    rng = np.random.default_rng(2)
    found, judgements = judged(reference, f"plan={plan}", [people(rng, 500, plan) for _ in range(12)], axis)
    assert found == []
    assert not [one for each in judgements for one in each.decisions if one.verdict == "breach"]


def test_one_that_changes_is_told_whether_the_reference_knows_it_or_not(reference: Reference) -> None:
    for plan, late in (("gold", 1), ("rare", 2)):
        rng = np.random.default_rng(3)
        windows = [people(rng, 500, plan) for _ in range(10)] + [people(rng, 500, plan, 5) for _ in range(3)]
        found, _ = judged(reference, f"plan={plan}", windows)
        number, first = found[0]
        assert 10 <= number < 10 + late
        assert (first.kind, first.state, first.change_us) == ("data_drift", "firing", 10**7)
        assert "age" in first.reason
        assert "spent" not in first.reason


def test_worse_answers_in_a_segment_are_told_beside_its_own(reference: Reference) -> None:
    rng = np.random.default_rng(4)
    well = [people(rng, 500, "gold") for _ in range(6)]
    flipped = [people(rng, 500, "gold") for _ in range(4)]
    ill = [
        Rows(one.features, None, one.scores, np.where(rng.random(500) < 0.5, 1 - one.labels, one.labels))
        for one in flipped
        if one.labels is not None
    ]
    found, judgements = judged(reference, "plan=gold", [*well, *ill], "label")
    assert {one.kind for _, one in found} >= {"performance"}
    assert min(number for number, _ in found) == 6
    (accuracy,) = [one for one in judgements[0].decisions if one.measure == "accuracy"]
    assert accuracy.reference == pytest.approx(0.7, abs=0.03)


def test_what_the_reference_does_not_know_is_undefined_with_the_reason(reference: Reference) -> None:
    rng = np.random.default_rng(5)
    _, (judgement,) = judged(reference, "plan=rare", [people(rng, 500, "rare")])
    distance = next(one for one in judgement.decisions if (one.measure, one.feature) == ("psi", "age"))
    assert distance.undefined == (
        f"the reference has fewer than {LEAST_ROWS} rows of plan=rare, or many segments with more; it is compared "
        "with its own first windows"
    )
    missing = next(one for one in judgement.decisions if one.measure == "missing_rate")
    assert (missing.value, missing.reference, missing.threshold) == (0.0, None, None)
    assert "knows nothing of the segments of 'zone'" in own_of(reference, "zone=3").because


def test_an_older_reference_reads_as_before_and_compares_segments_with_themselves() -> None:
    rows = people(np.random.default_rng(1), 1_000)
    older = build_reference("m", "1", rows.features, SPECS, scores=rows.scores, labels=rows.labels)
    text = older.to_json()
    assert b'"segments"' not in text
    assert Reference.from_json(text) == older
    assert own_of(older, "plan=gold").alone
    assert own_of(older, "all").reference is older
    rng = np.random.default_rng(6)
    assert judged(older, "plan=gold", [people(rng, 500, "gold") for _ in range(8)])[0] == []


def test_the_profile_of_a_segment_is_that_of_its_rows(reference: Reference) -> None:
    rows = people(np.random.default_rng(1), 6_000)
    gold = rows.part(np.flatnonzero(np.array(rows.segments["plan"]) == "gold"))
    own, kept = own_of(reference, "plan=gold").reference, profile_of(reference, "plan=gold")
    assert kept is not None
    assert own.rows == kept.rows == len(gold)
    counted = gold.profile(reference)
    assert kept.moments("age") == counted.moments("age")
    alone = build_reference("m", "1", gold.features, SPECS, scores=gold.scores, labels=gold.labels)
    assert own.performance == alone.performance
    assert (own.predicted_positive, own.scores) == (alone.predicted_positive, alone.scores)
    assert [part.present for part in own.features] == [part.present for part in alone.features]
    found = unlabelled(
        Window(model="m", version="1", segment="plan=gold", axis="event", window="0", start_us=0, end_us=1, rows=9),
        counted, MONITOR, reference, (),
    )  # fmt: skip
    assert {one.value for one in found if one.measure in ("psi", "ks", "score_psi")} <= {0.0, None}


def test_only_the_most_frequent_segments_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    rows = people(rng, 8_000)
    zones = [f"z{int(one)}" for one in np.minimum(rng.exponential(6, 8_000), 40)]
    named = Rows(rows.features, None, rows.scores, rows.labels, segments={"zone": [*zones[:-1], None]})
    plain = build_reference("m", "1", rows.features, SPECS, scores=rows.scores, labels=rows.labels)

    def kept() -> list[int]:
        found = with_segments(plain, named).segments
        return [] if isinstance(found, msgspec.UnsetType) else [one.rows for one in found.profiles]

    everything = kept()
    assert everything == sorted(everything, reverse=True)
    assert min(everything) >= LEAST_ROWS
    monkeypatch.setattr(segment_profiles, "MOST", 3)
    assert kept() == everything[:3]
    monkeypatch.setattr(segment_profiles, "MOST_BYTES", 1_000)
    assert 0 < len(kept()) < 3


def test_a_segment_is_compared_phase_by_phase_where_each_has_rows_enough() -> None:
    season, rng = SEASONS["hour_of_day"], np.random.default_rng(8)
    rows = people(rng, 12_000)
    hours = np.arange(12_000) % 24
    known = Rows(
        {**rows.features, "age": np.asarray(rows.features["age"]) + 10 * np.sin(hours / 24 * 2 * np.pi)},
        None, rows.scores, rows.labels, phases=hours, segments=rows.segments,
    )  # fmt: skip
    plain = build_reference("m", "1", known.features, SPECS, scores=known.scores, labels=known.labels)
    reference = with_segments(with_baseline(plain, known, phases=season.phases, ordered=False), known)
    own = own_of(reference, "plan=gold")
    assert not own.alone
    assert own.reference.baseline is not None
    assert [one.name for one in own.reference.baseline.strata] == list(season.phases)
    at = 6 * 3_600_000_000
    gold = known.part(np.flatnonzero((hours == 6) & (np.array(rows.segments["plan"]) == "gold")))
    window = window_of(reference, [(at, gold.profile(reference))])
    assert sum(expected(own.reference, window).features[0].counts) == len(gold)
    rare = own_of(reference, "plan=rare")
    assert rare.because.startswith("the reference has too few rows of plan=rare (in all, or in a phase")


def test_what_is_compared_with_nothing_keeps_what_was_counted(reference: Reference) -> None:
    rare = own_of(reference, "plan=rare")
    rows = people(np.random.default_rng(9), 400, "rare").profile(reference)
    name = Window(
        model="m", version="1", segment="plan=rare", axis="label", window="0", start_us=0, end_us=1, rows=9
    )
    for one in performed(name, rows, reference):
        assert one.reference is None
        assert compared(rare, one) == one


def test_what_is_remembered_of_one_that_is_compared_with_itself_is_kept_exactly(reference: Reference) -> None:
    rng = np.random.default_rng(10)
    _, judgements = judged(reference, "plan=rare", [people(rng, 400, "rare") for _ in range(6)])
    memory = judgements[-1].state.memory
    assert memory is not None
    assert memory.tracks["data_drift"].spread
    assert unpack_memory(pack_memory(memory)) == memory
