"""How much memory the table of ids takes per id in the horizon: in a process of its own, without a broker.

    uv run python -m benchmarks.memory_ids 4000000
    uv run python -m benchmarks.memory_ids 4000000 --segments

Prints bytes of resident memory per id, above what the process had before: at most while the horizon fills, at most
while it then moves on by two horizons, and at the end. A fifth of the events get a label; what changed is taken for
the state topic every 200 batches, with segments 960 times in a horizon. With them a 24th of the horizon is in memory,
as with an hour of a day, and the rest in files; their pages, which the system can take back, are told apart.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.profile.cold_store import FolderSegments
from streams.profile.cold_tier import ColdConfig, ColdTier, Shelf
from streams.profile.id_table import ROW, WAITING, IdTable, Keys, Predicted

_BATCH, _LABELLED_AFTER = 1_000, 50
_PANES, _HOT_PANES = 96, 4
"""The horizon, and the part of it in memory where there are segments, in panes of one microsecond."""
_PIECE = 8_192
_CHECKPOINT_BATCHES = 200
_KEPT = _CHECKPOINT_BATCHES * _BATCH
_CHECKPOINTS = 960
"""Of a horizon with segments: a part in memory is small beside what comes between two of them otherwise."""
_VERSIONS = np.zeros(1, dtype=np.uint16)
_FIRST_US = 1_000


def main() -> None:
    """Run in this process."""
    options = argparse.ArgumentParser()
    options.add_argument("ids", type=int, help="how many ids the horizon holds")
    options.add_argument("--segments", action="store_true", help="only the newest are in memory")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measured(given.ids, Path(folder) if given.segments else None)))


def _measured(ids: int, folder: Path | None) -> dict[str, float]:
    shelf = None if folder is None else Shelf(ColdConfig(FolderSegments(folder)))
    for _ in _run(IdTable(), None if shelf is None else ColdTier("_warm", shelf), 3 * _KEPT, 1):
        pass
    base, base_files = _resident(), _of_files()
    table, found, files = IdTable(), [(0, 0)], [0]
    cold = None if shelf is None else ColdTier("bench", shelf)
    for done in _run(table, cold, ids, 3):
        found.append((done, _resident() - base))
        files.append(_of_files() - base_files)
        if shelf is not None:
            shelf.committed()
    filling = max(size for done, size in found if done <= ids)
    moving = max(size for done, size in found if done >= ids)
    told = {"filling": filling / ids, "moving": moving / ids, "end": found[-1][1] / ids}
    return {**told, "rows per id": len(table) / ids, "pages of files at most": max(files) / ids}


def _run(table: IdTable, cold: ColdTier | None, ids: int, horizons: int) -> Iterator[int]:
    """Take so many horizons of events; how many were taken, at each checkpoint and just before."""
    hot = _PANES if cold is None else _HOT_PANES
    checkpoint = _CHECKPOINT_BATCHES if cold is None else max(1, ids // _BATCH // _CHECKPOINTS)
    rng = np.random.default_rng(3)
    for batch in range(horizons * ids // _BATCH):
        now_us = _FIRST_US + batch * _BATCH * _PANES // ids
        _predict(table, _keys(batch), now_us, rng, hot)
        if batch >= _LABELLED_AFTER:
            _label(table, _keys(batch - _LABELLED_AFTER)[::5], now_us, rng, cold)
        if batch % checkpoint == 0:
            yield batch * _BATCH
            table.take_changed(_PIECE)
            if cold is None:
                table.expire(now_us - _PANES)
            else:
                _store(table, cold, now_us)
            yield batch * _BATCH


def _keys(batch: int) -> Keys:
    return np.random.default_rng(batch).integers(0, 2**64, _BATCH, dtype=np.uint64)


def _store(table: IdTable, cold: ColdTier, now_us: int) -> None:
    """What a model's state does behind a checkpoint."""
    cold.drop_before(now_us - _PANES)
    aged = table.aged(now_us - _HOT_PANES, cold.config.least_rows, cold.config.most_rows)
    if aged is not None and cold.add(table.held(aged), _VERSIONS, now_us - _PANES):
        table.cut(aged, _PIECE)


def _predict(table: IdTable, keys: Keys, now_us: int, rng: np.random.Generator, hot: int) -> None:
    times_us = np.full(len(keys), now_us)
    scores = rng.random(len(keys))
    panes = table.pane_codes(times_us, (now_us, now_us), 1)
    batch = Predicted(keys, times_us, np.round(scores), scores, 0, panes)
    table.admit(batch, _VERSIONS, (now_us, now_us), _PANES, hot, hot)


def _label(table: IdTable, keys: Keys, now_us: int, rng: np.random.Generator, cold: ColdTier | None) -> None:
    rows = np.zeros(len(keys), dtype=ROW)
    times_us: npt.NDArray[np.int64] = np.full(len(keys), now_us)
    rows["key"], rows["label"], rows["series"] = keys, rng.integers(0, 2, len(keys)), WAITING
    rows["pane"] = rows["label_pane"] = table.pane_codes(times_us, (now_us, now_us), 1)
    recalled = None if cold is None else cold.find(keys, _VERSIONS, now_us - _PANES)
    if recalled is not None:
        table.recall(recalled, _VERSIONS)
    table.join(rows, times_us, _VERSIONS, (now_us, now_us), _PANES)


def _resident() -> int:
    """Memory that is not of files."""
    return _pages(1) - _of_files()


def _of_files() -> int:
    return _pages(2)


def _pages(field: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[field]) * 4_096


if __name__ == "__main__":
    main()
