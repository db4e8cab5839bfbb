"""How much of a loss of performance the shift of the data explains, and what remains as concept drift.

The estimator knows what an output (and a mix of features) was worth in the reference. What it expects of a
labelled window is therefore what the window would show if only the mix had changed: the reference reweighted to the
window. The rest, beyond chance, is a change of what an output is worth.
"""

import math
from typing import Final

from msgspec.structs import replace

from detectors.estimation.estimate import DOUBT
from detectors.estimation.labelled import against_labels
from detectors.estimation.values import Estimate, Estimator
from detectors.profile import Profile
from detectors.values import Value

SURE: Final = 2.0
"""Standard errors beyond which a part is told to be there."""


class Explained(Value, frozen=True, kw_only=True):
    """One measure of a labelled window in two parts: realized - reference = shift + concept.

    `shift`: what the mix of outputs and features explains; `concept`: what remains. `shift_error`, `concept_error`:
    their standard errors. `share`: of the change that the shift explains, in [0, 1]; None where the change is
    within chance, or the parts have opposite signs. `changed`: whether it is beyond chance. `message`: in words.
    """

    measure: str
    rows: int
    reference: float | None = None
    expected: float | None = None
    realized: float | None = None
    shift: float = 0.0
    concept: float = 0.0
    shift_error: float = 0.0
    concept_error: float = 0.0
    share: float | None = None
    changed: bool = False
    message: str = ""
    undefined: str | None = None


def explain(profile: Profile, estimator: Estimator) -> list[Explained]:
    """Each measure of a profile whose outcomes are known, or undefined "because ...".

    Where not all rows have a label the parts are told of those that have (see `labelled.labelled_part`).
    Raises `ProfileInvalid` when the profile was counted against another reference.
    """
    estimates, truth = against_labels(profile, estimator)
    return [_parts(one, truth[one.measure], estimator.rows) for one in estimates if one.measure in truth]


def _parts(one: Estimate, truth: float | None, reference_rows: int) -> Explained:
    base = Explained(measure=one.measure, rows=one.rows, reference=one.reference, realized=truth)
    if one.value is None or one.reference is None or truth is None:
        because = one.undefined or "it has no value in the window or in the reference"
        return replace(base, undefined=because)
    shift, concept = one.value - one.reference, truth - one.value
    learned = math.sqrt(max(one.error**2 - (DOUBT * shift / 2) ** 2, 0.0))
    shift_error, concept_error = max(learned, abs(shift) * DOUBT / 2), math.hypot(one.error, one.sampling)
    total = shift + concept
    chance = one.sampling * math.sqrt(1 + one.rows / max(reference_rows, 1))
    share = None
    if abs(total) > SURE * chance and shift * total >= 0:
        share = min(shift / total, 1.0)
    return replace(
        base,
        expected=one.value,
        shift=shift,
        concept=concept,
        shift_error=shift_error,
        concept_error=concept_error,
        share=share,
        changed=abs(total) > SURE * chance,
        message=_words(one.measure, total, chance, share, abs(concept) > SURE * concept_error),
    )


def _words(measure: str, total: float, chance: float, share: float | None, drifted: bool) -> str:
    if abs(total) <= SURE * chance:
        return f"{measure} changed by {total:+.3g}, which is within chance"
    rest = "what remains is concept drift" if drifted else "what remains is within what estimates err by"
    if share is None:
        return f"{measure} changed by {total:+.3g}, against what the shift of the data would do: {rest}"
    return f"{measure} changed by {total:+.3g}; the shift of the data explains {share:.0%} of it, and {rest}"
