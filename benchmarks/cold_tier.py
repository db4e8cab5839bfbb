"""The cold tier of the label join: memory per event id, and what a label costs whose prediction is in a segment.

    uv run python -m benchmarks.cold_tier --json

Scenarios: `cold.memory.bytes_per_id` (resident memory less mapped files that a profile stage gains while ids pass,
per id in the label horizon; hot horizon 10 s at 100,000 events per second), `cold.join.us_per_label` (labels in
batches of 1,000 for random predictions of the first half). Peer of both: everything in memory. `cold.flush.ms` is the
longest flush, in which segments are written and merged; `cold.stall.ms` the longest time in which the worker's event
loop did nothing else meanwhile.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.report import Scenario, parser, say, show
from benchmarks.workload import START_US, Workload
from homeostat.contract import LabelBatch, encode_labels, headers_of
from streams.control.configuration import Configuration
from streams.profile.cold_store import FolderSegments
from streams.profile.cold_tier import ColdConfig
from streams.profile.stage import ProfileStage
from streams.profile.warm import warm_up
from streams.stages import InputRecord
from streams.topics import EVENTS

_FLUSH_EVERY = 50
_LABELS = 200_000
_BATCH = 1_000
_TICK_S = 0.001


def main() -> int:
    """Run the scenarios, each configuration in a process of its own."""
    options = parser(__doc__ or "")
    options.add_argument("--events", type=int, default=10_000_000, help="predictions (default: 10,000,000)")
    options.add_argument("--measure", choices=("cold", "hot"), help="print one configuration's figures")
    given = options.parse_args()
    if given.measure:
        print(json.dumps(_measure(given.events, given.seed, cold=given.measure == "cold")))
        return 0
    found: dict[str, dict[str, float]] = {}
    for name in ("cold", "hot"):
        say(f"{name}: {given.events:,} predictions, then {_LABELS:,} labels")
        command = [sys.executable, "-m", "benchmarks.cold_tier", "--measure", name]
        command += ["--events", str(given.events), "--seed", str(given.seed)]
        found[name] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    cold, hot = found["cold"], found["hot"]
    return show(
        [
            Scenario(
                id="cold.memory.bytes_per_id",
                value=cold["bytes_per_id"],
                unit="bytes",
                higher_is_better=False,
                peers={"all in memory": hot["bytes_per_id"], "segments": cold["segments"]},
                target=hot["bytes_per_id"] * 0.75,
            ),
            Scenario(
                id="cold.join.us_per_label",
                value=cold["us_per_label"],
                unit="us",
                higher_is_better=False,
                peers={"all in memory": hot["us_per_label"]},
            ),
            Scenario(
                id="cold.flush.ms",
                value=cold["flush_ms"],
                unit="ms",
                higher_is_better=False,
                peers={"all in memory": hot["flush_ms"]},
            ),
            Scenario(
                id="cold.stall.ms",
                value=cold["stall_ms"],
                unit="ms",
                higher_is_better=False,
                peers={"all in memory": hot["stall_ms"]},
            ),
        ],
        as_json=given.json,
    )


class _Run:
    """One stage that is flushed now and then, its log counted and thrown away."""

    def __init__(self, stage: ProfileStage) -> None:
        self.stage = stage
        self.flush_ms = self.stall_ms = 0.0
        self._ends: dict[str, int] = {}

    def take(self, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        offset = self.stage.offset + 1
        self.stage.process(InputRecord(EVENTS, 0, offset, b"", value, tuple(headers)))
        if offset % _FLUSH_EVERY == 0:
            start_s = time.perf_counter()
            asyncio.run(self._save())
            self.flush_ms = max(self.flush_ms, 1e3 * (time.perf_counter() - start_s))

    async def _save(self) -> None:
        """As a worker does it: what takes long in a thread, the rest in the loop."""
        watch = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        work = self.stage.slow_work()
        if work is not None:
            await asyncio.to_thread(work)
        self._flush()
        await asyncio.sleep(2 * _TICK_S)
        watch.cancel()

    async def _watch(self) -> None:
        last_s = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = time.perf_counter()
            self.stall_ms, last_s = max(self.stall_ms, 1e3 * (now_s - last_s - _TICK_S)), now_s

    def _flush(self) -> None:
        flush = self.stage.flush()
        if flush is not None:
            written: dict[str, list[int]] = {}
            for topic, deltas in flush.deltas.items():
                end = self._ends.get(topic, 0)
                written[topic] = list(range(end, end + len(deltas)))
                self._ends[topic] = end + len(deltas)
            self.stage.snapshot(written)
            self.stage.committed()


def _measure(events: int, seed: int, *, cold: bool) -> dict[str, float]:
    workload = Workload(events=events, features=6, seed=seed, horizon_s=1e6)
    configuration = Configuration()
    configuration.add_monitor(msgspec.structs.replace(workload.monitor(), lateness_s=5.0, hot_horizon_s=10.0))
    configuration.add_reference(workload.reference())
    warm_up()
    with tempfile.TemporaryDirectory(prefix="homeostat-cold-") as folder:
        store = FolderSegments(Path(folder))
        run = _Run(ProfileStage(0, 1, configuration, ColdConfig(store) if cold else None))
        before = _anonymous_bytes()
        for _, value, headers, _ in workload.records():
            run.take(value, headers)
        gained = _anonymous_bytes() - before
        batches = [_labels(events, seed + number, number) for number in range(_LABELS // _BATCH)]
        start_s = time.process_time()
        for value, headers in batches:
            run.take(value, headers)
        return {
            "bytes_per_id": gained / events,
            "us_per_label": 1e6 * (time.process_time() - start_s) / _LABELS,
            "flush_ms": run.flush_ms,
            "stall_ms": run.stall_ms,
            "segments": float(len(store.names())),
        }


def _labels(events: int, seed: int, sequence: int) -> tuple[bytes, list[tuple[str, bytes]]]:
    numbers = np.random.default_rng(seed).integers(0, events // 2, _BATCH)
    batch = LabelBatch.of(
        model="bench",
        producer="late",
        sequence=sequence,
        ids=[f"request-{number:012d}" for number in numbers.tolist()],
        times_us=np.full(_BATCH, START_US + int(events / 100_000 * 1e6)),
        values=(numbers % 2).astype(np.float64),
    )
    return encode_labels(batch), headers_of(batch)


def _anonymous_bytes() -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.split("RssAnon:")[1].split()[0])


if __name__ == "__main__":
    sys.exit(main())
