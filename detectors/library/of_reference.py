"""What measures see of a reference, from what it keeps of its rows."""

from typing import Final

import numpy as np

from detectors.columns import Floats
from detectors.drawn import SLOTS, Drawn
from detectors.layout import Layout, NumericSlots
from detectors.learning import CORRELATED_ROWS
from detectors.library.outputs import output_samples
from detectors.library.samples import ColumnSample, Knots, RowsSample, column_samples
from detectors.library.standard import Seen
from detectors.profile import Profile
from detectors.reference import FeatureReference, Reference
from detectors.sampling import standardised
from detectors.sequential.reference_counts import counters_of
from detectors.sketches import Moments

_MEMO_SIZE: Final = 256
_memo: dict[str, Seen] = {}


def seen_reference(reference: Reference) -> Seen:
    """What measures see of the reference's rows; the last ones are remembered. Columns are known by their bins, their
    mean and their variance; rows by what was learned from them (see `detectors.learning`)."""
    found = _memo.get(reference.revision)
    if found is None:
        profile = Profile.empty(reference)
        profile.counters[:] = counters_of(reference, profile.layout)
        parts = {part.spec.name: part for part in reference.features}
        columns = [_completed(sample, parts[sample.name]) for sample in column_samples(profile)]
        together = _rows(reference, profile.layout)
        found = Seen(columns, together, reference.rows, output_samples(profile))
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        _memo[reference.revision] = found
    return found


def seen_segment(profile: Profile) -> Seen:
    """What measures see of the reference's rows of a segment, by their profile (see `segments.profile_of`)."""
    parts = {} if profile.reference is None else {part.spec.name: part for part in profile.reference.features}
    columns = [
        _completed(sample, parts[sample.name])._replace(moments=sample.moments)
        for sample in column_samples(profile)
    ]
    together = "the reference does not keep how the columns of a segment go together"
    return Seen(columns, together, profile.rows, output_samples(profile))


def _completed(sample: ColumnSample, part: FeatureReference) -> ColumnSample:
    """With mean, variance and distribution function of a column of numbers."""
    if part.spec.kind == "categorical" or not sample.present or part.mean is None:
        return sample
    moments = Moments(sample.present, part.mean, part.variance or 0.0)
    return sample._replace(moments=moments, knots=_knots(sample, part))


def _knots(sample: ColumnSample, part: FeatureReference) -> Knots:
    low, high = part.minimum or 0.0, part.maximum or 0.0
    shares = np.cumsum(sample.counts)[:-1] / sample.present
    inside = (sample.edges >= low) & (sample.edges <= high)
    places = np.concatenate([[np.nextafter(low, -np.inf)], sample.edges[inside], [high]])
    return Knots(places, np.concatenate([[0.0], shares[inside], [1.0]]))


def _rows(reference: Reference, layout: Layout) -> RowsSample | str:
    learned, count = reference.learned, len(layout.numeric)
    if count < 2:
        return "it takes two numeric columns"
    if learned is None or len(learned.correlations) != count * (count - 1) // 2:
        return "the reference keeps no correlations of its columns"
    correlations = np.eye(count)
    below = np.tril_indices(count, -1)
    correlations[below] = learned.correlations
    correlations[below[::-1]] = learned.correlations
    spread = np.sqrt([_variance(reference, slots) for slots in layout.numeric])
    waves: dict[str, Floats] = {"": np.array(learned.waves)} if learned.waves else {}
    covariance = correlations * np.outer(spread, spread)
    rows = -(-reference.rows // max(1, reference.rows // CORRELATED_ROWS))
    drawn = None
    if layout.sampled:
        drawn = standardised(layout, Drawn.from_bytes(SLOTS, len(layout.sampled), reference.sample))
    return RowsSample(layout.numeric_names, rows, np.zeros(count), covariance, waves, drawn)


def _variance(reference: Reference, slots: NumericSlots) -> float:
    """Of a column in its own standard deviations, where rows without a value have its mean."""
    part = reference.feature(slots.name)
    if part is None or not part.variance:
        return 0.0
    return part.present / reference.rows
