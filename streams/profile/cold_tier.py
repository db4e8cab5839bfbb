"""The cold tier of the label join: predictions older than the hot horizon, in segment files instead of memory.

A segment never changes. A label that asks for one of its rows brings a copy back into the hot table; when that has
grown old again it goes into a newer segment, and the newer row of a key and version counts. Small segments are
merged, as in a log-structured merge tree (O'Neil and others, 1996), and a segment is dropped when all of it is
beyond the label horizon. A checkpoint holds the names of the segments.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from streams.profile.cold_segment import Segment, SegmentInfo, build, current, together
from streams.profile.cold_store import SegmentStore
from streams.profile.id_table import Held, Keys

_log = structlog.get_logger()

_FAN_IN = 4
"""So many segments of like size become one: each row is written about log4(rows / least) times."""


@dataclass(frozen=True, slots=True)
class ColdConfig:
    """The store of a partition's segments. A model with at most `least_rows` in memory has none. A segment holds up to
    `most_rows` (32 MiB by default), so making one keeps the stage for half a second."""

    store: SegmentStore
    least_rows: int = 8_192
    most_rows: int = 1 << 20


class Shelf:
    """The segment files of one stage, which deletes them when no checkpoint can name them any more."""

    def __init__(self, config: ColdConfig) -> None:
        self.config = config
        self._origin = uuid.uuid4().hex
        self._made = 0
        self._retired: set[str] = set()
        self._swept = False

    def new_origin(self) -> str:
        """A text that no other file has in its header."""
        self._made += 1
        return f"{self._origin}-{self._made}"

    def retire(self, names: Iterable[str]) -> None:
        """The next checkpoint names these no more."""
        self._retired.update(names)

    def settle(self, named: Iterable[str]) -> None:
        """A checkpoint with these names is about to be written. Before the first one, look for what others left
        behind: when it is committed nobody else was the owner at this moment, so no other checkpoint can come that
        names such a file."""
        if self._swept:
            return
        try:
            self._retired.update(self.config.store.names() - set(named))
        except OSError as error:
            _log.warning("The folder of segments cannot be listed.", place=self.location, reason=str(error))
            return
        self._swept = True

    def committed(self) -> None:
        """The checkpoint is committed: delete what it does not name."""
        for name in sorted(self._retired):
            try:
                self.config.store.delete(name)
            except OSError as error:
                _log.warning(
                    "A segment that nobody needs could not be deleted yet.",
                    place=self.location,
                    name=name,
                    reason=str(error),
                )
                return
            self._retired.discard(name)

    @property
    def location(self) -> str:
        """Where the files are."""
        return self.config.store.location


class ColdTier:
    """The segments of one model, oldest first."""

    def __init__(self, model: str, shelf: Shelf) -> None:
        self._model = model
        self._shelf = shelf
        self._segments: list[Segment] = []

    @property
    def config(self) -> ColdConfig:
        """See `ColdConfig`."""
        return self._shelf.config

    def __len__(self) -> int:
        """Rows in all segments."""
        return sum(segment.info.rows for segment in self._segments)

    def manifest(self) -> list[SegmentInfo]:
        """What a checkpoint must know."""
        return [segment.info for segment in self._segments]

    def restore(self, manifest: Sequence[SegmentInfo]) -> None:
        """Become the tier of a checkpoint. Raises `SegmentError`."""
        self._segments = [self._opened(info) for info in manifest]

    def find(self, keys: Keys, versions: npt.NDArray[np.uint16], from_us: int) -> Held | None:
        """The rows of these keys in panes that begin at `from_us` or later, one of each key and version."""
        parts = [
            segment.find(keys) for segment in reversed(self._segments) if segment.info.newest_us >= from_us
        ]
        parts = [part for part in parts if len(part.rows)]
        return current(together(parts), versions, from_us) if parts else None

    def add(self, held: Held, versions: npt.NDArray[np.uint16], from_us: int) -> bool:
        """Take rows in, in order of arrival, but for those of panes before `from_us`. False where the storage does
        not take them: then nothing has changed."""
        try:
            added = self._put(Held(held.rows[::-1], held.starts_us), versions, from_us)
        except OSError as error:
            _log.warning(
                "Older predictions stay in memory: their segment could not be written.",
                model=self._model,
                place=self._shelf.location,
                rows=len(held.rows),
                reason=str(error),
            )
            return False
        self._segments += added
        self._merge(versions, from_us)
        return True

    def drop_before(self, before_us: int) -> None:
        """Forget segments of which every row is older."""
        old = [segment for segment in self._segments if segment.info.newest_us < before_us]
        if old:
            self._segments = [segment for segment in self._segments if segment not in old]
            self._shelf.retire(segment.info.name for segment in old)

    def _merge(self, versions: npt.NDArray[np.uint16], from_us: int) -> None:
        first = _first_to_merge([segment.info.rows for segment in self._segments], self.config.most_rows)
        if first is None:
            return
        merged = self._segments[first:]
        try:
            made = self._put(together([segment.all() for segment in reversed(merged)]), versions, from_us)
        except OSError as error:
            _log.warning(
                "Segments could not be merged yet.",
                model=self._model,
                place=self._shelf.location,
                reason=str(error),
            )
            return
        self._segments[first:] = made
        self._shelf.retire(segment.info.name for segment in merged)

    def _put(self, held: Held, versions: npt.NDArray[np.uint16], from_us: int) -> list[Segment]:
        """A segment of rows that stand newest first; none where all are too old."""
        found = current(held, versions, from_us)
        if not len(found.rows):
            return []
        built = build(self._model, self._shelf.new_origin(), found)
        return [self._opened(built.info(self.config.store.put(built.parts)))]

    def _opened(self, info: SegmentInfo) -> Segment:
        return Segment(info, self.config.store.open(info.name))


def _first_to_merge(rows: Sequence[int], most_rows: int) -> int | None:
    """From which segment on all become one: as far back as none is larger than those after it together."""
    first, total = len(rows), 0
    while first and (first == len(rows) or rows[first - 1] <= total) and total + rows[first - 1] <= most_rows:
        first -= 1
        total += rows[first]
    return first if len(rows) - first >= _FAN_IN else None
