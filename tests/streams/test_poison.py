"""Records on which the stage fails: found by halves, set aside, the rest goes on."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.contract import PredictionBatch, decode, encode_predictions, headers_of
from homeostat.keys import keys_of
from streams.deadletters import DeadLetter
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord
from streams.topics import DEADLETTERS
from streams.worker.poison import ArrowRows, Isolated, Whole, isolate
from streams.worker.role import StreamsConfig
from tests.streams.counting import CountingStage, JsonRows, counting_role
from tests.streams.running import (
    counts,
    make_counting_topics,
    read_all,
    running,
    send_numbers,
    until_counted,
)
from tests.streams.stream_data import interleaved, make_configuration, make_events


def record_of(numbers: list[int], offset: int = 7) -> InputRecord:
    return InputRecord("t.in", 0, offset, None, json.dumps(numbers).encode(), (("model", b"loan"),))


def before(poison: frozenset[int], made: list[CountingStage] | None = None) -> Callable[[], CountingStage]:
    """Stages that stand before the record."""

    def make() -> CountingStage:
        stage = CountingStage(0, "t", poison)
        stage.offset, stage.count = 6, 100
        if made is not None:
            made.append(stage)
        return stage

    return make


def counted(found: Isolated) -> tuple[int, int, int]:
    stage = found.stage
    assert isinstance(stage, CountingStage)
    return stage.count - 100, stage.rejected, stage.offset


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 200), bad=st.sets(st.integers(0, 199), max_size=5))
async def test_exactly_the_rows_that_fail_are_set_aside(rows: int, bad: set[int]) -> None:
    bad = {row for row in bad if row < rows}
    found = await isolate(record_of(list(range(rows))), before(frozenset(bad)), JsonRows(), "profile")
    assert counted(found) == (rows - len(bad), len(bad), 7)
    assert found.rows == len(found.letters) == len(bad)
    if rows > 1:
        assert [letter.row for letter in found.letters] == sorted(bad)
        assert [json.loads(letter.original) for letter in found.letters] == [[row] for row in sorted(bad)]


async def test_the_letter_says_what_happened_and_where() -> None:
    found = await isolate(record_of([1, 2, 3]), before(frozenset({2})), JsonRows(), "profile")
    (letter,) = found.letters
    assert letter == DeadLetter(
        reason="the profile stage failed on it: ZeroDivisionError: number 2 is not to my taste",
        topic="t.in",
        partition=0,
        offset=7,
        row=1,
        model="loan",
        stage="profile",
        original=b"[2]",
        headers=(("model", b"loan"),),
    )


async def test_the_same_record_gives_the_same_decision() -> None:
    poison = frozenset({3, 77, 150})
    first, second = [
        await isolate(record_of(list(range(160))), before(poison), JsonRows(), "profile") for _ in range(2)
    ]
    assert first.letters == second.letters


async def test_a_failure_that_does_not_come_again_costs_nothing() -> None:
    found = await isolate(record_of([1, 2]), before(frozenset()), JsonRows(), "profile")
    assert counted(found) == (2, 0, 7)
    assert not found.letters


async def test_rows_that_fail_only_together_cost_the_whole_record() -> None:
    class Jealous(CountingStage):
        def process(self, record: InputRecord) -> None:
            super().process(record)
            if {1, 8} <= set(json.loads(record.value or b"")):
                raise MemoryError

    found = await isolate(record_of(list(range(10))), lambda: Jealous(0, "t"), JsonRows(), "profile")
    assert (found.rows, len(found.letters), found.letters[0].row) == (10, 1, None)
    assert "MemoryError" in found.letters[0].reason
    assert isinstance(found.stage, Jealous)
    assert (found.stage.count, found.stage.rejected) == (0, 10)


async def test_a_record_full_of_bad_rows_is_given_up_after_a_bounded_number_of_attempts() -> None:
    made: list[CountingStage] = []
    everything = frozenset(range(1_000))
    found = await isolate(record_of(list(range(1_000))), before(everything, made), JsonRows(), "profile")
    assert (found.rows, len(found.letters)) == (1_000, 1)
    assert len(made) < 300


async def test_a_record_that_is_one_thing_goes_as_a_whole() -> None:
    found = await isolate(record_of([1, 2]), before(frozenset({2})), Whole(), "judge")
    assert (found.rows, [letter.row for letter in found.letters]) == (1, [None])
    assert counted(found) == (0, 1, 7)


def batch_record(rows: int) -> InputRecord:
    batch = PredictionBatch.of(
        model="loan",
        version="1",
        producer="p",
        sequence=4,
        ids=[f"e{number}" for number in range(rows)],
        times_us=np.arange(rows, dtype=np.int64) + 1_760_000_000_000_000,
        predictions=np.arange(rows) % 2 * 1.0,
        scores=np.linspace(0, 1, rows),
        features={"age": np.arange(rows) * 1.0, "city": np.array(["Rome", None, "Oslo"] * rows)[:rows]},
    )
    value, headers = encode_predictions(batch), tuple(headers_of(batch))
    return InputRecord("homeostat.events", 0, 3, b"loan", value, headers)


def test_a_part_of_a_batch_is_a_batch_of_its_rows() -> None:
    record, parts = batch_record(9), ArrowRows()
    whole, part = decode(record.value, record.headers), parts.part(record, [8, 2, 5])
    assert parts.rows(record) == 9
    found = decode(part.value, part.headers)
    assert isinstance(found, PredictionBatch)
    assert isinstance(whole, PredictionBatch)
    assert (found.model, found.sequence, found.rows) == ("loan", 4, 3)
    assert found.keys.tolist() == whole.keys[[8, 2, 5]].tolist()
    assert found.features["age"].tolist() == [8.0, 2.0, 5.0]
    assert dataclasses.replace(part, value=record.value) == record


@pytest.mark.parametrize("value", [b"", None, b"junk", b"\xff\xff\xff\xff\xff\xff\xff\x7f"])
def test_what_is_no_batch_is_one_row(value: bytes | None) -> None:
    assert ArrowRows().rows(dataclasses.replace(batch_record(2), value=value)) == 1


def test_a_batch_without_rows_is_one_thing() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("a", pa.int64())])):
        pass
    value = sink.getvalue().to_pybytes()
    assert ArrowRows().rows(dataclasses.replace(batch_record(2), value=value)) == 1


async def test_the_accounting_of_the_profile_stage_closes_over_poison() -> None:
    """Predictions and labels; a resent batch is a duplicate of its good rows."""
    events = make_events(60, 5)
    records = interleaved(events, "loan", batch_rows=20)
    bad = {"e3", "e17", "e40"}
    poison = {int(key) for row, key in enumerate(keys_of(events.ids)) if events.ids[row] in bad}

    class Picky(ProfileStage):
        def process(self, record: InputRecord) -> None:
            super().process(record)
            if poison & set(decode(record.value, record.headers).keys.tolist()):
                raise OverflowError("too large")

    state: list[InputRecord] = []

    def fresh() -> Picky:
        stage = Picky(0, 1, make_configuration("loan"))
        for one in state:
            stage.process(one)
        return stage

    letters = 0
    for record in [*records, dataclasses.replace(records[0], offset=len(records))]:
        found = await isolate(record, fresh, ArrowRows(), "profile")
        letters += len(found.letters)
        good = [
            row for row in range(ArrowRows().rows(record)) if row not in {one.row for one in found.letters}
        ]
        state.append(ArrowRows().part(record, good))
        assert isinstance(found.stage, Picky)
        told = {sample.labels[2]: sample.value for sample in found.stage.samples() if len(sample.labels) == 3}
        rows = sum(told.get(name, 0) for name in ("profiled", "late", "deadlettered", "duplicates"))
        assert told.get("received", 0) == rows
    assert letters == 2 * len(bad) + 2  # the first batch came twice, two of its rows are bad


@pytest.mark.slow
async def test_a_worker_goes_on_behind_poison_and_loses_nothing_else(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Bad rows at the start, twice in a row, in the middle and at the end; a record that is bad as a whole."""
    config = StreamsConfig(broker=kafka, data_dir=tmp_path, partitions=1, checkpoint_interval_s=0.2)
    await make_counting_topics(kafka, topic_prefix)
    records = [list(range(start, start + 20)) for start in range(0, 800, 20)]
    poison = frozenset({0, 19, 25, 403, 404, 419, *range(600, 620), 799})
    role = counting_role(topic_prefix, poison)
    await send_numbers(kafka, topic_prefix, records[:10])
    async with running(config, role) as one:
        await until_counted(kafka, topic_prefix, 10)
        await send_numbers(kafka, topic_prefix, records[10:])
        found = await until_counted(kafka, topic_prefix, 39)
        assert not one.task.done()
        samples = {sample.metric.name: sample.value for sample in one.worker.samples()}
        assert samples["homeostat_poisoned_rows_total"] == len(poison)
    expected, seen = [], 0
    for numbers in records:
        good = [number for number in numbers if number not in poison]
        seen += len(good)
        expected += [seen] if good else []
    assert found == expected
    letters = [
        msgspec.json.decode(one.value or b"", type=DeadLetter) for one in await read_all(kafka, DEADLETTERS)
    ]
    mine = [letter for letter in letters if letter.topic == f"{topic_prefix}.in"]
    assert sorted(number for letter in mine for number in json.loads(letter.original)) == sorted(poison)
    # A worker that comes later finds the decision made.
    async with running(config, counting_role(topic_prefix)):
        await send_numbers(kafka, topic_prefix, [[1]])
        found = await until_counted(kafka, topic_prefix, 40)
    assert found[-1] == 800 - len(poison) + 1
    assert await counts(kafka, topic_prefix) == found
