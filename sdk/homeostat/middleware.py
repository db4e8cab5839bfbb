"""Logs the requests of an ASGI application (FastAPI, Starlette, ...) without touching its code.

    from homeostat.middleware import HomeostatMiddleware, Route

    app.add_middleware(
        HomeostatMiddleware,
        routes={"/predict": Route(model="churn", version="7", id="request_id", score="score")},
    )

A route says where the parts of an event stand in the JSON of the request and the response. A place is a path of
keys and positions with dots between them; `*` means every element of a list: `predictions.*.label`.
The application's messages pass through as they are, and first; what goes wrong here is told to the log once.
"""

import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import homeostat
from homeostat.tracing import TRACE_HEADER, trace_of

logger = logging.getLogger("homeostat")

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 1024 * 1024

_NOTHING: Any = object()
_MAX_TOLD_REASONS = 100


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where the parts of an event stand.

    `features` and `segments` (by name) are places in the request, `prediction`, `score` and `scores` in the response;
    `id` and `version_at` (which version answered, in place of `version`) in either, the request first. `features`
    leads to a dict, to an array that goes with `feature_names`, or to a list of such rows; then the response has a
    list of predictions, and `id` a list or one id, which gets a number behind. Without an id, one is made up.
    """

    model: str
    version: str = ""
    version_at: str | None = None
    features: str = "features"
    feature_names: Sequence[str] | None = None
    id: str | None = "id"
    prediction: str = "prediction"
    score: str | None = None
    scores: str | None = None
    segments: Mapping[str, str] = field(default_factory=dict[str, str])
    methods: Sequence[str] = ("POST",)

    def __post_init__(self) -> None:
        if bool(self.version) == bool(self.version_at):
            raise ValueError(f"version: found {self.version!r}; expected it or version_at, of {self.model}")


class HomeostatMiddleware:
    """`routes`: by path; a segment of a path may be `{anything}`. `log` and `flush`: default `homeostat.log` and
    `homeostat.aflush` (with a `log` of your own: none). `flush(None)` is called when the application has shut down,
    for a server that ends by a signal, as uvicorn does, runs no exit handlers.

    Bodies of more than `max_body_bytes`, and those that are no JSON, are passed on and not logged. A status of 500
    or more, or an exception, is an event without a prediction, with that as its status; a request that was refused
    (400 to 499) is none.
    """

    def __init__(
        self,
        app: App,
        *,
        routes: Mapping[str, Route],
        log: Callable[..., None] | None = None,
        flush: Callable[[float | None], Awaitable[bool]] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._app = app
        self._routes = [(_pattern(path), path, route) for path, route in routes.items()]
        self._log = homeostat.log if log is None else log
        self._flush = homeostat.aflush if log is None and flush is None else flush
        self._max_body_bytes = max_body_bytes
        self._told: set[str] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, or the application's life."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._last_words(send))
            return
        found = self._route_of(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        path, route = found
        exchange = _Exchange(self._max_body_bytes, _trace_of(scope.get("headers", ())))

        async def receiving() -> Message:
            message = await receive()
            exchange.received(message)
            return message

        async def sending(message: Message) -> None:
            await send(message)
            if exchange.sent(message):
                self._tell(path, route, exchange)

        try:
            await self._app(scope, receiving, sending)
        except Exception as error:
            if not exchange.complete:
                exchange.fail(type(error).__name__)
                self._tell(path, route, exchange)
            raise

    def _last_words(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if self._flush is not None and message["type"].startswith("lifespan.shutdown."):
                try:
                    await self._flush(None)
                except Exception as error:  # noqa: BLE001 - the border to the host: nothing may pass it
                    logger.warning("homeostat: what was logged last could not be flushed: %r", error)
            await send(message)

        return sending

    def _route_of(self, scope: Message) -> tuple[str, Route] | None:
        if scope["type"] != "http":
            return None
        for pattern, path, route in self._routes:
            if pattern.fullmatch(scope["path"]) and scope["method"] in route.methods:
                return path, route
        return None

    def _tell(self, path: str, route: Route, exchange: "_Exchange") -> None:
        """Log what the exchange was about. Never raises: the response is on its way."""
        if exchange.refused:
            return
        try:
            for event in events_of(route, exchange):
                self._log(route.model, **event)
        except Exception as error:  # noqa: BLE001 - the border to the host: nothing may pass it
            reason = f"{path}: {error if isinstance(error, Unreadable) else repr(error)}"
            if reason not in self._told and len(self._told) < _MAX_TOLD_REASONS:
                self._told.add(reason)
                logger.warning("homeostat: a request was not logged, %s (told once)", reason)


class Unreadable(Exception):
    """A request or a response that tells of no event."""


class _Exchange:
    """What has been seen of one request and its response: at most `max_body_bytes` of each."""

    def __init__(self, max_body_bytes: int, trace: str | None = None) -> None:
        self.trace = trace
        self.latency_ms = 0.0
        self.complete = False
        self.status = "ok"
        self._code = 0
        self._max_body_bytes = max_body_bytes
        self._started_s = time.perf_counter()
        self._request: bytearray | None = bytearray()
        self._response: bytearray | None = bytearray()

    @property
    def refused(self) -> bool:
        """Whether the model was not asked, for the request was wrong or had to go elsewhere."""
        return 300 <= self._code < 500

    @property
    def failed(self) -> bool:
        """Whether there is no prediction."""
        return self.status != "ok"

    def received(self, message: Message) -> None:
        """A message from the client."""
        if message["type"] == "http.request":
            self._request = self._extended(self._request, message.get("body", b""))

    def sent(self, message: Message) -> bool:
        """A message to the client: whether the response is complete with it."""
        if message["type"] == "http.response.start":
            self._code = message["status"]
            self.status = "ok" if self._code < 500 else str(self._code)
            if not _is_json(message.get("headers", ())):
                self._response = None
        elif message["type"] == "http.response.body":
            self._response = self._extended(self._response, message.get("body", b""))
            self.complete = not message.get("more_body", False)
            self.latency_ms = self._elapsed_ms()
            return self.complete
        return False

    def fail(self, reason: str) -> None:
        """The application raised before the response was complete."""
        self._code, self.status = 500, reason
        self.latency_ms = self._elapsed_ms()

    def documents(self) -> tuple[Any, Any]:
        """The JSON of the request and (None where it failed) of the response; raises `Unreadable`."""
        request = _parsed("request", self._request)
        return request, None if self.failed else _parsed("response", self._response)

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started_s) * 1e3

    def _extended(self, body: bytearray | None, part: bytes) -> bytearray | None:
        if body is None or len(body) + len(part) > self._max_body_bytes:
            return None
        body += part
        return body


def events_of(route: Route, exchange: _Exchange) -> list[dict[str, Any]]:
    """The keyword arguments of `homeostat.log`, event by event; raises `Unreadable`."""
    request, response = exchange.documents()
    features = at(request, route.features)
    if features is _NOTHING:
        raise Unreadable(f"the request has nothing at {route.features!r}")
    version = route.version or _either(route.version_at, request, response)
    if version is _NOTHING:
        raise Unreadable(f"nothing says the version at {route.version_at!r}")
    many = isinstance(features, list) and bool(features) and isinstance(features[0], (dict, list))
    rows: list[Any] = features if many else [features]
    count = len(rows) if many else None
    ids = _ids(_either(route.id, request, response), count)
    columns = {name: _column(at(request, place), count, name) for name, place in route.segments.items()}
    answers: dict[str, list[Any]] = {}
    if not exchange.failed:
        answers["prediction"] = _column(at(response, route.prediction), count, "prediction")
        answers["score"] = _column(at(response, route.score), count, "score")
        answers["scores"] = _column(at(response, route.scores), count, "scores", vectors=True)
    return [
        {
            "version": version,
            "id": ids[i],
            "features": row,
            "feature_names": route.feature_names,
            "segments": {name: values[i] for name, values in columns.items()} or None,
            "latency_ms": exchange.latency_ms,
            "status": exchange.status,
            "trace_id": exchange.trace,
            **{name: values[i] for name, values in answers.items()},
        }
        for i, row in enumerate(rows)
    ]


def at(document: Any, place: str | None) -> Any:
    """What stands at the place (`a.0.b`, `rows.*.x`; the empty place is all), or a mark that there is nothing."""
    if place is None:
        return _NOTHING
    found = document
    keys = place.split(".") if place else []
    for i, key in enumerate(keys):
        if key == "*" and isinstance(found, list):
            inner = [at(element, ".".join(keys[i + 1 :])) for element in found]
            return _NOTHING if any(element is _NOTHING for element in inner) else inner
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return _NOTHING
    return found


def _either(place: str | None, request: Any, response: Any) -> Any:
    found = at(request, place)
    return at(response, place) if found is _NOTHING else found


def _ids(found: Any, count: int | None) -> list[Any]:
    """An id for each row; one for all, and one that is made up, gets the row's number behind."""
    if isinstance(found, list):
        return _column(found, count, "id")
    id = uuid.uuid4().hex if found is _NOTHING or found is None else found
    return [id] if count is None else [f"{id}-{i}" for i in range(count)]


def _column(found: Any, count: int | None, name: str, *, vectors: bool = False) -> list[Any]:
    """A value for each row: a list of as many, or one for all. `vectors`: one value is a list itself."""
    if found is _NOTHING:
        return [None] * (count or 1)
    is_list = isinstance(found, list) and (not vectors or bool(found and isinstance(found[0], list)))
    if not is_list:
        return [found] * (count or 1)
    if len(found) != (count or 1):
        raise Unreadable(f"{len(found)} values of {name} for {count or 1} rows of features")
    return found


def _parsed(what: str, body: bytearray | None) -> Any:
    if body is None:
        raise Unreadable(f"the {what} is too large, or no JSON")
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the {what} is no JSON") from error


def _is_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    named = {name.lower(): value.lower() for name, value in headers}
    kind = named.get(b"content-type", b"").partition(b";")[0].strip()
    return (kind == b"application/json" or kind.endswith(b"+json")) and b"content-encoding" not in named


def _trace_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The trace that the client says, where it does."""
    found = dict(headers).get(TRACE_HEADER.encode())
    return None if found is None else trace_of(found.decode("latin-1"))


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^{}/]+\}", path)
    return re.compile("[^/]+".join(map(re.escape, parts)))
