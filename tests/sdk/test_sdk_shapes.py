"""Whatever shape a host hands over: good rows become batches, bad ones are counted and told."""

import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat import Client
from homeostat.arguments import Block, Prediction, one_prediction, time_us
from homeostat.config import Config
from homeostat.contract import MAX_RECORD_BYTES, LabelBatch, PredictionBatch, decode, key_of
from homeostat.errors import ContractError
from homeostat.lanes import gathered
from homeostat.ledger import Ledger
from homeostat.packing import Parcel, halves, parcels_of

CONFIG = Config(broker="localhost:9092")


def event(id: Any = "a", features: Any = None, **changes: Any) -> Prediction:
    given = {"model": "m", "version": "1", "prediction": 1, "score": 0.5, "time_us": 5}
    given |= {"latency_ms": None, "status": None} | changes
    return Prediction(id=id, features={"x": 1.0} if features is None else features, **given)


def pack(items: list[Prediction], config: Config = CONFIG) -> tuple[list[Parcel], Ledger]:
    return pack_blocks(gathered(items), config)


def pack_blocks(blocks: list[Block], config: Config = CONFIG) -> tuple[list[Parcel], Ledger]:
    ledger = Ledger(100_000, 1 << 30)
    parcels: list[Parcel] = []
    for block in blocks:
        ledger.count(block.rows, label=block.label)
        ledger.enter(block.rows, 0)
        parcels += parcels_of(block, ledger.open_ticket(block.rows), config, ledger)
    return parcels, ledger


def value_of(parcel: Parcel) -> bytes:
    assert parcel.value is not None
    return parcel.value


def read(parcel: Parcel) -> PredictionBatch:
    batch = decode(value_of(parcel), parcel.headers("p", 1))
    assert isinstance(batch, PredictionBatch)
    return batch


def read_one(items: list[Prediction]) -> PredictionBatch:
    parcels, ledger = pack(items)
    assert ledger.stats().rejected == 0
    assert len(parcels) == 1
    return read(parcels[0])


def test_single_events_are_gathered_by_version_and_features() -> None:
    items: list[Prediction] = [
        event("a"),
        event("b", version="2"),
        event("c", {"y": 2.0}),
        event("d", latency_ms=3, status="ok", score=None),
        event("e", version=1),
    ]
    parcels, ledger = pack(items)
    found = {(p.version, *read(p).feature_names, *read(p).ids) for p in parcels}
    assert found == {("1", "x", "a", "d"), ("2", "x", "b"), ("1", "y", "c"), ("1", "x", "e")}
    assert ledger.stats().pending == 5
    both = read(parcels[0])
    np.testing.assert_array_equal(both.scores, [0.5, np.nan])
    np.testing.assert_array_equal(both.latencies_ms, [np.nan, 3])
    assert both.statuses.tolist() == [None, "ok"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5, True], [1.0, 2.5, 1.0]),
        ([None, float("nan"), np.float32(0.5)], [np.nan, np.nan, 0.5]),
        ([pd.NA, np.int64(3), np.bool_(True)], [np.nan, 3.0, 1.0]),
        ([2**60, float("inf"), -np.inf], [float(2**60), np.inf, -np.inf]),
        ([None, None, None], [np.nan, np.nan, np.nan]),
    ],
)
def test_numbers_of_all_kinds_are_features(values: list[Any], expected: list[float]) -> None:
    batch = read_one([event(str(i), {"x": value}) for i, value in enumerate(values)])
    np.testing.assert_array_equal(batch.features["x"], expected)


def test_texts_are_features() -> None:
    values = ["a", None, "", "🫀", np.str_("b"), float("nan")]
    batch = read_one([event(str(i), {"x": value}) for i, value in enumerate(values)])
    assert batch.features["x"].tolist() == ["a", None, "", "🫀", "b", None]


def test_a_feature_that_is_a_number_here_and_a_text_there_goes_in_two_batches() -> None:
    values = [1.0, "a", None, 2.0, "b"]
    parcels, ledger = pack([event(str(i), {"x": value, "y": i}) for i, value in enumerate(values)])
    found = sorted((read(p).ids, read(p).features["x"].tolist()) for p in parcels)
    assert found[0][0] == ["0", "2", "3"]
    assert found[1] == (["1", "4"], ["a", "b"])
    assert ledger.stats().rejected == 0


