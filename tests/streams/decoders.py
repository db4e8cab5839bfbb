"""Every decoder of the system, with good values of it, as the fuzz tests take them."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import asyncio
import atexit
import io
import math
import shutil
import struct
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.errors import ProfileInvalid, ReferenceInvalid
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Monitor, PaneSnapshot
from homeostat.contract import (
    ContractError,
    LabelBatch,
    PredictionBatch,
    decode,
    encode_labels,
    encode_predictions,
    headers_of,
)
from streams.archive.files import ArchiveDamaged, footer_of, tables_in
from streams.archive.layout import ArchiveFile, Place, Span
from streams.control.configuration import Configuration, monitor_record, reference_record
from streams.control.evolution import check, outcomes
from streams.control.schemas import Schema, SchemaInvalid, schema_of_reference, schema_record
from streams.deadletters import DeadLetter
from streams.deadletters_read import _letter  # pyright: ignore[reportPrivateUsage]
from streams.gate.rows import BadRow, read_rows
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord
from streams.store import LocalStore
from streams.topics import EVENTS, PROFILES
from streams.worker.checkpoint import Checkpoint, CheckpointError, CheckpointLog
from tests.streams.decoder_samples import CAPTURE, CLOUD_EVENT, EVENT, LABEL, TABLE_ROW
from tests.streams.gate_parts import batches, new_reader, taken
from tests.streams.gate_parts import record as gate_record
from tests.streams.stream_data import START_US, make_configuration, make_reference

DEADLINE_S = 20.0
"""CPU seconds for a few hundred bytes: a hang, not a slow machine."""


@dataclass(frozen=True)
class Decoder:
    """`read` takes any bytes; it may raise `errors` and nothing else. `tree`: reads and writes the format of
    the samples, so that values in it can be changed and it stays well-formed. `tail`: so many bytes at the end are
    cut off or left alone."""

    name: str
    samples: Callable[[], tuple[bytes, ...]]
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = ()
    tree: Any = None
    tail: Callable[[bytes], int] = lambda _: 0

    def __call__(self, value: bytes) -> None:
        started_s = process_time()
        with suppress(*self.errors):
            self.read(value)
        assert process_time() - started_s < DEADLINE_S, f"{self.name} took too long for {len(value)} bytes"


def predictions(rows: int = 12) -> PredictionBatch:
    return PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=5,
        ids=[f"id-{i}" for i in range(rows)],
        times_us=START_US + np.arange(rows),
        predictions=np.arange(rows) % 2,
        scores=np.linspace(0, 1, rows),
        features={"age": np.arange(float(rows)), "city": np.array(["Rome", None, "Oslo", "Bern"] * 3)},
    )


def pets() -> PredictionBatch:
    return PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=6,
        ids=["a", "b", "c"],
        times_us=[1, 2, 3],
        predictions=["cat", None, "dog"],
        statuses=["ok", "timeout", "ok"],
        class_scores=[[0.5, 0.5], [math.nan, math.nan], [0.25, 0.75]],
        segments={"region": ["eu", None, "us"]},
        traces=["0af7651916cd43dd8448eb211c80319c", None, None],
        features={"picture": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]},
    )


LABELS = LabelBatch.of(model="m", producer="p", sequence=7, ids=["a"], times_us=[START_US], values=[1])
BATCHES = (predictions(), pets(), LABELS)
HEADERS = tuple(headers_of(batch) for batch in BATCHES)
VALUES = (encode_predictions(BATCHES[0]), encode_predictions(BATCHES[1]), encode_labels(BATCHES[2]))


def read_batch(value: bytes) -> None:
    """Whatever the decoder lets through can be used."""
    for headers in HEADERS:
        try:
            batch = decode(value, headers)
        except ContractError:
            continue
        use(batch)


def use(batch: PredictionBatch | LabelBatch) -> None:
    assert len(batch.ids) == len(batch.keys) == len(batch.times_us) == batch.rows
    assert len(outcomes(schema(), batch)) == batch.rows
    check(schema(), batch)
    if isinstance(batch, LabelBatch):
        assert batch.is_text or np.isfinite(batch.values).all()
        return
    assert all(len(column) == batch.rows for column in batch.features.values())
    assert all(len(column) == batch.rows for column in batch.compact_features.values())
    assert all(len(column) == batch.rows for column in batch.segments.values())
    for name in batch.segment_names:
        values, codes = batch.segment_codes(name)
        assert codes.min() >= -1
        assert codes.max() < len(values)
    assert len(batch.scores) == len(batch.statuses) == len(batch.latencies_ms) == batch.rows
    assert batch.class_scores is None or len(batch.class_scores) == batch.rows
    assert batch.traces is None or len(batch.traces) == batch.rows


@cache
def reference() -> Reference:
    return make_reference("m", "1")


@cache
def schema() -> Schema:
    return schema_of_reference(reference())


@cache
def profile() -> bytes:
    found = Profile.empty(reference())
    found.fold(BATCHES[0].features, BATCHES[0].predictions, BATCHES[0].scores)
    return found.to_bytes()


def read_profile(value: bytes) -> None:
    found = Profile.from_bytes(reference(), value)
    assert Profile.from_bytes(reference(), found.to_bytes()).to_bytes() == found.to_bytes()


def snapshot() -> PaneSnapshot:
    return PaneSnapshot(
        model="m",
        version="1",
        axis="event",
        pane_us=START_US,
        pane_length_us=1_000_000,
        source=0,
        sequence=1,
        rows=12,
        sealed_rows=12,
        watermark_us=START_US + 5_000_000,
        monitor_revision=1,
        reference_revision=reference().revision,
        profile=profile(),
    )


def record(topic: str, value: bytes | None, key: bytes | None = b"m", headers: Any = ()) -> InputRecord:
    return InputRecord(topic, 0, 0, key, value, headers)


def read_as_profile_stage(value: bytes) -> None:
    stage = ProfileStage(0, 1, make_configuration_of_reference())
    for headers in HEADERS:
        stage.process(record(EVENTS, value, headers=headers))
    stage.end()
    stage.flush(final=True)


def read_as_judge_stage(value: bytes) -> None:
    stage = JudgeStage(0, 1, make_configuration_of_reference())
    stage.unconfigured(record(PROFILES, value))
    stage.process(record(PROFILES, value))
    stage.end()
    stage.flush(final=True)


@cache
def make_configuration_of_reference() -> Configuration:
    return make_configuration("m")


def read_control(value: bytes) -> None:
    configuration = Configuration()
    for key in (b"monitor/m", b"reference/m/1", b"schema/m/1", b"other", b"\xff", None):
        configuration.apply(key, value)


def read_rows_of(value: bytes) -> None:
    for kind in (None, "prediction", "label"):
        for _, _, row in read_rows(value, kind):
            assert not isinstance(row, BadRow) or row.reason


GATE_HEADERS: tuple[dict[str, Any], ...] = (
    {},
    {"content_type": "application/vnd.apache.arrow.stream", "model": "m", "version": "1"},
    {"content_type": "application/cloudevents+json"},
    {"ce_type": "org.kubeflow.serving.inference.response", "ce_id": "1", "ce_specversion": "1.0"},
)


def read_at_gate(value: bytes) -> None:
    """As any topic may bring it; what the gate writes keeps the contract."""
    reader = new_reader()
    reader.read([gate_record(value, number, **headers) for number, headers in enumerate(GATE_HEADERS)])
    for _, bad in reader.bad:
        assert not bad.reason.startswith("the gate failed"), bad.reason
    for batch in batches(taken(reader)):
        use(batch)


def read_letter(value: bytes) -> None:
    assert _letter(gate_record(value)).reason is not None


class OneRecord:
    """A log that holds one record."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    async def last(self, topic: str, partition: int) -> InputRecord:
        return record(topic, self._value)

    async def read(self, topic: str, partition: int, first: int, last: int) -> list[InputRecord]:
        return []

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return -(2**64), 2**64

    async def read_ranges(self, topic: str, partition: int, ranges: Sequence[object]) -> list[InputRecord]:
        return []


