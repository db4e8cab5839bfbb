"""The client: what a host calls. It returns at once and never raises; the work is done in the background."""

import asyncio
import atexit
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from time import time_ns as now_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self
from weakref import WeakSet

import pyarrow as pa

from homeostat.arguments import (
    Label,
    Prediction,
    is_many,
    many_labels,
    many_predictions,
    one_prediction,
    time_us,
)
from homeostat.config import Config
from homeostat.errors import ContractError
from homeostat.exposition import exposition
from homeostat.intake import Intake
from homeostat.lanes import MAX_PLAIN_ID_CHARS, Lane
from homeostat.ledger import Ledger, Stats
from homeostat.tracing import TRACE_MODULE, current_trace

if TYPE_CHECKING:
    from homeostat.delivery import Delivery

ENVIRONMENT_BROKER = "HOMEOSTAT_BROKER"

logger = logging.getLogger("homeostat")

P = ParamSpec("P")

_NOTHING = Stats(dropped={})
_MISSING: Final[Any] = object()
_NAN: Final = float("nan")
_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class _Running:
    """What one process has: after a fork the child gets its own."""

    config: Config
    ledger: Ledger
    delivery: "Delivery"
    intake: Intake
    lanes: dict[str, dict[Any, Lane]]

    @classmethod
    def of(cls, config: Config) -> "_Running":
        ledger = Ledger(config.max_rows, config.max_bytes)
        # Only here: a process in which nothing is logged loads no Kafka client.
        from homeostat.delivery import Delivery

        producer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(6)}"
        delivery = Delivery(config, ledger, producer)
        return cls(config, ledger, delivery, delivery.intake, delivery.intake.lanes)

    def mark(self) -> int:
        """Send what waits; `Ledger.wait_settled` tells by the mark when it has arrived."""
        self.intake.close()
        self.delivery.wake()
        return self.ledger.mark()

    def limit_s(self, timeout_s: float | None) -> float:
        """How long to wait for the broker."""
        return self.config.exit_timeout_s if timeout_s is None else timeout_s


def _with_face(face: Callable[P, None]) -> Callable[[Callable[..., None]], Callable[P, None]]:
    """Give a method that takes whatever comes, so that even a wrong call does not raise, the signature and the
    documentation of `face`.
    """

    def decorate(method: Any) -> Any:
        method.__wrapped__ = face
        method.__doc__ = face.__doc__
        return method

    return decorate


def _log_face(
    self: "Client",
    model: str,
    *,
    version: str,
    id: Any,
    features: Any,
    prediction: Any = None,
    score: Any = None,
    latency_ms: Any = None,
    status: Any = None,
    time: Any = None,
    scores: Any = None,
    segments: Any = None,
    trace_id: Any = None,
    feature_names: Sequence[str] | None = None,
) -> None:
    """Tell what a model saw and said: one event, or many when `id` is a list, an array or a Series.

    `id`: names the event; its label will come under the same id. `features`: a dict, a Series, a DataFrame, an
    Arrow table, or an array with `feature_names` (here or in `init`); numbers, texts or embeddings (vectors of one
    size); None and NaN are missing. `prediction`: a number (0 or 1 where the task is binary) or the name of a
    class; None where a `status` says why there is none. `score`: the probability of class 1, or of the predicted
    class. `scores`: the probability of each class. `segments`: names and texts, what the event belongs to.
    `time`: a datetime with a time zone, a datetime64 in UTC, or seconds since the epoch; default now.
    `trace_id`: default that of the current OpenTelemetry span. For many events each of these may be a column as
    long as `id`, `features` also a list of dicts; `version`, `time`, `status` and `trace_id` may be one for all.
    """


def _label_face(self: "Client", model: str, *, id: Any, value: Any, time: Any = None) -> None:
    """Tell what turned out to be true of an event, or of many; `time` is when that became known."""


