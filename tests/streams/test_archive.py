"""The archive on a real broker, in a folder and on an S3-compatible server: what was sent can be read, once, whatever
is killed."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from homeostat.contract import LabelBatch, PredictionBatch, encode_labels, encode_predictions, headers_of
from streams.archive.erasure import erase
from streams.archive.files import list_files
from streams.archive.lane import Mark
from streams.archive.read import ArchiveReader, ParquetArchive
from streams.archive.status import status_of
from streams.archive.upkeep import Upkeep, UpkeepConfig
from streams.archive.worker import ArchiveConfig, serve_archive
from streams.store import LocalStore, Store, open_store
from tests.streams.archive_parts import DAY_US, START_US, globbed, ids_of, labels, predictions
from tests.streams.parts import Worker, make_topics, until

CODE = """
import json, sys
from streams.archive.worker import ArchiveConfig, run_archive
from streams.archive.upkeep import UpkeepConfig
config = json.loads(sys.argv[1])
run_archive(ArchiveConfig(**config | {"upkeep": UpkeepConfig(**config["upkeep"])}))
"""
ALWAYS_CLOSED = {"settle_s": -1e10}
"""Upkeep that merges whatever it finds: there are files to kill it over."""


@pytest.fixture(scope="module")
def s3() -> Iterator[Callable[[str], str]]:
    """Makes a bucket on a local S3-compatible server, and returns the URI of a prefix in it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()

    def bucket(name: str) -> str:
        address = f"http://{host}:{port}/{name}"
        with urllib.request.urlopen(urllib.request.Request(address, method="PUT")):
            return f"s3://{name}/some/prefix?endpoint_override={host}:{port}&scheme=http&region=us-east-1"

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ACCESS_KEY_ID", "test")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield bucket
    server.stop()


