"""Loops over events that depend on the event before: the join of predictions and labels, compiled.

The table is an open-addressing hash table with linear probing (Knuth, The Art of Computer Programming 3,
6.4). A slot (uint64) holds the upper half of a key, which is a hash already, and a row number plus one; `EMPTY`
where there is none. So a search looks at a row only when it is very likely the one, and a table grows without looking
at rows at all (`streams.profile.id_slots`). A row's home slot is given by the upper bits of its key. All rows of a key
lie behind its home in order of arrival. Rows are never taken out one by one, so there are no tombstones.
"""

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from detectors.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]

EMPTY: Final = np.uint64(0)
"""Memory fresh from the system is empty."""
NONE: Final = -1
_UPPER: Final = np.uint64(0xFFFF_FFFF_0000_0000)
_LOWER: Final = np.uint64(0xFFFF_FFFF)

WAITING: Final = 0xFFFF
GONE: Final = 0xFFFE

ACCEPTED: Final = 0
DUPLICATE: Final = 1
LATE: Final = 2

JOINED: Final = 0
SAME: Final = 1
REVISED: Final = 2
ORPHANED: Final = 3
STORED: Final = 4


@compiled
def _shift(slots: Array) -> Any:
    """How far a key must be moved right to be the number of its home; the table's length is a power of two."""
    shift, size = np.uint64(64), len(slots)
    while size > 1:
        size >>= 1
        shift -= np.uint64(1)
    return shift


@compiled
def _entry(key: Any, row: int) -> Any:
    return (np.uint64(key) & _UPPER) | np.uint64(row + 1)


@compiled
def _row(entry: Any) -> Any:
    return np.int64(entry & _LOWER) - 1


@compiled
def _may_be(entry: Any, key: Any) -> bool:
    return (entry & _UPPER) == (key & _UPPER)


@compiled
def _later(starts: Array, pane: Any, other: Any) -> Any:
    """Of two panes, by their codes, the one that begins later."""
    return pane if starts[pane] >= starts[other] else other


@compiled
def insert(rows: Any, slots: Array, first: int, end: int) -> None:
    """Make rows findable, behind those of their keys that are."""
    shift, mask = _shift(slots), len(slots) - 1
    for row in range(first, end):
        key = rows[row].key
        slot = np.int64(key >> shift)
        while slots[slot] != EMPTY:
            slot = (slot + 1) & mask
        slots[slot] = _entry(key, row)


@compiled
def touch_memory(rows: Any, slots: Array, keys: Array) -> Any:
    """Load what the keys lead to. The loads do not depend on each other, so the processor overlaps their
    cache misses; the loops after this one find everything near."""
    total, shift = 0, _shift(slots)
    for i in range(len(keys)):
        entry = slots[np.int64(keys[i] >> shift)]
        if entry != EMPTY and _may_be(entry, keys[i]):
            total += np.int64(rows[_row(entry)].series)
    return total


@compiled
def find(rows: Any, slots: Array, keys: Array) -> tuple[Array, Array]:
    """All rows of each key: pairs (position in `keys`, row), ordered by both."""
    where, found = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    count, shift, mask = 0, _shift(slots), len(slots) - 1
    for i in range(len(keys)):
        slot = np.int64(keys[i] >> shift)
        while slots[slot] != EMPTY:
            row = _row(slots[slot])
            if _may_be(slots[slot], keys[i]) and rows[row].key == keys[i]:
                if count == len(where):
                    where, found = _grown(where), _grown(found)
                where[count], found[count] = i, row
                count += 1
            slot = (slot + 1) & mask
    return where[:count], found[:count]


@compiled
def _grown(values: Array) -> Array:
    larger = np.empty(2 * len(values) + 16, values.dtype)
    larger[: len(values)] = values
    return larger


