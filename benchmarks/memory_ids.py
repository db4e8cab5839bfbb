"""How much memory the table of ids takes per id in the horizon: in a process of its own, without a broker.

    uv run python -m benchmarks.memory_ids 4000000

Prints bytes of resident memory per id, above what the process had before: at most while the horizon fills, at most
while it then moves on by two horizons, and at the end. A fifth of the events get a label; what changed is taken for
the state topic every 200 batches.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.profile.id_table import ROW, WAITING, IdTable, Keys, Predicted

_BATCH, _LABELLED_AFTER = 1_000, 50
_PANES = 100
"""The horizon, in panes of one microsecond."""
_PIECE = 8_192
_CHECKPOINT_BATCHES = 200
_VERSIONS = np.zeros(1, dtype=np.uint16)
_FIRST_US = 1_000


def main() -> None:
    """Argument: how many ids the horizon holds."""
    ids = int(sys.argv[1])
    for _ in _run(IdTable(), 3 * _CHECKPOINT_BATCHES * _BATCH, 1):
        pass
    base = _resident()
    table, found = IdTable(), [(0, 0)]
    found += ((done, _resident() - base) for done in _run(table, ids, 3))
    filling = max(size for done, size in found if done <= ids)
    moving = max(size for done, size in found if done >= ids)
    told = {"filling": filling / ids, "moving": moving / ids, "end": found[-1][1] / ids}
    print(json.dumps({**told, "rows per id": len(table) / ids}))


def _run(table: IdTable, ids: int, horizons: int) -> Iterator[int]:
    """Take so many horizons of events; how many were taken, at each checkpoint and just before."""
    rng = np.random.default_rng(3)
    for batch in range(horizons * ids // _BATCH):
        now_us = _FIRST_US + batch * _BATCH * _PANES // ids
        _predict(table, _keys(batch), now_us, rng)
        if batch >= _LABELLED_AFTER:
            _label(table, _keys(batch - _LABELLED_AFTER)[::5], now_us, rng)
        if batch % _CHECKPOINT_BATCHES == 0:
            yield batch * _BATCH
            table.take_changed(_PIECE)
            table.expire(now_us - _PANES)
            yield batch * _BATCH


def _keys(batch: int) -> Keys:
    return np.random.default_rng(batch).integers(0, 2**64, _BATCH, dtype=np.uint64)


def _predict(table: IdTable, keys: Keys, now_us: int, rng: np.random.Generator) -> None:
    times_us = np.full(len(keys), now_us)
    scores = rng.random(len(keys))
    panes = table.pane_codes(times_us, (now_us, now_us), 1)
    batch = Predicted(keys, times_us, np.round(scores), scores, 0, panes)
    table.admit(batch, _VERSIONS, (now_us, now_us), _PANES, _PANES, _PANES)


def _label(table: IdTable, keys: Keys, now_us: int, rng: np.random.Generator) -> None:
    rows = np.zeros(len(keys), dtype=ROW)
    times_us: npt.NDArray[np.int64] = np.full(len(keys), now_us)
    rows["key"], rows["label"], rows["series"] = keys, rng.integers(0, 2, len(keys)), WAITING
    rows["pane"] = rows["label_pane"] = table.pane_codes(times_us, (now_us, now_us), 1)
    table.join(rows, times_us, _VERSIONS, (now_us, now_us), _PANES)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


if __name__ == "__main__":
    main()
