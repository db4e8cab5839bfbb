"""Clicks over a socket, against a server that speaks Socket Mode."""

import asyncio
import gc
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from db.clicks import SqlClicks
from db.errors import Unavailable
from remediation.values import Approval
from serving.slack.api import SlackConfig
from serving.slack.blocks import APPROVE, REJECT
from serving.slack.notifier import SlackNotifier
from serving.slack.socket import SlackSocket
from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.api.slack_server import APP_TOKEN, TOKEN, SlackServer
from tests.api.slack_world import make_clicks

pytestmark = [
    pytest.mark.usefixtures("undrawn"),
    # Where its handshake is not answered in time, the SDK forgets its socket open: it is closed as garbage.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What the SDK forgot is collected here, and not in the middle of another file's test."""
    yield
    gc.collect()


@dataclass
class Sockets:
    """The other end: it greets, sends envelopes, keeps acknowledgements, and asks to go elsewhere."""

    open: list[web.WebSocketResponse] = field(default_factory=list)
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        self.tickets.append(request.query["ticket"])
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": len(self.open) + 1})
        self.open.append(socket)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                self.acknowledged.append(json.loads(message.data))
        self.open.remove(socket)
        return socket

    async def send(self, payload: dict[str, Any], envelope_id: str) -> None:
        envelope = {
            "envelope_id": envelope_id,
            "type": "interactive",
            "payload": payload,
            "accepts_response_payload": payload["type"] == "view_submission",
        }
        await self.open[-1].send_json(envelope)


@asynccontextmanager
async def sockets() -> AsyncGenerator[tuple[Sockets, str]]:
    found, app = Sockets(), web.Application()
    app.router.add_get("/link", found.connect)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield found, f"ws://127.0.0.1:{port}/link?ticket=secret-ticket"
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        # What is waited for happens in threads of the SDK.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@dataclass
class Listening:
    """A world whose clicks come over a socket."""

    world: World
    slack: SlackServer
    sockets: Sockets

    def approval(self) -> Approval:
        with self.world.journal.reading() as unit:
            found = unit.approval("apr-1-1")
        assert found is not None
        return found


@asynccontextmanager
async def listening(ill: World, serve: Serve, **parts: Any) -> AsyncGenerator[Listening]:
    slack = SlackServer(scopes=set())
    async with sockets() as (other_end, slack.socket_url):
        with serve(slack.app()) as slack.url:
            api_url = f"{slack.url}/api/"
            config = SlackConfig(token=TOKEN, channel="#homeostat", api_url=api_url)
            with ill.journal.reading() as unit:
                ticket = unit.approval("apr-1-1")
                assert ticket is not None
                plan, incident = unit.plan(ticket.plan_id), unit.incident(ticket.incident_id)
            assert plan is not None
            assert incident is not None
            assert await SlackNotifier(config, ill.journal).approval_requested(incident, plan, ticket)
            clicks = make_clicks(ill, slack, **parts)
            running = asyncio.create_task(SlackSocket(APP_TOKEN, clicks, api_url=api_url, ping_s=3.0).run())
            try:
                await until(lambda: other_end.open)
                yield Listening(ill, slack, other_end)
            finally:
                running.cancel()
                await asyncio.wait([running])


@dataclass
class Inbox:
    """The database, which may be away."""

    clicks: SqlClicks
    away: bool = False

    def record(self, click_id: str, value: Mapping[str, Any]) -> bool:
        if self.away:
            raise Unavailable("the database is away")
        return self.clicks.record(click_id, value)

    def finish(self, click_id: str) -> None:
        self.clicks.finish(click_id)


async def test_a_click_is_written_down_acknowledged_and_carried_out(
    ill: World, serve: Serve, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "matplotlib")
    inbox = Inbox(SqlClicks(ill.engine, ill.clock), away=True)
    async with listening(ill, serve, inbox=inbox) as found:
        await found.sockets.send(found.slack.press(APPROVE), "lost")
        await found.sockets.send({"type": "block_actions", "user": {"id": "U1"}}, "e0")
        await until(lambda: found.sockets.acknowledged)
        inbox.away = False
        await found.sockets.send(found.slack.press(REJECT), "e1")
        await until(lambda: found.slack.views)
        await found.sockets.send(found.slack.submit(" "), "e2")
        await until(lambda: len(found.sockets.acknowledged) == 3)
        assert found.sockets.acknowledged[2]["payload"]["response_action"] == "errors"
        await found.sockets.send(found.slack.submit("a campaign"), "e3")
        await until(lambda: found.slack.whispered)
        told = [each["envelope_id"] for each in found.sockets.acknowledged]
        assert told == ["e0", "e1", "e2", "e3"], "what is not written down is not acknowledged"
        assert (found.approval().state, found.approval().reason) == ("rejected", "a campaign")
    out = capsys.readouterr()
    ours = " ".join(each.getMessage() for each in caplog.records if each.name != "aiohttp.access")
    for secret in (TOKEN, APP_TOKEN, "secret-ticket"):
        assert secret not in ours + out.out + out.err, secret


async def test_slack_may_ask_to_reconnect_and_a_click_that_comes_twice_counts_once(
    ill: World, serve: Serve
) -> None:
    async with listening(ill, serve) as found:
        payload = found.slack.press(APPROVE)
        await found.sockets.send(payload, "e1")
        await until(lambda: found.slack.whispered)
        await found.sockets.open[0].send_json({"type": "disconnect", "reason": "refresh_requested"})
        await until(lambda: len(found.sockets.tickets) == 2 and found.sockets.open)
        await found.sockets.send(payload, "e2")
        await until(lambda: len(found.sockets.acknowledged) == 2)
        for socket in list(found.sockets.open):
            await socket.close()
        await until(lambda: len(found.sockets.tickets) == 3 and found.sockets.open)
        assert found.approval().state == "approved"
        assert len(found.slack.whispered) == 1


async def test_a_token_that_slack_refuses_is_told_and_tried_again(
    ill: World, serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.slack.socket._FIRST_RETRY_S", 0.05)
    slack = SlackServer()
    with serve(slack.app()) as slack.url:
        socket = SlackSocket("xapp-wrong", make_clicks(ill, slack), api_url=f"{slack.url}/api/")
        running = asyncio.create_task(socket.run())
        await until(lambda: len(slack.requests) >= 2)
        running.cancel()
        await asyncio.wait([running])
    written = capsys.readouterr().out
    assert "HOMEOSTAT_SLACK_APP_TOKEN must be an app-level token" in written
    assert "xapp-wrong" not in written