@compiled
def admit(
    rows: Any,
    slots: Array,
    count: int,
    starts: Array,
    versions: Array,
    keys: Array,
    times_us: Array,
    said: Array,
    scores: Array,
    series: Array,
    panes: Array,
    watermark_us: int,
    label_watermark_us: int,
    horizon_us: int,
    lateness_us: int,
    hot_us: int,
) -> tuple[Array, Array, Array, Array]:
    """Tell duplicates and late rows of a batch of predictions, append the others, give them known labels.

    keys, times_us, said, scores: of each row; there must be room for all of them. series, panes: of each row, or one
    for all. starts, versions: what `pane` and `series` of a row mean. Predictions further back than `hot_us` are not
    looked at, whatever the time of labels. Returns the fate of each row, how many rows met each fate, the rows (of the
    table) that were given a label, and the waiting labels that were used up.
    """
    fates, met = np.zeros(len(keys), np.uint8), np.zeros(3, np.int64)
    given, used = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    gave, spent, mark = 0, 0, watermark_us
    shift, mask = _shift(slots), len(slots) - 1
    series_step, pane_step = np.int64(len(series) > 1), np.int64(len(panes) > 1)
    for i in range(len(keys)):
        mark = max(mark, times_us[i])
        oldest_us = max(mark, label_watermark_us) - horizon_us
        known_us = mark - hot_us
        key, code, pane = keys[i], series[i * series_step], panes[i * pane_step]
        version = versions[code]
        waiting, labelled, duplicate = NONE, NONE, False
        slot = np.int64(key >> shift)
        while slots[slot] != EMPTY:
            row = _row(slots[slot])
            if _may_be(slots[slot], key) and rows[row].key == key:
                start_us = starts[rows[row].pane]
                if rows[row].series == WAITING and start_us >= oldest_us:
                    waiting = row
                elif rows[row].series < GONE and start_us >= known_us:
                    duplicate = duplicate or versions[rows[row].series] == version
                    if not np.isnan(rows[row].label):
                        labelled = row
            slot = (slot + 1) & mask
        if duplicate:
            fates[i] = DUPLICATE
            met[DUPLICATE] += 1
            continue
        if times_us[i] < mark - lateness_us:
            fates[i] = LATE
            met[LATE] += 1
            continue
        new = rows[count]
        new.key, new.series, new.cell = key, code, np.uint16(0)
        new.prediction, new.score = np.float32(said[i]), np.float32(scores[i])
        new.pane, new.label_pane, new.label = pane, pane, np.float32(np.nan)
        source = waiting if waiting != NONE else labelled
        if source != NONE:
            new.label, new.label_pane = rows[source].label, _later(starts, rows[source].label_pane, pane)
            given[gave] = count
            gave += 1
        if waiting != NONE:
            rows[waiting].series = GONE
            used[spent] = waiting
            spent += 1
        slots[slot] = _entry(key, count)
        count += 1
    met[ACCEPTED] = len(keys) - met[DUPLICATE] - met[LATE]
    return fates, met, given[:gave], used[:spent]


@compiled
def join(
    rows: Any,
    slots: Array,
    count: int,
    starts: Array,
    versions: Array,
    batch: Any,
    times_us: Array,
    watermark_us: int,
    event_watermark_us: int,
    horizon_us: int,
    behind_us: int,
    most: int,
) -> tuple[Array, Array, Array, Array, Array]:
    """Join a batch of labels with the predictions of their keys, or let them wait.

    batch: rows of `ROW` whose series is `WAITING`; there must be room for all of them. starts, versions: what `pane`
    and `series` of a row mean; of predictions of one version only the last counts. behind_us: part of `horizon_us` by
    which predictions are ahead of labels in the input. most: outcomes that there may be.
    Returns, per outcome,
    the position of its label in the batch, the row of its prediction and the label known before (NaN: none);
    then the waiting labels that were revised, and how many labels met each fate.
    """
    fates = np.zeros(5, np.int64)
    # An array that a longer one may replace in the loop would be counted anew at each step, which costs more than the
    # step.
    position, found, before = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.float32)
    revised = np.empty(len(batch), np.int64)
    hits, corrections, mark = 0, 0, watermark_us
    shift, mask = _shift(slots), len(slots) - 1
    predicted_from_us = event_watermark_us - horizon_us
    for i in range(len(batch)):
        mark = max(mark, times_us[i])
        oldest_us = max(mark, event_watermark_us) - horizon_us
        known_from_us = times_us[i] - (horizon_us - behind_us)
        key, value = batch[i].key, batch[i].label
        first_hit, waiting, old = hits, NONE, np.float32(np.nan)
        slot = np.int64(key >> shift)
        while slots[slot] != EMPTY:
            row = _row(slots[slot])
            if _may_be(slots[slot], key) and rows[row].key == key:
                start_us = starts[rows[row].pane]
                if rows[row].series < GONE and start_us >= max(predicted_from_us, known_from_us):
                    hit, version = first_hit, versions[rows[row].series]
                    while hit < hits and versions[rows[found[hit]].series] != version:
                        hit += 1
                    position[hit], found[hit], before[hit] = i, row, rows[row].label
                    hits = max(hits, hit + 1)
                elif rows[row].series == WAITING and start_us >= oldest_us:
                    waiting = row
            slot = (slot + 1) & mask
        for hit in range(first_hit, hits):
            old = old if np.isnan(before[hit]) else before[hit]
        if hits > first_hit:
            fates[JOINED if np.isnan(old) else SAME if old == value else REVISED] += 1
            if old == value:
                hits = first_hit
            for hit in range(first_hit, hits):
                row = found[hit]
                if np.isnan(rows[row].label):
                    rows[row].label_pane = _later(starts, batch[i].label_pane, rows[row].pane)
                rows[row].label = value
        elif waiting != NONE:
            fates[SAME if rows[waiting].label == value else REVISED] += 1
            if rows[waiting].label != value:
                rows[waiting].label, rows[waiting].pane = value, batch[i].pane
                revised[corrections] = waiting
                corrections += 1
        elif times_us[i] < oldest_us:
            fates[ORPHANED] += 1
        else:
            fates[STORED] += 1
            rows[count] = batch[i]
            slots[slot] = _entry(key, count)
            count += 1
    return position[:hits], found[:hits], before[:hits], revised[:corrections], fates