class Client:
    """Sends predictions and labels to Homeostat. Without `open`, or without a broker, it does nothing.

    All methods may be called from any thread, from event loops, from signal handlers and after a fork. None raises,
    and none but `flush`, `aflush` and `close` waits (and `log` and `label`, where `on_full="block"` was chosen).
    In an `async with`, the end of the block flushes and closes.
    """

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._last = _NOTHING
        _clients.add(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def open(self, broker: str | None = None, **settings: Any) -> None:
        """Begin to send. `broker` defaults to the environment's HOMEOSTAT_BROKER; with neither, nothing happens.

        `settings` are those of `Config`. What is wrong with them is logged as an error, and nothing is sent.
        """
        self.close()
        self._last = _NOTHING
        found = broker or os.environ.get(ENVIRONMENT_BROKER)
        if not found:
            return
        try:
            running = _Running.of(Config(broker=found, **settings))
        except (ValueError, TypeError) as error:
            logger.error("homeostat: nothing will be sent, the settings are wrong: %s", error)
            return
        _import_everything()
        self._running = running
        if running.config.spool_dir is not None:
            # What an earlier process left there goes out even when this one has nothing to say.
            running.delivery.start()
        atexit.unregister(self.close)
        atexit.register(self.close)

    @_with_face(_log_face)
    def log(
        self,
        first: Any = _MISSING,
        /,
        *extra: Any,
        model: Any = _MISSING,
        version: Any = _MISSING,
        id: Any = _MISSING,
        features: Any = _MISSING,
        prediction: Any = None,
        score: Any = None,
        latency_ms: Any = None,
        status: Any = None,
        time: Any = None,
        segments: Any = None,
        trace_id: Any = None,
        **rare: Any,
    ) -> None:
        running = self._running
        if running is None:
            return
        if model is _MISSING:
            model = first
        elif first is not _MISSING:
            extra = (first, *extra)
        try:
            # The usual call, one event of numbers, written out: every function called here would show.
            lanes = running.lanes[model]
            lane = lanes[version] if segments is None else lanes[version, *segments]
            if (
                type(features) is dict
                and len(features) == lane.width
                and type(id) is str
                and len(id) <= MAX_PLAIN_ID_CHARS
                and (status is None or (type(status) is str and len(status) <= MAX_PLAIN_ID_CHARS))
                and (trace_id is None or (type(trace_id) is str and len(trace_id) <= MAX_PLAIN_ID_CHARS))
                and not rare
                and not extra
            ):
                time_ns = now_ns() if time is None else 1_000 * time_us(time)
                trace = trace_id or (current_trace() if TRACE_MODULE in _modules else None)
                if running.ledger.sheds and running.ledger.shed():
                    return
                line = lane.numbers
                if line is not None and prediction is not None:
                    fixed = (
                        time_ns,
                        prediction,
                        _NAN if score is None else score,
                        _NAN if latency_ms is None else latency_ms,
                    )
                    row = (id, status, trace, lane.pack(*(fixed + lane.values_of(features))))
                else:
                    line = lane.mixed
                    row, extra_bytes = lane.flat_row(
                        id, status, trace, time_ns // 1_000, prediction, score, latency_ms, features, segments
                    )
                    if extra_bytes > 0:
                        running.intake.row(line, row, extra_bytes)
                        return
                values = line.values
                if len(values) < line.limit or running.intake.promise(line):
                    values.extend(row)
                    return
        except Exception:  # noqa: BLE001 - the slow way finds out what is wrong, and says so
            pass
        trace = None if type(trace_id) is str and not trace_id else trace_id
        usual = features, prediction, score, time, latency_ms, status, segments
        given = Prediction(model, version, id, *usual, rare.pop("scores", None), trace)
        _log_slowly(running, extra, rare, given)

    @_with_face(_label_face)
    def label(
        self,
        first: Any = _MISSING,
        /,
        *extra: Any,
        model: Any = _MISSING,
        id: Any = _MISSING,
        value: Any = _MISSING,
        time: Any = None,
        **unknown: Any,
    ) -> None:
        running = self._running
        if running is None:
            return
        if model is _MISSING:
            model = first
        elif first is not _MISSING:
            extra = (first, *extra)
        try:
            _check_call(extra, unknown, model=model, id=id, value=value)
            if is_many(id):
                running.intake.block(many_labels(Label(model, id, value, time), _now_us()))
            else:
                at_us = _now_us() if time is None else time_us(time)
                running.intake.label(Label(model, id, value, at_us))
        except ContractError as error:
            running.ledger.refused_call(error.field, error.found, error.expected, label=True)
        except Exception as error:  # noqa: BLE001 - the border to the host: nothing may pass it
            running.ledger.refused_call("call", error, _EXPECTED_CALL, label=True)

    def is_open(self) -> bool:
        """Whether what is logged is sent: `open` was called, there is a broker, and `close` was not called since."""
        return self._running is not None

    def flush(self, timeout_s: float | None = 10.0) -> bool:
        """Wait until all that was logged before is acknowledged; False when the time (None: `exit_timeout_s`) is over
        first.
        """
        running = self._running
        return running is None or running.ledger.wait_settled(running.mark(), running.limit_s(timeout_s))

    async def aflush(self, timeout_s: float | None = 10.0) -> bool:
        """`flush` for asynchronous code: the event loop goes on meanwhile, and it may be cancelled."""
        running = self._running
        if running is None:
            return True
        mark = running.mark()
        deadline_s = monotonic() + running.limit_s(timeout_s)
        # No helper thread: a loop that ends would wait for one which nobody asks any more.
        while not running.ledger.wait_settled(mark, 0):
            left_s = deadline_s - monotonic()
            if left_s <= 0:
                return False
            await asyncio.sleep(min(_POLL_S, left_s))
        return True

    def stats(self) -> Stats:
        """The counters of this process since `open`; after `close` they stay as they were at its end."""
        running = self._running
        return self._last if running is None else running.ledger.stats()

    def metrics(self) -> str:
        """The counters of `stats` in Prometheus's text format, for the host to show beside its own."""
        return exposition(self.stats())

    def close(self, timeout_s: float | None = None) -> None:
        """Flush, for `exit_timeout_s` at most unless told otherwise, and stop; `log` then does nothing."""
        running = self._running
        if running is None:
            return
        limit_s = running.limit_s(timeout_s)
        self.flush(limit_s)
        running.delivery.stop(timeout_s=2.0)
        lost = running.ledger.close()
        stats = self._last = running.ledger.stats()
        self._running = None
        if lost:
            logger.warning(
                "homeostat: %d events were not acknowledged within %.1f s, and are lost", lost, limit_s
            )
        if stats.spooled:
            logger.warning(
                "homeostat: %d events wait in %s for the next process",
                stats.spooled,
                running.config.spool_dir,
            )

    def _begin_again(self) -> None:
        self._last = _NOTHING
        running = self._running
        if running is not None:
            # Kept for good: its loop and sockets are the parent's, and must not be closed from here.
            _inherited.append(running)
            running.delivery.abandon()
            self._running = _Running.of(running.config)


def _log_slowly(running: _Running, extra: tuple[Any, ...], rare: dict[str, Any], given: Prediction) -> None:
    """A call that is not of the usual kind; what is wrong with it becomes a counter and a warning."""
    try:
        model, version, id, features = given[:4]
        names = rare.pop("feature_names", None) if rare else None
        _check_call(extra, rare, model=model, version=version, id=id, features=features)
        if given.trace is None and TRACE_MODULE in _modules:
            given = given._replace(trace=current_trace())
        names = running.config.feature_names_of(model) if names is None or not len(names) else names
        if is_many(given.id):
            running.intake.block(many_predictions(given, names, _now_us()))
        else:
            running.intake.event(one_prediction(given, names, _now_us()))
    except ContractError as error:
        running.ledger.refused_call(error.field, error.found, error.expected, label=False)
    except Exception as error:  # noqa: BLE001 - the border to the host: nothing may pass it
        running.ledger.refused_call("call", error, _EXPECTED_CALL, label=False)


_EXPECTED_CALL = "the arguments that the documentation names"


def _check_call(extra: tuple[Any, ...], unknown: Any, **needed: Any) -> None:
    """Raise `ContractError` for what Python itself would say of a wrong call."""
    if extra:
        raise ContractError(
            "call", f"{1 + len(extra)} arguments without a name", "the model alone without a name"
        )
    if unknown:
        raise ContractError("call", f"argument {', '.join(sorted(unknown))}", _EXPECTED_CALL)
    lacking = [name for name, value in needed.items() if value is _MISSING]
    if lacking:
        raise ContractError("call", f"no {', '.join(lacking)}", _EXPECTED_CALL)


def _import_everything() -> None:
    """Import here what the background thread would import at its first event: with its first array pyarrow
    loads pandas, where there is one, and looking up a host's name loads a codec. A fork in the middle of an
    import leaves the child's thread waiting for it for ever, and an exiting process refuses some imports.
    """
    pa.array([0.0])
    "localhost".encode("idna")


def _now_us() -> int:
    return now_ns() // 1_000


_modules = sys.modules
_clients: WeakSet[Client] = WeakSet()
_inherited: list[_Running] = []


def _after_fork() -> None:
    for client in _clients:
        client._begin_again()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
