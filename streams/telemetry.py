"""What a stream worker tells Prometheus: plain samples from whoever has numbers, gathered when somebody asks.

Whoever has numbers is a `Measured`: it has `samples()`, which yields `Sample`s of the metrics that
`streams.telemetry_names` lists. Nobody counts twice: samples are read from the state that the work needs anyway.

Example: `telemetry = Telemetry("gate"); telemetry.add(lane); port = telemetry.serve(0)`.
"""

import asyncio
import concurrent.futures
from collections.abc import Iterable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client import start_http_server as start_metrics_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.samples import Measured, Sample
from streams.telemetry_names import MetricName

_log = structlog.get_logger()

OTHER_MODELS = "_other"
_GATHER_TIMEOUT_S = 3.0


class Telemetry:
    """The numbers of one worker process.

    `role` becomes a label of every sample. A metric with a `model` label shows at most `max_models` models by name
    (those that came first); the others are put together under `_other`, so that nobody's typing error costs the
    monitoring system its memory.
    """

    def __init__(self, role: str = "", max_models: int = 500) -> None:
        self._role = role
        self._max_models = max_models
        self._sources: list[Measured] = []
        self._shown: dict[str, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last: list[Sample] = []
        self._stop: Any = None

    def add(self, source: Measured) -> None:
        """Ask `source` from now on."""
        self._sources.append(source)

    def remove(self, source: Measured) -> None:
        """Ask `source` no more; one that is not known is left alone."""
        self._sources = [one for one in self._sources if one is not source]

    def attach(self) -> None:
        """Gather in the running event loop from now on, so that no sample is read in the middle of a step."""
        self._loop = asyncio.get_running_loop()

    def serve(self, port: int, host: str = "127.0.0.1") -> int:
        """Answer `GET /metrics` in a thread; `port` 0 takes a free one. Returns the port.

        Raises `OSError` where the port cannot be had.
        """
        registry = CollectorRegistry()
        registry.register(_Families(self))
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        server, thread = start_metrics_server(port, host, registry)
        self._stop = (server, thread)
        return int(server.server_port)

    def close(self) -> None:
        """End the answering thread, if there is one."""
        if self._stop is not None:
            server, thread = self._stop
            self._stop = None
            server.shutdown()
            server.server_close()
            thread.join(timeout=5)

    def samples(self) -> list[Sample]:
        """The numbers of this moment; those of the last time where the worker's loop does not answer."""
        loop = self._loop
        if loop is None or not loop.is_running() or _runs_here(loop):
            self._last = self._gather()
            return self._last
        asked = asyncio.run_coroutine_threadsafe(self._gather_in_loop(), loop)
        try:
            self._last = asked.result(_GATHER_TIMEOUT_S)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            asked.cancel()
            _log.warning("The worker is too busy to tell its numbers; the last ones are shown again.")
        return self._last

    def families(self) -> list[Metric]:
        """The samples as Prometheus wants them, bounded in number."""
        bounded: dict[tuple[MetricName, tuple[str, ...]], float] = {}
        for metric, labels, value in self.samples():
            place = metric, self._bounded(metric, labels)
            known = bounded.get(place)
            bounded[place] = value if known is None else metric.together(known, value)
        found: dict[str, Metric] = {}
        for (metric, labels), value in bounded.items():
            family = found.get(metric.name)
            if family is None:
                make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = found[metric.name] = make(metric.name, metric.help, labels=["role", *metric.labels])
            family.add_metric([self._role, *labels], value)  # type: ignore[attr-defined]
        return list(found.values())

    def _bounded(self, metric: MetricName, labels: tuple[str, ...]) -> tuple[str, ...]:
        if "model" not in metric.labels:
            return labels
        place = metric.labels.index("model")
        model = labels[place]
        if model not in self._shown:
            if len(self._shown) >= self._max_models:
                return (*labels[:place], OTHER_MODELS, *labels[place + 1 :])
            self._shown[model] = None
        return labels

    def _gather(self) -> list[Sample]:
        return [sample for source in self._sources for sample in source.samples()]

    async def _gather_in_loop(self) -> list[Sample]:
        return self._gather()


class _Families(Collector):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterable[Metric]:
        return self._telemetry.families()

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask for numbers yet."""
        return ()


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
