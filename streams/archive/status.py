"""What the archive holds, in numbers."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from streams.archive.errors import ArchiveDamaged
from streams.archive.files import footer_of, list_files, sound_footers, tables_in
from streams.archive.layout import ArchiveFile, Kind, model_of_part, model_part, split_live
from streams.archive.upkeep import UpkeepConfig
from streams.store import Store

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class DayStatus:
    """One day of one model and kind; `replaced_files` wait for the next upkeep. `damaged` are the paths of files whose
    footer cannot be read: their rows are not in `rows`."""

    day: str
    files: int
    small_files: int
    replaced_files: int
    rows: int
    bytes: int
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model and kind. `oldest` and `newest` are days of event time; `newest_file_s`: when the last file was
    written, seconds since the epoch."""

    model: str
    kind: Kind
    by_day: tuple[DayStatus, ...]
    newest_file_s: float

    def to_data(self) -> dict[str, Any]:
        """For JSON, with the sums over all days."""
        names = ("files", "small_files", "replaced_files", "rows", "bytes")
        sums = {name: sum(getattr(day, name) for day in self.by_day) for name in names}
        return {
            "model": self.model,
            "kind": self.kind,
            **sums,
            "damaged": [path for day in self.by_day for path in day.damaged],
            "days": len(self.by_day),
            "oldest": self.by_day[0].day,
            "newest": self.by_day[-1].day,
            "newest_file_s": round(self.newest_file_s, 3),
            "by_day": [asdict(day) for day in self.by_day],
        }


def status_of(
    store: Store, model: str | None = None, config: UpkeepConfig | None = None
) -> list[ModelStatus]:
    """Every model and kind, or those of one model, in order of their names. Reads the footer of each file."""
    small_bytes = (config or UpkeepConfig()).target_bytes // 2
    for attempt in range(_ATTEMPTS):
        try:
            return _status_of(store, model, small_bytes)
        except FileNotFoundError:
            # Compacted in this moment.
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def check(
    store: Store, model: str | None = None, tell: Callable[[int, int], None] = lambda done, files: None
) -> tuple[int, list[ArchiveDamaged]]:
    """Read every row of every file, or of one model: how many files were read, and what is wrong with the others.

    `tell` is called with how many of how many files are done. Files that are compacted meanwhile are not missed: what
    has replaced them is read then.
    """
    sound, damaged, gone = set[str](), dict[str, ArchiveDamaged](), Counter[str]()
    while True:
        files = _files(store, model)[0]
        left = [file for file in files if file.path not in sound and file.path not in damaged]
        if not left:
            return len(sound), [damaged[path] for path in sorted(damaged)]
        for file in left:
            try:
                deque(tables_in(store, file), maxlen=0)
                footer_of(store, file)
            except ArchiveDamaged as error:
                damaged[file.path] = error
            except FileNotFoundError:
                gone[file.path] += 1  # compacted in this moment
                if gone[file.path] == _ATTEMPTS:
                    raise
            else:
                sound.add(file.path)
            tell(len(sound) + len(damaged), len(files))


def _files(store: Store, model: str | None) -> tuple[list[ArchiveFile], list[ArchiveFile]]:
    part = None if model is None else model_part(model)
    return split_live(file for file in list_files(store) if part is None or file.place.model == part)


def _status_of(store: Store, model: str | None, small_bytes: int) -> list[ModelStatus]:
    files, replaced = _files(store, model)
    footers, errors = sound_footers(store, files)
    rows = {footer.file: footer.rows for footer in footers}
    damaged = {error.path for error in errors}
    groups: dict[tuple[str, Kind], dict[str, list[ArchiveFile]]] = {}
    for file in files:
        days = groups.setdefault((file.place.model, file.place.kind), {})
        days.setdefault(file.place.day, []).append(file)
    return [
        ModelStatus(
            model=model_of_part(name),
            kind=kind,
            by_day=tuple(
                DayStatus(
                    day=day,
                    files=len(here),
                    small_files=sum(file.size < small_bytes for file in here),
                    replaced_files=sum(file.place == here[0].place for file in replaced),
                    rows=sum(rows.get(file, 0) for file in here),
                    bytes=sum(file.size for file in here),
                    damaged=tuple(file.path for file in here if file.path in damaged),
                )
                for day, here in sorted(days.items())
            ),
            newest_file_s=max(file.changed_s for here in days.values() for file in here),
        )
        for (name, kind), days in sorted(groups.items())
    ]
