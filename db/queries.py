"""The one query over metric points that the journal and the record store share."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select

from db.tables import PointRow
from detectors.values import Axis, MetricPoint

MAX_POINTS = 100_000


def select_points(
    connection: Connection,
    model: str,
    *,
    version: str | None = None,
    segment: str | None = None,
    measures: Sequence[str] | None = None,
    feature: str | None = None,
    window: str | None = None,
    axis: Axis | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    limit: int = 10_000,
) -> list[MetricPoint]:
    """Points with since_us <= end_us < until_us, in order of `end_us`; when more than `limit` match, the
    newest."""
    if not 0 < limit <= MAX_POINTS:
        raise ValueError(f"limit must be between 1 and {MAX_POINTS}, got {limit}")
    query = select(PointRow.value).where(PointRow.model == model)
    for column, wanted in (
        (PointRow.version, version),
        (PointRow.segment, segment),
        (PointRow.feature, feature),
        (PointRow.window, window),
        (PointRow.axis, axis),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if measures is not None:
        query = query.where(PointRow.measure.in_(measures))
    if since_us is not None:
        query = query.where(PointRow.end_us >= since_us)
    if until_us is not None:
        query = query.where(PointRow.end_us < until_us)
    query = query.order_by(PointRow.end_us.desc(), PointRow.id.desc()).limit(limit)
    newest_first = connection.scalars(query).all()
    return [msgspec.convert(value, MetricPoint) for value in reversed(newest_first)]
