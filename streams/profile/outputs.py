"""What a profile stage tells others: snapshots of panes, accounting, dead letters."""

import msgspec
import structlog

from detectors.values import Accounting, PaneSnapshot
from homeostat.contract import HEADER_MODEL, HEADER_VERSION, partition_of
from streams.control.evolution import Evolution
from streams.control.schema_words import differences
from streams.deadletters import DeadLetter
from streams.stages import OutputRecord
from streams.topics import DEADLETTERS, METRICS, PROFILES

_log = structlog.get_logger()

_MAX_TOLD = 1_000


class Outputs:
    """Records for other topics, in order, until they are taken."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._records: list[OutputRecord] = []
        self._told: set[object] = set()

    def __len__(self) -> int:
        return len(self._records)

    def take(self) -> list[OutputRecord]:
        """All of them; none is left."""
        records, self._records = self._records, []
        return records

    def snapshot(self, snapshot: PaneSnapshot) -> None:
        """Tell the judge of a pane."""
        headers = (
            (HEADER_MODEL, snapshot.model.encode()),
            (HEADER_VERSION, snapshot.version.encode()),
        )
        self._add(PROFILES, snapshot.model, msgspec.msgpack.encode(snapshot), headers)

    def accounting(self, account: Accounting) -> None:
        """Tell where the events of a model went."""
        self._add(METRICS, account.model, msgspec.json.encode(account), (("kind", b"accounting"),))

    def letter(self, letter: DeadLetter) -> None:
        """Set something aside."""
        self._records.append(OutputRecord(DEADLETTERS, 0, letter.model.encode(), letter.to_json()))

    def evolution(self, model: str, version: str | None, evolution: Evolution) -> None:
        """Warn of what is different from the schema, each difference once: every batch has it."""
        refused = evolution.refused
        whole = (
            model,
            version,
            evolution._replace(refused=None),
            refused and (refused.field, refused.expected),
        )
        if whole in self._told or len(self._told) >= _MAX_TOLD:
            return
        fresh = [told for told in differences(evolution) if (model, version, told) not in self._told]
        self._told.update([whole, *((model, version, told) for told in fresh)])
        if fresh:
            _log.warning(
                "Events differ from the schema of their version. `homeostat schemas show MODEL` prints it, "
                "`homeostat deadletters list` what was refused.",
                model=model,
                version=version or "(labels: the newest version)",
                differences="; ".join(fresh),
            )

    def _add(self, topic: str, model: str, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        partition = partition_of(model, 0, self._partitions)
        self._records.append(OutputRecord(topic, partition, model.encode(), value, headers))
