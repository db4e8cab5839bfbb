"""How the gate runs."""

from dataclasses import dataclass

from streams.broker.group import GroupConfig
from streams.gate.mapping import IngestMap
from streams.topics import CONTROL, DEADLETTERS, EVENTS, GATE_HALVES, GATE_STATE, INGEST, METRICS

_NO_MAP = IngestMap()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig(GroupConfig):
    """The names of the topics differ from the defaults in tests only. `mapping` names further input topics and says how
    foreign payloads become events; `control` has the schemas that rows are held against, and on how many partitions the
    events of a model are put."""

    group: str = "homeostat-gate"
    max_records: int = 5_000
    fetch_bytes: int = 4 * 1024 * 1024
    ingest: str = INGEST
    halves: str = GATE_HALVES
    events: str = EVENTS
    deadletters: str = DEADLETTERS
    metrics: str = METRICS
    state: str = GATE_STATE
    control: str = CONTROL
    mapping: IngestMap = _NO_MAP

    @property
    def inputs(self) -> list[str]:
        """The topics to read."""
        return list(dict.fromkeys([self.ingest, self.halves, *self.mapping.topics]))

    def state_of(self, topic: str) -> str:
        """The state topic of an input topic: partition p holds the state of its partition p and of no other, so that
        nobody's open transaction hides what is committed there."""
        return self.state if topic == self.ingest else f"{self.state}.{topic}"

    def name_of(self, topic: str, partition: int) -> str:
        """What names the lane of a partition, in transactional ids and as a producer."""
        return f"{partition}" if topic == self.ingest else f"{topic}-{partition}"
