"""From `homeostat.log` to the metric point of the window that the event closes, on a real broker.

    uv run python -m benchmarks.latency --json

A window closes with the first event after the end of its last pane and the watermark delay. Scenario
`latency.window.p99_s`: from that moment to the arrival of the window's first point at a consumer, less the
SDK's linger. The two workers run as processes, with the settings of the local stack.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

import homeostat
from benchmarks.broker import running
from benchmarks.report import Scenario, parser, say, show
from benchmarks.workload import Workload
from detectors.values import MetricPoint
from streams.control.configuration import monitor_record, reference_record
from streams.topics import CONTROL, METRICS

_RATE = 2_000.0
_LINGER_S = 0.2
_PROGRAM = """
import sys
from pathlib import Path
from streams.app import StreamsConfig, run_judge, run_profile
role, broker, folder, interval_s = sys.argv[1:5]
ready = Path(folder) / f"{role}.ready"
run = {"profile": run_profile, "judge": run_judge}[role]
run(StreamsConfig(broker=broker, data_dir=Path(folder), partitions=1, checkpoint_interval_s=float(interval_s),
                  ready_callback=ready.touch))
"""


def main() -> int:
    """Run the scenario."""
    options = parser(__doc__ or "")
    options.add_argument("--seconds", type=float, default=60.0, help="how long to log (default: 60)")
    options.add_argument(
        "--interval", type=float, default=0.5, help="seconds between checkpoints (default: 0.5)"
    )
    given = options.parse_args()
    delays_s = _measure(given.seconds, given.interval, given.seed)
    say(f"{len(delays_s)} windows; median {np.median(delays_s):.3f} s, most {np.max(delays_s):.3f} s")
    scenario = Scenario(
        id="latency.window.p99_s",
        value=float(np.quantile(delays_s, 0.99)),
        unit="s beside the linger",
        higher_is_better=False,
        peers={"median s": float(np.median(delays_s)), "windows": float(len(delays_s))},
        target=1.0,
    )
    return show([scenario], as_json=given.json)


def _measure(seconds: float, interval_s: float, seed: int) -> list[float]:
    workload = Workload(events=0, seed=seed)
    monitor = msgspec.structs.replace(
        workload.monitor(), window_rows=int(_RATE / 4), pane_s=0.5, watermark_delay_s=0.5
    )
    with running(1) as (broker, folder):
        asyncio.run(_configure(broker, monitor_record(monitor), reference_record(workload.reference())))
        workers = [_start(role, broker, folder, interval_s) for role in ("profile", "judge")]
        try:
            return asyncio.run(_log_and_watch(broker, workload, seconds, monitor.watermark_delay_s, seed))
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(30)


def _start(role: str, broker: str, folder: Path, interval_s: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _PROGRAM, role, broker, str(folder), str(interval_s)]
    with (folder / f"{role}.log").open("ab") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 90
    while not (folder / f"{role}.ready").exists():
        if worker.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{role} is not ready:\n" + (folder / f"{role}.log").read_text()[-3_000:])
        time.sleep(0.1)
    return worker


async def _configure(broker: str, *records: tuple[bytes, bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for key, value in records:
            await producer.send_and_wait(CONTROL, value, key=key, partition=0)


async def _log_and_watch(
    broker: str, workload: Workload, seconds: float, delay_s: float, seed: int
) -> list[float]:
    arrived_s: dict[int, float] = {}
    watching = asyncio.create_task(_watch(broker, arrived_s))
    await asyncio.to_thread(_log, broker, workload, seconds, seed)
    await asyncio.sleep(3.0)
    watching.cancel()
    first, *rest = sorted(arrived_s)
    return [arrived_s[end_us] - end_us / 1e6 - delay_s - _LINGER_S for end_us in rest if end_us > first]


async def _watch(broker: str, arrived_s: dict[int, float]) -> None:
    async with AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed") as consumer:
        consumer.assign([TopicPartition(METRICS, 0)])
        async for record in consumer:
            if dict(record.headers).get("kind") == b"point":
                point = msgspec.json.decode(record.value, type=MetricPoint)
                arrived_s.setdefault(point.end_us, time.time())


def _log(broker: str, workload: Workload, seconds: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    homeostat.init(broker, linger_s=_LINGER_S)
    start_s = time.monotonic()
    sent = 0
    while (passed_s := time.monotonic() - start_s) < seconds:
        due = int(passed_s * _RATE)
        for number in range(sent, due):
            values = rng.standard_normal(workload.features).tolist()
            features = dict(zip(workload.names, values, strict=True))
            homeostat.log(
                workload.model, version="1", id=f"l{number}", features=features, prediction=1, score=0.7
            )
        sent = due
        time.sleep(0.005)
    homeostat.close()


if __name__ == "__main__":
    sys.exit(main())
