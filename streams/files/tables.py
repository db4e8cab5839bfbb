"""Tables in files, read as a stream of batches: CSV, CSV.gz, Parquet, folders of Parquet."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import codecs
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from streams.files.cells import (
    MOST,
    Cell,
    are_mostly_numbers,
    as_moments,
    as_numbers,
    is_text,
    with_comma,
    without,
)

_FEWEST_ROWS, _MOST_ROWS = 8_192, 32_768
_BATCH_CELLS = 1_048_576
_BLOCK_BYTES = 4 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_SEPARATORS = ",;\t|"
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "#N/A"]
_CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")


class FileInvalid(ValueError):
    """A file cannot be read as a table, or lacks what is asked of it."""


def rows_at_once(columns: int) -> int:
    """The rows of a batch, a power of two: the more, the less is done for each batch, but a wide table takes no more
    memory than a narrow one."""
    rows = _MOST_ROWS
    while rows > _FEWEST_ROWS and rows * columns > _BATCH_CELLS:
        rows //= 2
    return rows


class TableFile:
    """A table that is read in batches (see `rows_at_once`), so that its size does not matter.

    In a CSV file the separator is the commonest of comma, semicolon, tab and bar in the first line; whole
    numbers are read as float64, because a later block may hold a missing one; an empty cell, `NA`, `NaN`,
    `null`, `None` and `?` are missing. `texts`: columns to be read as text whatever they look like.
    A cell of a column of numbers that is no number is read as missing; `unreadable` tells of it, by row.
    Raises `FileInvalid` when there is no such table, and when a column is asked for whose numbers have a comma.
    """

    def __init__(self, path: Path, texts: Collection[str] = ()) -> None:
        self.path = path
        self._texts = frozenset(texts)
        if not path.exists():
            raise FileInvalid(f"{path}: there is no such file")
        self._is_csv = path.name.lower().endswith(_CSV_ENDINGS)
        if not self._is_csv and not path.is_dir() and path.suffix.lower() not in (".parquet", ".pq"):
            sheet = "; save the sheet as CSV (UTF-8)" if path.suffix.lower() in _SHEETS else ""
            raise FileInvalid(
                f"{path}: its name must end in .csv, .csv.gz, .tsv, .parquet, or be a folder of Parquet{sheet}"
            )
        self._read_bytes = 0
        self._bytes = 1
        self.unreadable: dict[int, Cell] = {}
        self._commas: dict[str, str] = {}
        self.schema: pa.Schema = self._csv_schema() if self._is_csv else self._parquet_schema()

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [str(name) for name in self.schema.names]

    @property
    def progress(self) -> float:
        """The share that has been read, 0 to 1."""
        return min(1.0, self._read_bytes / self._bytes)

    def expect_numbers(self, columns: Collection[str]) -> None:
        """These columns, where they look like text, are numbers in which some cells are wrong."""
        for place, field in enumerate(list(self.schema)):
            if field.name in columns and field.name not in self._texts and is_text(field.type):
                self.schema = self.schema.set(place, pa.field(field.name, pa.float64()))

    def refuse_commas(self, columns: Collection[str]) -> None:
        """Raises `FileInvalid` where numbers of these columns are written with a comma: nobody can know whether 1,234
        is more than a thousand or less than two."""
        for name in self.columns:
            if name in columns and name in self._commas:
                raise FileInvalid(
                    f"{self.path}: column {name!r} holds numbers with a comma, such as {self._commas[name]!r}; write "
                    "them with a point and nothing between thousands, such as 1234.5; if they are categories, name the "
                    "column in columns.features with `kind: categorical`"
                )

    def batches(self, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in their order; only these columns, if they are named: then none may be of numbers with a comma."""
        wanted = self.columns if columns is None else [name for name in self.columns if name in columns]
        self.refuse_commas(columns or ())
        rows = rows_at_once(len(wanted))
        try:
            for batch in self._csv_batches(wanted) if self._is_csv else self._parquet_batches(wanted):
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise FileInvalid(f"{self.path}: {error}") from error

    def table(self, columns: Collection[str] | None = None, most_rows: int = 5_000_000) -> pa.Table:
        """All rows at once, but those with an unreadable cell. Raises `FileInvalid` when there are more than
        `most_rows`."""
        found: list[pa.RecordBatch] = []
        rows = 0
        for batch in self.batches(columns):
            rows += batch.num_rows
            if rows > most_rows:
                raise FileInvalid(f"{self.path}: it has more than {most_rows:,} rows; take a sample of them")
            found.append(batch)
        if not rows:
            raise FileInvalid(f"{self.path}: it has no rows")
        return without(pa.Table.from_batches(found), self.unreadable)

    def _csv_schema(self) -> pa.Schema:
        try:
            with self._open_csv(pa.schema([])) as reader:
                found = reader.schema
                self._refuse_namesakes(found)
                texts = [one.name for one in found if one.name and pa.types.is_string(one.type)]
                start = reader.read_next_batch() if set(texts) - self._texts else None
        except (pa.ArrowException, OSError, UnicodeDecodeError, StopIteration) as error:
            raise FileInvalid(f"{self.path}: {error}") from error
        for field in found:
            if pa.types.is_binary(field.type):
                raise FileInvalid(
                    f"{self.path}: column {field.name!r} is no UTF-8 text; save the file as UTF-8"
                )
        looked_at = {} if start is None else {name: start.column(name) for name in set(texts) - self._texts}
        commas = ((name, with_comma(column)) for name, column in looked_at.items())
        self._commas = {name: value for name, value in commas if value is not None}
        numbers = {name for name, column in looked_at.items() if are_mostly_numbers(column)}
        return pa.schema([pa.field(one.name, self._type_of(one, numbers)) for one in found if one.name])

    def _refuse_namesakes(self, schema: pa.Schema) -> None:
        names = [str(name) for name in schema.names if name]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise FileInvalid(
                f"{self.path}: more than one column is called {' or '.join(map(repr, twice[:5]))}; "
                "give each a name of its own"
            )

    def _type_of(self, field: pa.Field, numbers: set[str]) -> pa.DataType:
        if field.name in self._texts:
            return pa.string()
        kind = field.type
        is_number = pa.types.is_integer(kind) or pa.types.is_null(kind) or field.name in numbers
        return pa.float64() if is_number else kind

    def _open_csv(self, schema: pa.Schema, wanted: list[str] | None = None) -> Any:
        raw = pa.OSFile(str(self.path), "rb")
        self._bytes, self._raw = raw.size(), raw
        stream = pa.CompressedInputStream(raw, "gzip") if self.path.name.lower().endswith(".gz") else raw
        return csv.open_csv(
            stream,
            read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(delimiter=self._separator()),
            convert_options=csv.ConvertOptions(
                column_types=schema,
                null_values=_MISSING,
                strings_can_be_null=True,
                include_columns=wanted,
            ),
        )

    def _separator(self) -> str:
        with pa.input_stream(str(self.path), compression="detect") as stream:
            start = stream.read(65_536)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise FileInvalid(f"{self.path}: this is UTF-16 text; save the file as UTF-8")
        head = start.split(b"\n", 1)[0].decode("utf-8", errors="replace")
        return max(_SEPARATORS, key=head.count)

    def _csv_batches(self, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        """Read with the types of the schema, which is quick. Where a cell does not fit, all that is left is read as
        text and made numbers of here."""
        if not wanted:
            return
        rows = 0
        try:
            with self._open_csv(self.schema, wanted) as reader:
                for batch in reader:
                    self._read_bytes = self._raw.tell()
                    rows += batch.num_rows
                    yield batch
        except pa.ArrowInvalid:
            yield from self._csv_batches_of_text(wanted, rows)
        self._read_bytes = self._bytes

    def _csv_batches_of_text(self, wanted: list[str], known: int) -> Iterator[pa.RecordBatch]:
        fields = [pa.field(one.name, pa.string()) if _is_read_by_cell(one) else one for one in self.schema]
        rows, target = 0, pa.schema([self.schema.field(name) for name in wanted])
        with self._open_csv(pa.schema(fields), wanted) as reader:
            for batch in reader:
                self._read_bytes = self._raw.tell()
                first, rows = rows, rows + batch.num_rows
                if rows > known:
                    skipped = max(known - first, 0)
                    yield self._fitted(batch.slice(skipped), target, first + skipped)

    def _fitted(self, batch: pa.RecordBatch, target: pa.Schema, first_row: int) -> pa.RecordBatch:
        """The columns of `target`, in their types; null where the batch has none, or no number where one belongs."""
        if batch.schema.equals(target):
            return batch
        columns: list[pa.Array] = []
        for field in target:
            if field.name not in batch.schema.names:
                columns.append(pa.nulls(batch.num_rows, field.type))
                continue
            column = batch.column(field.name)
            if is_text(column.type) and pa.types.is_floating(field.type):
                column, wrong = as_numbers(column, field.name, first_row)
                self._note(wrong)
            elif is_text(column.type) and pa.types.is_timestamp(field.type):
                column = as_moments(column, field.type)
            columns.append(column.cast(field.type))
        return pa.RecordBatch.from_arrays(columns, schema=target)

    def _note(self, wrong: list[Cell]) -> None:
        for cell in wrong:
            self.unreadable.setdefault(cell.row, cell)
        if len(self.unreadable) > MOST:
            last = wrong[-1]
            raise FileInvalid(
                f"{self.path}: column {last.column!r} shall hold numbers, but more than {MOST:,} rows hold text: "
                f"{last.told}; if it is a category, name it in columns.features with `kind: categorical`"
            )

    def _parquet_schema(self) -> pa.Schema:
        try:
            found = [parquet.read_schema(path) for path in self._parquet_files()]
            for one in found:
                self._refuse_namesakes(one)
            return pa.unify_schemas(found, promote_options="permissive")
        except (pa.ArrowException, OSError) as error:
            raise FileInvalid(f"{self.path}: {error}") from error

    def _parquet_files(self) -> list[Path]:
        """The file, or all of the folder, in order of their names."""
        found = sorted(self.path.rglob("*.parquet")) if self.path.is_dir() else [self.path]
        if not found:
            raise FileInvalid(f"{self.path}: there is no .parquet file in this folder")
        return found

    def _parquet_batches(self, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        paths = self._parquet_files()
        target = pa.schema([self.schema.field(name) for name in wanted])
        self._bytes = sum(path.stat().st_size for path in paths)
        done, first, at_once = 0, 0, rows_at_once(len(wanted))
        for path in paths:
            # Pre-buffering would keep every row group that has been read; a small buffer keeps none.
            with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES) as file:
                rows, here = max(1, file.metadata.num_rows), 0
                names = [name for name in wanted if name in file.schema_arrow.names]
                for batch in file.iter_batches(at_once, columns=names, use_threads=False):
                    here += batch.num_rows
                    self._read_bytes = done + path.stat().st_size * here // rows
                    yield self._fitted(batch, target, first)
                    first += batch.num_rows
            done += path.stat().st_size


def _is_read_by_cell(field: pa.Field) -> bool:
    return pa.types.is_floating(field.type) or pa.types.is_timestamp(field.type)
