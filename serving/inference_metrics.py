"""What an inference server tells Prometheus: who was answered by what, and what is in force."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from serving.arranged import Served

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class InferenceMetrics:
    """Counters of one server. `serving`: what serves when somebody asks."""

    def __init__(self, serving: Callable[[], Sequence[Served]]) -> None:
        self._registry = CollectorRegistry()
        self._instances = Counter(
            "homeostat_serving_instances",
            "Instances by what became of them: answered, constant, paused, invalid.",
            ("model", "version", "outcome"),
            registry=self._registry,
        )
        self._shadows = Counter(
            "homeostat_serving_shadow_instances",
            "Instances that a shadow scored, could not score, or was spared because too many waited.",
            ("model", "version", "outcome"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "homeostat_serving_request_seconds",
            "From the request's last byte to its answer.",
            ("model",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_InForce(serving))

    def answered(self, model: str, version: str, outcome: str, instances: int) -> None:
        """Count instances of a request."""
        self._instances.labels(model, version, outcome).inc(instances)

    def took(self, model: str, seconds: float) -> None:
        """Note how long an answer took."""
        self._seconds.labels(model).observe(seconds)

    def shadowed(self, model: str, version: str, outcome: str, instances: int) -> None:
        """Count instances that a shadow was offered."""
        self._shadows.labels(model, version, outcome).inc(instances)

    def page(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)


class _InForce(Collector):
    def __init__(self, serving: Callable[[], Sequence[Served]]) -> None:
        self._serving = serving

    def collect(self) -> Iterator[Metric]:
        epochs = GaugeMetricFamily(
            "homeostat_serving_epoch",
            "The epoch of the decision in force.",
            labels=("model", "version", "arrangement"),
        )
        shares = GaugeMetricFamily(
            "homeostat_serving_share",
            "The share of the requests that a version answers.",
            labels=("model", "version"),
        )
        signed = GaugeMetricFamily(
            "homeostat_serving_signed",
            "1: the version in memory had a valid signature when it was loaded. 0: nobody vouched for it.",
            labels=("model", "version", "key"),
        )
        for served in self._serving():
            for loaded in served.versions:
                valid = loaded.signature.state == "valid"
                signed.add_metric((served.model, loaded.version, loaded.signature.key), float(valid))
            arrangement = served.arrangement
            decided = served.decided.loaded.version
            epochs.add_metric((served.model, decided, arrangement.hash), served.epoch)
            answering = not arrangement.paused and arrangement.constant is None
            rest = 1.0 - sum(arrangement.shares.values())
            for version, share in {decided: rest, **arrangement.shares}.items():
                shares.add_metric((served.model, version), share if answering else 0.0)
        yield epochs
        yield shares
        yield signed
