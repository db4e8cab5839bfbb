"""Columns and their checks: what is accepted goes into valid batches, what is refused is named, nothing is lost."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.values import Monitor
from homeostat.contract import LabelBatch, PredictionBatch, partition_of
from streams.control.configuration import Configuration
from streams.gate import output as gate_output
from streams.gate.known import KnownModels
from streams.gate.rows import PredictionRow
from tests.streams.gate_parts import batches, json_record, new_reader, predictions, record, taken, written
from tests.streams.test_gate_rows import LABEL, PREDICTION

MODEL_PLAIN: dict[str, Any] = PREDICTION | {"features": {"age": 41.0, "plan": "gold"}}


@pytest.mark.parametrize(
    ("time", "time_us"),
    [
        (1_790_000_000, 1_790_000_000_000_000),
        (1_790_000_000.5, 1_790_000_000_500_000),
        (1_790_000_000_123, 1_790_000_000_123_000),
        ("2026-09-21T14:13:20Z", 1_790_000_000_000_000),
        ("2026-11-21T10:00:00.25+02:00", 1_795_248_000_250_000),
        ("2026-09-21T14:13:20.000001Z", 1_790_000_000_000_001),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_times_are_read_as_seconds_milliseconds_or_rfc_3339(time: object, time_us: int) -> None:
    [batch] = batches(written(json_record([LABEL | {"time": time}, LABEL])))
    assert batch.times_us.tolist() == [time_us, 1_790_000_000_000_000]


def test_every_field_arrives() -> None:
    event = PREDICTION | {
        "segments": {"country": "PT", "tier": 3},
        "trace_id": "ab" * 16,
        "scores": [0.25, 0.75],
    }
    batch = predictions(written(json_record(event)))
    assert (batch.model, batch.version, batch.ids) == ("churn", "7", ["a-1"])
    assert batch.predictions.tolist() == [1.0]
    assert batch.scores.tolist() == [0.75]
    assert batch.latencies_ms.tolist() == [3.5]
    assert batch.statuses.tolist() == ["ok"]
    assert batch.features["age"].tolist() == [41.0]
    assert batch.features["plan"].tolist() == ["gold"]
    assert np.isnan(batch.features["debt"]).all()
    assert batch.features["member"].tolist() == [1.0]
    assert batch.features["face"].tolist() == [[0.5, 1.0]]
    assert batch.segments["country"].tolist() == ["PT"]
    assert batch.segments["tier"].tolist() == ["3"]
    assert batch.traces.tolist() == ["ab" * 16]
    assert batch.class_scores is not None
    assert batch.class_scores.tolist() == [[0.25, 0.75]]


def test_texts_can_be_predictions_and_labels() -> None:
    output = written(json_record([PREDICTION | {"prediction": "cat"}, LABEL | {"value": "dog"}]))
    found = {type(batch): batch for batch in batches(output)}
    batch, labels = found[PredictionBatch], found[LabelBatch]
    assert isinstance(batch, PredictionBatch)
    assert isinstance(labels, LabelBatch)
    assert batch.is_text
    assert labels.is_text


def test_a_request_that_failed_has_no_prediction() -> None:
    batch = predictions(written(json_record(PREDICTION | {"prediction": None, "status": "timeout"})))
    assert np.isnan(batch.predictions).all()
    assert batch.statuses.tolist() == ["timeout"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"time": -1}, "time"),
        ({"time": 10**30}, "time"),
        ({"score": 1.1}, "score"),
        ({"score": -0.1}, "score"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"features": {"": 1}}, "features"),
        ({"features": {"face": []}}, "features.face"),
        ({"scores": [0.5, 1.5]}, "scores"),
        ({"scores": [1.0]}, "scores"),
        ({"segments": {"": "x"}}, "segments"),
        ({"features": {f"f{i}": 1.0 for i in range(2_001)}}, "features"),
    ],
)
def test_what_columns_refuse_is_named_and_the_others_go_on(change: dict[str, Any], field: str) -> None:
    bad = PREDICTION | change
    output = written(json_record([PREDICTION, bad | {"id": "a-2"}, PREDICTION | {"id": "a-3"}]))
    assert [name for batch in batches(output) for name in batch.ids] == ["a-1", "a-3"]
    [letter] = output.letters
    assert (letter.field, letter.row, letter.model) == (field, 1, "churn")
    assert json.loads(letter.original)["id"] == "a-2"
    assert (output.counts["churn"].received, output.counts["churn"].deadlettered) == (3, 1)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": "\ud800"}, "id"),
        ({"features": {"\udc00": 1.0}}, "features"),
        ({"features": {"plan": "\udc00"}}, "features.plan"),
        ({"status": "\udc00"}, "status"),
        ({"model": "\udc00"}, "model"),
        ({"version": "\udc00"}, "version"),
    ],
)
def test_half_a_surrogate_pair_is_refused(change: dict[str, Any], field: str) -> None:
    assert len(written(record(json.dumps(PREDICTION | change).encode())).letters) == 1
    # Python's own decoder, which foreign payloads may go through, lets it pass.
    values = {name: value for name, value in MODEL_PLAIN.items() if name != "kind"} | change
    reader = new_reader()
    reader.add(PredictionRow(**values | {"time": 1.0}), record(b"{}"))
    output = taken(reader)
    assert [letter.field for letter in output.letters] == [field]
    assert not output.batches


def test_values_that_cannot_share_a_column_go_into_batches_of_their_own() -> None:
    values: list[object] = [1.0, "one", None, 2.0, [1.0, 2.0], "two", [1.0]]
    events = [PREDICTION | {"id": str(number), "features": {"x": x}} for number, x in enumerate(values)]
    output = written(json_record(events))
    assert [batch.ids for batch in batches(output)] == [["0", "2", "3"], ["1", "5"], ["4"], ["6"]]
    assert [batch.sequence for batch in batches(output)] == [(9 << 20) + i for i in range(4)]


def test_batches_are_cut_to_fit_a_record() -> None:
    events = [PREDICTION | {"id": str(number), "status": "x" * 200_000} for number in range(12)]
    output = written(*(json_record(event, number) for number, event in enumerate(events)))
    assert all(len(one.value) <= 900_000 for one in output.batches)
    assert [name for batch in batches(output) for name in batch.ids] == [str(number) for number in range(12)]


def test_a_hot_model_is_spread_over_partitions() -> None:
    reader = new_reader()
    reader.read([json_record(PREDICTION | {"id": f"id-{number}"}, number) for number in range(100)])
    registered = Configuration()
    registered.add_monitor(Monitor(model="churn", spread=3))
    output = taken(reader, 8, registered)
    assert len({batch.partition for batch in output.batches}) == 3
    for one, batch in zip(output.batches, batches(output), strict=True):
        assert {partition_of("churn", key, 8, 3) for key in batch.keys.tolist()} == {one.partition}


def test_a_row_on_which_the_gate_breaks_is_found_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gate_output.prediction_batches

    def breaking(rows: Any, *rest: Any) -> Any:
        if any(row.id == "id-7" for row in rows):
            raise RuntimeError("a bug")
        return real(rows, *rest)

    monkeypatch.setattr(gate_output, "prediction_batches", breaking)
    output = written(*(json_record(PREDICTION | {"id": f"id-{number}"}, number) for number in range(20)))
    assert sum(batch.rows for batch in batches(output)) == 19
    [letter] = output.letters
    assert "a bug" in letter.reason
    assert letter.offset == 7


def _mixed_events(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    found: list[dict[str, Any]] = []
    for number in range(count):
        features: dict[str, Any] = {
            "age": float(rng.normal()),
            "plan": "ab"[number % 2],
            "debt": float(number),
        }
        if number % 7 == 0:
            features["debt"] = None
        if number % 11 == 0:
            features["extra"] = 1
        if number % 13 == 0:
            features.pop("plan")
        found.append(
            MODEL_PLAIN
            | {"id": f"id-{number}", "version": number % 2, "features": features, "time": 1_790_000_000}
        )
    return found


def test_learned_decoders_give_the_same_as_the_general_one() -> None:
    events = _mixed_events(500)
    models = KnownModels()
    written(*(json_record(event, number) for number, event in enumerate(events[:40])), models=models)
    assert models.by_hint
    learned = written(*(json_record(event, number) for number, event in enumerate(events)), models=models)
    general = written(json_record(events))
    arrays = [json_record(events[i : i + 50], i) for i in range(0, len(events), 50)]
    assert not learned.letters
    assert _rows(learned) == _rows(general) == _rows(written(*arrays, models=models))
    assert sum(known.rows for known in models.by_hint.values()) > 200


def _rows(output: gate_output.Output) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for batch in batches(output):
        assert isinstance(batch, PredictionBatch)
        for row, name in enumerate(batch.ids):
            features = {key: values[row] for key, values in batch.features.items()}
            kept = {k: v for k, v in features.items() if v is not None and v == v}
            found[name] = (batch.version, batch.times_us[row], batch.predictions[row], kept)
    return found


def test_a_learned_decoder_that_keeps_failing_is_learned_afresh() -> None:
    models = KnownModels()
    written(*(json_record(MODEL_PLAIN | {"id": str(i)}, i) for i in range(20)), models=models)
    [first] = models.by_hint.values()
    changed = MODEL_PLAIN | {"features": {"new": 1.0}}
    for _ in range(3):
        written(*(json_record(changed | {"id": str(i)}, i) for i in range(120)), models=models)
    [second] = models.by_hint.values()
    assert first is not second
    assert second.numbers == ("new",)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_fields = st.sampled_from([*PREDICTION, *LABEL, "scores", "segments", "trace_id"])
_events = st.builds(
    lambda base, changes: base | changes,
    st.sampled_from([PREDICTION, LABEL]),
    st.dictionaries(_fields, _json, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_events | _json, max_size=5))
def test_every_row_is_in_a_batch_or_a_dead_letter(events: list[Any]) -> None:
    reader = new_reader()
    reader.read([record(json.dumps(events).encode())])
    output = taken(reader)
    assert sum(batch.rows for batch in batches(output)) + len(output.letters) == len(events)
    counts = output.counts.values()
    assert sum(one.received + one.label_received for one in counts) == len(events)
    assert sum(one.deadlettered + one.label_deadlettered for one in counts) == len(output.letters)
    for letter in output.letters:
        assert msgspec.json.decode(letter.to_json())


def test_what_was_learned_of_a_model_accepts_nothing_that_the_long_way_refuses() -> None:
    models = KnownModels()
    good = [json_record(MODEL_PLAIN | {"id": f"id-{number}"}, number) for number in range(40)]
    bare = {name: value for name, value in MODEL_PLAIN.items() if name != "kind"}
    label = {name: value for name, value in (LABEL | {"model": "label"}).items() if name != "kind"}
    for _ in range(2):
        output = written(*good, json_record(bare, 40), json_record(label, 41), models=models)
        assert sum(batch.rows for batch in batches(output)) == 40
        assert [(letter.offset, letter.field) for letter in output.letters] == [(40, "kind"), (41, "kind")]
    assert models.by_hint


def test_labels_among_predictions_do_not_unlearn_their_model() -> None:
    models = KnownModels()
    events = [
        MODEL_PLAIN | {"id": str(number)} if number % 2 else LABEL | {"id": str(number)}
        for number in range(1_000)
    ]
    for start in range(0, 1_000, 100):
        output = written(
            *(json_record(one, n) for n, one in enumerate(events[start : start + 100])), models=models
        )
        assert sum(batch.rows for batch in batches(output)) == 100
    [known] = models.by_hint.values()
    assert known.misses == 0
    assert known.rows > 400
