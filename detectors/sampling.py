"""A sample of the reference's rows, beside which samples of windows can be seen."""

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from detectors.columns import Column, Floats
from detectors.drawn import SLOTS, Drawn
from detectors.fold import sampled_matrix
from detectors.layout import Layout, layout_of
from detectors.reference import Reference
from detectors.reference_values import revision_of

_ASKED = b"\x00\x00"
"""The sample of no rows: what makes room for one."""


def with_sample(reference: Reference, features: Mapping[str, Column]) -> Reference:
    """The reference with a sample of its rows, under a revision of its own; windows then keep one of theirs.

    features: the columns that it was built from. Only numeric columns are sampled; without any nothing changes.
    """
    asked = _revised(replace(reference, sample=_ASKED))
    layout = layout_of(asked)
    if not layout.sampled:
        return reference
    drawn = Drawn.empty(SLOTS, len(layout.sampled))
    matrix = sampled_matrix(layout, features, reference.rows)
    drawn.take(np.arange(reference.rows, dtype=np.uint64), matrix)
    return _revised(replace(asked, sample=drawn.to_bytes()))


def standardised(layout: Layout, drawn: Drawn) -> Floats:
    """The rows of a sample in standard deviations of the reference, shape (rows, columns); what is missing is its
    mean."""
    slots = {each.name: each for each in layout.numeric}
    centers = np.array([slots[name].center for name in layout.sampled])
    scales = np.array([slots[name].scale for name in layout.sampled])
    return np.nan_to_num((drawn.rows - centers) / scales, posinf=0.0, neginf=0.0)


def _revised(reference: Reference) -> Reference:
    return replace(reference, revision=revision_of(reference))
