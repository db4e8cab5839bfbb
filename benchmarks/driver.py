"""What the way from the broker to a stage costs: a worker whose stage does nothing, beside a bare `getmany`.

Each runs in a process of its own over the same topic of batches (1,000 rows, 13 float64 features, about 110 kB); CPU
time of all threads counts, from the first record to the last.

Example: `uv run python -m benchmarks.driver --json`
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from aiokafka import AIOKafkaProducer

from benchmarks.report import Scenario, parser, say, show
from deploy.stack.kafka import KafkaBroker, KafkaConfig
from homeostat.contract import PredictionBatch, encode_predictions, headers_of
from streams.broker.admin import ensure_topics
from streams.topics import EVENTS, TopicSpec, all_topics

ROWS = 1_000

_BARE = """
import asyncio, json, sys, time
from aiokafka import AIOKafkaConsumer, TopicPartition
async def main(broker, topic, last):
    where = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed", enable_auto_commit=False,
        auto_offset_reset="earliest", max_partition_fetch_bytes=2 * 1024 * 1024)
    await consumer.start()
    consumer.assign([where])
    started, at = None, -1
    while at < last:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=500)).values():
            if started is None:
                started, first = time.process_time(), records[-1].offset
            for record in records:
                at = record.offset
    print(json.dumps({"cpu_s": time.process_time() - started, "records": at - first}))
    await consumer.stop()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""

_WORKER = """
import functools, json, sys, time
from pathlib import Path
from streams.worker.runtime import Role, StreamsConfig, run_worker
from streams.stages import Flush, Snapshot
class Null:
    offset, started, first, flushed, samples = -1, None, 0, -1, lambda self: ()
    def __init__(self, last, partition, configuration):
        self.last = last
    def unconfigured(self, record):
        return None
    def process(self, record):
        self.offset = record.offset
        if self.started is None:
            self.started, self.first = time.process_time(), record.offset
        if record.offset >= self.last:
            print(json.dumps({"cpu_s": time.process_time() - self.started, "records": self.offset - self.first}),
                flush=True)
    def tick(self, now_us, caught_up):
        pass
    def flush(self, final=False):
        if self.offset == self.flushed:
            return None
        self.flushed = self.offset
        return Flush()
    def snapshot(self, written):
        return Snapshot(b"", {})
    def restore(self, offset, state, log):
        self.offset = offset
config = StreamsConfig(broker=sys.argv[1], data_dir=Path(sys.argv[4]), partitions=1, checkpoint_interval_s=1.0)
run_worker(config, Role(sys.argv[5], sys.argv[2], sys.argv[5],
    functools.partial(Null, int(sys.argv[3]))))
"""


def measure(code: str, *arguments: str) -> float:
    """Microseconds of CPU per record; the process is ended when it has told."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        told = json.loads(next(line for line in process.stdout if line.startswith(b'{"cpu_s"')))
    finally:
        process.terminate()
        process.wait(30)
    return float(told["cpu_s"] / told["records"] * 1e6)


async def fill(broker: str, records: int, seed: int, rounds: int) -> None:
    """A topic of `records` batches on one partition, and a place for the checkpoints of each round."""
    await ensure_topics(broker, [*all_topics(1), *(TopicSpec(f"null-{n}", 1) for n in range(rounds))])
    rng = np.random.default_rng(seed)
    batch = PredictionBatch.of(
        model="bench",
        version="1",
        producer="p",
        sequence=0,
        ids=[f"{number:036d}" for number in range(ROWS)],
        times_us=np.arange(ROWS, dtype=np.int64) + 1_760_000_000_000_000,
        predictions=rng.integers(0, 2, ROWS).astype(float),
        scores=rng.random(ROWS),
        features={f"f{number}": rng.normal(size=ROWS) for number in range(13)},
    )
    value, headers = encode_predictions(batch), list(headers_of(batch))
    async with AIOKafkaProducer(bootstrap_servers=broker, max_batch_size=1_000_000, linger_ms=5) as producer:
        sent = [await producer.send(EVENTS, value, headers=headers, partition=0) for _ in range(records)]
        await asyncio.gather(*sent)


def main() -> int:
    """Run it; the exit code is 1 when the target is missed."""
    options = parser(__doc__ or "")
    options.add_argument("--records", type=int, default=6_000, help="batches in the topic (default: 6000)")
    options.add_argument("--rounds", type=int, default=3, help="the best of so many counts (default: 3)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(KafkaConfig(Path(folder) / "kafka")) as broker:
        address, last = broker.bootstrap, chosen.records - 1
        say(f"Writing {chosen.records} batches of {ROWS} rows.")
        asyncio.run(fill(address, chosen.records, chosen.seed, chosen.rounds))
        bare, worker = [], []
        for number in range(chosen.rounds):
            bare.append(measure(_BARE, address, EVENTS, str(last)))
            role = f"null-{number}"
            # Another role each time is a new group, and its own checkpoints.
            worker.append(measure(_WORKER, address, EVENTS, str(last), folder, role))
            say(f"Round {number + 1}: bare {bare[-1]:.0f}, worker {worker[-1]:.0f} us of CPU per batch.")
    return show(
        [
            Scenario(
                id="driver.null_stage.ratio",
                value=min(bare) / min(worker),
                unit="of a bare getmany",
                higher_is_better=True,
                peers={"getmany_us_per_batch": min(bare), "worker_us_per_batch": min(worker)},
                target=0.8,
            )
        ],
        as_json=chosen.json,
    )


if __name__ == "__main__":
    sys.exit(main())
