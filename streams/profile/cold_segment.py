"""A segment: predictions that are rarely asked for, sorted by key, in a file that never changes.

The file holds a header, the beginnings of panes that its rows' codes stand for, an index by the upper bits of the
keys, a Bloom filter (12 bits per row), and the rows. A key is a hash, so the index leads to a kilobyte of rows, and a
label whose prediction is elsewhere costs one look into the filter. All but header and rows is 1.6 bytes per row.
"""

import mmap
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from detectors.columns import readable
from streams.profile import cold_kernels as kernels
from streams.profile.cold_store import Part, SegmentError
from streams.profile.id_table import ROW, Held, Indices, Keys, Rows

Content: TypeAlias = mmap.mmap | bytes

_MAGIC = b"HSIDS001"
_ALIGNED_BYTES = 64
_ROWS_PER_PLACE = 32
_ROWS_PER_WORD = 64 / 12


class SegmentInfo(msgspec.Struct, frozen=True, array_like=True):
    """What a checkpoint says of a segment. `oldest_us`, `newest_us`: where its first and last pane begin."""

    name: str
    rows: int
    oldest_us: int
    newest_us: int
    size_bytes: int


class _Header(msgspec.Struct, array_like=True):
    """`origin` makes every file another one, so that nobody deletes a file that somebody else has made anew."""

    model: str
    origin: str
    rows: int
    starts: int
    place_bits: int
    words: int


class Built(NamedTuple):
    """A file to be put, in parts; `rows`, `oldest_us`, `newest_us` as in `SegmentInfo`."""

    parts: list[Part]
    rows: int
    oldest_us: int
    newest_us: int

    def info(self, name: str) -> SegmentInfo:
        """Of the file that was put under this name."""
        size = sum(memoryview(part).nbytes for part in self.parts)
        return SegmentInfo(name, self.rows, self.oldest_us, self.newest_us, size)


def together(parts: Sequence[Held]) -> Held:
    """Rows of several origins as one."""
    starts, codes = np.unique(np.concatenate([part.starts_us for part in parts]), return_inverse=True)
    rows, first = np.concatenate([part.rows for part in parts]), 0
    done = 0
    for part in parts:
        mine = slice(done, done + len(part.rows))
        for field in ("pane", "label_pane"):
            rows[field][mine] = codes[first + part.rows[field].astype(np.int64)]
        done, first = mine.stop, first + len(part.starts_us)
    return Held(rows, starts)


def current(held: Held, versions: npt.NDArray[np.uint16], from_us: int) -> Held:
    """The rows sorted by key, without those older than `from_us` and those that a newer one of the same key and
    version replaces. Rows must stand newest first; `versions`: the version number of each series."""
    recent = held.starts_us[held.rows["pane"]] >= from_us
    rows = held.rows if recent.all() else held.rows[recent]
    rows = kernels.taken(rows, np.argsort(rows["key"], kind="stable"))
    counts = kernels.newest(rows["key"], versions[rows["series"]])
    return Held(rows if counts.all() else rows[counts], held.starts_us)


def build(model: str, origin: str, held: Held) -> Built:
    """The file of at least one row, sorted by key."""
    used = np.zeros(len(held.starts_us), dtype=np.bool_)
    rows = held.rows.copy()
    for field in ("pane", "label_pane"):
        used[rows[field]] = True
    codes = (np.cumsum(used) - 1).astype(np.uint32)
    panes_us = held.starts_us[rows["pane"]]
    for field in ("pane", "label_pane"):
        rows[field] = codes[rows[field]]
    place_bits = max(1, int(np.ceil(np.log2(max(2, len(rows) / _ROWS_PER_PLACE)))))
    bounds = np.arange(1 << place_bits, dtype=np.uint64) << np.uint64(64 - place_bits)
    places = np.append(np.searchsorted(rows["key"], bounds), len(rows)).astype(np.uint32)
    words = np.zeros(int(len(rows) / _ROWS_PER_WORD) + 1, dtype=np.uint64)
    kernels.fill_filter(words, rows)
    starts = held.starts_us[used]
    header = _Header(model, origin, len(rows), len(starts), place_bits, len(words))
    packed = msgspec.msgpack.encode(header)
    parts: list[Part] = []
    for content in (_MAGIC + len(packed).to_bytes(8, "little") + packed, starts, places, words, rows):
        part = content if isinstance(content, bytes) else content.view(np.uint8).data
        parts += [part, bytes(-len(part) % _ALIGNED_BYTES)]
    return Built(parts, len(rows), int(panes_us.min()), int(panes_us.max()))


class Segment:
    """A file that is looked into. Raises `SegmentError` for one that is none."""

    def __init__(self, info: SegmentInfo, content: Content) -> None:
        self.info = info
        self._content = content
        if content[: len(_MAGIC)] != _MAGIC:
            raise SegmentError(
                f"segment {info.name} begins with {content[:8]!r}; this version of Homeostat reads {_MAGIC!r}"
            )
        size = int.from_bytes(content[8:16], "little")
        header = msgspec.msgpack.decode(content[16 : 16 + size], type=_Header)
        self._end = _aligned(16 + size)
        self._starts: Indices = self._next(np.int64, header.starts)
        self._places: npt.NDArray[np.uint32] = self._next(np.uint32, (1 << header.place_bits) + 1)
        self._words: npt.NDArray[np.uint64] = self._next(np.uint64, header.words)
        self._rows: Rows = self._next(ROW, header.rows)
        self._shift = np.uint64(64 - header.place_bits)

    def find(self, keys: Keys) -> Held:
        """The rows of these keys."""
        found = kernels.search(self._rows, self._places, self._shift, self._words, readable(keys))
        return Held(self._rows[found], self._starts)

    def all(self) -> Held:
        """Every row."""
        if isinstance(self._content, mmap.mmap):
            self._content.madvise(mmap.MADV_WILLNEED)
        return Held(self._rows, self._starts)

    def _next(self, kind: Any, count: int) -> Any:
        """The section that begins where the last one ended."""
        found = np.frombuffer(self._content, dtype=kind, count=count, offset=self._end)
        self._end = _aligned(self._end + found.nbytes)
        return found


def warm() -> None:
    """Compile, or load, what looks into segments."""
    held = Held(np.zeros(2, dtype=ROW), np.zeros(1, dtype=np.int64))
    for rows in (held.rows, held.rows[::-1]):
        held = current(Held(rows, held.starts_us), np.zeros(1, dtype=np.uint16), 0)
    built = build("_warm", "", held)
    Segment(built.info(""), b"".join(built.parts)).find(np.zeros(1, dtype=np.uint64))


def _aligned(size: int) -> int:
    return size + -size % _ALIGNED_BYTES