class Broken:
    """A value whose every reading fails, in a way of its own."""

    def __float__(self) -> float:
        raise RuntimeError("no")

    __len__ = __iter__ = __str__ = __bool__ = __float__  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("Broken()")


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": 1.5}, "id"),
        ({"id": "\ud800"}, "id"),
        ({"id": "x" * 5_000}, "id"),
        ({"id": Broken()}, "id"),
        ({"prediction": None}, "prediction"),
        ({"prediction": float("nan")}, "prediction"),
        ({"prediction": [1]}, "prediction"),
        ({"prediction": Broken()}, "event"),
        ({"score": 1.5}, "score"),
        ({"score": "high"}, "score"),
        ({"latency_ms": "3 ms"}, "latency_ms"),
        ({"status": object()}, "status"),
        ({"features": {"x": object()}}, "feature x"),
        ({"features": {"x": [1.0, 2.0]}}, "feature x"),
        ({"features": {"x": np.zeros(2)}}, "feature x"),
        ({"features": {"x": "\ud800"}}, "feature x"),
        ({"features": {"x": "x" * 5_000}}, "feature x"),
        ({"features": {"x": datetime(2026, 1, 1, tzinfo=UTC)}}, "feature x"),
        ({"features": {"x": Broken()}}, "event"),
        ({"features": {1: 1.0}}, "feature name"),
        ({"features": {"": 1.0}}, "feature name"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": ["m"]}, "model"),
        ({"version": 1.5}, "version"),
        ({"version": True}, "version"),
    ],
)
def test_a_bad_row_is_told_and_spares_its_neighbours(
    bad: dict[str, Any], field: str, caplog: pytest.LogCaptureFixture
) -> None:
    items: list[Prediction] = [event("first"), event(**({"id": "bad"} | bad)), event("last")]
    parcels, ledger = pack(items)
    assert [id for parcel in parcels for id in read(parcel).ids] == ["first", "last"]
    assert ledger.stats().rejected == 1
    assert ledger.stats().pending == 2
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"homeostat: {field}: found ")


def test_a_row_with_two_faults_counts_once(caplog: pytest.LogCaptureFixture) -> None:
    parcels, ledger = pack([event(None, prediction="x", score=7), event(None)])
    assert parcels == []
    assert ledger.stats().rejected == 2
    assert len(caplog.messages) == 1


def test_ids_may_be_numbers_and_uuids() -> None:
    name = uuid.UUID(int=7)
    batch = read_one([event(7), event(np.int64(8)), event(name)])
    assert batch.ids == ["7", "8", str(name)]
    assert batch.keys.tolist() == [key_of("7"), key_of("8"), key_of(str(name))]


def test_scores_a_rounding_error_outside_are_clipped() -> None:
    assert read_one([event(score=np.float32(1) + np.finfo(np.float32).eps)]).scores.tolist() == [1.0]


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 11, 21, 12, tzinfo=UTC),
        pd.Timestamp("2026-11-21T13:00:00+01:00"),
        np.datetime64("2026-11-21T12:00:00"),
        1_795_262_400,
        1_795_262_400.0,
        np.float64(1_795_262_400),
    ],
)
def test_times(value: object) -> None:
    assert time_us(value) == 1_795_262_400_000_000


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 1, 1), "2026-01-01", 1.8e12, -1, float("nan"), np.datetime64("NaT", "s"), None, [1]],
)
def test_wrong_times(value: object) -> None:
    with pytest.raises(ContractError, match="time"):
        time_us(value)


@pytest.mark.parametrize(
    "features",
    [
        pd.Series({"x": 1.0, "y": 2.0}),
        pd.DataFrame({"x": [1.0], "y": [2.0]}),
        np.array([1.0, 2.0]),
        np.array([[1.0, 2.0]]),
        [1.0, 2.0],
        {"x": 1.0, "y": 2.0},
    ],
)
def test_one_event_in_any_shape(features: object) -> None:
    given = event("a", features)._replace(time_us=None)
    batch = read_one([one_prediction(given, ["x", "y"], 9)])
    assert {name: column.tolist() for name, column in batch.features.items()} == {"x": [1.0], "y": [2.0]}
    assert batch.times_us.tolist() == [9]


