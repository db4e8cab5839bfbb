"""Batches that are not what was written are refused, as aiokafka refuses them."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams.broker.checksums import intact_bytes
from tests.patience import PATIENCE_S
from tests.streams.running import counts, make_counting_topics, send_numbers

WORKER = """
import sys
from pathlib import Path
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from streams.worker.runtime import StreamsConfig, run_worker
from tests.streams.counting import counting_role
broker, prefix, folder = sys.argv[1:4]
send = AIOKafkaClient.send
async def flip(self, node_id, request, **options):
    response = await send(self, node_id, request, **options)
    for topic, partitions in response.topics if isinstance(request, FetchRequest) else ():
        for place, fields in enumerate(partitions):
            if topic == f"{prefix}.in" and b"[13]" in fields[-1]:
                partitions[place] = (*fields[:-1], fields[-1].replace(b"[13]", b"[12]"))
    return response
AIOKafkaClient.send = flip
run_worker(
    StreamsConfig(broker=broker, data_dir=Path(folder), partitions=1, checkpoint_interval_s=0.2),
    counting_role(prefix),
)
"""


def batch(first_offset: int, compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1_000_000)
    for number in range(3):
        builder.append(number, 1_000 + number, b"key", b"value" * 20, [("header", b"1")])
    found = bytearray(builder.build())
    found[:8] = first_offset.to_bytes(8, "big")
    return bytes(found)


def believed_by_aiokafka(batches: bytes) -> int:
    """How many batches there are before the first one that it would refuse."""
    records, count = MemoryRecords(batches), 0
    while records.has_next():
        try:
            if not records.next_batch().validate_crc():
                return count
        except CorruptRecordException:
            return count
        count += 1
    return count


@pytest.mark.parametrize("kind", [batch(7), batch(7, compression=1)], ids=["plain", "gzip"])
def test_a_flipped_byte_is_found_wherever_aiokafka_finds_it(kind: bytes) -> None:
    whole = batch(0) + kind + batch(9)
    assert intact_bytes(whole) == len(whole)
    rng = np.random.default_rng(1)
    refused = 0
    for at in (*range(8), *range(12, 16), *range(17, len(kind))):
        damaged = bytearray(whole)
        damaged[len(batch(0)) + at] ^= int(rng.integers(1, 256))
        intact = intact_bytes(bytes(damaged))
        assert believed_by_aiokafka(bytes(damaged)) == believed_by_aiokafka(bytes(damaged[:intact]))
        assert (intact < len(whole)) == (believed_by_aiokafka(bytes(damaged)) < 3)
        refused += intact < len(whole)
    assert refused == len(kind) - 17


@pytest.mark.parametrize("format", [0, 1, 3, 128])
def test_no_other_format_is_believed(format: int) -> None:
    damaged = bytearray(batch(0) + batch(3))
    damaged[len(batch(0)) + 16] = format
    assert intact_bytes(bytes(damaged)) == len(batch(0))


@pytest.mark.parametrize("length", [-(2**31), -13, -12, -1, 0, 8, 9, 60, 2**31 - 1])
def test_a_length_that_lies_ends_the_reading(length: int) -> None:
    damaged = bytearray(batch(0) + batch(3))
    damaged[len(batch(0)) + 8 : len(batch(0)) + 12] = length.to_bytes(4, "big", signed=True)
    cut_off = length > len(batch(3))
    assert intact_bytes(bytes(damaged)) == (len(damaged) if cut_off else len(batch(0)))


def test_a_batch_that_is_cut_off_is_not_damaged() -> None:
    whole = batch(0) + batch(3)
    for size in range(len(whole)):
        assert intact_bytes(whole[:size]) == size


@pytest.mark.slow
async def test_a_worker_ends_at_a_damaged_batch(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    await make_counting_topics(kafka, topic_prefix)
    await send_numbers(kafka, topic_prefix, [[number] for number in range(10, 20)])
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", WORKER, kafka, topic_prefix, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout
    assert f"{topic_prefix}.in/0 at offset 0: the batch there is not what was written" in ended.stdout
    assert await counts(kafka, topic_prefix) == []