@compiled
def taken(rows: Any, chosen: Array) -> Any:
    """A copy of the rows with these numbers: NumPy takes ten times as long for records."""
    found = np.empty(len(chosen), rows.dtype)
    for i in range(len(chosen)):
        found[i] = rows[chosen[i]]
    return found


@compiled
def columns_of(rows: Any) -> tuple[Array, Array, Array, Array, Array, Array, Array, Array]:
    """The fields of the rows, each as an array of its own, in their order; numbers with a fraction as their bits."""
    size = len(rows)
    key, cell, series = np.empty(size, np.uint64), np.empty(size, np.uint16), np.empty(size, np.uint16)
    pane, label_pane = np.empty(size, np.uint32), np.empty(size, np.uint32)
    prediction, score, label = (
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
    )
    for i in range(size):
        row = rows[i]
        key[i], pane[i], label_pane[i] = row.key, row.pane, row.label_pane
        prediction[i], score[i], label[i] = row.prediction, row.score, row.label
        cell[i], series[i] = row.cell, row.series
    bits = prediction.view(np.uint32), score.view(np.uint32), label.view(np.uint32)
    return key, pane, label_pane, bits[0], bits[1], bits[2], cell, series


@compiled
def distinct(first: Array, second: Array, most: int) -> tuple[Array, Array]:
    """The distinct pairs of two columns of codes, in order of appearance, each as `first` shifted left by 32 bits with
    `second` behind it, and for every row the index of its own. A column of one code stands for as many as there are
    rows. Where there are `most` or more, it gives up after as many: every row looks through those before it."""
    rows = max(len(first), len(second)) if len(first) and len(second) else 0
    pairs, inverse = np.empty(most, np.int64), np.empty(rows, np.int64)
    step, other_step = np.int64(len(first) > 1), np.int64(len(second) > 1)
    count, place = 0, 0
    for i in range(rows):
        pair = (np.int64(first[i * step]) << 32) | np.int64(second[i * other_step])
        if count == 0 or pairs[place] != pair:
            place = 0
            while place < count and pairs[place] != pair:
                place += 1
            if place == count:
                pairs[count] = pair
                count += 1
                if count == most:
                    break
        inverse[i] = place
    return pairs[:count], inverse


@compiled
def mark_aged(rows: Any, starts: Array, before_us: int, chosen: Array) -> int:
    """Which rows are older than `before_us`, but for labels that wait, or `GONE`; how many they are."""
    found = 0
    for row in range(len(chosen)):
        old = starts[rows[row].pane] < before_us
        chosen[row] = rows[row].series == GONE or (old and rows[row].series != WAITING)
        found += chosen[row]
    return found


@compiled
def recode(rows: Any, used: Array, codes: Array) -> None:
    """Give the panes in use codes without gaps, in order of their old ones. used (all False), codes:
    by old code; which were in use, and their new ones. In place: a sorted copy of so many codes would take more memory
    than the rows."""
    for row in range(len(rows)):
        used[rows[row].pane] = True
        used[rows[row].label_pane] = True
    count = 0
    for code in range(len(used)):
        codes[code] = count
        count += used[code]
    for row in range(len(rows)):
        rows[row].pane, rows[row].label_pane = codes[rows[row].pane], codes[rows[row].label_pane]


@compiled
def keep(rows: Any, dropped: Array) -> int:
    """Move the other rows than those `dropped` to the front, in their order; how many there are."""
    kept = 0
    for row in range(len(dropped)):
        if not dropped[row]:
            rows[kept] = rows[row]
            kept += 1
    return kept


@compiled
def replay(rows: Any, slots: Array, count: int, logged: Any) -> int:
    """Apply logged rows in their order, the last state of a row replacing the ones before; the new count."""
    shift, mask = _shift(slots), len(slots) - 1
    for i in range(len(logged)):
        waits = logged[i].series >= GONE
        slot, row = np.int64(logged[i].key >> shift), NONE
        while slots[slot] != EMPTY:
            other = _row(slots[slot])
            if rows[other].key == logged[i].key and (
                rows[other].series == logged[i].series or (waits and rows[other].series >= GONE)
            ):
                row = other
                break
            slot = (slot + 1) & mask
        if row == NONE:
            row = count
            slots[slot] = _entry(logged[i].key, count)
            count += 1
        rows[row] = logged[i]
    return count
