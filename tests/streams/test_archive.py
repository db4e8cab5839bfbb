"""The archive on a real broker: what was sent can be read, once, whatever is killed."""

import asyncio
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from aiokafka import AIOKafkaProducer

from homeostat.contract import (
    LabelBatch,
    PredictionBatch,
    encode_labels,
    encode_predictions,
    headers_of,
)
from streams.archive import ArchiveConfig, ArchiveDamaged, Lane, merge_into, serve_archive
from streams.archive_read import ParquetArchive
from streams.archive_tables import Place, file_path, model_folder, tables_of
from streams.group import Record
from tests.streams.parts import Worker, make_topics, until

CODE = """
import json, sys
from pathlib import Path
from streams.archive import ArchiveConfig, run_archive
config = json.loads(sys.argv[1])
run_archive(ArchiveConfig(**config | {"root": Path(config["root"])}))
"""
START_US = 1_790_000_000_000_000
DAY_US = 86_400_000_000


def _predictions(start: int, rows: int, model: str = "churn", **more: Any) -> PredictionBatch:
    numbers = np.arange(start, start + rows)
    return PredictionBatch.of(
        model=model,
        version=more.get("version", "1"),
        producer="p",
        sequence=start,
        ids=[f"e{number}" for number in numbers],
        times_us=START_US + numbers * (DAY_US // 100),
        predictions=numbers % 2,
        scores=numbers / 1e6,
        features=more.get(
            "features", {"x": numbers / 7, "plan": [f"plan{number % 3}" for number in numbers]}
        ),
    )


def _labels(
    start: int, rows: int, model: str = "churn", *, value: float = 1, at_us: int = START_US
) -> LabelBatch:
    return LabelBatch.of(
        model=model,
        producer="p",
        sequence=start,
        ids=[f"e{number}" for number in range(start, start + rows)],
        times_us=[at_us] * rows,
        values=[value] * rows,
    )


async def _send(broker: str, topic: str, batches: Sequence[PredictionBatch | LabelBatch]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        sent = [
            await producer.send(
                topic,
                encode_predictions(batch) if isinstance(batch, PredictionBatch) else encode_labels(batch),
                key=batch.model.encode(),
                headers=headers_of(batch),
            )
            for batch in batches
        ]
        await asyncio.gather(*sent)


def _offsets(root: Path, kind: str) -> list[tuple[str, str, int]]:
    """Every archived row: its place in the input, from all files."""
    found: list[tuple[str, str, int]] = []
    for path in root.glob(f"{kind}/*/*/*.parquet"):
        with pq.ParquetFile(path) as file:
            table = file.read(columns=["id", "offset"])
        model = path.parent.parent.name
        found += zip(
            [model] * len(table), *(table.column(n).to_pylist() for n in ("id", "offset")), strict=True
        )
    return found


async def test_what_was_sent_is_read_back(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    await make_topics(kafka, {f"{topic_prefix}-events": 3})
    config = ArchiveConfig(
        broker=kafka,
        group=topic_prefix,
        root=tmp_path,
        events=f"{topic_prefix}-events",
        block_offsets=4,
        flush_s=0.2,
    )
    stop = asyncio.Event()
    archive = asyncio.create_task(serve_archive(config, stop))
    await _send(kafka, config.events, [_predictions(start, 100) for start in range(0, 1_000, 100)])
    await _send(kafka, config.events, [_predictions(0, 10), _predictions(0, 10, version="2")])
    await _send(kafka, config.events, [_labels(0, 500), _labels(100, 10, value=0, at_us=START_US + 1)])
    await _send(kafka, config.events, [_labels(5_000, 3), _predictions(0, 7, model="../Ünï/ 🚀 %")])
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(config.events, b"no arrow", key=b"churn")

    reader = ParquetArchive(tmp_path)
    await until("all labels are archived", lambda: reader.labels("churn").num_rows == 513)
    await until("all predictions are archived", lambda: reader.predictions("churn").num_rows == 1_020)
    await until("the other model", lambda: reader.predictions("../Ünï/ 🚀 %").num_rows == 7)
    stop.set()
    await archive

    frame = reader.labelled("churn")
    assert list(frame.columns[:7]) == [
        "id",
        "time_us",
        "version",
        "prediction",
        "score",
        "label",
        "label_time_us",
    ]
    assert len(frame) == 510
    first = frame[frame["version"] == "1"].reset_index(drop=True)
    numbers = np.arange(500)
    assert first["id"].tolist() == [f"e{number}" for number in numbers]
    np.testing.assert_array_equal(first["time_us"], START_US + numbers * (DAY_US // 100))
    np.testing.assert_array_equal(first["f.x"], numbers / 7)
    assert first["f.plan"].tolist() == [f"plan{number % 3}" for number in numbers]
    np.testing.assert_array_equal(first["label"], np.where((numbers >= 100) & (numbers < 110), 0, 1))

    since_us, until_us = START_US + DAY_US, START_US + 2 * DAY_US
    part = reader.labelled("churn", since_us=since_us, until_us=until_us)
    whole = first[(first["time_us"] >= since_us) & (first["time_us"] < until_us)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, whole)
    assert reader.labelled("nobody").empty
    assert len(list(tmp_path.glob("predictions/*"))) == 2


@pytest.mark.slow
async def test_kill_9_in_mid_stream_loses_and_doubles_nothing(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topic, root, batches, rng = f"{topic_prefix}-events", tmp_path / "archive", 300, random.Random(3)
    await make_topics(kafka, {topic: 3})
    config = {
        "broker": kafka,
        "group": topic_prefix,
        "instance": "archive-0",
        "root": str(root),
        "events": topic,
        "block_offsets": 16,
        "flush_s": 0.1,
    }
    worker = Worker(CODE, config, tmp_path / "archive.log")
    worker.start()
    models = [f"m{number}" for number in range(5)]
    try:
        for number in range(batches):
            start = number * 10
            await _send(
                kafka,
                topic,
                [_predictions(start, 10, models[number % 5]), _labels(start, 10, models[number % 5])],
            )
            await asyncio.sleep(rng.random() * 0.05)
            if number in (40, 90, 91, 150, 220):
                worker.kill()
                worker.start()
        rows = batches * 10

        def done() -> bool:
            return min(len(_offsets(root, "predictions")), len(_offsets(root, "labels"))) >= rows

        await until("everything is archived", done)
        assert worker.stop() == 0
    finally:
        worker.close()
    for kind in ("predictions", "labels"):
        found = _offsets(root, kind)
        assert len(found) == rows
        assert {name for _, name, _ in found} == {f"e{number}" for number in range(rows)}
    frames = [ParquetArchive(root).labelled(model) for model in models]
    assert sum(len(frame) for frame in frames) == rows
    for model, frame in zip(models, frames, strict=True):
        numbers = frame["id"].str.removeprefix("e").astype(int)
        assert set(numbers // 10 % 5) == {models.index(model)}
        np.testing.assert_array_equal(frame["f.x"], numbers / 7)


@pytest.mark.slow
async def test_a_stopped_owner_that_wakes_up_does_no_harm(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topic, root = f"{topic_prefix}-events", tmp_path / "archive"
    await make_topics(kafka, {topic: 2})
    config = {"broker": kafka, "group": topic_prefix, "root": str(root), "events": topic, "flush_s": 0.1}
    workers = [Worker(CODE, config, tmp_path / f"archive{number}.log") for number in range(2)]
    rows = 600

    async def send(first: int, last: int) -> None:
        for start in range(first, last, 10):
            await _send(kafka, topic, [_predictions(start, 10, f"m{start // 10 % 4}")])

    try:
        workers[0].start()
        await send(0, 200)
        await until("the first owner writes", lambda: len(_offsets(root, "predictions")) == 200)
        workers[0].send(signal.SIGSTOP)
        workers[1].start()
        await send(200, 400)
        await until("the second owner has taken over", lambda: len(_offsets(root, "predictions")) == 400)
        workers[0].send(signal.SIGCONT)
        await send(400, rows)
        await until("everything is archived", lambda: len(_offsets(root, "predictions")) >= rows)
        assert [worker.stop() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.close()
    assert sorted(name for _, name, _ in _offsets(root, "predictions")) == sorted(
        f"e{number}" for number in range(rows)
    )


def _record(batch: PredictionBatch, offset: int) -> Record:
    value = encode_predictions(batch)
    return Record("t", 0, offset, 0, 0, b"m", value, None, 1, len(value), tuple(headers_of(batch)))


def test_a_stale_writer_takes_nothing_away(tmp_path: Path) -> None:
    batches = {offset: _predictions(offset * 2, 2) for offset in range(5)}
    fresh, stale = Lane(tmp_path, 0, 16), Lane(tmp_path, 0, 16)
    for offset, batch in batches.items():
        fresh.add(_record(batch, offset))
        if offset < 3:
            stale.add(_record(batch, offset))
    fresh.write()
    stale.write()
    found = ParquetArchive(tmp_path).predictions("churn")
    assert found.column("offset").to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_only_complete_blocks_are_behind_the_safe_offset(tmp_path: Path) -> None:
    lane = Lane(tmp_path, 0, 4)
    assert lane.safe is None
    for offset, safe in [(0, 0), (2, 0), (3, 4), (4, 4), (9, 8), (11, 12)]:
        lane.add(_record(_predictions(offset, 1), offset))
        lane.write()
        assert lane.safe == safe


def test_features_may_come_and_go_and_lie(tmp_path: Path) -> None:
    reader = ParquetArchive(tmp_path)
    cases: list[dict[str, Any]] = [
        {"x": [1.0, 2.0], "plan": ["gold", None]},
        {"x": [np.nan, np.nan]},
        {"x": ["seven", "8"], "extra": [1.0, 2.0]},
        {"x": np.array([5, 6], dtype=np.float32), "plan": [np.nan, np.nan]},
    ]
    for number, features in enumerate(cases):
        batch = _predictions(number * 2, 2, features=features)
        [(place, table)] = tables_of(batch, number)
        merge_into(file_path(tmp_path, place, 0, number * 4), table, place, number, number)
    table = reader.predictions("churn")
    assert table.column("f.x").to_pylist() == [1.0, 2.0, None, None, None, 8.0, 5.0, 6.0]
    assert table.column("f.plan").to_pylist() == ["gold"] + [None] * 7
    assert table.column("f.extra").to_pylist() == [None] * 4 + [1.0, 2.0] + [None] * 2


def test_a_damaged_file_is_named_and_not_overwritten(tmp_path: Path) -> None:
    [(place, table)] = tables_of(_predictions(0, 2), 0)
    path = file_path(tmp_path, place, 0, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"broken")
    with pytest.raises(ArchiveDamaged, match="p0-0"):
        merge_into(path, table, place, 0, 0)
    assert path.read_bytes() == b"broken"


@pytest.mark.parametrize("model", ["a", "..", "a/b", "🚀" * 200, "x" * 255, "=%", " "])
def test_every_name_is_one_folder(tmp_path: Path, model: str) -> None:
    folder = model_folder(tmp_path, "predictions", model)
    folder.mkdir(parents=True)
    assert folder.parent == tmp_path / "predictions"
    assert file_path(tmp_path, Place("labels", model, "2026-01-01"), 3, 256).name == "p3-256.parquet"
