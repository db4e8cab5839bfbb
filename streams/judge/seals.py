"""The logged decision that a window is made of these panes, and how it is followed."""

from typing import NamedTuple

import msgspec


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """A window of a series is made of all panes beginning in [after_us, end_us) that were counted under these
    revisions; taken when the profiles topic had been read up to `offset` of `partition`. `decided`: not one of
    the overlapping windows that are only shown. `rows`: as sealed. `heard`: ids of the statements of people that were
    taken before the decision."""

    model: str
    version: str
    segment: str
    axis: str
    window: str
    after_us: int
    start_us: int
    end_us: int
    rows: int
    monitor_revision: int
    reference_revision: str
    partition: int
    offset: int
    by_time: bool = False
    decided: bool = True
    heard: tuple[str, ...] = ()


class Planned(NamedTuple):
    """A logged window that a replay forms again. `absent`: panes (source, start) of it that the judge had not
    seen yet when it closed the window."""

    seal: Seal
    absent: frozenset[tuple[int, int]] = frozenset()
