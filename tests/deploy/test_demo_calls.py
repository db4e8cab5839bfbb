"""How the demo asks the stack."""

import asyncio

import pytest

from deploy.demo.calls import Calls
from deploy.errors import UserError

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"ok": 1} '


def test_a_connection_that_the_server_has_given_up_ends_no_demo() -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[0].decode())
        if asked == ["GET", "GET"]:
            writer.write(ANSWER)
            await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        calls = Calls(url, url)
        try:
            assert await calls.get("/health") == {"ok": 1}
            with pytest.raises(UserError, match=r"POST .* failed: Server disconnected"):
                await calls.post("/models/m/promote", {})
        finally:
            await calls.close()
            server.close()

    asyncio.run(run())
    assert asked == ["GET", "GET", "POST"]
