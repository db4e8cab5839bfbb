"""Which rows a version learns its reference from: the first sealed panes that hold enough, from all partitions."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from detectors.season import Season, season_learned
from detectors.sequential.baseline import LEAST_STRATUM
from streams.control.learning import GRACE_US, LearningOrder
from streams.judge.windows import NEVER_US, ClosedWindow, MonitorOf, Series
from streams.times import in_words

ALL: Final = "all"


class Learner(msgspec.Struct, array_like=True):
    """How far a version is. `next_us`: panes that begin before it have been looked at; `first_us`, `end_us`: of the
    panes that are learned from, `rows` of at least `wanted`; `told`: of them in windows that have closed;
    `stretches`: by source, where the rows stand; `effective_us`: set once there are enough; `phases`: rows of each
    phase of the season, where there is one."""

    wanted: int = 0
    next_us: int = NEVER_US
    first_us: int = 0
    end_us: int = 0
    rows: int = 0
    told: int = 0
    stretches: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict[int, tuple[int, int]])
    effective_us: int = 0
    phases: dict[int, int] = msgspec.field(default_factory=dict[int, int])

    def take(self, series: Series, frontier_us: int, monitor_of: MonitorOf) -> LearningOrder | None:
        """Look at the panes of a version that all sources have sealed; the order, when they are enough."""
        if self.effective_us:
            return None
        for pane_us in sorted(start for start in series.panes if start >= self.next_us):
            entries = series.panes[pane_us].values()
            revisions = max(entry.revisions for entry in entries)
            end_us = max(entry.end_us for entry in entries)
            if end_us + series.spec_at(revisions).delay_us > frontier_us:
                break
            self.next_us = pane_us + 1
            monitor = monitor_of(series.name.model, revisions[0])
            if revisions[1] or monitor.learning is None:
                continue
            self.wanted = monitor.learning.rows
            for source, entry in series.panes[pane_us].items():
                stood = None if entry.sealed is None else entry.sealed.stood
                if stood is not None and entry.sealed_rows:
                    first, last = self.stretches.get(source, stood)
                    self.stretches[source] = min(first, stood[0]), max(last, stood[1])
                    self.first_us = self.first_us if self.rows else pane_us
                    self.rows, self.end_us = self.rows + entry.sealed_rows, max(self.end_us, end_us)
            season = season_learned(monitor.learning)
            if season is not None:
                self._count(season, pane_us, sum(entry.sealed_rows for entry in entries))
            if self.rows >= self.wanted and (season is None or self._has_phases(season)):
                self.effective_us = self.end_us + GRACE_US
                return self._order(series, monitor.revision)
        return None

    def _count(self, season: Season, pane_us: int, rows: int) -> None:
        phase = season.phase_of(pane_us)
        self.phases[phase] = self.phases.get(phase, 0) + rows

    def _has_phases(self, season: Season) -> bool:
        return all(self.phases.get(phase, 0) >= LEAST_STRATUM for phase in range(len(season.phases)))

    def because(self, window: ClosedWindow, version: str, counts: bool) -> str:
        """Why nothing is measured in a window. `counts`: its rows are those that are learned from."""
        if self.effective_us and window.start_us >= self.end_us:
            return (
                f"the reference of version {version!r} was learned from {self.rows:,} rows until "
                f"{in_words(self.end_us)}; it is in force for panes from {in_words(self.effective_us)}"
            )
        if not counts:
            return f"the reference of version {version!r} is still being learned ({self.wanted:,} rows)"
        self.told += window.rows if window.decided else 0
        more = f"; each phase of its season needs {LEAST_STRATUM}" if self.phases else ""
        told = min(self.told, self.wanted)
        return f"the reference is still being learned ({told:,} of {self.wanted:,} rows{more})"

    def _order(self, series: Series, monitor_revision: int) -> LearningOrder:
        return LearningOrder(
            model=series.name.model,
            version=series.name.version,
            monitor_revision=monitor_revision,
            rows=self.rows,
            start_us=self.first_us,
            end_us=self.end_us,
            effective_us=self.effective_us,
            stretches=tuple((source, *places) for source, places in sorted(self.stretches.items())),
        )


def orders(
    learners: dict[str, Learner], all_series: Iterable[Series], frontier_us: int, monitor_of: MonitorOf
) -> Iterator[LearningOrder]:
    """What the versions of a model have to learn from now on. learners: by version, changed in place."""
    for series in all_series:
        if series.name.segment == ALL:
            learner = learners.get(series.name.version) or Learner()
            order = learner.take(series, frontier_us, monitor_of)
            if learner.wanted:
                learners[series.name.version] = learner
            if order is not None:
                yield order
