"""Labels that wait for their prediction, and which of them wait no longer."""

import numpy as np

from streams.profile.id_table import IdTable


def give_up(table: IdTable, before_us: int) -> tuple[int, int | None]:
    """Labels older than `before_us` wait no longer: how many, and the oldest time at which one still does."""
    waiting, times_us = table.waiting()
    expired = waiting[times_us < before_us]
    table.orphan(expired)
    kept = times_us[times_us >= before_us]
    return len(expired), int(kept.min()) if len(kept) else None


def crowd_out(table: IdTable, keep: int, newest: int = 0) -> int:
    """Let no more than `keep` labels wait beside the `newest`, which came last and stay: those of the oldest panes go
    first, within a pane those of the lowest keys, so that the order of the rows does not matter. How many went."""
    waiting, times_us = table.waiting()
    if newest:
        waiting, times_us = waiting[:-newest], times_us[:-newest]
    over = len(waiting) - keep
    if over <= 0:
        return 0
    last_us = np.partition(times_us, over - 1)[over - 1]
    gone, tied = waiting[times_us < last_us], waiting[times_us == last_us]
    missing = over - len(gone)
    lowest = np.argpartition(table.row(tied)["key"], missing - 1)[:missing]
    table.orphan(np.concatenate([gone, tied[lowest]]))
    return over
