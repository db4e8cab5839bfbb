"""The numbers of a worker as plain values, for whoever has some; `streams.telemetry` gathers and tells them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from detectors.values import Accounting
from streams.telemetry_names import EVENTS, WAITING, MetricName


class Sample(NamedTuple):
    """One number: a metric, the values of its labels in its order (without `role`), and the value."""

    metric: MetricName
    labels: tuple[str, ...]
    value: float


@runtime_checkable
class Measured(Protocol):
    """Somebody with numbers. `samples` is called in the worker's event loop, between two steps of its work; it
    must be cheap (no I/O, some microseconds per model)."""

    def samples(self) -> Iterable[Sample]:
        """The numbers of this moment."""
        ...


def accounting_samples(account: Accounting) -> Iterator[Sample]:
    """Where the events of one model went; `account` is cumulative."""
    partition = str(account.partition)
    for outcome in _OUTCOMES:
        value = getattr(account, outcome)
        if value:
            yield Sample(EVENTS, (partition, account.model, outcome), value)
    if account.waiting:
        yield Sample(WAITING, (partition, account.model), account.waiting)


_OUTCOMES = tuple(
    name for name in Accounting.__struct_fields__ if name not in ("model", "stage", "partition", "waiting")
)
"""Everything that only grows; labels that wait find their prediction or are given up."""
