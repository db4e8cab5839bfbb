"""Splits without a person on both sides, and a gate that favours nobody."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediation.config import RetrainingConfig
from remediation.errors import NotYet, StepFailed
from remediation.retraining import Split, split
from remediation.training_values import TrainingSet
from tests.remediation.fakes import FEATURES, FakeArchive, S

CHANGE_US = 10_000 * S
CONFIG = RetrainingConfig()


def _split(
    events: pd.DataFrame, *, seed: int = 1, with_past: bool = True, config: RetrainingConfig = CONFIG
) -> Split:
    return split("m", events, FEATURES, since_us=CHANGE_US, with_past=with_past, seed=seed, config=config)


def _anew(events: pd.DataFrame, tag: str) -> pd.DataFrame:
    """The same people once more."""
    return events.assign(id=events["id"] + tag)


def _rows(data: TrainingSet) -> set[tuple[float, ...]]:
    return {tuple(row) for row in data.features.to_numpy().tolist()}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), people=st.integers(80, 150))
def test_nobody_stands_on_both_sides(seed: int, people: int) -> None:
    events = FakeArchive(CHANGE_US, people=people, seed=seed).labelled("m")
    found = _split(events, seed=seed, config=RetrainingConfig(min_groups_per_class=2))
    assert not _rows(found.training) & _rows(found.holdout)
    assert not set(found.training.groups) & set(found.holdout.groups)
    assert found.holdout.labels.nunique() == 2


def test_the_same_seed_gives_the_same_split_and_another_one_another() -> None:
    events = FakeArchive(CHANGE_US).labelled("m")
    again = _split(events.sample(frac=1, random_state=3).reset_index(drop=True))
    assert _rows(_split(events).holdout) == _rows(again.holdout)
    assert _rows(_split(events).holdout) != _rows(_split(events, seed=2).holdout)


def test_a_person_seen_before_and_since_is_held_out_altogether() -> None:
    events = FakeArchive(CHANGE_US).labelled("m")
    earlier = _anew(events.loc[events["time_us"] >= CHANGE_US, :], "earlier").assign(
        time_us=CHANGE_US - 5 * S
    )
    found = _split(pd.concat([events, earlier], ignore_index=True))
    assert not _rows(found.training) & _rows(found.holdout)


def test_the_past_lends_volume_but_never_the_majority() -> None:
    events = FakeArchive(CHANGE_US).labelled("m")
    past = events.loc[events["time_us"] < CHANGE_US, :]
    more = [_anew(past, str(time)) for time in range(9)]
    found = _split(pd.concat([events, *more], ignore_index=True)).training
    assert found.weights is not None
    assert found.reference_rows is not None
    recent = found.weights[found.reference_rows].sum()
    assert found.weights[~found.reference_rows].sum() == pytest.approx(recent)
    only = _split(events, with_past=False).training
    assert only.reference_rows is not None
    assert only.reference_rows.all()


def test_a_request_that_a_shadow_scored_too_is_one_row_with_all_that_was_sent() -> None:
    events = FakeArchive(CHANGE_US).labelled("m")
    copies = events.assign(**{"version": "0", "f.texture": np.nan})
    alone, both = _split(events), _split(pd.concat([copies, events], ignore_index=True))
    assert both.told == alone.told
    assert _rows(both.training) == _rows(alone.training)


def test_missing_values_and_negative_zero_do_not_make_two_people_of_one() -> None:
    events = FakeArchive(CHANGE_US).labelled("m")
    recent = events[events["time_us"] >= CHANGE_US].index
    events.loc[recent[:40], ["f.radius", "f.texture", "label"]] = [0.0, np.nan, 1]
    events.loc[recent[:20], "f.radius"] = -0.0
    found = _split(events)
    both = pd.concat([found.training.features, found.holdout.features])
    assert int(both["texture"].isna().sum()) == 1


def test_lines_know_their_segments_and_a_person_in_two_of_them_stands_on_one_side() -> None:
    events = FakeArchive(CHANGE_US).labelled("m")
    plans = [_anew(events, str(plan)).assign(**{"s.plan": plan}) for plan in ("gold", None)]
    twice = pd.concat(plans, ignore_index=True)
    found, plain = _split(twice), _split(events)
    for part, without in ((found.training, plain.training), (found.holdout, plain.holdout)):
        assert part.segments is not None
        assert without.segments is not None
        assert without.segments.columns.empty
        assert _rows(part) == _rows(without)
        assert len(part.features) == 2 * len(without.features)
        assert part.segments["plan"].value_counts(dropna=False).to_dict() == {
            "gold": len(without.features),
            None: len(without.features),
        }
    again = _split(twice.sample(frac=1, random_state=3).reset_index(drop=True))
    assert again.training.segments is not None
    assert found.training.segments is not None
    pd.testing.assert_frame_equal(again.training.features, found.training.features)
    assert again.training.segments["plan"].tolist() == found.training.segments["plan"].tolist()


def test_the_newest_lines_are_kept() -> None:
    events = FakeArchive(CHANGE_US).labelled("m")
    found = _split(events, config=RetrainingConfig(max_lines=110)).training
    assert found.reference_rows is not None
    assert found.reference_rows.all()


@pytest.mark.parametrize(("rows", "people", "why"), [(100, 120, "200 rows"), (900, 30, "of 40 groups")])
def test_too_few_rows_or_people_wait(rows: int, people: int, why: str) -> None:
    with pytest.raises(NotYet, match=why):
        _split(FakeArchive(CHANGE_US, rows=rows, people=people).labelled("m"))


def test_one_class_only_waits_and_a_missing_column_fails() -> None:
    events = FakeArchive(CHANGE_US).labelled("m")
    with pytest.raises(NotYet, match="0 groups of class 0"):
        _split(events.assign(label=1))
    with pytest.raises(StepFailed, match="texture"):
        _split(events.drop(columns="f.texture"))
    with pytest.raises(NotYet, match="0 labelled rows"):
        _split(events.iloc[:0])
