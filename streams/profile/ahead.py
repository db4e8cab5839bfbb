"""Batches that were decoded before their turn, some records at a time.

The processor then has the decoder's code at hand: a record that is decoded between the measurements of two others takes
twice as long.
"""

from collections.abc import Iterator, Sequence

from homeostat.contract import ContractError, LabelBatch, PredictionBatch, decode
from streams.stages import InputRecord


class Ahead:
    """The batches of some records. One that cannot be decoded is left out: why is found out when it is its turn."""

    def __init__(self, records: Sequence[InputRecord]) -> None:
        self._records = records
        self._places = {record.offset: place for place, record in enumerate(records)}
        self._batches: dict[int, PredictionBatch | LabelBatch] = {}
        for record in records:
            try:
                self._batches[record.offset] = decode(record.value, record.headers)
            except ContractError:
                continue

    def of(self, record: InputRecord) -> PredictionBatch | LabelBatch | None:
        """The batch of this very record, if it was decoded."""
        place = self._places.get(record.offset)
        if place is None or self._records[place].value is not record.value:
            return None
        return self._batches.get(record.offset)

    def behind(self, record: InputRecord) -> Iterator[tuple[InputRecord, PredictionBatch]]:
        """The predictions behind this very record, up to the first record that has none."""
        if self.of(record) is None:
            return
        for place in range(self._places[record.offset] + 1, len(self._records)):
            follower = self._records[place]
            batch = self._batches.get(follower.offset)
            if not isinstance(batch, PredictionBatch):
                return
            yield follower, batch
