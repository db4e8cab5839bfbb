"""The score card of a window as measurements: intervals for what is decided on, and scores that are only shown."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.outcome_slots import MulticlassSlots, RegressionSlots
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.scorecard.card import score_card
from detectors.scorecard.intervals import Score
from detectors.sequential.reference_counts import counters_of

QUANTILES: Final = (0.1, 0.9)
"""Of the quantile loss; that of the median is half of the mean absolute error."""
_MEMO_SIZE: Final = 256
_memo: dict[str, dict[str, Score]] = {}


def with_scores(
    found: Sequence[Measurement],
    profile: Profile,
    reference: Reference,
    told: Callable[[str], bool] | None = None,
) -> list[Measurement]:
    """What was measured, each with its interval and with the score of the best answer that looks at nothing, and the
    scores of the card that were not measured yet. Scores of probabilities are left out where the reference knows none,
    and all of them where no label has come, or where none of them is read (told).
    """
    if profile.labelled == 0:
        return list(found)
    known = _of_reference(reference)
    if told is not None and not any(map(told, known)):
        return list(found)
    card = {score.measure: score for score in score_card(profile, QUANTILES)}
    shown = [_with_interval(one, card.get(one.measure)) for one in found]
    names = {one.measure for one in found}
    return shown + [
        _measured(score, known[name])
        for name, score in card.items()
        if name not in names and name in known and known[name].rows
    ]


def _of_reference(reference: Reference) -> dict[str, Score]:
    """The card of the reference's own rows; the last ones are remembered."""
    card = _memo.get(reference.revision)
    if card is None:
        profile = Profile.empty(reference)
        profile.counters[:] = counters_of(reference, profile.layout)
        slots = profile.layout.outcomes
        if isinstance(slots, RegressionSlots):
            profile.counters[slots.sums] = reference.sums or 0
        elif isinstance(slots, MulticlassSlots):
            profile.counters[slots.ranks] = reference.ranks
            profile.counters[slots.right_scores] = reference.positive_scores or 0
            profile.counters[slots.wrong_scores] = reference.negative_scores or 0
        card = {score.measure: score for score in score_card(profile, QUANTILES)}
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        _memo[reference.revision] = card
    return card


def _with_interval(found: Measurement, score: Score | None) -> Measurement:
    if found.value is None or score is None or score.value is None:
        return found
    return replace(found, low=score.low, high=score.high, naive=score.naive)


def _measured(score: Score, known: Score) -> Measurement:
    if score.value is None:
        return undefined(score.measure, None, score.rows, score.undefined or "it has no value")
    if score.rows < MINIMUM_ROWS:
        because = f"there are only {score.rows} labelled rows; it takes {MINIMUM_ROWS}"
        return undefined(score.measure, None, score.rows, because)
    return Measurement(
        measure=score.measure,
        value=score.value,
        low=score.low,
        high=score.high,
        naive=score.naive,
        reference=known.value,
        rows=score.rows,
        detail=score.detail,
    )