async def _send(
    broker: str, topic: str, batches: Sequence[PredictionBatch | LabelBatch], pause_s: float = 0.0
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for batch in batches:
            value = encode_predictions(batch) if isinstance(batch, PredictionBatch) else encode_labels(batch)
            await producer.send(topic, value, key=batch.model.encode(), headers=headers_of(batch))
            await asyncio.sleep(pause_s)


def _newest(store: Store) -> int:
    """The last offset that is archived, of any partition."""
    return max((file.span.last for file in list_files(store)), default=-1)


def _rows(store: Store, kind: str) -> list[str]:
    """The ids of all models, from files that count."""
    reader = ArchiveReader(store)
    tables = [
        table
        for model in reader.models()
        for _, table in reader.batches(
            model, ["labels" if kind == "labels" else "predictions"], columns=["id"]
        )
    ]
    return ids_of(pa.concat_tables(tables)) if tables else []


@contextlib.asynccontextmanager
async def _running(config: ArchiveConfig, store: Store | None = None):
    stop = asyncio.Event()
    archive = asyncio.create_task(serve_archive(config, stop, store))
    try:
        yield
    finally:
        stop.set()
        await archive


async def test_what_was_sent_is_read_back(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    await make_topics(kafka, {f"{topic_prefix}-events": 3})
    config = ArchiveConfig(
        broker=kafka, group=topic_prefix, location=str(tmp_path), events=f"{topic_prefix}-events", flush_s=0.2
    )
    reader = ParquetArchive(tmp_path)
    async with _running(config):
        await _send(kafka, config.events, [predictions(start, 100) for start in range(0, 1_000, 100)])
        await _send(kafka, config.events, [predictions(0, 10), predictions(0, 10, version="2")])
        await _send(kafka, config.events, [labels(0, 500), labels(100, 10, value=0, at_us=START_US + 1)])
        await _send(kafka, config.events, [labels(5_000, 3), predictions(0, 7, model="../Ünï/ 🚀 %")])
        async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
            await producer.send_and_wait(config.events, b"no arrow", key=b"churn")
        await until("all labels are archived", lambda: reader.labels("churn").num_rows == 513)
        await until("all predictions are archived", lambda: reader.predictions("churn").num_rows == 1_020)
        await until("the other model", lambda: reader.predictions("../Ünï/ 🚀 %").num_rows == 7)
        await until("the bad record is counted", lambda: config.counters.refused_records == 1)
    counters = config.counters
    assert (counters.records, counters.rows, counters.pending_rows) == (17, 1_540, 0)
    assert counters.files == len(list_files(LocalStore(tmp_path)))

    frame = reader.labelled("churn")
    assert list(frame.columns) == [
        *("id", "time_us", "version", "prediction", "score", "label", "label_time_us", "f.x", "f.plan")
    ]
    assert len(frame) == 510
    first = frame[frame["version"] == "1"].reset_index(drop=True)
    numbers = np.arange(500)
    assert first["id"].tolist() == [f"e{number}" for number in numbers]
    np.testing.assert_array_equal(first["time_us"], START_US + numbers * (DAY_US // 100))
    np.testing.assert_array_equal(first["f.x"], numbers / 7)
    assert first["f.plan"].tolist() == [f"plan{number % 3}" for number in numbers]
    np.testing.assert_array_equal(first["label"], np.where((numbers >= 100) & (numbers < 110), 0, 1))

    before = reader.labelled("churn", known_until_us=START_US + 1)
    assert set(before["label"]) == {1}

    since_us, until_us = START_US + DAY_US, START_US + 2 * DAY_US
    part = reader.labelled("churn", since_us=since_us, until_us=until_us)
    whole = first[(first["time_us"] >= since_us) & (first["time_us"] < until_us)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, whole)
    assert reader.labelled("nobody").empty
    assert reader.models() == ["../Ünï/ 🚀 %", "churn"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("storage", "batches", "kills"),
    [
        ("folder", 15, 2),
        ("s3", 12, 1),
        pytest.param("folder", 500, 25, marks=(pytest.mark.soak, pytest.mark.timeout(900))),
        pytest.param("s3", 200, 10, marks=(pytest.mark.soak, pytest.mark.timeout(900))),
    ],
)
async def test_kill_9_in_mid_stream_loses_and_doubles_nothing(
    kafka: str,
    topic_prefix: str,
    tmp_path: Path,
    s3: Callable[[str], str],
    storage: str,
    batches: int,
    kills: int,
) -> None:
    topic, rng = f"{topic_prefix}-events", random.Random(3)
    location = str(tmp_path / "archive") if storage == "folder" else s3(topic_prefix)
    await make_topics(kafka, {topic: 2})
    config = {
        "broker": kafka,
        "group": topic_prefix,
        "instance": "archive-0",
        "location": location,
        "events": topic,
        "flush_s": 0.05,
        "upkeep": ALWAYS_CLOSED,
        "upkeep_every_s": 0.2,
    }
    worker, store = Worker(CODE, config, tmp_path / "archive.log"), open_store(location)
    worker.start()
    models = [f"m{number}" for number in range(3)]
    ids = [f"e{number}" for number in range(batches * 10)]
    rounds = np.array_split(np.arange(batches), kills + 1)
    try:
        for number, numbers in enumerate(rounds):
            newest = _newest(store)
            pairs = [
                (predictions(n * 10, 10, models[n % 3]), labels(n * 10, 10, models[n % 3])) for n in numbers
            ]
            await _send(kafka, topic, [batch for pair in pairs for batch in pair], pause_s=0.02)
            if number < kills:
                await until("it writes", lambda newest=newest: _newest(store) != newest)
                await asyncio.sleep(rng.random() * 0.3)
                worker.kill()
                worker.start()

        def done() -> bool:
            return sum(one.to_data()["rows"] for one in status_of(store)) >= 2 * len(ids)

        await until("everything is archived", done)
        assert worker.stop() == 0
    finally:
        worker.close()
    Upkeep(store, UpkeepConfig(**ALWAYS_CLOSED)).run(START_US / 1e6)
    for kind in ("predictions", "labels"):
        assert _rows(store, kind) == ids
        if storage == "folder":
            assert globbed(tmp_path / "archive", kind) == ids
    files = list_files(store)
    assert len(files) == len({(file.place, file.span.partition) for file in files})
    for model in models:
        frame = ParquetArchive(store).labelled(model)
        numbers = frame["id"].str.removeprefix("e").astype(int)
        assert set(numbers // 10 % 3) == {models.index(model)}
        np.testing.assert_array_equal(frame["f.x"], numbers / 7)


@pytest.mark.slow
async def test_a_stopped_owner_that_wakes_up_does_no_harm(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topic, root = f"{topic_prefix}-events", tmp_path / "archive"
    await make_topics(kafka, {topic: 2})
    config = {"broker": kafka, "group": topic_prefix, "location": str(root), "events": topic, "flush_s": 0.1}
    config["upkeep"] = {}
    workers, store = (
        [Worker(CODE, config, tmp_path / f"archive{number}.log") for number in range(2)],
        LocalStore(root),
    )
    rows = 600

    async def send(first: int, last: int) -> None:
        starts = range(first, last, 10)
        await _send(kafka, topic, [predictions(start, 10, f"m{start // 10 % 4}") for start in starts])

    try:
        workers[0].start()
        await send(0, 200)
        await until("the first owner writes", lambda: len(_rows(store, "predictions")) == 200)
        await send(200, 250)
        workers[0].send(signal.SIGSTOP)
        workers[1].start()
        await send(250, 400)
        await until("the second owner has taken over", lambda: len(_rows(store, "predictions")) == 400)
        workers[0].send(signal.SIGCONT)
        await send(400, rows)
        await until("everything is archived", lambda: len(_rows(store, "predictions")) >= rows)
        assert [worker.stop() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.close()
    assert globbed(root) == [f"e{number}" for number in range(rows)]


class _Failing(LocalStore):
    """Storage that is away from time to time."""

    away = False

    def put(self, path: str, content: pa.Buffer | Path) -> None:
        if self.away:
            raise OSError("the storage is away")
        super().put(path, content)


async def test_storage_that_is_away_costs_no_memory_and_no_row(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topic, store = f"{topic_prefix}-events", _Failing(tmp_path / "archive")
    await make_topics(kafka, {topic: 1})
    config = ArchiveConfig(
        broker=kafka,
        group=topic_prefix,
        location=store.location,
        events=topic,
        flush_s=0.1,
        flush_bytes=50_000,
        max_records=5,
    )
    counters, store.away = config.counters, True
    async with _running(config, store):
        await _send(kafka, topic, [predictions(start, 100) for start in range(0, 20_000, 100)])
        await until("reading waits", lambda: counters.storage_away and counters.storage_failures > 1)
        assert counters.records < 100
        assert counters.pending_bytes < 500_000
        store.away = False
        await until("everything is archived", lambda: counters.rows == 20_000)
    assert len(_rows(store, "predictions")) == 20_000
    assert not counters.storage_away


async def test_a_cut_that_was_committed_is_kept(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """A worker that was killed right after it had decided what to write: the next one writes just that."""
    topic, store = f"{topic_prefix}-events", LocalStore(tmp_path)
    await make_topics(kafka, {topic: 1})
    await _send(kafka, topic, [predictions(start, 10) for start in range(0, 100, 10)])
    at = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=topic_prefix, enable_auto_commit=False
    ) as consumer:
        consumer.assign([at])
        await consumer.commit({at: (2, Mark(4, 7).to_text())})
    config = ArchiveConfig(
        broker=kafka, group=topic_prefix, location=str(tmp_path), events=topic, flush_s=0.1
    )
    async with _running(config):
        await until("the rest", lambda: len(_rows(store, "predictions")) == 80)
    assert {(file.span.run, file.span.first, file.span.last) for file in list_files(store)} == {
        (4, 2, 6),
        (4, 7, 9),
    }
    assert config.counters.written_again == 1


async def test_a_topic_made_anew_does_not_overwrite_the_old_rows(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    for run, rows in enumerate((60, 20)):
        topic = f"{topic_prefix}-events{run}"
        await make_topics(kafka, {topic: 1})
        await _send(kafka, topic, [predictions(run * 100 + start, 10) for start in range(0, rows, 10)])
        config = ArchiveConfig(broker=kafka, group=topic, location=str(tmp_path), events=topic, flush_s=0.1)
        async with _running(config):
            await until("its rows", lambda config=config, rows=rows: config.counters.rows == rows)
    assert len(globbed(tmp_path)) == len(_rows(store, "predictions")) == 80
    assert {file.span.run for file in list_files(store)} == {0, 1}


async def test_s3_is_compacted_erased_and_read_by_outsiders(
    kafka: str, topic_prefix: str, tmp_path: Path, s3: Callable[[str], str]
) -> None:
    topic, location = f"{topic_prefix}-events", s3(topic_prefix)
    await make_topics(kafka, {topic: 2})
    config = ArchiveConfig(broker=kafka, group=topic_prefix, location=location, events=topic, flush_s=0.1)
    store = open_store(location)
    async with _running(config):
        for start in range(0, 30, 10):
            await _send(kafka, topic, [predictions(start, 10), labels(start, 5)])
            await until("a block", lambda start=start: config.counters.rows == (start // 10 + 1) * 15)
    ids = [f"e{number}" for number in range(30)]
    assert len(list_files(store)) == 6
    assert _rows(store, "predictions") == ids
    assert erase(store, "churn", ["e7"], by="mira", now_us=START_US).verified
    ids.remove("e7")
    report = Upkeep(store, UpkeepConfig(**ALWAYS_CLOSED)).run(START_US / 1e6)
    assert (report.merged, report.into) == (6, 2)
    assert len(list_files(store)) == 2
    assert _rows(store, "predictions") == ids
    assert len(ParquetArchive(location).labelled("churn")) == 15

    from pyarrow import dataset, fs

    system, root = fs.FileSystem.from_uri(location)
    found = dataset.dataset(f"{root}/kind=predictions", filesystem=system, partitioning="hive").to_table()
    assert ids_of(found) == ids
    assert found.column("model").to_pylist()[0] == "churn"
    frame = pd.read_parquet(f"{root}/kind=predictions", filesystem=system)
    assert len(frame) == 29
    assert duckdb.sql("SELECT count(*) FROM found").fetchall() == [(29,)]
    assert os.environ["AWS_ACCESS_KEY_ID"] == "test"
