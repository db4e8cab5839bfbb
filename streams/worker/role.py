"""What kinds of stage workers there can be, and where they run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from streams.control.configuration import Configuration
from streams.stages import Stage
from streams.telemetry import Telemetry
from streams.worker.poison import Parts, Whole


@dataclass(frozen=True, slots=True)
class Role:
    """What kind of worker: its input, where its checkpoints are, and how the stage of a partition is made.

    `state_topics` are the topics of deltas that only this role reads. `parts` says how a record on which the stage
    fails is taken apart.
    """

    name: str
    input: str
    checkpoints: str
    stage: Callable[[int, Configuration], Stage]
    state_topics: tuple[str, ...] = ()
    parts: Parts = field(default_factory=Whole)


def _nobody() -> None:
    return None


@dataclass(frozen=True, slots=True)
class StreamsConfig:
    """Where the broker is and how a worker behaves.

    `instance` names this worker among those of its role: a restart under the same name takes its partitions
    back without a rebalance. `segments`: the folder or URI of predictions older than the hot horizon; without it they
    stay in memory. `ready_callback` is called when the partitions are assigned and restored, then
    about every second. `telemetry` is given this worker's numbers. Every `cleaning_interval_s` state that is not
    needed any more is deleted.
    """

    broker: str
    data_dir: Path
    partitions: int = 4
    checkpoint_interval_s: float = 0.5
    instance: str = "0"
    ready_callback: Callable[[], None] = _nobody
    telemetry: Telemetry = field(default_factory=Telemetry)
    cleaning_interval_s: float = 60.0
    segments: str | None = None
