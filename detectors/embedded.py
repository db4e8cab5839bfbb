"""Embeddings where a column must be one number per row: their Euclidean lengths stand for them."""

from collections.abc import Mapping

import numpy as np

from detectors.columns import Column, vectors_of
from detectors.kernels_rows import norms


def flattened(features: Mapping[str, Column]) -> dict[str, Column]:
    """The features with the lengths of their vectors in place of embeddings, shape (rows, size)."""
    return {name: _length(np.asarray(column)) for name, column in features.items()}


def _length(column: Column) -> Column:
    return norms(vectors_of(column, column.shape[1])) if column.ndim == 2 else column
