"""The register of the measures that are known."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from detectors.library.laws import broken_law
from detectors.library.measure import ColumnMeasure, Measure, MeasureInvalid, RowsMeasure
from detectors.values import FeatureKind

ENTRY_POINT: Final = "homeostat.measures"
"""The group of entry points under which others offer a `Measure`."""


@dataclass
class Register:
    """Measures by name. Taking one checks the laws first, so that none that breaks them is ever asked."""

    known: dict[str, Measure] = field(default_factory=dict[str, Measure])

    def take(self, measure: Measure) -> None:
        """Add a measure. Raises `MeasureInvalid` when it breaks a law or its name is taken."""
        if measure.name in self.known:
            raise MeasureInvalid(f"a measure {measure.name!r} is already there; give yours another name")
        because = broken_law(measure)
        if because:
            raise MeasureInvalid(f"measure {measure.name!r} {because}")
        self.known[measure.name] = measure

    def of_columns(self, kind: FeatureKind) -> Iterable[tuple[str, ColumnMeasure]]:
        """The measures of a column of this kind."""
        return [(m.name, m.column) for m in self.known.values() if m.column is not None and kind in m.kinds]

    def of_rows(self) -> Iterable[tuple[str, RowsMeasure]]:
        """The measures of whole rows."""
        return [(m.name, m.rows) for m in self.known.values() if m.rows is not None]
