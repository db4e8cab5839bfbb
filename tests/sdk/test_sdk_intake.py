"""The way in: however an event is put down, the same batch comes out, and no call ever raises."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat import Stats
from homeostat.arguments import Label, Prediction
from homeostat.batches import LabelBatch, PredictionBatch
from homeostat.contract import decode
from homeostat.lanes import gathered
from homeostat.ledger import Ledger
from homeostat.packing import Parcel, parcels_of
from tests.sdk.intake_parts import VALUES, Quiet, log_rows, rows, rows_of

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


def test_a_failed_request_leaves_the_others_packed(quiet: Quiet) -> None:
    """Most of a model's requests have a prediction: what they cost must not depend on those that failed."""
    for i, prediction in enumerate((1, None, 0.5, None)):
        quiet.client.log(
            "m", version="1", id=str(i), features={"x": 1.0}, prediction=prediction, status="timeout"
        )
    (lane,) = quiet.intake.lanes["m"].values()
    assert lane.numbers is not None
    assert (lane.numbers.rows, lane.mixed.rows) == (2, 2)
    found = {row["id"]: row["prediction"] for parcel in quiet.parcels() for row in rows(parcel)}
    assert found == {"0": 1, "1": None, "2": 0.5, "3": None}


def test_times_keep_their_microseconds_to_the_last_year(quiet: Quiet) -> None:
    times = [datetime(year, 6, 1, 12, 0, 0, 123_457, tzinfo=UTC) for year in (1970, 2026, 2500, 9999, 2027)]
    for year in times:
        quiet.client.log("m", version="1", id=str(year), features={"x": 1.0}, prediction=1, time=year)
    before = datetime.now(tz=UTC).replace(microsecond=0)
    quiet.client.log("m", version="1", id="now", features={"x": 1.0}, prediction=1)
    found = {row["id"]: row["time"] for parcel in quiet.parcels() for row in rows(parcel)}
    assert before <= found.pop("now") <= datetime.now(tz=UTC)
    assert found == {str(time): time for time in times}


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
