"""Exchanges as the loggers of model servers write them."""

import json
from typing import Any

from streams.broker.group import Record
from streams.gate.join import encode_half, join_halves
from streams.gate.mapping import IngestMap
from streams.gate.output import Output
from streams.gate.waiting import Waiting
from tests.streams.gate_parts import new_reader, record, taken

V2_REQUEST = {
    "inputs": [
        {"name": "age", "shape": [2, 1], "datatype": "FP64", "data": [[41.0], [35.5]]},
        {"name": "plan", "shape": [2], "datatype": "BYTES", "data": ["gold", "basic"]},
    ]
}

TENSOR = {"name": "x", "shape": [2], "datatype": "FP32"}

V2_RESPONSE = {
    "model_name": "churn-model",
    "model_version": "5",
    "outputs": [
        {"name": "label", "shape": [2], "datatype": "INT64", "data": [1, 0]},
        {"name": "probability", "shape": [2, 2], "datatype": "FP32", "data": [0.25, 0.75, 0.5, 0.5]},
    ],
}


CAPTURE: dict[str, Any] = {
    "captureData": {
        "endpointInput": {
            "observedContentType": "text/csv",
            "mode": "INPUT",
            "data": "41,gold,\n35.5,basic,7",
            "encoding": "CSV",
        },
        "endpointOutput": {
            "observedContentType": "text/csv; charset=utf-8",
            "mode": "OUTPUT",
            "data": "0.75,0.25",
            "encoding": "CSV",
        },
    },
    "eventMetadata": {"eventId": "e-1", "inferenceTime": "2026-11-21T10:00:00Z"},
    "eventVersion": "0",
}
TABLE_ROW: dict[str, Any] = {
    "databricks_request_id": "d-1",
    "client_request_id": None,
    "timestamp_ms": 1_790_000_000_123,
    "status_code": 200,
    "execution_time_ms": 12,
    "request": json.dumps(
        {"dataframe_split": {"columns": ["age", "plan"], "data": [[41, "gold"], [None, "basic"]]}}
    ),
    "response": json.dumps({"predictions": [1, 0]}),
    "request_metadata": {"endpoint_name": "churn-endpoint", "model_name": "churn", "model_version": "12"},
}


def kserve(part: str, body: object, identity: str = "r-1", **more: str) -> dict[str, str]:
    """Headers of KServe's logger in binary mode, as Knative's Kafka broker writes them."""
    return {
        "ce_specversion": "1.0",
        "ce_id": identity,
        "ce_type": f"org.kubeflow.serving.inference.{part}",
        "ce_source": "http://localhost:9081/",
        "ce_time": "2026-11-21T10:00:00.5Z" if part == "request" else "2026-11-21T10:00:00.75Z",
        "ce_inferenceservicename": "churn-service",
        "ce_namespace": "prod",
        "ce_component": "predictor",
        "ce_endpoint": "",
        "ce_traceparent": f"00-{'ab' * 16}-{'cd' * 8}-00",
        "content-type": "application/x-www-form-urlencoded",
        **more,
    }


def half(part: str, body: object, offset: int = 0, identity: str = "r-1", **more: str) -> Record:
    return record(json.dumps(body).encode(), offset, "logs", **kserve(part, body, identity, **more))


def joined(*records: Record, ingest: IngestMap | None = None, waiting: Waiting | None = None) -> Output:
    """What the gate writes when the halves of these records have gone through its own topic."""
    mapping = ingest or IngestMap()
    first = new_reader(mapping)
    first.read(records)
    second = new_reader(mapping)
    second.bad += first.bad
    inner = [record(encode_half(one), number, "halves") for number, one in enumerate(first.halves)]
    join_halves(inner, waiting or Waiting(), second, mapping)
    return taken(second)
