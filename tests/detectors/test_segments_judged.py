"""A segment is held against its own rows of the reference: what is wrong with its data, and what is estimated of it."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from detectors.columns import Column
from detectors.decide import decide
from detectors.judgement import Judgement, SeriesState, Transition, Window
from detectors.learning import with_learned
from detectors.reference import Reference, build_reference
from detectors.season import SEASONS, Season, window_of
from detectors.segment_profiles import with_segments
from detectors.segments import measured_of
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.thresholds import false_alarm_shares
from detectors.values import AlertKind, FeatureSpec, Monitor
from streams.judge.points import unlabelled

SPECS = tuple(FeatureSpec(name=name) for name in ("age", "height"))
MONITOR = Monitor(model="m", features=SPECS)
OF_PLANS = Monitor(model="m", features=SPECS, segments=("plan",))
PLANS = ("basic", "gold", "rare")
HOUR_US = 3_600_000_000


def people(
    rng: np.random.Generator, rows: int, plan: str | None = None, younger: Column | float = 0.0
) -> Rows:
    """Age decides: the model is sure of those with gold, who are old. Their heights come in inches."""
    plans = rng.choice(PLANS, rows, p=[0.74, 0.25, 0.01]) if plan is None else np.full(rows, plan)
    is_gold = plans == "gold"
    age = rng.normal(45 + 25 * is_gold, 8, rows) - younger
    height = rng.normal(170, 9, rows) / np.where(is_gold, 2.54, 1.0)
    scores = 1 / (1 + np.exp(-(age - 45) / 8))
    labels = (rng.random(rows) < scores).astype(float)
    columns: dict[str, Column] = {"age": age, "height": height}
    return Rows(columns, None, scores, labels, segments={"plan": [str(one) for one in plans]})


def built(rows: Rows, season: Season | None = None) -> Reference:
    plain = build_reference("m", "1", rows.features, SPECS, scores=rows.scores, labels=rows.labels)
    learned = with_learned(plain, rows)
    if season is not None:
        learned = with_baseline(learned, rows, phases=season.phases, ordered=False)
    return with_segments(learned, rows)


REFERENCE = built(people(np.random.default_rng(1), 6_000))


def judged(
    windows: Sequence[Rows],
    plan: str,
    references: Reference | Sequence[Reference] = REFERENCE,
    every_us: int = 1_000_000,
) -> list[Judgement]:
    state, found = SeriesState(), list[Judgement]()
    each = [references] * len(windows) if isinstance(references, Reference) else references
    for number, (rows, reference) in enumerate(zip(windows, each, strict=True)):
        profile = window_of(reference, [(number * every_us, rows.profile(reference))])
        window = Window(
            model="m", version="1", segment=f"plan={plan}", axis="event", window=str(number),
            start_us=number * every_us, end_us=(number + 1) * every_us, rows=profile.rows,
        )  # fmt: skip
        measured = unlabelled(window, profile, OF_PLANS, reference, ())
        found.append(decide(window, measured, OF_PLANS, reference, state, profile))
        state = found[-1].state
    return found


def told(judgements: Sequence[Judgement], kind: AlertKind) -> list[tuple[int, Transition]]:
    return [(i, one) for i, each in enumerate(judgements) for one in each.transitions if one.kind == kind]


def in_centimetres(rows: Rows) -> Rows:
    return Rows({**rows.features, "height": np.asarray(rows.features["height"]) * 2.54}, None, rows.scores)


def test_a_segment_that_always_had_its_own_unit_has_it() -> None:
    rng = np.random.default_rng(2)
    assert told(judged([people(rng, 300, "gold") for _ in range(9)], "gold"), "data_quality") == []


def test_another_unit_is_told_in_the_second_window_though_it_is_that_of_all_others() -> None:
    rng = np.random.default_rng(3)
    windows = [people(rng, 300, "gold"), *(in_centimetres(people(rng, 300, "gold")) for _ in range(3))]
    (number, first), *_ = told(judged(windows, "gold"), "data_quality")
    assert (number, first.state) == (2, "firing")
    assert "height looks as if it came in another unit: its values are 2.54 times" in first.reason


def test_a_segment_is_estimated_beside_its_own_rows_from_the_first_window_on() -> None:
    rng = np.random.default_rng(4)
    well = judged([people(rng, 2_000, "gold") for _ in range(12)], "gold")
    estimates = [one for each in well for one in each.decisions if one.measure == "estimated_accuracy"]
    assert [one.reference for one in estimates] == [pytest.approx(0.93, abs=0.02)] * 12
    assert told(well, "estimated_performance") == []
    unsure = [people(rng, 2_000, "gold", younger=20) for _ in range(3)]
    (number, first), *_ = told(judged(unsure, "gold"), "estimated_performance")
    assert (number, first.state) == (1, "firing")
    assert "the estimated accuracy is" in first.reason


def test_of_a_segment_that_the_reference_hardly_knows_both_are_undefined_with_the_reason() -> None:
    rng = np.random.default_rng(5)
    for found in judged([in_centimetres(people(rng, 300, "rare")) for _ in range(4)], "rare"):
        asked = ("estimated_accuracy", "estimated_auc", "unit_change", "misaligned_columns")
        mine = {one.measure: one for one in found.decisions if one.measure in asked}
        assert set(mine) == set(asked)
        assert {one.verdict for one in mine.values()} == {"undefined"}
        reasons = {one.undefined for one in mine.values()}
        assert reasons == {"the reference has fewer than 200 rows of plan=rare, or many segments with more"}


@pytest.mark.parametrize("kind", ["data_quality", "estimated_performance"])
def test_what_was_told_of_a_segment_ends_under_a_reference_that_does_not_know_it(kind: AlertKind) -> None:
    rng = np.random.default_rng(8)
    is_unit = kind == "data_quality"
    drawn = [people(rng, 2_000, "gold", younger=0.0 if is_unit else 20.0) for _ in range(6)]
    windows = [in_centimetres(one) if is_unit else one for one in drawn]
    basic = people(rng, 6_000, "basic")
    found = judged(windows, "gold", [REFERENCE] * 3 + [built(basic)] * 3)
    (_, begun), *ended = told(found, kind)
    assert begun.state == "firing"
    ((number, over),) = ended
    assert (number, over.state) == (3, "cleared")
    assert over.reason.endswith(
        "any more, for the reference has fewer than 200 rows of plan=gold, or many segments with more."
    )


def test_estimates_of_a_segment_are_beside_those_of_its_phase() -> None:
    rng, season = np.random.default_rng(6), SEASONS["hour_of_day"]

    def at(hours: np.ndarray, plan: str | None = None) -> Rows:
        rows = people(rng, len(hours), plan, younger=np.where(hours < 12, 0.0, 20.0))
        return Rows(rows.features, None, rows.scores, rows.labels, hours, rows.segments)

    reference = built(at(np.arange(18_000) % 24), season)
    found = judged([at(np.full(800, hour), "gold") for hour in range(24)], "gold", reference, HOUR_US)
    usual = [one.reference for each in found for one in each.decisions if one.measure == "estimated_accuracy"]
    assert usual[:12] == [pytest.approx(0.93, abs=0.03)] * 12
    assert usual[12:] == [pytest.approx(0.7, abs=0.04)] * 12
    assert told(found, "estimated_performance") == []


def test_how_the_estimates_of_a_segment_wander_is_kept_beside_its_rows() -> None:
    rng = np.random.default_rng(7)
    swings = 15 * np.sin(np.arange(12_000) / 900)
    steady, wandering = built(people(rng, 12_000)), built(people(rng, 12_000, younger=swings))

    def wander(reference: Reference) -> float:
        assert not isinstance(reference.segments, msgspec.UnsetType)
        (gold,) = (one for one in reference.segments.profiles if one.name == "plan=gold")
        assert not isinstance(gold.wander, msgspec.UnsetType)
        return gold.wander.get("accuracy", 0.0)

    assert wander(steady) < 1e-4 < wander(wandering)
    assert Reference.from_json(wandering.to_json()) == wandering


def test_the_columns_of_a_segment_have_means_of_their_own_for_what_reads_them() -> None:
    height = measured_of(REFERENCE, "plan=gold").feature("height")
    assert height is not None
    assert height.mean == pytest.approx(170 / 2.54, rel=0.01)
    assert measured_of(REFERENCE, "plan=gold") is measured_of(REFERENCE, "plan=gold")


def test_segments_share_half_of_the_budget() -> None:
    whole = false_alarm_shares(MONITOR, REFERENCE)
    of_all, of_one = (false_alarm_shares(OF_PLANS, REFERENCE, is_segment=each) for each in (False, True))
    kind: AlertKind = "estimated_performance"
    assert of_all[kind] + 16 * of_one[kind] == whole[kind]
