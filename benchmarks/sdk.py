"""How long `homeostat.log` holds up its host: one dict of 13 numbers a call, timed call by call.

Paced: 20,000 events a second, in ticks of a millisecond as a server's event loop would, while the background
thread packs and sends. Burst: as fast as the host can. `down`: the broker's address refuses connections; `full`: so
does it, and memory is full. The peers do less work (they keep no promise about delivery). All take turns of a
second in one process, so that what disturbs one disturbs the others. p99.9 has a target where calls are paced. A
burst is one long computation, and its tail is when the system interrupts it: read it beside the peers.

    uv run python -m benchmarks.sdk --json
"""

import asyncio
import collections
import gc
import json
import logging
import logging.handlers
import queue
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.report import Scenario, parser, say, show
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from homeostat import Client

Features: TypeAlias = dict[str, float]
Call: TypeAlias = Callable[[str, Features], Any]
Times: TypeAlias = npt.NDArray[np.float64]

NOBODY = "127.0.0.1:1"
FEATURES = 13
RATE_PER_S = 20_000
TICK_S = 0.001
BURST_ROWS = 20_000
QUEUE = "logging.QueueHandler + json.dumps"
DEQUE = "deque.append(dict.copy())"
TARGETS_US = {"median_us": 2.0, "burst.median_us": 2.0, "p999_us": 50.0}


def paced(call: Call, rows: list[Features], prefix: str) -> Times:
    """Microseconds of each call, a second's worth of calls spread over it in ticks."""
    per_tick = int(RATE_PER_S * TICK_S)
    ids = [f"{prefix}-{i:08d}-9f86d081884c7d65" for i in range(RATE_PER_S)]
    taken_ns = np.empty(RATE_PER_S, dtype=np.int64)
    clock_ns = time.perf_counter_ns
    begun_s = time.perf_counter()
    for first in range(0, RATE_PER_S, per_tick):
        wait_s = begun_s + first / RATE_PER_S - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        for i in range(first, first + per_tick):
            id, features = ids[i], rows[i % len(rows)]
            start_ns = clock_ns()
            call(id, features)
            taken_ns[i] = clock_ns() - start_ns
    return taken_ns / 1e3


def burst(call: Call, rows: list[Features], prefix: str) -> Times:
    """Microseconds of each call, one after the other."""
    ids = [f"{prefix}-{i:08d}-9f86d081884c7d65" for i in range(BURST_ROWS)]
    taken_ns = np.empty(BURST_ROWS, dtype=np.int64)
    clock_ns = time.perf_counter_ns
    for i, id in enumerate(ids):
        features = rows[i % len(rows)]
        start_ns = clock_ns()
        call(id, features)
        taken_ns[i] = clock_ns() - start_ns
    return taken_ns / 1e3


def in_turns(contenders: dict[str, Call], rows: list[Features], rounds: int) -> dict[str, dict[str, float]]:
    """Median and p99.9 of both loads, in microseconds, of each contender."""
    found: dict[str, dict[str, list[Times]]] = {name: {"": [], "burst.": []} for name in contenders}
    for turn in range(rounds):
        for name, call in contenders.items():
            gc.collect()
            found[name][""].append(paced(call, rows, f"request-{turn}"))
            found[name]["burst."].append(burst(call, rows, f"burst-{turn}"))
    figures = {
        name: {
            f"{load}{measure}": float(np.quantile(np.concatenate(times), quantile))
            for load, times in loads.items()
            for measure, quantile in (("median_us", 0.5), ("p999_us", 0.999))
        }
        for name, loads in found.items()
    }
    for name, values in figures.items():
        say(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in values.items()))
    return figures


@contextmanager
def client_of(broker: str, **settings: Any) -> Generator[Call]:
    """The SDK against a broker, or against an address where none is."""
    client = Client()
    client.open(broker, **({"max_rows": 1_000_000, "max_bytes": 1 << 30, "exit_timeout_s": 0} | settings))
    try:
        yield lambda id, features: client.log(
            "churn", version="7", id=id, features=features, prediction=1, score=0.83
        )
        if broker != NOBODY and not client.flush(60):
            raise RuntimeError(f"not all events were acknowledged: {client.stats()}")
        stats = client.stats()
        if stats.rejected or (stats.dropped and not settings):
            raise RuntimeError(f"events were lost: {stats}")
    finally:
        client.close(timeout_s=0)


@contextmanager
def queue_handler() -> Generator[Call]:
    """Python's own way not to wait for a log: JSON into a queue that a thread empties."""
    line: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    log = logging.getLogger("benchmarks.sdk.peer")
    log.propagate = False
    log.setLevel(logging.INFO)
    handler = logging.handlers.QueueHandler(line)
    log.addHandler(handler)
    listener = logging.handlers.QueueListener(line, logging.NullHandler())
    listener.start()
    try:
        yield lambda id, features: log.info(
            json.dumps({"id": id, "prediction": 1, "score": 0.83, **features})
        )
    finally:
        listener.stop()
        log.removeHandler(handler)


def create_topic(broker: KafkaBroker, name: str) -> None:
    """The events topic on a broker of the benchmark's own."""

    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, 3, 1)])
        finally:
            await admin.close()

    asyncio.run(create())


def main() -> int:
    options = parser("How long homeostat.log holds up its host.")
    options.add_argument("--rounds", type=int, default=5, help="turns of a second for each (default: 5)")
    chosen = options.parse_args()
    rng = np.random.default_rng(chosen.seed)
    names = [f"feature_{i}" for i in range(FEATURES)]
    rows = [dict(zip(names, values, strict=True)) for values in rng.normal(size=(1_000, FEATURES)).tolist()]
    line: collections.deque[Features] = collections.deque(maxlen=100_000)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        config = KafkaConfig(Path(folder) / "kafka")
        broker = stack.enter_context(KafkaBroker(config, launcher=parent_bound_launcher()))
        create_topic(broker, "homeostat.events")
        contenders: dict[str, Call] = {
            QUEUE: stack.enter_context(queue_handler()),
            DEQUE: lambda id, features: line.append(features.copy()),
            "sdk.log.": stack.enter_context(client_of(broker.bootstrap)),
            "sdk.log.down.": stack.enter_context(client_of(NOBODY)),
            "sdk.log.full.": stack.enter_context(client_of(NOBODY, max_rows=1_000)),
        }
        for call in contenders.values():
            for i in range(2_000):
                call(f"warm-{i}", rows[i % len(rows)])
        found = in_turns(contenders, rows, chosen.rounds)
    scenarios = [
        Scenario(
            id=prefix + measure,
            value=value,
            unit="us",
            higher_is_better=False,
            peers={name: found[name][measure] for name in (QUEUE, DEQUE)},
            target=TARGETS_US.get(measure),
        )
        for prefix, figures in found.items()
        if prefix.startswith("sdk.")
        for measure, value in figures.items()
    ]
    return show(scenarios, as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
