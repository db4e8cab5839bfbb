"""The profile worker against the bare limit: rows per CPU-second from a topic that already holds the events.

    uv run python -m benchmarks.stream --json

Scenarios: `stream.float64.1000.ratio` and so on, by type of the features and rows of a batch (profile worker : bare
aiokafka `getmany`, both in rows per CPU-second, start-up excluded), `stream.faust.times` (profile worker : Faust with
one JSON event per message). What `getmany` costs differs up to twofold from run to run, by how the C library gives
memory back: it is run before the worker and behind it, in each round, and the medians of all rounds are compared.
"""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from benchmarks.broker import fill, running
from benchmarks.report import Scenario, parser, say, show
from benchmarks.workload import Workload
from streams.broker.admin import ensure_topics
from streams.topics import EVENTS, TopicSpec

_FAUST_EVENTS = 60_000
_DEADLINE_S = 900.0
_PEERS_BEFORE, _PEERS_AFTER = 2, 1


def main() -> int:
    """Run the scenarios."""
    options = parser(__doc__ or "")
    options.add_argument("--events", type=int, default=2_000_000, help="events per run (default: 2,000,000)")
    options.add_argument(
        "--batch-rows",
        type=int,
        nargs="+",
        default=[1_000, 2_000],
        help="rows of a batch (default: 1000 2000)",
    )
    options.add_argument(
        "--rounds", type=int, default=2, help="runs of the worker, 3 peers beside each (default: 2)"
    )
    options.add_argument("--no-faust", action="store_true", help="leave the slow peer out")
    given = options.parse_args()
    found: list[Scenario] = []
    for dtype, target in (("float64", 0.35), ("float32", 0.25)):
        for batch_rows in given.batch_rows:
            workload = Workload(events=given.events, dtype=dtype, seed=given.seed, batch_rows=batch_rows)
            found.append(_ratio(workload, target, given.rounds))
    if not given.no_faust:
        faust = _faust()
        best = found[0].peers["homeostat rows per CPU-second"]
        found.append(
            Scenario(
                id="stream.faust.times",
                value=best / faust,
                unit="times",
                higher_is_better=True,
                peers={"faust events per CPU-second": faust},
                target=80.0,
            )
        )
    return show(found, as_json=given.json)


class _Measured(NamedTuple):
    """Rows per CPU-second: of bare readers, of one with our memory settings, of the worker; and its peak memory."""

    bare: list[float]
    settled: float
    worker: float
    peak_mb: float


def _ratio(workload: Workload, target: float, rounds: int) -> Scenario:
    measured = [_measure(workload) for _ in range(rounds)]
    bare = [one for each in measured for one in each.bare]
    limit, mine = median(bare), median(each.worker for each in measured)
    say(f"{workload.dtype}: {mine:,.0f} of {limit:,.0f} rows per CPU-second")
    return Scenario(
        id=f"stream.{workload.dtype}.{workload.batch_rows}.ratio",
        value=mine / limit,
        unit="of bare getmany",
        higher_is_better=True,
        peers={
            "getmany rows per CPU-second": limit,
            "getmany at least": min(bare),
            "getmany at most": max(bare),
            "getmany with our memory settings": median(each.settled for each in measured),
            "homeostat rows per CPU-second": mine,
            "homeostat at least": min(each.worker for each in measured),
            "homeostat at most": max(each.worker for each in measured),
            "homeostat peak memory MB": max(each.peak_mb for each in measured),
        },
        target=target,
    )


def _measure(workload: Workload) -> _Measured:
    """Once on a broker of its own: bare readers before the worker and behind it."""
    with running(1) as (broker, folder):
        say(f"{workload.dtype}: filling the topic with {workload.events:,} events")
        rows = asyncio.run(fill(broker, workload))
        found = [peer("getmany", broker, EVENTS, 1) for _ in range(_PEERS_BEFORE)]
        settled = peer("getmany_settled", broker, EVENTS, 1)
        samples = work(broker, folder, records=int(settled["records"]))
        found += [peer("getmany", broker, EVENTS, 1) for _ in range(_PEERS_AFTER)]
    if len(samples) < 2:
        raise SystemExit(
            f"{workload.events:,} events were done before they could be timed: give more --events"
        )
    share = (samples[-1]["records"] - samples[0]["records"]) / settled["records"]
    return _Measured(
        bare=[rows / one["cpu_s"] for one in found],
        settled=rows / settled["cpu_s"],
        worker=share * rows / (samples[-1]["cpu_s"] - samples[0]["cpu_s"]),
        peak_mb=samples[-1]["peak_kb"] / 1024,
    )


def peer(which: str, broker: str, topic: str, number: int) -> dict[str, float]:
    """Run a peer in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.peers", which, broker, topic, str(number)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def work(broker: str, folder: Path, records: int, partitions: int = 1) -> list[dict[str, float]]:
    """Run one profile worker until it has taken all records; what it wrote down."""
    samples = folder / "samples.jsonl"
    command = [sys.executable, "-m", "benchmarks.stream_worker", broker, str(folder), str(partitions), "0"]
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen([*command, str(samples)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            lines = samples.read_text().splitlines() if samples.exists() else []
            found = [json.loads(line) for line in lines]
            if found and found[-1]["records"] >= records:
                break
            if worker.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    "the worker did not come to the end:\n" + (folder / "worker.log").read_text()[-3_000:]
                )
            time.sleep(0.2)
    finally:
        worker.terminate()
        worker.wait(30)
    done = next(i for i, sample in enumerate(found) if sample["records"] >= records)
    return found[: done + 1]


def _faust() -> float:
    """Events per CPU-second of Faust with single JSON events."""
    with running(1) as (broker, _):
        say(f"faust: {_FAUST_EVENTS:,} single JSON events")
        asyncio.run(_single_events(broker))
        found = peer("faust", broker, "bench.json", _FAUST_EVENTS)
        return found["records"] / found["cpu_s"]


async def _single_events(broker: str) -> None:
    names = Workload(events=0).names
    await ensure_topics(broker, [TopicSpec("bench.json", 1)])
    async with AIOKafkaProducer(bootstrap_servers=broker, linger_ms=5) as producer:
        for number in range(_FAUST_EVENTS):
            features = dict.fromkeys(names, number / 7)
            event = {"kind": "prediction", "model": "bench", "version": "1", "id": f"request-{number}"}
            event |= {
                "time": 1_760_000_000 + number / 1000,
                "features": features,
                "prediction": 1,
                "score": 0.7,
            }
            await producer.send("bench.json", json.dumps(event).encode(), partition=0)
        await producer.flush()


if __name__ == "__main__":
    sys.exit(main())
