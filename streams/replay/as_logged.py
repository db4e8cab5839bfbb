"""What a live pane was counted on, as the profiles topic tells it: for each pane the revision of its reference."""

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

from detectors.reference import Reference
from detectors.values import Axis
from streams.control.configuration import Configuration
from streams.judge.windows import SeriesName


@dataclass
class Bindings:
    """The panes of one series. `panes`: by source and start, the end and the revision of the reference (empty:
    none was known when the pane began)."""

    panes: dict[tuple[int, int], tuple[int, str]] = field(
        default_factory=dict[tuple[int, int], tuple[int, str]]
    )

    def revision(self, source: int, start_us: int) -> str | None:
        """The revision that the pane of this start was counted on; None where live has told no such pane.

        From the archive all events come through one partition: then the pane of another source tells. A pane may
        have been longer while no monitor was known: what begins within one that had no reference has none.
        """
        found = self.panes.get((source, start_us))
        if found is not None:
            return found[1]
        if start_us in self._by_start:
            return self._by_start[start_us]
        place = bisect_right(self._without, (start_us, 2**62)) - 1
        return "" if place >= 0 and start_us < self._without[place][1] else None

    @cached_property
    def _by_start(self) -> dict[int, str]:
        return {start_us: revision for (_, start_us), (_, revision) in self.panes.items()}

    @cached_property
    def _without(self) -> list[tuple[int, int]]:
        return sorted(
            (start_us, end_us) for (_, start_us), (end_us, revision) in self.panes.items() if not revision
        )


class AsLogged(Configuration):
    """A configuration that binds panes as live did, and knows by name every reference that `known` knows."""

    def __init__(self, known: Configuration, bindings: dict[SeriesName, Bindings]) -> None:
        super().__init__()
        self._known = known
        self._bindings = bindings

    def reference_revision(self, revision: str) -> Reference | None:
        """See `Configuration`."""
        return self._known.reference_revision(revision)

    def pane_reference(
        self, model: str, version: str, segment: str, axis: Axis, source: int, start_us: int
    ) -> Reference | None:
        """See `Configuration`: the one that the live pane had; where live has told no such pane, the one in force."""
        bindings = self._bindings.get(SeriesName(model, version, segment, axis))
        revision = None if bindings is None else bindings.revision(source, start_us)
        if revision == "":
            return None
        found = None if revision is None else self.reference_revision(revision)
        return found or super().pane_reference(model, version, segment, axis, source, start_us)
