"""Foreign formats: the shapes that real loggers write become the right rows, and what cannot is told."""

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from homeostat.contract import CONTENT_TYPE
from streams.gate.captures import capture_exchange
from streams.gate.cloudevents import BATCHED
from streams.gate.join import give_up
from streams.gate.mapping import Format, IngestMap, MappingError, Source, load_map
from streams.gate.payloads import rows_of
from streams.gate.places import HEADER_IDEMPOTENCY
from streams.gate.waiting import HALVES_KEPT_MS, Seen, Waiting
from tests.streams.exchange_parts import (
    CAPTURE,
    TABLE_ROW,
    V2_REQUEST,
    V2_RESPONSE,
    half,
    joined,
)
from tests.streams.gate_parts import batches, json_record, new_reader, predictions, record, taken, written
from tests.streams.test_gate_rows import PREDICTION


@pytest.mark.parametrize("order", [1, -1])
def test_kserve_request_and_response_become_rows_in_either_order(order: int) -> None:
    pair = [half("request", V2_REQUEST), half("response", V2_RESPONSE, 1)][::order]
    batch = predictions(joined(*pair))
    assert (batch.model, batch.version) == ("churn-service", "5")
    assert batch.ids == ["r-1-0", "r-1-1"]
    assert batch.predictions.tolist() == [1.0, 0.0]
    assert batch.features["age"].tolist() == [41.0, 35.5]
    assert batch.features["plan"].tolist() == ["gold", "basic"]
    assert batch.times_us.tolist() == [1_795_255_200_500_000] * 2
    assert batch.latencies_ms.tolist() == [250.0] * 2
    assert batch.traces.tolist() == ["ab" * 16] * 2


def test_a_source_names_model_columns_score_and_segments() -> None:
    source = Source(
        when={"service": "churn-*", "namespace": "prod", "topic": "logs"},
        model="churn",
        version=7,
        prediction="label",
        scores="probability",
        score="probability.1",
        segments=("plan",),
    )
    output = joined(
        half("request", V2_REQUEST), half("response", V2_RESPONSE), ingest=IngestMap(sources=(source,))
    )
    batch = predictions(output)
    assert (batch.model, batch.version) == ("churn", "7")
    assert batch.scores.tolist() == [0.75, 0.5]
    assert batch.class_scores is not None
    assert batch.class_scores.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert batch.segments["plan"].tolist() == ["gold", "basic"]
    assert batch.feature_names == ("age",)


def test_v1_bodies_structured_mode_and_arrays_are_read() -> None:
    event = {"specversion": "1.0", "id": "r-9", "source": "http://x/iris", "time": "2026-11-21T10:00:00Z"}
    pair = [
        event
        | {"type": "io.seldon.serving.inference.response", "requestid": "q", "data": {"predictions": [1]}},
        event
        | {"type": "io.seldon.serving.inference.request", "requestid": "q", "id": "r-8"}
        | {"data_base64": base64.b64encode(b'{"instances": [[6.8, 2.8]]}').decode()},
    ]
    ingest = IngestMap(sources=(Source(features=("length", "width")),))
    for records in ([json_record(pair)], [json_record(one, number) for number, one in enumerate(pair)]):
        batch = predictions(joined(*records, ingest=ingest))
        assert (batch.model, batch.version, batch.ids) == ("iris", "1", ["q"])
        assert batch.features["length"].tolist() == [6.8]
        assert batch.features["width"].tolist() == [2.8]
    content = record(json.dumps(pair).encode(), content_type=BATCHED)
    assert predictions(joined(content, ingest=ingest)).rows == 1


def test_a_half_that_stays_alone_is_a_dead_letter_and_can_be_sent_again() -> None:
    waiting, reader = Waiting(), new_reader()
    output = joined(half("response", V2_RESPONSE, 5), waiting=waiting)
    assert not output.batches
    assert not output.letters
    give_up(1_790_000_000_000 + HALVES_KEPT_MS - 1, waiting, reader, IngestMap())
    assert not reader.bad
    give_up(1_790_000_000_000 + HALVES_KEPT_MS, waiting, reader, IngestMap())
    [letter] = taken(reader).letters
    assert "no request" in letter.reason
    assert (letter.model, letter.topic, letter.offset) == ("churn-service", "logs", 5)
    assert json.loads(letter.original) == V2_RESPONSE
    again = record(letter.original, 0, "logs", **{name: value.decode() for name, value in letter.headers})
    assert predictions(joined(again, half("request", V2_REQUEST))).rows == 2


