"""What the archive holds, in numbers."""

from dataclasses import asdict, dataclass
from typing import Any

from streams.archive.files import footers_of, list_files
from streams.archive.layout import ArchiveFile, Kind, model_of_part, model_part, split_live
from streams.archive.upkeep import UpkeepConfig
from streams.store import Store

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class DayStatus:
    """One day of one model and kind; `replaced_files` wait for the next upkeep."""

    day: str
    files: int
    small_files: int
    replaced_files: int
    rows: int
    bytes: int


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


def _status_of(store: Store, model: str | None, small_bytes: int) -> list[ModelStatus]:
    part = None if model is None else model_part(model)
    files, replaced = split_live(
        file for file in list_files(store) if part is None or file.place.model == part
    )
    rows = {footer.file: footer.rows for footer in footers_of(store, files)}
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
                    rows=sum(rows[file] for file in here),
                    bytes=sum(file.size for file in here),
                )
                for day, here in sorted(days.items())
            ),
            newest_file_s=max(file.changed_s for here in days.values() for file in here),
        )
        for (name, kind), days in sorted(groups.items())
    ]
