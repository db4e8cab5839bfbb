"""Where archived events lie: places, names of files, and which files count. Pure.

    kind=predictions/model=car-loan/day=2026-11-20/p3-r0-256-511.parquet

holds the predictions of one model and UTC day of event time that stood at the offsets 256 to 511 of partition 3.
`r0` tells the run of the input: a topic that was made anew starts again at offset 0, as run 1. Of the files of a
place and partition no two overlap, but for the moment in which a compacted file replaces those that it contains.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote, unquote

from homeostat.keys import key_of

Kind = Literal["predictions", "labels"]
KINDS: tuple[Kind, ...] = ("predictions", "labels")

DAY_US = 86_400_000_000
_MAX_NAME_CHARS = 200
"""File systems take 255 bytes; a name of 255 emoji would be 3,060 when encoded."""

_PLACE = re.compile(r"^kind=(predictions|labels)/model=([^/]+)/day=(\d{4}-\d\d-\d\d)/([^/]+)$")
_CUT = re.compile(r"%[0-9A-F]?$")
_NAME = re.compile(r"^p(\d+)-r(\d+)-(\d+)-(\d+)\.parquet$")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Which files an event belongs to. `model` is the folder's part of the name, see `model_part`."""

    kind: Kind
    model: str
    day: str

    @property
    def folder(self) -> str:
        """Relative to the archive."""
        return f"kind={self.kind}/model={self.model}/day={self.day}"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """What a file holds of the input: the offsets `first` to `last` (both included) of one partition and run."""

    partition: int
    run: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """The file's name."""
        return f"p{self.partition}-r{self.run}-{self.first}-{self.last}.parquet"

    def contains(self, other: "Span") -> bool:
        """Every offset of `other` is one of this span."""
        return (
            (self.partition, self.run) == (other.partition, other.run)
            and self.first <= other.first
            and other.last <= self.last
        )


@dataclass(frozen=True, slots=True, order=True)
class ArchiveFile:
    """One file; `size` in bytes, `changed_s` seconds since the epoch by the clock of the storage."""

    place: Place
    span: Span
    size: int
    changed_s: float

    @property
    def path(self) -> str:
        """Relative to the archive."""
        return f"{self.place.folder}/{self.span.name}"


def file_at(path: str, size: int, changed_s: float) -> ArchiveFile | None:
    """The archive's file at a relative path; None for any other file."""
    found = _PLACE.match(path)
    name = _NAME.match(found.group(4)) if found else None
    if found is None or name is None:
        return None
    kind: Kind = "predictions" if found.group(1) == "predictions" else "labels"
    numbers = [int(part) for part in name.groups()]
    return ArchiveFile(Place(kind, found.group(2), found.group(3)), Span(*numbers), size, changed_s)


def split_live(files: Iterable[ArchiveFile]) -> tuple[list[ArchiveFile], list[ArchiveFile]]:
    """The files that count, in order, and those that a larger one has replaced."""
    ordered = sorted(
        files,
        key=lambda one: (one.place, one.span.partition, one.span.run, one.span.first, -one.span.last),
    )
    live: list[ArchiveFile] = []
    replaced: list[ArchiveFile] = []
    for one in ordered:
        # Of the spans that begin before this one, the last that counts reaches furthest.
        last = live[-1] if live else None
        covered = last is not None and last.place == one.place and last.span.contains(one.span)
        (replaced if covered else live).append(one)
    return live, replaced


def overlapping(files: Sequence[ArchiveFile]) -> list[tuple[ArchiveFile, ...]]:
    """Neighbours of files that count, in order, that hold some rows in common: what two upkeeps at once can leave
    behind on storage without locks."""
    found: list[tuple[ArchiveFile, ...]] = []
    group: list[ArchiveFile] = []
    for one in files:
        last = group[-1] if group else None
        beside = last is not None and (last.place, last.span.partition, last.span.run) == (
            one.place,
            one.span.partition,
            one.span.run,
        )
        if beside and one.span.first <= max(each.span.last for each in group):
            group.append(one)
            continue
        found += [tuple(group)] if len(group) > 1 else []
        group = [one]
    return [*found, tuple(group)] if len(group) > 1 else found


def model_part(model: str) -> str:
    """A model's name as one part of a path, percent-encoded as readers of hive partitions expect; a name that is
    too long is cut and ends in `...` and its hash."""
    name = quote(model, safe="")
    if len(name) > _MAX_NAME_CHARS:
        return f"{_CUT.sub('', name[:_MAX_NAME_CHARS])}...{key_of(model):016x}"
    return name


def model_of_part(part: str) -> str:
    """The model's name again; one that was cut stays cut."""
    return unquote(part, errors="replace")


def day_of(time_us: int) -> str:
    """The UTC day, as YYYY-MM-DD."""
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%d")


def day_start_us(day: str) -> int:
    """The first microsecond of a day."""
    return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1_000_000


def in_days(files: Sequence[ArchiveFile], start_us: int | None, end_us: int | None) -> list[ArchiveFile]:
    """Those whose day has a moment in [start_us, end_us)."""
    first = "" if start_us is None else day_of(max(start_us, 0))
    last = "9999-12-31" if end_us is None else day_of(max(end_us - 1, 0))
    return [one for one in files if first <= one.place.day <= last]
