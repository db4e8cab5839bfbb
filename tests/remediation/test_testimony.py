"""What rows around a release say of it: whose doing the wrong answers are, and when the inputs changed."""

import numpy as np
import pandas as pd
import pytest

from remediation.testimony import Both, Testimony, weigh
from tests.remediation.fakes import S

ROWS = 600
"""Of each version, the new one after the old one."""


def both(
    *,
    wrong: float = 0.1,
    wrong_before: float = 0.1,
    moved_from: int | None = None,
    positive: float = 0.5,
    rows: int = ROWS,
    seed: int = 0,
) -> Both:
    """wrong: share of wrong answers of the new version, wrong_before: what the older one would have had there; income
    has other values from row `moved_from` on, and then the share of positive labels is `positive`."""
    rng, count = np.random.default_rng(seed), 2 * rows
    new = np.arange(count) >= rows
    since = np.arange(count) >= (count if moved_from is None else moved_from)
    label = (rng.random(count) < np.where(since, positive, 0.5)).astype(float)
    chance = rng.random(count)
    said = np.where(chance < np.where(new, wrong, 0.1), 1 - label, label)
    again = np.where(new, np.where(chance < wrong_before, 1 - label, label), said)
    income = rng.lognormal(8, 0.5, count)
    if moved_from is not None:
        income[moved_from:] *= 1.6
    time_us = np.arange(count) * S
    columns = {
        "time_us": time_us,
        "label_time_us": time_us + rng.integers(S, 50 * S, count),
        "label": label,
        "prediction": said,
        "f.income": income,
        "f.age": rng.normal(45, 12, count),
    }
    return Both(pd.DataFrame(columns), new, again)


def of(found: Both) -> Testimony:
    return weigh(found, ("1", "2"))


def test_a_version_that_errs_where_the_one_before_would_not_have_is_convicted() -> None:
    found = of(both(wrong=0.4))
    assert found.convicts
    assert not found.clears
    (told,) = found.sentences
    assert told.startswith("on the same 600 labelled rows version 2 is wrong in 4")
    assert "and version 1 would have been in 1" in told


def test_wrong_answers_that_the_version_before_would_have_given_clear_the_release() -> None:
    found = of(both(wrong=0.4, wrong_before=0.4))
    assert (found.clears, found.convicts, found.blame) == (True, False, 0.0)


def test_half_of_the_wrong_answers_says_neither() -> None:
    found = of(both(wrong=0.5, wrong_before=0.3))
    assert (found.clears, found.convicts) == (False, False)


@pytest.mark.parametrize(
    ("moved_from", "began", "words"),
    [
        (ROWS - 90, "before", "rows before version 2 came (by income)"),
        (ROWS, "with", "inputs changed with version 2"),
        (ROWS + 90, "after", "rows of version 2 (by income)"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_inputs_that_changed_apart_from_the_release_clear_it(
    moved_from: int, began: str, words: str, seed: int
) -> None:
    found = of(both(moved_from=moved_from, seed=seed))
    assert (found.began, found.clears, found.convicts) == (began, began != "with", False)
    assert words in found.sentences[0]


@pytest.mark.parametrize("moved_from", [ROWS - 90, ROWS + 90])
def test_inputs_that_moved_at_another_time_clear_no_version_that_errs_where_the_one_before_would_not_have(
    moved_from: int,
) -> None:
    found = of(both(wrong=0.4, moved_from=moved_from))
    assert found.began in ("before", "after")
    assert (found.clears, found.convicts) == (False, False)


def test_inputs_that_a_release_reads_otherwise_do_not_clear_it_though_the_one_before_would_err_on_them() -> (
    None
):
    found = of(both(wrong=0.4, wrong_before=0.4, moved_from=ROWS))
    assert (found.clears, found.convicts) == (False, False)


def test_others_who_came_with_a_release_have_other_outcomes_and_are_not_its_doing() -> None:
    """A version that reads its inputs otherwise changes what is logged, and not what becomes of anybody."""
    found = of(both(wrong=0.4, wrong_before=0.4, moved_from=ROWS, positive=0.8))
    assert (found.began, found.clears, found.convicts) == ("with", True, False)
    assert "what became of those who came with version 2 is different, too" in found.sentences[-1]
    assert not of(both(wrong=0.4, wrong_before=0.1, moved_from=ROWS, positive=0.8)).clears


def test_outcomes_that_only_those_get_who_were_answered_the_same_say_nothing_of_who_came() -> None:
    """Who is refused a loan never shows whether it had been paid back: other answers, other outcomes."""
    found = both(moved_from=ROWS, positive=0.8)
    found.rows["prediction"] = 1.0
    assert not of(found).others_came


def test_outcomes_that_are_known_early_do_not_pass_for_others_who_came() -> None:
    """A fraud is reported at once, and what was none only turns out to be: of the newest rows only frauds are known."""
    found, rng = both(moved_from=1_500, rows=1_500), np.random.default_rng(3)
    late_us = np.where(found.rows["label"] == 1, 1, rng.integers(0, 2_000, len(found.rows))) * S
    found.rows["label_time_us"] = found.rows["time_us"] + late_us
    known = found.rows["label_time_us"].to_numpy() < int(found.rows["time_us"].max())
    seen = Both(found.rows[known].reset_index(drop=True), found.new[known], None)
    assert seen.rows["label"][seen.new].mean() > seen.rows["label"][~seen.new].mean() + 0.1
    assert of(seen).began == "with"
    assert not of(seen).others_came


def test_of_two_versions_that_serve_together_only_the_one_whose_inputs_changed_is_suspected() -> None:
    alone, world = both(), both()
    for one in (alone, world):
        one.new[:] = np.random.default_rng(4).random(2 * ROWS) < 0.5
        one.new[: ROWS // 2] = False
        ill = one.new if one is alone else np.arange(2 * ROWS) >= ROWS
        one.rows.loc[ill, "f.income"] *= 1.6
    assert of(alone).began == "with"
    assert of(world).began == "after"


def test_categories_and_missing_values_tell_when_they_changed_too() -> None:
    city = np.where(np.arange(2 * ROWS) >= ROWS + 100, "Oslo", "Rome")
    empty = np.where(np.arange(2 * ROWS) >= ROWS - 100, np.nan, 1.0)
    for column, began in ((city, "after"), (empty, "before")):
        found = both()
        found.rows["f.other"] = column
        assert of(found).began == began


def test_too_few_rows_and_answers_that_cannot_be_had_again_say_nothing() -> None:
    assert of(both(rows=50, wrong=0.6)) == Testimony()
    other = both(wrong=0.4)
    assert other.again is not None
    turned = other._replace(again=1 - other.again)
    assert of(turned).blame is None
    assert of(other._replace(again=None)) == Testimony()
