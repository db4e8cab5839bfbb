"""From single JSON events to profiles: the gate and the profile worker together, against a bare consume-and-decode.

    uv run python -m benchmarks.ingest --json

Scenario `ingest.json.to_profile.ratio`: a topic holds the events as single JSON objects, a label for every fifth among
them. The peer reads them with aiokafka's `getmany` and decodes each with orjson. Ours is a gate process and a profile
worker process at the same time, with all default monitors and a checkpoint every second, until every row is profiled;
the CPU-seconds of both, with all their threads, are added. Imports are not counted, nor is what the profile worker does
before its first record.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.broker import running
from benchmarks.gate import WORKERS
from benchmarks.report import Scenario, parser, say, show
from benchmarks.workload import Workload
from homeostat.contract import LabelBatch, PredictionBatch, decode
from streams.control.configuration import monitor_record, reference_record
from streams.gate.config import GateConfig
from streams.topics import CONTROL, EVENTS, INGEST

_DEADLINE_S = 600.0


def main() -> int:
    options = parser(
        "Single JSON events through the gate to profiles, against a bare consume-and-decode loop."
    )
    options.add_argument("--events", type=int, default=1_000_000, help="predictions (default: 1000000)")
    options.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    options.add_argument("--broker", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        work = WORKERS[given.worker](GateConfig(broker=given.broker), 1, given.events)
        print(json.dumps({"cpu_s": asyncio.run(work)}))
        return 0
    with running(1) as (broker, folder):
        return show([_measure(broker, folder, given.events, given.seed)], as_json=given.json)


def _measure(broker: str, folder: Path, events: int, seed: int) -> Scenario:
    say(f"Writing {events:,} predictions and a fifth as many labels.")
    rows = asyncio.run(_fill(broker, Workload(events=events, seed=seed, batch_rows=2_000)))
    bare_s = _worker("bare", broker, rows)
    say(f"bare: {rows / bare_s:,.0f} events per CPU-second")
    settled_s = _worker("settled", broker, rows)
    with _profile_worker(broker, folder) as samples:
        first = _first(samples)
        gate_s = _worker("gate", broker, rows)
        last = _last(samples, asyncio.run(_end(broker)))
    profile_s = last["cpu_s"] - first["cpu_s"]
    say(f"gate: {rows / gate_s:,.0f}, profile worker: {rows / profile_s:,.0f} events per CPU-second")
    return Scenario(
        id="ingest.json.to_profile.ratio",
        value=bare_s / (gate_s + profile_s),
        unit="of bare getmany + orjson",
        higher_is_better=True,
        peers={
            "getmany + orjson events per CPU-second": rows / bare_s,
            "the same with our memory and fetch settings": rows / settled_s,
            "gate events per CPU-second": rows / gate_s,
            "profile worker events per CPU-second": rows / profile_s,
            "gate + profile worker events per CPU-second": rows / (gate_s + profile_s),
        },
        target=0.5,
    )


async def _fill(broker: str, workload: Workload) -> int:
    rows = 0
    async with AIOKafkaProducer(bootstrap_servers=broker, linger_ms=20, max_batch_size=262_144) as producer:
        for key, value in (monitor_record(workload.monitor()), reference_record(workload.reference())):
            await producer.send_and_wait(CONTROL, value, key=key, partition=0)
        for _, batch, headers, _ in workload.records():
            for event in _events(decode(batch, headers)):
                await producer.send(INGEST, orjson.dumps(event), partition=0)
                rows += 1
        await producer.flush()
    return rows


def _events(batch: PredictionBatch | LabelBatch) -> Iterator[dict[str, object]]:
    times_s = (batch.times_us / 1e6).tolist()
    if isinstance(batch, LabelBatch):
        for name, time_s, value in zip(batch.ids, times_s, batch.values.tolist(), strict=True):
            yield {"kind": "label", "model": batch.model, "id": name, "time": time_s, "value": value}
        return
    names = list(batch.features)
    columns = zip(*(batch.features[name].round(6).tolist() for name in names), strict=True)
    predictions, scores = batch.predictions.tolist(), batch.scores.round(6).tolist()
    for name, time_s, values, prediction, score in zip(
        batch.ids, times_s, columns, predictions, scores, strict=True
    ):
        yield {
            "kind": "prediction",
            "model": batch.model,
            "version": batch.version,
            "id": name,
            "time": time_s,
            "features": dict(zip(names, values, strict=True)),
            "prediction": prediction,
            "score": score,
        }


def _worker(name: str, broker: str, events: int) -> float:
    command = [sys.executable, "-m", "benchmarks.ingest", "--worker", name, "--broker", broker]
    done = subprocess.run([*command, "--events", str(events)], stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["cpu_s"])


@contextmanager
def _profile_worker(broker: str, folder: Path) -> Iterator[Path]:
    samples = folder / "samples.jsonl"
    command = [sys.executable, "-m", "benchmarks.stream_worker", broker, str(folder), "1", "0", str(samples)]
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield samples
        finally:
            worker.terminate()
            worker.wait(30)


def _first(samples: Path) -> dict[str, float]:
    """The first sample that the worker has written down: it is ready, and nothing has come."""
    return _until(samples, -1)


def _last(samples: Path, records: int) -> dict[str, float]:
    """The first sample at which all records were taken."""
    return _until(samples, records)


def _until(samples: Path, records: int) -> dict[str, float]:
    deadline_s = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline_s:
        for line in samples.read_text().splitlines() if samples.exists() else []:
            found = json.loads(line)
            if found["records"] >= records:
                return found
        time.sleep(0.2)
    raise RuntimeError(f"the profile worker did not come to record {records:,}")


async def _end(broker: str) -> int:
    """The records of the events topic, without the mark of the last transaction."""
    place = TopicPartition(EVENTS, 0)
    async with AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed") as consumer:
        return (await consumer.end_offsets([place]))[place] - 1


if __name__ == "__main__":
    sys.exit(main())
