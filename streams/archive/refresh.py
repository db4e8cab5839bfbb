"""A reference of what a version has seen lately, from the archive: what is usual from now on."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detectors.columns import Column
from detectors.errors import ReferenceInvalid
from detectors.reference import Reference
from detectors.season import season_learned, season_of
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec, Monitor
from homeostat.contract import FEATURE_PREFIX, SEGMENT_PREFIX
from streams.archive.export import history
from streams.archive.read import ArchiveReader
from streams.control.monitor_build import ReferenceName, complete_reference, seasonal_reference

LEAST_ROWS = 100
"""A reference of fewer rows would call everything unusual, or nothing."""

Floats = npt.NDArray[np.float64]


def refreshed(
    reader: ArchiveReader,
    former: Reference,
    monitor: Monitor,
    *,
    rows: int,
    until_us: int,
    since_us: int | None = None,
) -> Reference:
    """The reference of the last `rows` events of the version of `former` in [since_us, until_us), with the labels that
    count now; features, task, classes and season (where the
    monitor does not tell one) are those of `former`. The same archive gives the same reference.

    Raises `NothingArchived`, or `ReferenceInvalid` where there are fewer than 100 rows or they cannot be a reference.
    """
    table = history(
        reader,
        former.model,
        since_us=since_us,
        until_us=until_us,
        version=former.version,
        segments=monitor.segments,
    )
    table = table.slice(max(0, table.num_rows - rows))
    if table.num_rows < LEAST_ROWS:
        raise ReferenceInvalid(
            f"the archive has {table.num_rows} events of {former.model!r} version {former.version!r} in this stretch; "
            f"a reference takes {LEAST_ROWS} at least"
        )
    specs = _specs(former, monitor, table)
    features = {spec.name: _feature(table, spec) for spec in specs}
    known = Rows(features, *_outputs(table, former.classes), segments=_segments(table, monitor.segments))
    name = ReferenceName(former.model, former.version, former.task, former.classes, monitor.measures)
    season = season_learned(monitor.learning) or season_of(former)
    if season is None:
        return complete_reference(name, specs, known)
    label_times = [
        label or at for label, at in zip(_stamps(table, "label_time"), _stamps(table, "time"), strict=True)
    ]
    times = np.array(_stamps(table, "time"), dtype=np.int64), np.array(label_times, dtype=np.int64)
    return seasonal_reference(name, specs, known, season, times)[0]


def _specs(former: Reference, monitor: Monitor, table: pa.Table) -> tuple[FeatureSpec, ...]:
    """Those that the monitor names, or those of the former reference: without what was made of texts."""
    if monitor.features:
        return monitor.features
    return tuple(
        part.spec for part in former.features if _column_of(part.spec.name, table.column_names) is not None
    )


def _column_of(name: str, columns: list[str]) -> str | None:
    """A feature that is called like another column has its prefix."""
    return next((each for each in (FEATURE_PREFIX + name, name) if each in columns), None)


def _feature(table: pa.Table, spec: FeatureSpec) -> Column:
    name = _column_of(spec.name, table.column_names)
    if name is None:
        raise ReferenceInvalid(
            f"the archived events have no feature {spec.name!r}; they have {table.column_names}"
        )
    column = table.column(name)
    if spec.kind == "numeric":
        return _numbers(column)
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


def _segments(table: pa.Table, names: Sequence[str]) -> dict[str, list[str | None]]:
    found = {name: SEGMENT_PREFIX + name for name in names}
    return {
        name: table.column(told).to_pylist() if told in table.column_names else [None] * table.num_rows
        for name, told in found.items()
    }


def _outputs(table: pa.Table, classes: tuple[str, ...]) -> tuple[Floats | None, Floats | None, Floats | None]:
    """Predictions, scores and labels, each None where no row has one."""
    found = (
        _outcomes(table.column("prediction"), classes),
        np.clip(_numbers(table.column("score")), 0.0, 1.0),
        _outcomes(table.column("label"), classes),
    )
    predictions, scores, labels = (None if np.isnan(column).all() else column for column in found)
    return predictions, scores, labels


def _outcomes(column: pa.ChunkedArray, classes: tuple[str, ...]) -> Floats:
    if not classes:
        return _numbers(column)
    places: Mapping[str, int] = {name: place for place, name in enumerate(classes)}
    return np.array(
        [np.nan if one is None else places.get(str(one), -1) for one in column.to_pylist()], dtype=np.float64
    )


def _numbers(column: pa.ChunkedArray) -> Floats:
    try:
        return column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise ReferenceInvalid(f"a column of numbers holds {column.type}: {error}") from error


def _stamps(table: pa.Table, name: str) -> list[int]:
    return table.column(name).cast(pa.int64()).to_pylist()
