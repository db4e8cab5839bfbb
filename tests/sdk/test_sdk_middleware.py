"""The ASGI middleware: requests are logged as events, and no response is ever changed or held back."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from homeostat import Client
from homeostat.middleware import HomeostatMiddleware, Route, at
from tests.patience import PATIENCE_S

ROUTES = {
    "/predict": Route(
        model="churn", version="7", id="request_id", score="score", segments={"country": "meta.country"}
    ),
    "/batch/{name}": Route(
        model="churn",
        version_at="model.version",
        features="inputs",
        feature_names=("x", "y"),
        id="ids",
        prediction="outputs.*.label",
        scores="outputs.*.scores",
    ),
}


class Logged:
    """What the middleware logs."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, model: str, **event: Any) -> None:
        self.events.append((model, event))


def app_with(log: Any, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Any:
        body = await request.json()
        if body.get("fail") == "crash":
            raise RuntimeError("the model is on fire")
        if body.get("fail"):
            raise HTTPException(body["fail"], "no")
        return {"prediction": 1, "score": 0.83, "seen": body["features"]}

    @app.post("/batch/{name}")
    async def batch(name: str, request: Request) -> Any:
        body = await request.json()
        outputs = [{"label": i, "scores": [0.1, 0.9]} for i in range(len(body["inputs"]))]
        return {"model": {"version": name}, "outputs": outputs}

    @app.get("/predict")
    async def look() -> str:
        return "not logged"

    app.add_middleware(HomeostatMiddleware, routes=ROUTES, log=log, **options)
    return app


async def ask(app: FastAPI, path: str, method: str = "POST", **what: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.request(method, path, **what)


async def test_one_event_a_request() -> None:
    log = Logged()
    body = {"request_id": "r-1", "features": {"age": 41, "plan": "gold"}, "meta": {"country": "DE"}}
    answer = await ask(app_with(log), "/predict", json=body)
    assert answer.json() == {"prediction": 1, "score": 0.83, "seen": body["features"]}
    ((model, event),) = log.events
    assert model == "churn"
    assert event.pop("latency_ms") > 0
    assert event == {
        "version": "7",
        "id": "r-1",
        "features": {"age": 41, "plan": "gold"},
        "feature_names": None,
        "segments": {"country": "DE"},
        "status": "ok",
        "trace_id": None,
        "prediction": 1,
        "score": 0.83,
        "scores": None,
    }


async def test_many_rows_in_one_request() -> None:
    log = Logged()
    await ask(app_with(log), "/batch/12", json={"inputs": [[1, 2], [3, 4]], "ids": ["a", "b"]})
    found = [
        (event["version"], event["id"], event["features"], event["prediction"], event["scores"])
        for _, event in log.events
    ]
    assert found == [("12", "a", [1, 2], 0, [0.1, 0.9]), ("12", "b", [3, 4], 1, [0.1, 0.9])]


@pytest.mark.parametrize(("ids", "expected"), [("r", ["r-0", "r-1"]), (None, None)])
async def test_one_id_or_none_for_many_rows(ids: str | None, expected: list[str] | None) -> None:
    log = Logged()
    await ask(app_with(log), "/batch/12", json={"inputs": [[1, 2], [3, 4]], "ids": ids})
    found = [event["id"] for _, event in log.events]
    assert len(set(found)) == 2
    assert expected is None or found == expected


async def test_the_sdk_takes_what_the_middleware_gives() -> None:
    client = Client()
    client.open("127.0.0.1:1", exit_timeout_s=0)
    app = app_with(client.log)
    await ask(app, "/predict", json={"features": {"x": 1.0, "y": "text"}})
    await ask(app, "/batch/12", json={"inputs": [[1, 2], [3, 4]], "ids": [1, 2]})
    await ask(app, "/predict", json={"features": {"x": 1.0, "y": "text"}, "fail": 503})
    await client.aflush(0.3)
    stats = client.stats()
    assert (stats.logged, stats.rejected, stats.pending) == (4, 0, 4)
    client.close(timeout_s=0)


@pytest.mark.parametrize(("fail", "status"), [("crash", "RuntimeError"), (500, "500"), (503, "503")])
async def test_a_failed_request_is_an_event_without_a_prediction(fail: Any, status: str) -> None:
    log = Logged()
    answer = await ask(
        app_with(log), "/predict", json={"request_id": "r", "features": {"x": 1}, "fail": fail}
    )
    assert answer.status_code == (500 if fail == "crash" else fail)
    ((_, event),) = log.events
    assert event["status"] == status
    assert event["id"] == "r"
    assert "prediction" not in event


async def test_a_refused_request_is_no_event() -> None:
    log = Logged()
    answer = await ask(app_with(log), "/predict", json={"features": {}, "fail": 422})
    assert answer.status_code == 422
    assert log.events == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "the request is no JSON"),
        (b'{"features": {"x": 1}, "pad": "' + b"x" * 3_000 + b'"}', "the request is too large, or no JSON"),
        (b'{"inputs": [1]}', "the request has nothing at 'features'"),
    ],
)
async def test_what_tells_of_no_event_is_passed_on_and_told_once(
    body: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, log = FastAPI(), Logged()

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    app.add_middleware(HomeostatMiddleware, routes=ROUTES, log=log, max_body_bytes=2_000)
    caplog.set_level(logging.WARNING, "homeostat")
    for _ in range(2):
        assert (await ask(app, "/predict", content=body)).content == body
    assert log.events == []
    assert [message for message in caplog.messages if told in message] == caplog.messages
    assert len(caplog.messages) == 1


async def test_lists_of_different_lengths_are_no_events(caplog: pytest.LogCaptureFixture) -> None:
    log = Logged()
    await ask(app_with(log), "/batch/1", json={"inputs": [[1, 2], [3, 4]], "ids": ["a"]})
    assert log.events == []
    assert "1 values of id for 2 rows of features" in caplog.text


async def test_other_paths_and_methods_are_left_alone() -> None:
    log = Logged()
    assert (await ask(app_with(log), "/predict", "GET")).text == '"not logged"'
    assert (await ask(app_with(log), "/predict/more", json={})).status_code == 404
    assert log.events == []


async def test_a_stream_flows_while_it_is_made() -> None:
    app, log = FastAPI(), Logged()
    gate = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b"[1"
        await gate.wait()
        for _ in range(100):
            yield b",1" * 10_000
        yield b"]"

    @app.post("/predict")
    async def predict(request: Request) -> StreamingResponse:
        await request.body()
        return StreamingResponse(parts(), media_type="application/json")

    middleware = HomeostatMiddleware(app, routes=ROUTES, log=log)
    sent: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"features": {"x": 1}}', "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if b"[1" in sent:
            gate.set()

    scope = {
        "type": "http",
        "path": "/predict",
        "method": "POST",
        "headers": [],
        "query_string": b"",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }
    await asyncio.wait_for(middleware(scope, receive, send), PATIENCE_S)
    assert len(b"".join(sent)) == 2_000_003
    assert log.events == []


