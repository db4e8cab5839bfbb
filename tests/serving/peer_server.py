"""A local HTTP server that stands for somebody else's service: slow, refusing, or gone in the middle of an answer."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = tuple[int, Any]
Handler = Callable[[Asked], Reply]


@dataclass
class PeerServer:
    """`handler` has the effect and says what is answered. `lose`: so many of the next answers get lost after the
    effect; `trouble`: statuses that are answered before it; a request waits for `gate` when there is one."""

    handler: Handler
    asked: list[Asked] = field(default_factory=list)
    lose: int = 0
    trouble: list[int] = field(default_factory=list)
    gate: threading.Event | None = None
    url: str = ""

    def answer(self, request: Asked) -> Reply | None:
        """None: the connection ends without an answer."""
        self.asked.append(request)
        if self.trouble:
            return self.trouble.pop(0), {"message": "in trouble"}
        if self.gate is not None:
            self.gate.wait(5.0)
        status, content = self.handler(request)
        if self.lose:
            self.lose -= 1
            return None
        return status, content


@contextmanager
def peer_server(handler: Handler) -> Iterator[PeerServer]:
    """The server on a free port, for as long as the block runs."""
    peer = PeerServer(handler)

    class Handling(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = peer.answer(Asked(self.command, self.path, headers, body))
            if reply is None:
                self.close_connection = True
                self.connection.close()
                return
            content = b"" if reply[1] is None else json.dumps(reply[1]).encode()
            self.send_response(reply[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _serve

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

        def finish(self) -> None:
            try:
                super().finish()
            except (ValueError, OSError):
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handling)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    peer.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield peer
    finally:
        if peer.gate is not None:
            peer.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
