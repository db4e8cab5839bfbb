"""Events of every foreign format, as the fuzz tests take them."""

EVENT = {
    "kind": "prediction",
    "model": "m",
    "version": "1",
    "id": "a",
    "time": "2026-11-21T10:00:00Z",
    "features": {"age": 41.5, "city": "Rome", "picture": [1.0, 2.0]},
    "prediction": 1,
    "score": 0.8,
}
LABEL = {"kind": "label", "model": "m", "id": "a", "time": 1_760_000_000, "value": 1}
CAPTURE = {
    "captureData": {
        "endpointInput": {
            "observedContentType": "text/csv",
            "mode": "INPUT",
            "data": "1,2,3",
            "encoding": "CSV",
        },
        "endpointOutput": {
            "observedContentType": "text/csv",
            "mode": "OUTPUT",
            "data": "0.9",
            "encoding": "CSV",
        },
    },
    "eventMetadata": {"eventId": "e-1", "inferenceTime": "2026-11-21T10:00:00Z"},
}
TABLE_ROW = {
    "databricks_request_id": "r-1",
    "timestamp_ms": 1_760_000_000_000,
    "status_code": 200,
    "request": '{"dataframe_records": [{"a": 1, "b": "x"}]}',
    "response": '{"predictions": [1]}',
    "request_metadata": {"model_name": "m", "model_version": "1"},
}
CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "org.kubeflow.serving.inference.request",
    "id": "1",
    "source": "m",
    "inferenceservicename": "m",
    "data": {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}]},
}
