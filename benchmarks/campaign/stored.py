"""What the judge told, as the journal would have it: points by series, and alerts that nobody has taken yet."""

from collections.abc import Sequence

import msgspec

from detectors.values import Accounting, Alert, Axis, MetricPoint
from streams.replay.inprocess import InProcess, Results
from streams.topics import ALERTS, METRICS


class StoredPoints:
    """The latest revision of each point."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, Axis], dict[str, MetricPoint]] = {}

    def put(self, point: MetricPoint) -> None:
        """Keep a point, unless a later revision is known."""
        series = self._series.setdefault((point.version, point.axis), {})
        known = series.get(point.id)
        if known is None or known.revision <= point.revision:
            series[point.id] = point

    def points(
        self,
        model: str,
        *,
        version: str | None = None,
        measures: Sequence[str] | None = None,
        axis: Axis | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        limit: int = 10_000,
    ) -> list[MetricPoint]:
        """See `remediation.ports.Reader`."""
        del model
        found = [
            each
            for (series_version, series_axis), series in self._series.items()
            if version in (None, series_version) and axis in (None, series_axis)
            for each in series.values()
            if (measures is None or each.measure in measures)
            and (since_us is None or each.end_us >= since_us)
            and (until_us is None or each.end_us < until_us)
        ]
        return sorted(found, key=lambda each: (each.end_us, each.id))[-limit:]


class Inbox(Results):
    """Takes what the stages put out."""

    def __init__(self) -> None:
        super().__init__()
        self.stored = StoredPoints()
        self._taken = 0

    def take(self, topic: str, kind: bytes, value: bytes) -> None:
        """Read one output record."""
        if topic == METRICS and kind == b"point":
            self.stored.put(msgspec.json.decode(value, type=MetricPoint))
        elif topic == METRICS:
            account = msgspec.json.decode(value, type=Accounting)
            self.accounting[account.model, account.partition] = account
        elif topic == ALERTS:
            self.alerts.append(msgspec.json.decode(value, type=Alert))

    def new_alerts(self) -> list[Alert]:
        """Those that were told since the last call."""
        found, self._taken = self.alerts[self._taken :], len(self.alerts)
        return found


class Live(InProcess):
    """The stages with the time of the log: the judge hears of a silence while it lasts."""

    def tick(self, partition: int, now_us: int) -> None:
        """See `InProcess`; what the profile stage says of it reaches the judge at this time."""
        super().tick(partition, now_us)
        self.flush()
        self._judges[partition].tick(now_us, caught_up=True)
