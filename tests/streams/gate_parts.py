"""What the tests of the gate's pure parts share: records, and what comes of them."""

from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from homeostat.contract import LabelBatch, PredictionBatch, decode
from streams.broker.group import Record
from streams.control.configuration import Configuration
from streams.gate.known import KnownModels
from streams.gate.mapping import IngestMap
from streams.gate.output import Output, Target, output_of
from streams.gate.reader import Reader
from streams.gate.waiting import Seen


def record(
    value: bytes | None,
    offset: int = 0,
    topic: str = "in",
    arrived_ms: int = 1_790_000_000_000,
    **headers: str,
) -> Record:
    """An input record; `_` in a header's name stands for `-`, except after `ce`."""
    named = tuple(
        (name if name.startswith("ce_") else name.replace("_", "-"), text.encode())
        for name, text in headers.items()
    )
    size = len(value or b"")
    return ConsumerRecord(topic, 0, offset, arrived_ms, 0, None, value, None, 0, size, named)


def json_record(event: Any, offset: int = 0, **more: Any) -> Record:
    return record(msgspec.json.encode(event), offset, **more)


def new_reader(
    ingest: IngestMap | None = None, models: KnownModels | None = None, seen: Seen | None = None
) -> Reader:
    return Reader(ingest or IngestMap(), models or KnownModels(), seen or Seen())


def written(
    *records: Record,
    ingest: IngestMap | None = None,
    models: KnownModels | None = None,
    partitions: int = 1,
    registered: Configuration | None = None,
) -> Output:
    """What the gate writes for these records of one topic."""
    reader = new_reader(ingest, models)
    reader.read(records)
    return taken(reader, partitions, registered)


def taken(reader: Reader, partitions: int = 1, registered: Configuration | None = None) -> Output:
    models = registered or Configuration()
    return output_of(reader, Target(partitions=partitions, producer="gate-0", offset=9, models=models))


def batches(output: Output) -> list[PredictionBatch | LabelBatch]:
    """The batches, checked against the contract."""
    return [decode(batch.value, batch.headers) for batch in output.batches]


def predictions(output: Output) -> PredictionBatch:
    """The only batch."""
    [batch] = batches(output)
    assert isinstance(batch, PredictionBatch)
    return batch
