"""Did what becomes of people change with a release? A version that prepares its inputs otherwise moves what is logged,
and not what becomes of anybody: where the outcomes moved as well, others came.

The mean labels of both sides are compared (Welch 1947). Labels that come early may be of another kind than those that
come late, so only those count that came within the same time, of rows that are old enough for it.
"""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

_LEAST_ROWS = 60
_LEAST_MOVED = 0.1
"""Standard deviations of a label."""
_Z = 4.0
_ONE_ANSWER = 0.95


def outcomes_moved(rows: pd.DataFrame, new: npt.NDArray[np.bool_], name: str) -> str:
    """A sentence that says how the labels of the rows of version `name` (`new`) differ from those of the others; empty
    where they do not, where there are few, and where nearly all labelled rows had the same answer: then the answer
    decides who gets a label, and other answers bring other labels. Columns: time_us, label_time_us, label,
    prediction."""
    if not pd.api.types.is_numeric_dtype(rows["label"]) or _by_answer(rows, new):
        return ""
    label, time_us = rows["label"].to_numpy(np.float64), rows["time_us"].to_numpy(np.int64)
    known_us = rows["label_time_us"].to_numpy(np.int64)
    delay_us = known_us - time_us
    within_us = int(np.median(delay_us[new]))
    counts = np.isfinite(label) & (delay_us <= within_us) & (known_us.max() - time_us >= within_us)
    before, since = label[counts & ~new], label[counts & new]
    if min(len(before), len(since)) < _LEAST_ROWS:
        return ""
    moved = float(since.mean() - before.mean())
    spread = math.sqrt(float(before.var() + since.var()) / 2)
    error = math.sqrt(float(before.var()) / len(before) + float(since.var()) / len(since))
    if abs(moved) < max(_LEAST_MOVED * spread, _Z * error) or moved == 0:
        return ""
    return (
        f"what became of those who came with version {name} is different, too, and no release does that: their mean "
        f"label is {since.mean():.3g} on {len(since):,} rows, and was {before.mean():.3g} on {len(before):,} before"
    )


def _by_answer(rows: pd.DataFrame, new: npt.NDArray[np.bool_]) -> bool:
    sides = (rows.loc[side, "prediction"].value_counts(normalize=True) for side in (new, ~new))
    return any(not len(shares) or shares.max() >= _ONE_ANSWER for shares in sides)