def read_checkpoint(value: bytes) -> None:
    async def run() -> None:
        log = CheckpointLog("127.0.0.1:1", "profile", "checkpoints", 0)
        try:
            await log.read(OneRecord(value))  # type: ignore[arg-type]
        finally:
            await log.release()

    asyncio.run(run())


@cache
def archive_folder() -> LocalStore:
    folder = Path(tempfile.mkdtemp(prefix="homeostat-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return LocalStore(folder)


def parquet() -> bytes:
    """Rows as the archive keeps them, as far as its readers care before they read."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_batches([predictions().columns]), sink, write_page_checksum=True)
    return sink.getvalue()


def footer_bytes(value: bytes) -> int:
    """Of a Parquet file: a damaged footer makes pyarrow end the process, which no caller can help."""
    return 8 + struct.unpack("<I", value[-8:-4])[0]


def read_archive(value: bytes) -> None:
    store = archive_folder()
    file = ArchiveFile(Place("predictions", "m", "2026-11-21"), Span(0, 0, 0, 0), len(value), 0.0)
    path = Path(store.location) / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value)
    footer_of(store, file)
    for table in tables_in(store, file):
        assert table.num_columns


LETTER = DeadLetter(reason="no time", topic="in", partition=1, offset=3)

DECODERS = [
    Decoder("contract", lambda: VALUES, read_batch),
    Decoder(
        "gate rows",
        lambda: (
            msgspec.json.encode(EVENT),
            msgspec.json.encode([EVENT, LABEL]),
            b'{"model":\n1}\n{"id": NaN}',
        ),
        read_rows_of,
        tree=msgspec.json,
    ),
    Decoder(
        "gate",
        lambda: (
            VALUES[0],
            *(msgspec.json.encode(event) for event in (EVENT, TABLE_ROW, CAPTURE, CLOUD_EVENT)),
        ),
        read_at_gate,
        tree=msgspec.json,
    ),
    Decoder("dead letter", lambda: (LETTER.to_json(),), read_letter, tree=msgspec.json),
    Decoder(
        "checkpoint",
        lambda: (msgspec.msgpack.encode(Checkpoint(1, 5, b"state", {"topic": [(1, 2)]})),),
        read_checkpoint,
        (CheckpointError,),
        msgspec.msgpack,
    ),
    Decoder("archive", lambda: (parquet(),), read_archive, (ArchiveDamaged,), tail=footer_bytes),
    Decoder("profile", lambda: (profile(),), read_profile, (ProfileInvalid,)),
    Decoder(
        "reference", lambda: (reference().to_json(),), Reference.from_json, (ReferenceInvalid,), msgspec.json
    ),
    Decoder("schema", lambda: (schema().to_json(),), Schema.from_json, (SchemaInvalid,), msgspec.json),
    Decoder(
        "control records",
        lambda: (
            monitor_record(Monitor(model="m"))[1],
            reference_record(reference())[1],
            schema_record(schema())[1],
        ),
        read_control,
        tree=msgspec.json,
    ),
    Decoder("profile stage", lambda: VALUES, read_as_profile_stage),
    Decoder(
        "judge stage",
        lambda: (msgspec.msgpack.encode(snapshot()),),
        read_as_judge_stage,
        tree=msgspec.msgpack,
    ),
]
