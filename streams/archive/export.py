"""A stretch of the archive as one table as people write them: for a reference, a backtest, or a notebook."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from homeostat.contract import FEATURE_PREFIX, SEGMENT_PREFIX
from streams.archive.read import ArchiveReader, frame_of, outcome_of

_PARTS = ("id", "time", "version", "prediction", "score", "label", "label_time")


class NothingArchived(ValueError):
    """The archive has no events in the stretch that was asked for."""


def history(
    reader: ArchiveReader,
    model: str,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    version: str | None = None,
    segments: Sequence[str] | None = None,
) -> pa.Table:
    """The events of [since_us, until_us) in order of time, each with the label that counts now, if it has one.

    Columns id, time, version, prediction, score, label, label_time, then segments and features by their own names; a
    feature that is called like one of these keeps its prefix. segments: those that are wanted, with their prefix
    (default: all of them). A second event with the same id and version is left out.
    Raises `NothingArchived`.
    """
    frame = frame_of(reader.predictions(model, since_us=since_us, until_us=until_us))
    if version is not None:
        frame = frame.loc[frame["version"] == version, :]
    if frame.empty:
        told = f" and version {version!r}" if version is not None else ""
        raise NothingArchived(f"the archive has no events of model {model!r}{told} in this stretch")
    frame = frame.sort_values(["partition", "offset", "row"], kind="stable")
    frame = frame.drop_duplicates(["version", "key"], keep="first")
    labels = frame_of(reader.current_labels(model))
    known = pd.DataFrame(
        {"id": labels["id"], "label": outcome_of(labels, "value"), "label_time": labels["time_us"]}
    )
    frame["prediction"] = outcome_of(frame, "prediction")
    frame["time"] = frame["time_us"]
    both = frame.merge(known, on="id", how="left", validate="many_to_one")
    both = both.sort_values(["time_us", "id", "version"], kind="stable", ignore_index=True)
    names: dict[str, str] = {name: name for name in _PARTS}
    prefixes = (SEGMENT_PREFIX, FEATURE_PREFIX) if segments is None else (FEATURE_PREFIX,)
    for prefix in prefixes:
        for name in both.columns:
            if name.startswith(prefix):
                plain = name.removeprefix(prefix)
                names[name] = name if plain in names.values() else plain
    wanted = [SEGMENT_PREFIX + plain for plain in segments or ()]
    names |= {name: name for name in wanted if name in both.columns}
    table = pa.Table.from_pandas(both.loc[:, list(names)].rename(columns=names), preserve_index=False)
    for name in ("time", "label_time"):
        times = table.column(name).cast(pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        table = table.set_column(table.schema.get_field_index(name), name, times)
    return table