def test_waiting_halves_are_written_as_deltas_and_come_back() -> None:
    waiting, restored = Waiting(), Waiting()
    joined(half("request", V2_REQUEST), half("request", V2_REQUEST, identity="r-2"), waiting=waiting)
    for join, value in waiting.halves.deltas():
        restored.restore(join, value)
    assert predictions(joined(half("response", V2_RESPONSE), waiting=restored)).rows == 2
    assert [value for _, value in restored.halves.deltas()] == [None]
    joined(
        half("request", V2_REQUEST, identity="r-3"),
        half("response", V2_RESPONSE, identity="r-3"),
        waiting=restored,
    )
    assert list(restored.halves.deltas()) == []
    assert len(restored.halves) == 1


def test_a_redelivered_half_replaces_the_one_that_waits() -> None:
    output = joined(
        half("request", V2_REQUEST), half("request", V2_REQUEST, 1), half("response", V2_RESPONSE, 2)
    )
    assert predictions(output).rows == 2


def test_a_half_that_another_one_of_its_id_replaces_is_a_dead_letter() -> None:
    other = {"inputs": V2_REQUEST["inputs"][:1]}
    output = joined(half("request", other), half("request", V2_REQUEST, 1), half("response", V2_RESPONSE, 2))
    assert predictions(output).rows == 2
    [letter] = output.letters
    assert (letter.offset, letter.field, letter.model) == (0, "id", "churn-service")
    assert "another request with this id" in letter.reason
    counts = output.counts["churn-service"]
    assert (counts.received, counts.deadlettered) == (3, 1)


def test_a_bad_row_of_an_exchange_is_sent_again_alone() -> None:
    request = {"instances": [{"age": 1.0}, {"age": {"years": 2}}, {"age": 3.0}]}
    response = {"predictions": [0, 1, 0]}
    output = joined(half("request", request), half("response", response))
    assert predictions(output).ids == ["r-1-0", "r-1-2"]
    [letter] = output.letters
    assert (letter.field, letter.only_row, letter.model) == ("features.age", 1, "churn-service")
    assert output.counts["churn-service"].received == 3
    headers = {name: value.decode() for name, value in letter.headers}
    again = record(letter.original, 0, "logs", **headers, only_row="1", replay_of="77")
    [second] = joined(again).letters
    assert (second.field, second.replay_of) == ("features.age", 77)


@pytest.mark.parametrize(
    ("request_body", "response_body", "field"),
    [
        ({"instances": [[1.0]]}, {"predictions": [1, 0]}, "response"),
        ({"instances": []}, {"predictions": []}, "request"),
        ({"question": 1}, {"predictions": [1]}, ""),
        (
            {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1]}]},
            {"predictions": [1]},
            "inputs.0.data",
        ),
        (
            {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32"}]},
            {"predictions": [1]},
            "inputs.0.data",
        ),
        (
            {"inputs": [{"name": "x", "shape": [-1], "datatype": "F", "data": []}]},
            {"predictions": [1]},
            "inputs.0.shape",
        ),
        ({"instances": [[1.0]]}, {"predictions": [{"a": {"b": 1}}]}, "prediction"),
    ],
)
def test_an_exchange_that_cannot_be_read_is_one_dead_letter(
    request_body: object, response_body: object, field: str
) -> None:
    output = joined(half("request", request_body), half("response", response_body))
    [letter] = output.letters
    assert (letter.field, letter.topic) == (field, "logs")
    parts = json.loads(letter.original)
    assert [part["data"] for part in parts] == [request_body, response_body]


def test_an_event_of_another_type_is_refused_at_once() -> None:
    output = joined(half("outlier", {"is_outlier": [1]}))
    [letter] = output.letters
    assert letter.field == "type"
    assert letter.model == "churn-service"


CAPTURED = IngestMap(
    topics={"in": Format.SAGEMAKER},
    sources=(Source(when={"topic": "in"}, model="churn", features=("age", "plan", "visits"), threshold=0.5),),
)


def test_sagemaker_captures_are_read_line_by_line() -> None:
    lines = json.dumps(CAPTURE) + "\n" + json.dumps(CAPTURE | {"eventMetadata": {}}) + "\n"
    output = written(record(lines.encode()), ingest=CAPTURED)
    batch = predictions(output)
    assert (batch.model, batch.version, batch.ids) == ("churn", "1", ["e-1-0", "e-1-1"])
    assert batch.scores.tolist() == [0.75, 0.25]
    assert batch.predictions.tolist() == [1.0, 0.0]
    assert batch.features["plan"].tolist() == ["gold", "basic"]
    assert np.isnan(batch.features["visits"][0])
    [letter] = output.letters
    assert letter.row == 1
    assert letter.field in ("eventMetadata.inferenceTime", "id")


