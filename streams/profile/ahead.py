"""Batches that were decoded before their turn, some records at a time.

The processor then has the decoder's code at hand: a record that is decoded between the measurements of two others takes
twice as long.
"""

from collections.abc import Sequence

from homeostat.contract import ContractError, LabelBatch, PredictionBatch, decode
from streams.stages import Readable


class Ahead:
    """The batches of some records. One that cannot be decoded is left out: why is found out when it is its turn."""

    def __init__(self, records: Sequence[Readable]) -> None:
        self._batches: dict[int, tuple[bytes | None, PredictionBatch | LabelBatch]] = {}
        for record in records:
            try:
                self._batches[record.offset] = record.value, decode(record.value, record.headers)
            except ContractError:
                continue

    def of(self, record: Readable) -> PredictionBatch | LabelBatch | None:
        """The batch of this very record, if it was decoded."""
        value, batch = self._batches.get(record.offset, (None, None))
        return batch if batch is not None and value is record.value else None
