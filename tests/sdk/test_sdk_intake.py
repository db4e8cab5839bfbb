"""The way in: however an event is put down, the same batch comes out, and memory keeps to its bounds."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat import Client, Config, Stats
from homeostat.arguments import Label, Prediction
from homeostat.batches import LabelBatch, PredictionBatch
from homeostat.contract import decode
from homeostat.intake import Intake
from homeostat.lanes import gathered
from homeostat.ledger import Ledger
from homeostat.packing import Parcel, parcels_of, parcels_of_unit

NOBODY = "127.0.0.1:1"


def drained(intake: Intake, config: Config, ledger: Ledger) -> list[Parcel]:
    intake.close_lanes(older_than_s=0)
    parcels: list[Parcel] = []
    while (unit := intake.take()) is not None:
        parcels += parcels_of_unit(unit, config, ledger)
    return parcels


def rows_of(parcels: list[Parcel]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for parcel in parcels:
        assert parcel.value is not None
        batch = decode(parcel.value, parcel.headers("p", 1))
        names = batch.columns.schema.names
        found += [
            (batch.model, parcel.version, *(str((name, row[name])) for name in names))
            for row in batch.columns.to_pylist()
        ]
    return sorted(found, key=str)


class Quiet:
    """A client whose background thread never starts: what it holds stays where it is."""

    def __init__(self, **settings: Any) -> None:
        self.client = Client()
        self.client.open(NOBODY, exit_timeout_s=0, **settings)
        running = self.client._running
        assert running is not None
        running.delivery.start = lambda: None  # type: ignore[method-assign]
        self.intake, self.config, self.ledger = running.delivery.intake, running.config, running.ledger
        self.intake._start = lambda: None  # type: ignore[attr-defined]

    def parcels(self) -> list[Parcel]:
        return drained(self.intake, self.config, self.ledger)


@pytest.fixture
def quiet() -> Iterator[Quiet]:
    made = Quiet(max_rows=1_000, batch_rows=100)
    yield made
    made.client.close(timeout_s=0)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.just(2**70),
    st.floats(),
    st.text(max_size=3),
    st.just(np.float32(1.5)),
    st.just(np.int64(7)),
    st.just([1.0, 2.0]),
    st.just(object()),
)
EVENTS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["m", "n"]),
        "version": st.sampled_from(["1", "2", 2]),
        "id": st.one_of(st.text(min_size=1, max_size=3), st.just(7), st.just("x" * 200)),
        "features": st.dictionaries(st.sampled_from(["x", "y", "z"]), VALUES, max_size=3),
        "prediction": st.one_of(st.just(1), st.just(0.5), st.none(), st.just("cat")),
        "score": st.one_of(st.none(), st.floats(0, 1), st.just(7)),
        "latency_ms": st.one_of(st.none(), st.just(3.5)),
        "status": st.one_of(st.none(), st.just("ok"), st.just("timeout")),
        "segments": st.one_of(st.none(), st.dictionaries(st.just("s"), st.sampled_from(["a", "b", None]))),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_every_way_in_gives_the_same_rows(events: list[dict[str, Any]]) -> None:
    quiet = Quiet()
    singles: list[Prediction | Label] = []
    for event in events:
        model, usual = event["model"], {name: value for name, value in event.items() if name != "model"}
        if usual["segments"] is None:
            del usual["segments"]
        quiet.client.log(model, time=5, **usual)
        features = {name: tuple(v) if isinstance(v, list) else v for name, v in event["features"].items()}
        given = {**event, "features": features, "time_us": 5_000_000}
        singles.append(Prediction(**given))
    config, ledger = quiet.config, Ledger(1_000, 1 << 30)
    expected: list[Parcel] = []
    for block in gathered(singles):
        ledger.enter(block.rows, 0)
        expected += parcels_of(block, ledger.open_ticket(block.rows), config, ledger)
    assert rows_of(quiet.parcels()) == rows_of(expected)
    assert quiet.client.stats().logged == len(events)
    assert quiet.client.stats().rejected == ledger.stats().rejected
    assert quiet.client.stats().pending == ledger.stats().pending
    quiet.client.close(timeout_s=0)


def test_numbers_then_texts_then_other_names(quiet: Quiet) -> None:
    for features in ({"x": 1.0, "y": 2}, {"y": 3, "x": None}, {"x": 4.0, "y": "gold"}, {"x": 5.0}, {}):
        quiet.client.log("m", version="1", id=str(len(str(features))), features=features, prediction=1)
    found = [row.get("f.x", "-") for parcel in quiet.parcels() for row in rows(parcel)]
    assert sorted(map(str, found)) == ["-", "1.0", "4.0", "5.0", "None"]


def rows(parcel: Parcel) -> list[dict[str, Any]]:
    assert parcel.value is not None
    return decode(parcel.value, parcel.headers("p", 1)).columns.to_pylist()


def test_batches_hold_batch_rows_at_most(quiet: Quiet) -> None:
    for i in range(250):
        quiet.client.log("m", version="1", id=str(i), features={"x": 1.0}, prediction=1)
        quiet.client.label("m", id=str(i), value=1)
    ids = [str(i) for i in range(250)]
    quiet.client.log("n", version="1", id=ids, features={"x": [1.0] * 250}, prediction=[1] * 250)
    assert sorted(parcel.rows for parcel in quiet.parcels()) == [50, 50, 50, 100, 100, 100, 100, 100, 100]


def test_columns_of_different_lengths_are_refused_as_a_whole(quiet: Quiet) -> None:
    ids = [str(i) for i in range(150)]
    quiet.client.log("m", version="1", id=ids, features={"x": [1.0] * 150}, prediction=[1] * 120)
    assert quiet.client.stats() == Stats(logged=150, rejected=150, dropped={})


def test_segments_scores_traces_embeddings_and_class_names_travel(quiet: Quiet) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    quiet.client.log(
        "m",
        version="1",
        id="a",
        features={"x": 1.0, "e": [0.5, 1.5]},
        prediction="cat",
        score=0.7,
        scores=[0.1, 0.7, 0.2],
        segments={"country": "DE", "tier": 2},
        trace_id=trace,
    )
    quiet.client.log(
        "m",
        version="1",
        id=["b", "c"],
        features=[{"x": 2.0, "e": np.array([1.0, 2.0])}, {"x": 3.0}],
        prediction=["dog", None],
        scores=np.array([[0.2, 0.3, 0.5], [np.nan] * 3]),
        segments={"country": "FR", "tier": ["1", None]},
        status=["ok", "timeout"],
        trace_id=trace,
    )
    batches = [
        decode(parcel.value, parcel.headers("p", 1)) for parcel in quiet.parcels() if parcel.value is not None
    ]
    assert quiet.client.stats().rejected == 0
    one, many = sorted(batches, key=lambda batch: batch.rows)
    assert isinstance(one, PredictionBatch)
    assert isinstance(many, PredictionBatch)
    assert one.prediction_classes()[0] == ["cat"]
    assert one.features["e"].tolist() == [[0.5, 1.5]]
    assert one.class_scores is not None
    assert one.class_scores.tolist() == [[0.1, 0.7, 0.2]]
    assert (one.segments["country"].tolist(), one.segments["tier"].tolist()) == (["DE"], ["2"])
    assert many.prediction_classes()[1].tolist() == [0, -1]
    assert many.segments["country"].tolist() == ["FR", "FR"]
    assert many.segments["tier"].tolist() == ["1", None]
    np.testing.assert_array_equal(many.features["e"], [[1.0, 2.0], [np.nan, np.nan]])
    assert many.traces is not None
    assert list(many.traces) == [trace, trace]


def test_labels_may_be_names_of_classes(quiet: Quiet) -> None:
    quiet.client.label("m", id="a", value="cat")
    quiet.client.label("m", id=["b", "c"], value=["dog", None])
    (parcel, other) = quiet.parcels()
    assert quiet.client.stats().rejected == 1
    for each in (parcel, other):
        batch = decode(each.value, each.headers("p", 1))
        assert isinstance(batch, LabelBatch)
        assert batch.is_text


def test_arrow_tables_are_features(quiet: Quiet) -> None:
    import pyarrow as pa

    table = pa.table(
        {
            "x": pa.array([1, None, 3]),
            "c": pa.array(["a", None, "b"]).dictionary_encode(),
            "e": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6.0)), 2),
        }
    )
    for features in (table, table.to_batches()[0]):
        quiet.client.log(
            "m", version="1", id=pa.array(["1", "2", "3"]), features=features, prediction=pa.array([1, 0, 1])
        )
    for parcel in quiet.parcels():
        batch = decode(parcel.value, parcel.headers("p", 1))
        assert isinstance(batch, PredictionBatch)
        assert batch.features["c"].tolist() == ["a", None, "b"]
        np.testing.assert_array_equal(batch.features["x"], [1, np.nan, 3])
        assert batch.features["e"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert quiet.client.stats().rejected == 0


def test_float32_columns_stay_float32(quiet: Quiet) -> None:
    features = {"x": np.float32([1.5, 2.5])}
    quiet.client.log("m", version="1", id=["a", "b"], features=features, prediction=[0, 1])
    (parcel,) = quiet.parcels()
    assert str(decode(parcel.value, parcel.headers("p", 1)).columns.schema.field("f.x").type) == "float"


def log_rows(client: Client, start: int, stop: int) -> None:
    for i in range(start, stop):
        client.log("m", version="1", id=str(i), features={"x": 1.0}, prediction=1)


def test_the_oldest_batches_make_room() -> None:
    quiet = Quiet(max_rows=1_000, batch_rows=100, on_full="drop_oldest")
    log_rows(quiet.client, 0, 950)
    in_parcels = quiet.parcels()
    log_rows(quiet.client, 950, 1_250)
    stats = quiet.client.stats()
    assert (stats.dropped, stats.pending) == ({"oldest": 300}, 950)
    assert [parcel.given_up for parcel in in_parcels] == [True] * 3 + [False] * 7
    ids = [str(i) for i in range(5_000, 6_500)]
    quiet.client.log("m", version="1", id=ids, features={"x": np.ones(1_500)}, prediction=np.ones(1_500))
    stats = quiet.client.stats()
    assert stats.pending <= 1_000
    assert stats.logged == stats.pending + sum(stats.dropped.values())
    found = {row["id"] for parcel in quiet.parcels() for row in rows(parcel)}
    assert {"6499", "6000"} <= found
    quiet.client.close(timeout_s=0)


def test_blocking_waits_for_room_and_no_longer_than_told() -> None:
    quiet = Quiet(max_rows=100, batch_rows=100, on_full="block", block_timeout_s=0.2)
    log_rows(quiet.client, 0, 100)
    started_s = time.monotonic()
    log_rows(quiet.client, 100, 101)
    assert 0.15 < time.monotonic() - started_s < 5
    assert quiet.client.stats().dropped == {"block_timeout": 1}

    parcel = quiet.parcels()[0]
    quiet.ledger.take(parcel)
    timer = threading.Timer(0.05, lambda: quiet.ledger.acknowledged(parcel))
    timer.start()
    log_rows(quiet.client, 101, 102)
    timer.join()
    assert quiet.client.stats().dropped == {"block_timeout": 1}
    assert (quiet.client.stats().acknowledged, quiet.client.stats().pending) == (100, 1)
    quiet.client.close(timeout_s=0)


def test_memory_is_bounded_in_bytes() -> None:
    quiet = Quiet(max_bytes=1 << 20)
    text = "x" * 4_000
    for i in range(1_000):
        quiet.client.log("m", version="1", id=str(i), features={"x": text + str(i)}, prediction=1)
    stats = quiet.client.stats()
    assert 200 < stats.pending < 300
    assert stats.dropped == {"memory_full": 1_000 - stats.pending}
    array = np.ones((2_000, 100))
    quiet.client.log(
        "m", version="1", id=[str(i) for i in range(2_000)], features={"e": array}, prediction=np.ones(2_000)
    )
    assert quiet.ledger.nbytes <= (1 << 20) + 10_000
    quiet.parcels()
    assert quiet.ledger.nbytes <= 2 << 20
    quiet.client.close(timeout_s=0)


def test_the_bytes_that_are_counted_come_down_to_nothing(quiet: Quiet) -> None:
    log_rows(quiet.client, 0, 150)
    quiet.client.log("m", version="1", id="a", features={"x": "text" * 50}, prediction=1)
    quiet.client.log("m", version="1", id="b", features={"x": [1.0, 2.0]}, prediction=1)
    quiet.client.log("m", version="1", id="c", features={"x": object()}, prediction=1)
    quiet.client.log("m", version="1", id=["d"], features={"x": [1.0]}, prediction=[1])
    quiet.client.label("m", id="d", value=1)
    assert quiet.ledger.nbytes > 150 * 100
    for parcel in quiet.parcels():
        assert quiet.ledger.take(parcel)
        quiet.ledger.acknowledged(parcel)
    assert (quiet.ledger.nbytes, quiet.ledger.rows) == (0, 0)
    assert quiet.client.stats().acknowledged == 154
    assert quiet.client.stats().rejected == 1


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest", "block"])
def test_threads_and_a_packer_keep_every_count(policy: str) -> None:
    client = Client()
    client.open(
        NOBODY,
        max_rows=3_000,
        batch_rows=100,
        linger_s=0.01,
        on_full=policy,
        block_timeout_s=0.0002,
        exit_timeout_s=0,
    )

    def work(name: int) -> None:
        for i in range(1_500):
            client.log("m", version=str(i % 3), id=f"{name}-{i}", features={"x": 1.0, "y": i}, prediction=1)
            if i % 500 == 0:
                client.label("m", id=[f"{name}-{i}"] * 50, value=[1] * 50)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = client.stats()
    assert (stats.logged, stats.labelled) == (4_500, 450)
    assert stats.logged + stats.labelled == stats.pending + sum(stats.dropped.values())
    assert stats.pending <= 3_000
    client.close(timeout_s=0)


async def test_in_an_event_loop_nothing_waits() -> None:
    async with Client() as client:
        client.open(NOBODY, exit_timeout_s=0)
        delays_s: list[float] = []

        async def heartbeat() -> None:
            while True:
                before_s = time.perf_counter()
                await asyncio.sleep(0.01)
                delays_s.append(time.perf_counter() - before_s)

        beating = asyncio.create_task(heartbeat())
        await asyncio.gather(*(asyncio.to_thread(log_rows, client, i, i + 50) for i in range(5)))
        log_rows(client, 0, 500)
        assert await client.aflush(timeout_s=0.3) is False
        beating.cancel()
        assert client.stats().logged == 750
    assert len(delays_s) > 10
    assert client.stats().logged == 0


def test_the_trace_is_that_of_the_current_span(quiet: Quiet) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    with TracerProvider().get_tracer("t").start_as_current_span("predict") as span:
        log_rows(quiet.client, 0, 1)
        quiet.client.log("m", version="1", id="b", features={"x": "text"}, prediction=1)
    log_rows(quiet.client, 2, 3)
    expected = f"{span.get_span_context().trace_id:032x}"
    found = {row["id"]: row.get("trace") for parcel in quiet.parcels() for row in rows(parcel)}
    assert found == {"0": expected, "b": expected, "2": None}


def test_the_signature_is_the_documented_one() -> None:
    import inspect

    import homeostat

    assert "features" in inspect.signature(homeostat.log).parameters
    assert "unknown" not in inspect.signature(homeostat.label).parameters
    assert homeostat.log.__doc__
    assert "What a model saw" in homeostat.log.__doc__.replace("Tell what", "What")


ARGUMENTS = st.one_of(
    VALUES, st.lists(VALUES, max_size=2), st.dictionaries(st.text(max_size=2), VALUES, max_size=2)
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(ARGUMENTS, max_size=2),
    st.dictionaries(
        st.sampled_from(
            ["model", "version", "id", "features", "prediction", "score", "scores", "time", "value"]
        )
        | st.sampled_from(
            ["self", "first", "status", "latency_ms", "segments", "trace_id", "feature_names", "colour"]
        ),
        ARGUMENTS,
    ),
)
def test_no_call_ever_raises(positional: list[Any], named: dict[str, Any]) -> None:
    quiet = Quiet()
    log: Any = quiet.client.log
    label: Any = quiet.client.label
    log(*positional, **named)
    label(*positional, **named)
    quiet.parcels()
    stats = quiet.client.stats()
    assert stats.logged + stats.labelled == stats.pending + stats.rejected
    quiet.client.close(timeout_s=0)