@pytest.mark.parametrize(
    ("encoding", "media_type", "data"),
    [
        ("CSV", "text/csv", "1.5,2"),
        ("JSON", "application/json", '{"instances": [[1.5, 2]]}'),
        ("BASE64", "text/csv", base64.b64encode(b"1.5,2").decode()),
        ("BASE64", "application/json", base64.b64encode(b'{"instances": [[1.5, 2]]}').decode()),
        ("JSON", "application/jsonlines", '{"features": [1.5, 2]}\n'),
    ],
)
def test_sagemaker_encodings(encoding: str, media_type: str, data: str) -> None:
    part = {"observedContentType": media_type, "data": data, "encoding": encoding}
    data_of = {**CAPTURE["captureData"], "endpointInput": part}
    exchange = capture_exchange(CAPTURE | {"captureData": data_of}, "in")
    assert exchange.request == [{"0": 1.5, "1": 2}]


def test_inference_table_rows_are_read_by_their_shape() -> None:
    failed = TABLE_ROW | {"databricks_request_id": "d-2", "status_code": 500, "response": None}
    output = written(json_record([TABLE_ROW, failed]))
    batch = predictions(output)
    assert (batch.model, batch.version) == ("churn", "12")
    assert batch.ids == ["d-1-0", "d-1-1", "d-2-0", "d-2-1"]
    assert batch.statuses.tolist() == ["200", "200", "500", "500"]
    assert batch.predictions[:2].tolist() == [1.0, 0.0]
    assert np.isnan(batch.predictions[2:]).all()
    assert batch.latencies_ms.tolist() == [12.0] * 4
    assert batch.times_us[0] == 1_790_000_000_123_000
    assert not output.letters


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"age": 41, "plan": "gold"}, {"age": None, "plan": "basic"}]},
        {"dataframe_split": {"columns": ["age", "plan"], "data": [[41, "gold"], [None, "basic"]]}},
        {"inputs": {"age": [41, None], "plan": ["gold", "basic"]}},
        {"instances": [{"age": 41, "plan": "gold"}, {"age": None, "plan": "basic"}]},
        {"data": {"names": ["age", "plan"], "ndarray": [[41, "gold"], [None, "basic"]]}},
    ],
)
def test_the_protocols_say_the_same(body: object) -> None:
    assert rows_of(body) == [{"age": 41, "plan": "gold"}, {"age": None, "plan": "basic"}]


def test_seldon_tensors_and_bare_lists() -> None:
    body = {"data": {"names": ["a", "b"], "tensor": {"shape": [2, 2], "values": [1, 2, 3, 4]}}}
    assert rows_of(body) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert rows_of([1, 0]) == [{"0": 1}, {"0": 0}]


def test_an_arrow_body_is_rows_like_any_other() -> None:
    table = pa.table(
        {
            "id": ["a", "b", ""],
            "time": pa.array([1_790_000_000] * 3),
            "prediction": [1.0, 0.0, 1.0],
            "score": [0.5, 7.0, 0.5],
            "f.age": [41.0, None, 3.0],
            "s.country": ["PT", None, "PT"],
        }
    ).replace_schema_metadata({"model": "churn", "version": "7"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    output = written(record(sink.getvalue().to_pybytes(), content_type=CONTENT_TYPE))
    batch = predictions(output)
    assert batch.ids == ["a"]
    assert sorted((letter.row, letter.field) for letter in output.letters) == [(1, "score"), (2, "id")]
    assert json.loads(output.letters[0].original)["model"] == "churn"
    [letter] = written(record(b"no arrow", content_type=CONTENT_TYPE)).letters
    assert "Arrow" in letter.reason


def test_a_request_that_comes_twice_is_taken_once() -> None:
    seen = Seen()
    first, second = new_reader(seen=seen), new_reader(seen=seen)
    event = json.dumps(PREDICTION).encode()
    for reader in (first, second):
        reader.read(
            [record(event, **{HEADER_IDEMPOTENCY: "k"}), record(event, 1, **{HEADER_IDEMPOTENCY: "k-2"})]
        )
    assert sum(batch.rows for batch in batches(taken(first))) == 2
    assert not batches(taken(second))


def test_the_mapping_file_and_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "ingest.yaml"
    path.write_text(
        "topics: {kserve.logs: cloudevents}\n"
        "sources:\n"
        "  - when: {service: iris}\n"
        "    model: iris\n"
        "    features: [length, width]\n"
    )
    found = load_map(path, "captures=sagemaker, kserve.logs=auto,plain")
    assert found.topics == {"kserve.logs": "auto", "captures": "sagemaker", "plain": "auto"}
    assert found.source({"service": "iris"}).features == ("length", "width")
    assert found.source({"service": "other"}) == Source()
    path.write_text("sources: [{model: [1]}]")
    with pytest.raises(MappingError, match=r"sources\[0\]\.model"):
        load_map(path, None)
    path.write_text("topics: {a: plain}\ntopics: {b: plain}\n")
    with pytest.raises(MappingError, match=r"ingest\.yaml: line 2, topics stands there twice"):
        load_map(path, None)
    with pytest.raises(MappingError, match="avro"):
        load_map(None, "x=avro")