async def test_a_broken_log_breaks_no_response(caplog: pytest.LogCaptureFixture) -> None:
    def log(model: str, **event: Any) -> None:
        raise RuntimeError("broken")

    answer = await ask(app_with(log), "/predict", json={"features": {"x": 1}})
    assert answer.status_code == 200
    assert "RuntimeError('broken')" in caplog.text


async def test_texts_and_compressed_responses_are_not_read(caplog: pytest.LogCaptureFixture) -> None:
    app, log = FastAPI(), Logged()

    @app.post("/predict")
    async def predict() -> PlainTextResponse:
        return PlainTextResponse("plain")

    app.add_middleware(HomeostatMiddleware, routes=ROUTES, log=log)
    assert (await ask(app, "/predict", json={"features": {}})).text == "plain"
    assert log.events == []


async def test_what_was_logged_is_flushed_before_the_application_is_gone() -> None:
    order: list[Any] = []

    async def flush(timeout_s: float | None) -> bool:
        order.append(("flush", timeout_s))
        return True

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.shutdown" if order else "lifespan.startup"}

    async def send(message: Any) -> None:
        order.append(message["type"])

    await app_with(Logged(), flush=flush)({"type": "lifespan", "state": {}}, receive, send)
    assert order == ["lifespan.startup.complete", ("flush", None), "lifespan.shutdown.complete"]


async def test_a_flush_that_fails_does_not_keep_the_application_from_ending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[str] = []

    async def flush(timeout_s: float | None) -> bool:
        raise RuntimeError("closed already")

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.shutdown" if said else "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    with caplog.at_level(logging.WARNING):
        await app_with(Logged(), flush=flush)({"type": "lifespan", "state": {}}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert "what was logged last could not be flushed: RuntimeError('closed already')" in caplog.text


def test_places() -> None:
    document = {"a": [{"b": 1}, {"b": 2}], "c": {"d": [5, 6]}}
    assert at(document, "") is document
    assert at(document, "c.d.1") == 6
    assert at(document, "a.*.b") == [1, 2]
    assert at(document, "a.*") == document["a"]
    nothing = at(document, None)
    assert all(at(document, place) is nothing for place in ("x", "a.5", "a.*.x", "c.d.x", "c.d.1.e", "a.-1"))
    assert np.array_equal(at([[1], [2]], "*.0"), [1, 2])


def test_a_route_needs_one_version() -> None:
    with pytest.raises(ValueError, match="version: found ''"):
        Route(model="m")
    with pytest.raises(ValueError, match="version: found '1'"):
        Route(model="m", version="1", version_at="v")
