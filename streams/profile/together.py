"""Batches of predictions that follow each other are measured as one.

What a batch costs whatever its rows are, as much as 500 of them, is then paid once for several. It changes no number:
rows count one after the other, in whatever batches they come. Only what depends on the record itself must be the same
for all of them, so whatever is out of the ordinary is taken alone.
"""

# pyarrow ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from homeostat.contract import PredictionBatch
from homeostat.contract_views import FeatureArray

MOST_ROWS = 8_192
"""More would keep the event loop for longer and save no more."""


def is_plain(batch: PredictionBatch) -> bool:
    """Whether all that is measured of a batch lies in columns of numbers that were seen where they are."""
    layout = batch.layout
    if layout.segments or layout.scores is not None or batch.is_text:
        return False
    return batch.feature_matrix is not None and batch.silent


def fits(first: PredictionBatch, other: PredictionBatch) -> bool:
    """Whether a batch is of the same kind as the plain one before it."""
    if other.model != first.model or other.version != first.version or other.schema != first.schema:
        return False
    if other.layout is not first.layout or not is_plain(other):
        return False
    matrix, known = other.feature_matrix, first.feature_matrix
    return matrix is not None and known is not None and matrix.dtype == known.dtype


def joined(batches: Sequence[PredictionBatch]) -> PredictionBatch:
    """All rows in one batch, which has the name of the first. The batches are plain and fit."""
    first = batches[0]
    if len(batches) == 1:
        return first
    spans = [batch.span_us for batch in batches]
    known = {
        "model": first.model,
        "version": first.version,
        "producer": first.producer,
        "sequence": first.sequence,
        "traceparent": first.traceparent,
        "schema": first.schema,
        "known_layout": first.layout,
        "rows": sum(batch.rows for batch in batches),
        "keys": _fixed(np.concatenate([batch.keys for batch in batches])),
        "times_us": _fixed(np.concatenate([batch.times_us for batch in batches])),
        "span_us": (min(low for low, _ in spans), max(high for _, high in spans)),
        "outcomes": _fixed(np.concatenate([batch.outcomes for batch in batches])),
        "scores": _fixed(np.concatenate([batch.scores for batch in batches])),
        "feature_matrix": _side_by_side(batches),
        "silent": True,
    }
    return PredictionBatch.in_place(lambda: pa.concat_batches([one.columns for one in batches]), known)


def _side_by_side(batches: Sequence[PredictionBatch]) -> FeatureArray:
    parts = [batch.feature_matrix[:, : batch.rows] for batch in batches if batch.feature_matrix is not None]
    return _fixed(np.concatenate(parts, axis=1))


def _fixed(values: FeatureArray) -> FeatureArray:
    """As what was seen in a record: compiled code knows arrays that nobody changes."""
    values.flags.writeable = False
    return values
