"""Reading single files of the archive: their list, footers, and rows in order."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streams.archive.errors import ArchiveDamaged
from streams.archive.layout import ArchiveFile, Kind, Place, file_at
from streams.archive.seal import read_footer
from streams.archive.tables import TIME_TYPE, Shape, shape_of_footer
from streams.store import Store

_WHOLE_BYTES = 1024 * 1024
"""Smaller files are read at once and closed: thousands may be under way together."""
_FOOTERS_AT_ONCE = 8


_UNREADABLE = (pa.ArrowException, OSError, ValueError, LookupError, AttributeError, TypeError, OverflowError)
"""What comes out of pyarrow for a file that is damaged in one place or another."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file tells of itself: rows, the time of its first row (it is in order), its columns."""

    file: ArchiveFile
    rows: int
    first_us: int
    shape: Shape


def list_files(
    store: Store, kind: Kind | None = None, part: str | None = None, day: str | None = None
) -> list[ArchiveFile]:
    """The archive's files of a kind, a model (its part of the path) and a day, replaced ones included."""
    wanted = (kind, part, day)
    folder = Place(kind, part or "", day or "").folder if kind else ""
    if part is None:
        folder = f"kind={kind}" if kind else ""
    elif day is None:
        folder = folder.rsplit("/", 1)[0]
    found = [file_at(one.path, one.size, one.changed_s) for one in store.entries(folder)]
    return [
        one
        for one in found
        if one is not None
        and all(
            want is None or want == have
            for want, have in zip(wanted, (one.place.kind, one.place.model, one.place.day), strict=True)
        )
    ]


@contextmanager
def open_parquet(store: Store, file: ArchiveFile) -> Generator[pq.ParquetFile]:
    """A file to read. Raises `FileNotFoundError` when it is gone, `ArchiveDamaged` when it is not what was written."""
    source = store.open(file.path)
    try:
        try:
            footer = read_footer(source)
        except OSError:
            # Deleted after it was opened: on object storage only who opens it again is told that it is missing.
            store.open(file.path).close()
            raise
        except ValueError as error:
            raise _damaged(store, file, error) from error
        try:
            opened = pq.ParquetFile(source, metadata=footer, page_checksum_verification=True)
        except _UNREADABLE as error:
            raise _damaged(store, file, error) from error
        yield opened
    finally:
        source.close()


def footer_of(store: Store, file: ArchiveFile) -> Footer:
    """Read a file's footer."""
    with open_parquet(store, file) as opened:
        footer = opened.metadata
        try:
            columns = footer.row_group(0).num_columns
            if columns != footer.num_columns:
                raise ValueError(f"{columns} columns in a row group, {footer.num_columns} in the schema")
            names = [footer.row_group(0).column(i).path_in_schema for i in range(columns)]
            earliest = footer.row_group(0).column(names.index("time")).statistics.min
            first_us = int(pa.scalar(earliest, TIME_TYPE).cast(pa.int64()).as_py())
            return Footer(file, footer.num_rows, first_us, shape_of_footer(footer, file.place.kind))
        except _UNREADABLE as error:
            raise _damaged(store, file, error) from error


def footers_of(store: Store, files: Sequence[ArchiveFile]) -> list[Footer]:
    """The footers of many files, some at a time."""
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        return list(pool.map(lambda file: footer_of(store, file), files))


def sound_footers(store: Store, files: Sequence[ArchiveFile]) -> tuple[list[Footer], list[ArchiveDamaged]]:
    """The footers of the files that can be read, and what is wrong with the others."""

    def look(file: ArchiveFile) -> Footer | ArchiveDamaged:
        try:
            return footer_of(store, file)
        except ArchiveDamaged as error:
            return error

    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        found = list(pool.map(look, files))
    sound = [one for one in found if isinstance(one, Footer)]
    return sound, [one for one in found if isinstance(one, ArchiveDamaged)]


def tables_in(store: Store, file: ArchiveFile, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a file, in its order, a row group at a time; of `columns` those that it has."""
    with open_parquet(store, file) as opened:
        names = None if columns is None else [one for one in columns if one in opened.schema_arrow.names]
        try:
            if file.size < _WHOLE_BYTES:
                whole = opened.read(columns=names)
            else:
                # Not `iter_batches`: over object storage it holds the whole file before it gives out the first.
                for group in range(opened.num_row_groups):
                    yield opened.read_row_group(group, columns=names)
                return
        except _UNREADABLE as error:
            if isinstance(error, OSError):
                _reach(store, file)
            raise _damaged(store, file, error) from error
    yield whole


def _reach(store: Store, file: ArchiveFile) -> None:
    """For pages that cannot be decoded pyarrow raises `OSError`, as for a storage that is away: this raises it only
    for the latter."""
    with store.open(file.path) as source:
        source.read_at(1, 0)


def _damaged(store: Store, file: ArchiveFile, error: BaseException) -> Any:
    return ArchiveDamaged(
        f"{store.location}/{file.path} is damaged ({error}); restore it from a backup, or move it away to go on "
        "without its rows",
        file.path,
    )
