"""Peers that people are told by, as local servers: they keep what they take, and answer as they are told to."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response


@dataclass
class Peer:
    """`answers`: what the next requests get; then `usual`."""

    usual: Response = field(default_factory=lambda: JSONResponse({"status": "success"}, 202))
    answers: deque[Response] = field(default_factory=deque)
    taken: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    asked: int = 0

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/{path:path}")
        async def take(path: str, request: Request) -> Response:
            self.asked += 1
            if self.answers:
                return self.answers.popleft()
            self.bodies.append(await request.body())
            self.taken.append((dict(request.headers), await request.json()))
            return self.usual

        return app


def too_many(retry_after: str) -> Response:
    return PlainTextResponse("slow down", 429, {"Retry-After": retry_after})
