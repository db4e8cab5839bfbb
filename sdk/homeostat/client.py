"""The client: what a host calls. It returns at once and never raises; the work is done in the background."""

import atexit
import functools
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

import pyarrow as pa

from homeostat.arguments import (
    Block,
    Label,
    Prediction,
    is_many,
    many_labels,
    many_predictions,
    one_prediction,
    time_us,
)
from homeostat.config import Config
from homeostat.delivery import Delivery
from homeostat.errors import ContractError
from homeostat.ledger import Ledger, Stats
from homeostat.packing import Item

ENVIRONMENT_BROKER = "HOMEOSTAT_BROKER"

logger = logging.getLogger("homeostat")

P = ParamSpec("P")
R = TypeVar("R")

_NOTHING = Stats(dropped={})


@dataclass(frozen=True)
class _Running:
    """What one process has: after a fork the child gets its own."""

    config: Config
    ledger: Ledger[Item]
    delivery: Delivery

    @classmethod
    def of(cls, config: Config) -> "_Running":
        ledger: Ledger[Item] = Ledger(config.max_rows, config.batch_rows)
        producer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(6)}"
        return cls(config, ledger, Delivery(config, ledger, producer))


def _harmless(
    label: bool,
) -> Callable[[Callable[Concatenate["Client", P], None]], Callable[Concatenate["Client", P], None]]:
    """A method whose errors become a counter and a warning, wrong arguments in its call included."""

    def decorate(
        method: Callable[Concatenate["Client", P], None],
    ) -> Callable[Concatenate["Client", P], None]:
        @functools.wraps(method)
        def call(self: "Client", *args: P.args, **kwargs: P.kwargs) -> None:
            try:
                method(self, *args, **kwargs)
            except ContractError as error:
                self.refuse(error.field, error.found, error.expected, label=label)
            except Exception as error:  # noqa: BLE001 - the border to the host: nothing may pass it
                self.refuse("call", repr(error), "the arguments that the documentation names", label=label)

        return call

    return decorate


class Client:
    """Sends predictions and labels to Homeostat. Without `open`, or without a broker, it does nothing.

    All methods may be called from any thread, from signal handlers and after a fork. None raises, and none
    but `flush` and `close` waits.
    """

    def __init__(self) -> None:
        self._running: _Running | None = None
        _clients.add(self)

    def open(self, broker: str | None = None, **settings: Any) -> None:
        """Begin to send. `broker` defaults to the environment's HOMEOSTAT_BROKER; with neither, nothing
        happens.

        `settings` are those of `Config`. What is wrong with them is logged as an error, and nothing is sent.
        """
        self.close()
        found = broker or os.environ.get(ENVIRONMENT_BROKER)
        if not found:
            return
        try:
            self._running = _Running.of(Config(broker=found, **settings))
        except (ValueError, TypeError) as error:
            logger.error("homeostat: nothing will be sent, the settings are wrong: %s", error)
            return
        _import_everything()
        atexit.unregister(self.close)
        atexit.register(self.close)

    @_harmless(label=False)
    def log(
        self,
        model: str,
        *,
        version: str,
        id: Any,
        features: Any,
        prediction: Any,
        score: Any = None,
        time: Any = None,
        latency_ms: Any = None,
        status: Any = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        """Tell what a model saw and said: one event, or many when `id` is a list, an array or a Series.

        `id`: names the event; its label will come under the same id. `features`: a dict, a Series, a
        DataFrame, or an array with `feature_names` (here or in `init`); numbers or texts; None and NaN are
        missing. `prediction`: a number, 0 or 1 where the task is binary. `score`: the probability of class
        1. `time`: a datetime with a time zone, a datetime64 in UTC, or seconds since the epoch; default
        now. For many events each of these may be a column as long as `id`; `version`, `time` and `status`
        may be one for all.
        """
        running = self._running
        if running is None:
            return
        if type(features) is dict and type(id) is str:
            at_us = _now_us() if time is None else time_us(time)
            features = features.copy()
            event = (model, version, id, features, prediction, score, at_us, latency_ms, status)
            # Skips the named tuple's own constructor, which takes longer than all the rest of this method.
            _enter(running, tuple.__new__(Prediction, event), label=False)
            return
        given = Prediction(model, version, id, features, prediction, score, time, latency_ms, status)
        names = feature_names or running.config.feature_names_of(model)
        if is_many(id):
            _enter_block(running, many_predictions(given, names, _now_us()))
        else:
            _enter(running, one_prediction(given, names, _now_us()), label=False)

    @_harmless(label=True)
    def label(self, model: str, *, id: Any, value: Any, time: Any = None) -> None:
        """Tell what turned out to be true of an event, or of many; `time` is when that became known."""
        running = self._running
        if running is None:
            return
        if is_many(id):
            _enter_block(running, many_labels(Label(model, id, value, time), _now_us()))
        else:
            at_us = _now_us() if time is None else time_us(time)
            _enter(running, Label(model, id, value, at_us), label=True)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was logged before is acknowledged; False when the time is over first."""
        running = self._running
        if running is None:
            return True
        if running.delivery.started:
            running.delivery.wake()
        return running.ledger.wait_settled(timeout_s)

    def stats(self) -> Stats:
        """The counters of this process."""
        running = self._running
        return _NOTHING if running is None else running.ledger.stats()

    def close(self, timeout_s: float | None = None) -> None:
        """Flush, for `exit_timeout_s` at most unless told otherwise, and stop; `log` then does nothing."""
        running = self._running
        if running is None:
            return
        limit_s = running.config.exit_timeout_s if timeout_s is None else timeout_s
        self.flush(limit_s)
        running.delivery.stop(timeout_s=2.0)
        lost = running.ledger.close()
        self._running = None
        if lost:
            logger.warning(
                "homeostat: %d events were not acknowledged within %.1f s, and are lost", lost, limit_s
            )

    def refuse(self, field: str, found: object, expected: str, *, label: bool) -> None:
        """Count a call that told of no event, and say why the first time."""
        running = self._running
        if running is not None:
            running.ledger.refused_call(field, found, expected, label=label)

    def _begin_again(self) -> None:
        running = self._running
        if running is not None:
            # Kept for good: its loop and sockets are the parent's, and must not be closed from here.
            _inherited.append(running)
            self._running = _Running.of(running.config)


def _import_everything() -> None:
    """Import here what the background thread would import at its first event: with its first array pyarrow
    loads pandas, where there is one, and looking up a host's name loads a codec. A fork in the middle of an
    import leaves the child's thread waiting for it for ever, and an exiting process refuses some imports.
    """
    pa.array([0.0])
    "localhost".encode("idna")


def _now_us() -> int:
    return time.time_ns() // 1000


def _enter(running: _Running, event: Prediction | Label, *, label: bool) -> None:
    if running.ledger.offer(event, label=label):
        running.delivery.wake()


def _enter_block(running: _Running, block: Block) -> None:
    room = running.ledger.reserve(block.rows, label=block.label)
    if room == 0:
        return
    if running.ledger.enter(block if room == block.rows else block.part(0, room), room):
        running.delivery.wake()


_clients: WeakSet[Client] = WeakSet()
_inherited: list[_Running] = []


def _after_fork() -> None:
    for client in _clients:
        client._begin_again()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
