"""One pass over the numeric columns of a batch: everything that a profile counts of them."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.columns import SKETCH_BITS, Cells
from detectors.compiled import compiled, compiled_exact
from detectors.kernels_rows import (
    REGISTER_BITS,
    WAVE_FARTHEST,
    Bytes,
    Doubles,
    Longs,
    Places,
    Singles,
    Words,
    add_hashes,
    add_moments,
    buckets,
    hash_values,
    linear_cells,
    logarithmic_cells,
    mixed,
    quantise,
    ranks,
    read,
    read_missing,
)

BLOCK: Final = 512
"""Rows that are worked on together: the columns of a block stay in the cache."""
UNROLLED: Final = 4
"""Columns and random features that are worked on together; the features are a multiple of it."""

WAVE_GREATEST: Final = 2.0**20
"""The greatest value of a wave in its counter."""

_I, _U, _L, _S = np.int32, np.uint32, np.uint64, np.float32


class NumericTables(NamedTuple):
    """What the kernel knows of the numeric columns of a reference; see `detectors.tables`.

    The line is cut at `breaks`: slot 2i + 1 holds the values equal to breaks[i], slot 2i those between it and
    its neighbour below. `cell_slots`, `cell_breaks`: for each grid cell the slot of its beginning and the break
    in it (inf: none); a cell of several breaks has -1 less the place of its first break instead.
    `slot_bins`, `slot_exact`, `slot_outside`: the counter that a slot adds to (-1: none).
    """

    centers: Doubles
    per_scales: Doubles
    logarithmic: Bytes
    lows: Singles
    per_cells: Singles
    low_bits: Places
    shifts: Places
    cell_slots: Places
    cell_breaks: Singles
    breaks: Singles
    slot_bins: Places
    slot_exact: Places
    slot_outside: Places
    missing: Places
    moments: Places
    bucket_firsts: Places
    bucket_counts: Places
    bucket_zeros: Places
    registers: Places
    multipliers: Words
    weights: Singles
    phases: Singles
    cross: int
    cross_sums: int
    waves: int


@compiled
def count_slots(
    single: Singles, cells: Places, starts: Places, firsts: Singles, breaks: Singles, found: Places
) -> None:
    """Count the values by slot: a look-up and two comparisons, or a walk where a cell holds several breaks.

    Here and below, places are unsigned: a sign would have to be looked at, for NumPy's negative indices.
    """
    for row in range(len(single)):
        value, cell = single[row], _U(cells[row])
        start = starts[cell]
        if start >= 0:
            first = firsts[cell]
            found[_L(_L(start) + _L(value >= first) + _L(value > first))] += _I(1)
        else:
            place = -start - 1
            while breaks[place] < value:
                place += 1
            found[2 * place + (breaks[place] == value)] += _I(1)


@compiled
def count_places(places: Places, counters: Longs) -> None:
    """Count what has a counter of its own."""
    for row in range(len(places)):
        counters[_U(places[row])] += 1


@compiled
def raise_registers(hashes: Words, found: Bytes, registers: Bytes) -> None:
    """Keep the greatest rank of each register."""
    for row in range(len(hashes)):
        register = hashes[row] >> _U(32 - REGISTER_BITS)
        if found[row] > registers[register]:
            registers[register] = found[row]


@compiled_exact
def add_cross(steps: Doubles, columns: int, rows: int, counters: Longs) -> None:
    """Add the products of all pairs of columns (i <= j, row by row of the triangle)."""
    place = 0
    for left in range(columns):
        right = left
        while right + 1 < columns:
            total, next_total = 0.0, 0.0
            for row in range(rows):
                step = steps[left, row]
                total += step * steps[right, row]
                next_total += step * steps[right + 1, row]
            counters[place] += np.int64(total)
            counters[place + 1] += np.int64(next_total)
            place, right = place + 2, right + 2
        if right < columns:
            total = 0.0
            for row in range(rows):
                total += steps[left, row] * steps[right, row]
            counters[place] += np.int64(total)
            place += 1


@compiled_exact
def add_sums(steps: Doubles, columns: int, rows: int, counters: Longs) -> None:
    """Add the steps of each column."""
    for column in range(columns):
        total = 0.0
        for row in range(rows):
            total += steps[column, row]
        counters[column] += np.int64(total)


@compiled_exact
def add_products(
    first: Singles,
    second: Singles,
    third: Singles,
    fourth: Singles,
    steps: Singles,
    weights: Singles,
    column: int,
) -> None:
    """Add four columns to four projections; weights has shape (4, columns)."""
    a, b, c, d = weights[0, column], weights[0, column + 1], weights[0, column + 2], weights[0, column + 3]
    e, f, g, h = weights[1, column], weights[1, column + 1], weights[1, column + 2], weights[1, column + 3]
    i, j, k, m = weights[2, column], weights[2, column + 1], weights[2, column + 2], weights[2, column + 3]
    n, o, p, q = weights[3, column], weights[3, column + 1], weights[3, column + 2], weights[3, column + 3]
    for row in range(len(first)):
        w, x, y, z = (
            steps[column, row],
            steps[column + 1, row],
            steps[column + 2, row],
            steps[column + 3, row],
        )
        first[row] += a * w + b * x + c * y + d * z
        second[row] += e * w + f * x + g * y + h * z
        third[row] += i * w + j * x + k * y + m * z
        fourth[row] += n * w + o * x + p * y + q * z


@compiled_exact
def add_product(
    first: Singles,
    second: Singles,
    third: Singles,
    fourth: Singles,
    steps: Singles,
    weights: Singles,
) -> None:
    """Add one column to four projections."""
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for row in range(len(first)):
        step = steps[row]
        first[row] += a * step
        second[row] += b * step
        third[row] += c * step
        fourth[row] += d * step


@compiled
def wave_sum(projection: Singles) -> int:
    """The sum of the waves of a block: t (2048 - |t|) for a phase t in [-2048, 2048), which is 2^-12ths of the
    period; below 2^20 each."""
    total = _I(0)
    for row in range(len(projection)):
        turn = _I(_I(_I(projection[row]) << _I(16)) >> _I(20))
        size = turn if turn >= _I(0) else _I(-turn)
        total = _I(total + _I(turn * _I(_I(2048) - size)))
    return int(total)


@compiled
def add_waves(
    steps: Singles, rows: int, weights: Singles, phases: Singles, scratch: Singles, counters: Longs
) -> None:
    """Add up a periodic function of each random projection of a block of rows.

    A projection is a sum of products of small whole numbers, below 2^24 and so exact as a float32.
    steps: shape (columns, rows or more). scratch: shape (4, rows or more).
    """
    for feature in range(0, len(weights), UNROLLED):
        for i in range(UNROLLED):
            scratch[i, :rows] = phases[feature + i]
        mine = weights[feature : feature + UNROLLED]
        one, two, three, four = scratch[0, :rows], scratch[1, :rows], scratch[2, :rows], scratch[3, :rows]
        whole = weights.shape[1] // UNROLLED * UNROLLED
        for column in range(0, whole, UNROLLED):
            add_products(one, two, three, four, steps, mine, column)
        for column in range(whole, weights.shape[1]):
            add_product(one, two, three, four, steps[column], mine[:, column])
        for i in range(UNROLLED):
            counters[feature + i] += wave_sum(scratch[i, :rows])


@compiled
def fold_numeric(
    columns: npt.NDArray[Any],
    places: Places,
    start: int,
    tables: NumericTables,
    counters: Longs,
    registers: Bytes,
    totals: Words,
) -> None:
    """Count a batch of as many rows as `totals` has.

    columns: numeric values, shape (columns, rows or more), float32 or float64, of which the rows from `start` on
    count. places: where in it each column of the tables is (negative: nowhere). counters, registers: the profile's,
    changed in place. totals: hashes of the rows so far, changed in place.
    """
    count, rows = len(places), len(totals)
    width = max(min(rows, BLOCK), 1)
    single, standard = np.empty(width, np.float32), np.empty(width, np.float64)
    hashes, scratch = np.empty(width, np.uint32), np.empty((UNROLLED, width), np.float32)
    rank, place = np.empty(width, np.uint8), np.empty(width, np.int32)
    cross = np.empty((count, width), np.float64)
    wave = np.empty((count, width), np.float32)
    slots = np.zeros(tables.slot_bins.shape, np.int32)
    for begin in range(0, rows, width):
        size = min(width, rows - begin)
        bits = single[:size].view(np.uint32)
        for c in range(count):
            if places[c] < 0:
                read_missing(single[:size], standard)
            else:
                values = columns[places[c], start + begin : start + begin + size]
                read(values, tables.centers[c], tables.per_scales[c], single, standard)
            at = tables.moments[c]
            add_moments(standard[:size], counters[at : at + 4])
            quantise(standard[:size], cross[c], wave[c])
            hash_values(bits, hashes)
            add_hashes(hashes[:size], tables.multipliers[c], totals[begin : begin + size])
            ranks(bits, hashes, scratch[0], rank)
            at = tables.registers[c]
            raise_registers(hashes[:size], rank, registers[at : at + (1 << REGISTER_BITS)])
            cells = len(tables.cell_slots[c]) - 1
            if tables.logarithmic[c]:
                logarithmic_cells(bits, tables.low_bits[c], tables.shifts[c], cells, place)
            else:
                linear_cells(single[:size], tables.lows[c], tables.per_cells[c], cells, place)
            count_slots(
                single[:size], place, tables.cell_slots[c], tables.cell_breaks[c], tables.breaks[c], slots[c]
            )
            first, zero = tables.bucket_firsts[c], tables.bucket_zeros[c]
            buckets(bits, first, tables.bucket_counts[c], zero, tables.missing[c], place)
            count_places(place[:size], counters)
        if tables.cross >= 0:
            add_cross(cross, count, size, counters[tables.cross :])
            add_sums(cross, count, size, counters[tables.cross_sums :])
        add_waves(wave, size, tables.weights, tables.phases, scratch, counters[tables.waves :])
    add_slots(slots, tables, counters)


@compiled
def fold_embedding(
    vectors: Singles,
    lengths: Doubles,
    centers: Doubles,
    per_scales: Doubles,
    weights: Singles,
    phases: Singles,
    counters: Longs,
) -> None:
    """Count the random features of a column of vectors.

    vectors: shape (rows, size). lengths: their norms, NaN where a vector is missing: it counts as the
    reference's mean. counters: those of the waves.
    """
    rows, size = vectors.shape
    steps, scratch = np.empty((size, BLOCK), np.float32), np.empty((UNROLLED, BLOCK), np.float32)
    for begin in range(0, rows, BLOCK):
        width = min(BLOCK, rows - begin)
        for row in range(width):
            there = lengths[begin + row] == lengths[begin + row]
            for place in range(size):
                step = np.rint((np.float64(vectors[begin + row, place]) - centers[place]) * per_scales[place])
                step = step if step < WAVE_FARTHEST else WAVE_FARTHEST
                step = step if step > -WAVE_FARTHEST else -WAVE_FARTHEST
                steps[place, row] = _S(step) if there else _S(0)
        add_waves(steps, width, weights, phases, scratch, counters)


@compiled
def add_slots(slots: Places, tables: NumericTables, counters: Longs) -> None:
    """Bring the counts by slot to the counters that a slot adds to."""
    for c in range(len(slots)):
        for slot in range(slots.shape[1]):
            found = np.int64(slots[c, slot])
            if found:
                for counter in (
                    tables.slot_bins[c, slot],
                    tables.slot_exact[c, slot],
                    tables.slot_outside[c, slot],
                ):
                    if counter >= 0:
                        counters[counter] += found


@compiled
def hash_columns(columns: npt.NDArray[Any], multipliers: Words, totals: Words) -> None:
    """Add the columns to the hashes of the rows, and nothing else."""
    rows = columns.shape[1]
    single, hashes = np.empty(rows, np.float32), np.empty(rows, np.uint32)
    for c in range(len(columns)):
        for row in range(rows):
            single[row] = _S(columns[c, row]) + _S(0)
        hash_values(single.view(np.uint32), hashes)
        add_hashes(hashes, multipliers[c], totals)


@compiled
def hash_categories(codes: Longs, words: Words, multiplier: np.uint32, totals: Words) -> None:
    """The same for a categorical column. words: of each category, the last of what is missing (codes below 0)."""
    for row in range(len(codes)):
        code = codes[row] if codes[row] >= 0 else len(words) - 1
        totals[row] = _U(totals[row] + _U(mixed(words[code]) * multiplier))


@compiled
def count_categories(codes: Longs, words: Words, slots: Longs, counters: Longs, registers: Bytes) -> None:
    """Count categories in their slots (the last: missing), and raise the registers of those that are there."""
    hashes, found, scratch = (
        np.empty_like(words),
        np.empty(len(words), np.uint8),
        np.empty(len(words), np.float32),
    )
    for category in range(len(words)):
        hashes[category] = mixed(words[category])
    ranks(np.zeros_like(words), hashes, scratch, found)
    for row in range(len(codes)):
        code = codes[row]
        if code < 0:
            counters[slots[len(words) - 1]] += 1
            continue
        counters[slots[code]] += 1
        register = np.int64(hashes[code] >> np.uint32(32 - REGISTER_BITS))
        registers[register] = max(registers[register], found[code])


@compiled
def finish_cells(totals: Words, cells: Cells) -> None:
    """The cell of each row: the first ten bits of its mixed hash."""
    for row in range(len(totals)):
        cells[row] = np.uint16(mixed(totals[row]) >> _U(32 - SKETCH_BITS))
