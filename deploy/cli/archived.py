"""A reference from a stretch of the archive, as the file that a monitor could have named."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from deploy.settings import Settings

if TYPE_CHECKING:
    from streams.files.monitor import MonitorFile

_ROLES = ("time", "id", "version", "prediction", "score", "label", "label_time")


@contextmanager
def archived(file: "MonitorFile", settings: Settings) -> Generator["MonitorFile | None"]:
    """The monitor with the file of its stretch, while the block runs; None where it names no stretch.

    Raises `UserError` where the archive holds nothing of it.
    """
    stretch = file.reference.archive
    if stretch is None:
        yield None
        return
    import pyarrow.parquet as parquet

    from deploy.cli.files import moment_us
    from deploy.errors import UserError
    from homeostat.contract import SEGMENT_PREFIX
    from streams.archive.export import NothingArchived, history
    from streams.archive.read import ArchiveReader
    from streams.files.monitor import Columns
    from streams.store import open_store

    try:
        table = history(
            ArchiveReader(open_store(settings.archive_location)),
            file.model,
            since_us=moment_us(stretch.since, "reference.archive.from"),
            until_us=moment_us(stretch.until, "reference.archive.to"),
            version=file.reference.version,
            segments=file.columns.segments,
        )
    except NothingArchived as error:
        raise UserError(f"{error}; `homeostat archive status` shows what there is") from error
    table = table.drop_columns([name for name in _ROLES if table.column(name).null_count == table.num_rows])
    roles = {name: name for name in _ROLES if name in table.column_names}
    prefixed = {name: SEGMENT_PREFIX + name for name in file.columns.segments}
    plain = {told: name for name, told in prefixed.items() if name not in table.column_names}
    features = [name for name in table.column_names if name not in roles and name not in prefixed.values()]
    table = table.rename_columns([plain.get(name, name) for name in table.column_names])
    segments = [name for name in prefixed if name in table.column_names]
    told = {"features": file.columns.features or features, "segments": segments}
    columns = Columns.model_validate({**roles, **told, "positive": file.columns.positive})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "stretch.parquet"
        parquet.write_table(table, path)
        reference = file.reference.model_copy(update={"file": path, "archive": None})
        yield file.model_copy(update={"columns": columns, "reference": reference})
