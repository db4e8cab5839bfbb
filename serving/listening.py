"""Running an application over HTTP so that it stops promptly and quietly."""

import socket
from typing import cast

import uvicorn
from fastapi import FastAPI

_OPEN_REQUESTS_S = 5
"""How long a stopping server waits for requests that are being answered."""


class Server(uvicorn.Server):
    """Tells the application that it stops, before it waits for open requests: a stream of events never ends by
    itself (see `stopping`)."""

    def __init__(self, app: FastAPI, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app = app
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_OPEN_REQUESTS_S,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for what is open."""
        self._app.state.stopping = True
        await super().shutdown(sockets)


def stopping(app: FastAPI) -> bool:
    """Whether the server of `app` is going down; what streams must look at."""
    return cast("bool", getattr(app.state, "stopping", False))
