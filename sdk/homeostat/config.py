"""What can be chosen about the SDK, checked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeostat.contract import EVENTS_TOPIC, MAX_BATCH_ROWS


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one client; raises `ValueError` with the setting, its value and what would be right.

    `broker`: `host:port`, several separated by commas. `batch_rows` and `linger_s`: a batch is sent when it
    holds that many rows or that long after its first row. `max_rows`: how many rows may wait in memory for
    the broker. `spread`: how many partitions a model uses (for all, or by model); producers of a model must
    agree on it. `feature_names`: the names for features given as arrays (for all models, or by model).
    `exit_timeout_s`: how long an exiting process waits for its last rows to be acknowledged. `kafka`:
    further arguments of `AIOKafkaProducer`, say `security_protocol`, `ssl_context` and
    `sasl_plain_password`.
    """

    broker: str
    topic: str = EVENTS_TOPIC
    batch_rows: int = 1_000
    linger_s: float = 0.1
    max_rows: int = 100_000
    spread: int | Mapping[str, int] = 1
    feature_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None
    exit_timeout_s: float = 5.0
    kafka: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def __post_init__(self) -> None:
        for address in self.broker.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"broker: found {self.broker!r}; expected host:port, or several with commas")
        self._check("topic", bool(self.topic), "a topic's name")
        self._check("batch_rows", 1 <= self.batch_rows <= MAX_BATCH_ROWS, f"1 to {MAX_BATCH_ROWS}")
        self._check("linger_s", 0 < self.linger_s <= 60, "more than 0, at most 60")
        self._check("max_rows", self.max_rows >= self.batch_rows, f"at least batch_rows ({self.batch_rows})")
        self._check("exit_timeout_s", self.exit_timeout_s >= 0, "0 or more")
        spreads = self.spread.values() if isinstance(self.spread, Mapping) else (self.spread,)
        self._check("spread", all(spread >= 1 for spread in spreads), "1 or more")

    def spread_of(self, model: str) -> int:
        """How many partitions the model uses."""
        return self.spread.get(model, 1) if isinstance(self.spread, Mapping) else self.spread

    def feature_names_of(self, model: str) -> Sequence[str] | None:
        """The names for an array of the model's features, where they were given."""
        names = self.feature_names
        return names.get(model) if isinstance(names, Mapping) else names

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"{name}: found {getattr(self, name)!r}; expected {expected}")
