"""What can be chosen about the SDK, checked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, TypeAlias, get_args

from homeostat.contract import EVENTS_TOPIC, MAX_BATCH_ROWS

OnFull: TypeAlias = Literal["drop_newest", "drop_oldest", "block"]
Action: TypeAlias = Literal["drop", "hash", "mask"]

_TYPES: tuple[tuple[str, type | tuple[type, ...], str], ...] = (
    ("broker", str, "host:port, or several with commas"),
    ("topic", str, "a topic's name"),
    *(
        (name, Integral, "a whole number")
        for name in ("batch_rows", "max_rows", "max_bytes", "spool_max_bytes")
    ),
    *((name, Real, "a number of seconds") for name in ("linger_s", "block_timeout_s", "exit_timeout_s")),
    ("spool_dir", (str, PathLike, type(None)), "a folder's path, or None"),
    ("protect", Mapping, "a mapping of columns to drop, hash or mask"),
    ("protect_key", (str, bytes, type(None)), "a text, bytes, or None"),
    ("spread", (Integral, Mapping), "1 or more, or a mapping of models to that"),
    ("feature_names", (Sequence, Mapping, type(None)), "names, or a mapping of models to names"),
    ("kafka", Mapping, "a mapping of arguments of AIOKafkaProducer"),
)
_SECRETS = ("protect_key", "kafka")

_MIN_BYTES = 1024 * 1024
_MIN_KEY_BYTES = 16
_MAX_KEY_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one client; raises `ValueError` with the setting, its value and what would be right.

    `broker`: `host:port`, several separated by commas. `batch_rows` and `linger_s`: a batch is sent when it
    holds that many rows or that long after its first row. `max_rows` and `max_bytes`: how much may wait in
    memory for the broker. `on_full`: what happens then: `drop_newest`, `drop_oldest` (a batch at a time), or
    `block`, for `block_timeout_s` at most. `spool_dir`: a local folder where batches wait while the broker is
    away, `spool_max_bytes` at most in all; None for none. `protect`: columns that do not leave the host as they
    are, by name (`{"email": "drop", "ssn": "hash", "name": "mask"}`), or by model and name; `protect_key`: the
    secret for "hash", the same in every producer. `spread`: how many partitions a model uses (for all,
    or by model); producers of a model must agree on it. `feature_names`: the names for features given as arrays
    (for all models, or by model). `exit_timeout_s`: how long an exiting process waits for its last rows to be
    acknowledged. `kafka`: further arguments of `AIOKafkaProducer`, say `security_protocol`, `ssl_context` and
    `sasl_plain_password`.
    """

    broker: str
    topic: str = EVENTS_TOPIC
    batch_rows: int = 1_000
    linger_s: float = 0.1
    max_rows: int = 100_000
    max_bytes: int = 64 * 1024 * 1024
    on_full: OnFull = "drop_newest"
    block_timeout_s: float = 1.0
    spool_dir: str | PathLike[str] | None = None
    spool_max_bytes: int = 1024 * 1024 * 1024
    protect: Mapping[str, Action | Mapping[str, Action]] = field(default_factory=dict[str, Any])
    protect_key: str | bytes | None = field(default=None, repr=False)
    spread: int | Mapping[str, int] = 1
    feature_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None
    exit_timeout_s: float = 5.0
    kafka: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def __post_init__(self) -> None:
        self._check_types()
        for address in self.broker.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"broker: found {self.broker!r}; expected host:port, or several with commas")
        self._check("topic", bool(self.topic), "a topic's name")
        self._check("batch_rows", 1 <= self.batch_rows <= MAX_BATCH_ROWS, f"1 to {MAX_BATCH_ROWS}")
        self._check("linger_s", 0 < self.linger_s <= 60, "more than 0, at most 60")
        self._check("max_rows", self.max_rows >= self.batch_rows, f"at least batch_rows ({self.batch_rows})")
        self._check("max_bytes", self.max_bytes >= _MIN_BYTES, f"at least {_MIN_BYTES} (1 MiB)")
        self._check("on_full", self.on_full in get_args(OnFull), " or ".join(get_args(OnFull)))
        self._check("block_timeout_s", 0 < self.block_timeout_s <= 60, "more than 0, at most 60")
        self._check("spool_max_bytes", self.spool_max_bytes >= _MIN_BYTES, f"at least {_MIN_BYTES} (1 MiB)")
        self._check("exit_timeout_s", self.exit_timeout_s >= 0, "0 or more")
        spreads = self.spread.values() if isinstance(self.spread, Mapping) else (self.spread,)
        self._check("spread", all(spread >= 1 for spread in spreads), "1 or more")
        self._check_protection()

    @property
    def secret(self) -> bytes:
        """The key for hashing protected columns; empty where there is none."""
        key = self.protect_key or b""
        return key.encode() if isinstance(key, str) else key

    def spread_of(self, model: str) -> int:
        """How many partitions the model uses."""
        return self.spread.get(model, 1) if isinstance(self.spread, Mapping) else self.spread

    def feature_names_of(self, model: str) -> Sequence[str] | None:
        """The names for an array of the model's features, where they were given."""
        names = self.feature_names
        return names.get(model) if isinstance(names, Mapping) else names

    def protection_of(self, model: str) -> dict[str, Action]:
        """What happens to the model's columns, by name: what is said of the model goes before what is said
        of all.
        """
        general: dict[str, Action] = {
            name: action for name, action in self.protect.items() if isinstance(action, str)
        }
        own = self.protect.get(model)
        return general | dict(own) if isinstance(own, Mapping) else general

    def _check_types(self) -> None:
        for name, kind, expected in _TYPES:
            found = getattr(self, name)
            if not isinstance(found, kind):
                told = f"a {type(found).__name__}" if name in _SECRETS else repr(found)
                raise ValueError(f"{name}: found {told}; expected {expected}")
        spreads: Any = self.spread.values() if isinstance(self.spread, Mapping) else ()
        self._check("spread", all(isinstance(spread, Integral) for spread in spreads), "1 or more")

    def _check_protection(self) -> None:
        hashes = False
        for owner, given in self.protect.items():
            for name, action in given.items() if isinstance(given, Mapping) else [(owner, given)]:
                if action not in get_args(Action):
                    raise ValueError(f"protect: found {name!r}: {action!r}; expected drop, hash or mask")
                if name == "id" and action != "hash":
                    raise ValueError(f"protect: found 'id': {action!r}; expected hash, for labels join by it")
                hashes = hashes or action == "hash"
        if hashes and not _MIN_KEY_BYTES <= len(self.secret) <= _MAX_KEY_BYTES:
            found = "nothing" if not self.secret else f"{len(self.secret)} bytes"
            expected = f"a secret of {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES} bytes, the same in every producer"
            raise ValueError(f'protect_key: found {found}; expected {expected}, for protect has "hash"')

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"{name}: found {getattr(self, name)!r}; expected {expected}")