@pytest.mark.parametrize(
    ("features", "names", "field"),
    [
        (np.zeros(2), None, "features"),
        (np.zeros(2), ["x"], "feature_names"),
        (np.zeros(2), ["x", "x"], "feature_names"),
        (np.zeros((2, 2)), ["x", "y"], "features"),
        (np.zeros((1, 1, 1)), ["x"], "features"),
        (None, ["x"], "features"),
        (3.0, ["x"], "features"),
    ],
)
def test_features_in_a_wrong_shape(features: object, names: list[str] | None, field: str) -> None:
    with pytest.raises(ContractError) as caught:
        one_prediction(event("a", 0)._replace(features=features), names, 9)
    assert caught.value.field == field


def test_spread_sends_each_key_to_its_slot() -> None:
    items: list[Prediction] = [event(str(i)) for i in range(500)]
    parcels, _ = pack(items, Config(broker="b:1", spread={"m": 4}))
    assert sorted(parcel.slot for parcel in parcels) == [0, 1, 2, 3]
    assert sum(parcel.rows for parcel in parcels) == 500
    for parcel in parcels:
        assert set((read(parcel).keys % np.uint64(4)).tolist()) == {parcel.slot}


def test_records_stay_small_enough() -> None:
    items: list[Prediction] = [event(str(i), {"x": str(i) + "y" * 4_000}) for i in range(1_000)]
    parcels, _ = pack(items)
    assert len(parcels) > 4
    assert all(len(value_of(parcel)) <= MAX_RECORD_BYTES for parcel in parcels)
    assert sorted(int(id) for parcel in parcels for id in read(parcel).ids) == list(range(1_000))
    left, right = halves(parcels[0], value_of(parcels[0]))
    assert left.ticket == right.ticket == parcels[0].ticket
    assert read(left).ids + read(right).ids == read(parcels[0]).ids


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.builds(Broken),
    st.just(pd.NA),
    st.just(np.float32(1.5)),
    st.just(np.datetime64("2026-01-01")),
)
ANY_EVENT = st.builds(
    Prediction,
    st.one_of(st.just("m"), VALUES),
    st.one_of(st.just("1"), VALUES),
    st.one_of(st.just("a"), VALUES),
    st.dictionaries(st.one_of(st.just("x"), st.just("y"), st.integers(0, 1)), VALUES, max_size=3),
    st.one_of(st.just(1), VALUES),
    VALUES,
    st.integers(0, 2**52),
    VALUES,
    VALUES,
    st.one_of(st.none(), st.dictionaries(st.one_of(st.just("s"), st.integers(0, 1)), VALUES, max_size=2)),
    st.one_of(st.none(), VALUES, st.lists(st.floats(0, 1), max_size=4)),
    VALUES,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY_EVENT, max_size=12))
def test_any_events_are_packed_or_rejected_and_every_parcel_is_sound(items: list[Prediction]) -> None:
    parcels, ledger = pack(items)
    assert sum(read(parcel).rows for parcel in parcels) + ledger.stats().rejected == len(items)
    assert ledger.stats().pending == sum(parcel.rows for parcel in parcels)


def test_label_blocks_carry_no_version() -> None:
    block = Block(model="m", version=None, ids=["a", "b"], values=[1, 0], times_us=[1, 2], label=True)
    parcels, _ = pack_blocks([block])
    batch = decode(value_of(parcels[0]), parcels[0].headers("p", 1))
    assert isinstance(batch, LabelBatch)
    assert batch.values.tolist() == [1, 0]


def test_names_and_traces_may_come_in_arrays() -> None:
    client = Client()
    client.open("127.0.0.1:1", exit_timeout_s=0)
    table = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    given = {"feature_names": table.columns, "trace_id": np.array(["ab" * 16, "cd" * 16])}
    client.log("m", version="1", id=["a", "b"], features=table.to_numpy(), prediction=[0, 1], **given)
    assert (client.stats().logged, client.stats().rejected) == (2, 0)
    client.close(timeout_s=0)
