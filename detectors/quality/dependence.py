"""What a row of each column is worth where neighbouring rows are alike: months, shifts, batches of one customer."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from detectors.columns import Column
from detectors.estimation.groups import groups_of, row_groups
from detectors.layout import layout_of
from detectors.reference import Reference

BLOCKS: Final = 20
"""Contiguous parts of the reference whose shares are compared."""


def column_worth(reference: Reference, features: Mapping[str, Column]) -> dict[str, float]:
    """Independent rows per row, by column, from the reference's rows in their order of time.

    Over twentieths of the reference the share of each group of a column's values varies, were the rows
    independent, by p (1 - p) / n. As many times as it varies more, summed over the groups, is a row worth less.
    Columns beyond 1 / n of that (a month that comes once) are worth next to nothing.
    """
    layout = layout_of(reference)
    groups = groups_of(layout, reference)
    rows = reference.rows
    if rows < 2 * BLOCKS:
        return {one.slots.name: 1.0 for one in groups}
    codes = row_groups(groups, features, rows)
    blocks = np.arange(rows) * BLOCKS // rows
    found: dict[str, float] = {}
    for place, one in enumerate(groups):
        joint = (codes[:, place] - one.first) * BLOCKS + blocks
        counts = np.bincount(joint, minlength=one.width * BLOCKS).reshape(one.width, BLOCKS)
        shares = counts / counts.sum(axis=0)
        overall = counts.sum(axis=1) / rows
        chance = float((overall * (1 - overall)).sum()) / (rows / BLOCKS)
        seen = float(shares.var(axis=1, ddof=1).sum())
        # Twenty blocks tell a variance to about a third: only what exceeds that is dependence.
        found[one.slots.name] = min(1.0, chance * 1.5 / seen) if seen > 0 else 1.0
    return found


def longest_runs(features: Mapping[str, Column], least: int) -> dict[str, int]:
    """The most rows in a row in which a column had one value, missing ones left out; those of `least` or more.

    A column that was constant for as long in the reference does not call for a person when it is so again.
    """
    found: dict[str, int] = {}
    for name, column in features.items():
        if column.ndim == 1 and len(column):
            known = column[column == column] if column.dtype.kind == "f" else column[column != np.array(None)]
            ends = np.flatnonzero(np.concatenate([known[1:] != known[:-1], [True]]))
            longest = int(np.diff(ends, prepend=-1).max(initial=0))
            if longest >= least:
                found[name] = longest
    return found
