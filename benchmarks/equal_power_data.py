"""What `benchmarks.equal_power` asks of every detector: the rows before, the windows of a change, and clean windows.

Every environment draws them from the same seeds, so that no rows have to be handed around.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.detection_data import (
    Source,
    Table,
    category_source,
    correlation_source,
    numeric_source,
    shifted,
    widened,
)

WINDOW_ROWS: Final = 1_000
CLEAN: Final = 50
"""Clean windows that each reference is followed for."""


@dataclass(frozen=True)
class Case:
    """A change that has to be found within so many windows."""

    name: str
    source: Source
    within: int
    reference_rows: int

    def changed(self, seed: int, number: int) -> tuple[Table, list[Table]]:
        """The reference of a seed and the windows after the change."""
        rng = np.random.default_rng([seed, 5, number])
        reference = self.source.draw(rng, self.reference_rows)
        return reference, [self.source.after(rng, WINDOW_ROWS) for _ in range(self.within)]

    def clean(self, seed: int, number: int) -> tuple[Table, Iterator[Table]]:
        """Another reference, and windows in which nothing changes."""
        rng = np.random.default_rng([seed, 6, number])
        reference = self.source.draw(rng, self.reference_rows)
        return reference, (self.source.draw(rng, WINDOW_ROWS) for _ in range(CLEAN))


CASES: Final = {
    one.name: one
    for one in (
        Case("mean02", numeric_source(shifted(0.2)), 3, 10_000),
        Case("mean005", numeric_source(shifted(0.05)), 15, 100_000),
        Case("variance", numeric_source(widened(1.2)), 5, 10_000),
        Case("category", category_source(0.02), 1, 10_000),
        Case("correlation", correlation_source(), 3, 10_000),
    )
}
