"""Counting the columns of a batch in the slots of a layout."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from detectors.columns import (
    Block,
    Cells,
    Coded,
    Column,
    Integers,
    categories,
    encoded,
    numeric_matrix,
    readable,
    vectors_of,
)
from detectors.kernels import (
    count_categories,
    finish_cells,
    fold_embedding,
    fold_numeric,
    hash_categories,
    hash_columns,
)
from detectors.kernels_outputs import fold_numbers
from detectors.kernels_rows import Bytes, Singles, Words, norms
from detectors.layout import CategoricalSlots, Layout
from detectors.tables import multiplier, multipliers

Columns = Mapping[str, Column | Coded]

_MISSING_WORD: Final = 0x7FC00000


def fold_columns(
    layout: Layout, counters: Integers, registers: Bytes, features: Columns, totals: Words
) -> None:
    """Count the columns that the layout knows; those that the batch lacks are missing in every row.

    totals: hashes of the rows so far, shape (rows,); changed in place, as counters and registers are.
    """
    vectors = {
        slots.name: _vectors(features, slots.name, slots.size, len(totals)) for slots in layout.embeddings
    }
    lengths = {name: norms(found) for name, found in vectors.items()}
    for slots in layout.embeddings:
        found, waves = vectors[slots.name], counters[slots.waves]
        weights, phases = slots.weights, layout.tables.phases
        fold_embedding(found, lengths[slots.name], slots.centers, slots.per_scales, weights, phases, waves)
        hash_columns(found.T, multipliers(slots.name, slots.size), totals)
    features = {**features, **lengths} if lengths else features
    if layout.numeric:
        block = (
            features if isinstance(features, Block) else _block(layout.numeric_names, features, len(totals))
        )
        places, _ = layout.places_in(block.names)
        fold_numeric(readable(block.matrix), places, block.first, layout.tables, counters, registers, totals)
    for slots in layout.categorical:
        names, codes, words = _coded(features.get(slots.name), len(totals))
        count_categories(codes, words, _places(slots, names), counters, registers[slots.registers])
        hash_categories(codes, words, np.uint32(multiplier(slots.name)), totals)


def fold_block(layout: Layout, counters: Integers, registers: Bytes, block: Block) -> Cells:
    """The same at once for a layout of nothing but numbers. Also counts the rows, the values that are not known, and
    the cells, which it gives back."""
    rows = block.end - block.first
    cells = np.empty(rows, dtype=np.uint16)
    places, unknown = layout.places_in(block.names)
    counters[layout.rows] += rows
    counters[layout.unknown] += rows * unknown
    repeats = counters[layout.repeats]
    fold_numbers(
        readable(block.matrix), places, block.first, layout.tables, counters, registers, cells, repeats
    )
    return cells


def _block(names: tuple[str, ...], features: Columns, rows: int) -> Block:
    return Block(names, numeric_matrix(features, names, rows), 0, rows)


def sampled_matrix(layout: Layout, features: Columns, rows: int) -> Singles:
    """The columns of which rows are drawn, shape (columns, rows)."""
    if isinstance(features, Block):
        features = {name: features[name] for name in layout.sampled if name in features}
    return numeric_matrix(features, layout.sampled, rows).astype(np.float32)


def row_cells(layout: Layout, features: Columns, rows: int) -> Cells:
    """The cells of the rows without counting anything; over all columns where the layout knows none."""
    totals = np.zeros(rows, dtype=np.uint32)
    numeric, categorical, sizes = _kinds(layout, features)
    for name, size in sizes.items():
        vectors = _vectors(features, name, size, rows)
        hash_columns(vectors.T, multipliers(name, size), totals)
        features = {**features, name: norms(vectors)}
    if numeric:
        matrix = numeric_matrix(features, numeric, rows)
        hash_columns(matrix, np.array([multiplier(name) for name in numeric], dtype=np.uint32), totals)
    for name in categorical:
        _, codes, words = _coded(features.get(name), rows)
        hash_categories(codes, words, np.uint32(multiplier(name)), totals)
    return cells_of(totals)


def cells_of(totals: Words) -> Cells:
    """The cells of rows with these hashes."""
    cells = np.empty(len(totals), dtype=np.uint16)
    finish_cells(totals, cells)
    return cells


def _kinds(layout: Layout, features: Columns) -> tuple[Sequence[str], Sequence[str], dict[str, int]]:
    """Numeric columns, categorical ones, and the sizes of the vectors among the numeric ones."""
    if layout.names:
        categorical = [slots.name for slots in layout.categorical]
        return layout.numeric_names, categorical, {slots.name: slots.size for slots in layout.embeddings}
    numeric = {
        name: column
        for name, column in sorted(features.items())
        if not isinstance(column, Coded) and column.dtype.kind in "fiub"
    }
    sizes = {name: column.shape[1] for name, column in numeric.items() if column.ndim == 2}
    return list(numeric), sorted(features.keys() - numeric.keys()), sizes


def _vectors(features: Columns, name: str, size: int, rows: int) -> Singles:
    column = features.get(name)
    if column is None or isinstance(column, Coded):
        return np.full((rows, size), np.nan, dtype=np.float32)
    return vectors_of(column, size)


def _coded(column: Column | Coded | None, rows: int) -> tuple[list[str], Integers, Words]:
    """Categories, the code of each row, and a word for the hash of each category and of what is missing."""
    if column is None:
        names, codes = list[str](), np.full(rows, -1, dtype=np.int64)
    else:
        names, codes = categories(column)
    words = [zlib.crc32(encoded(name)) for name in names]
    return names, codes, np.array([*words, _MISSING_WORD], dtype=np.uint32)


def _places(slots: CategoricalSlots, names: Sequence[str]) -> Integers:
    """The counter of each category, and of what is missing."""
    begin, unknown = slots.categories.start, slots.other - slots.categories.start
    places = [begin + slots.index.get(name, unknown) for name in names]
    return np.array([*places, slots.missing], dtype=np.int64)
