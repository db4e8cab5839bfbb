"""The application over a migrated SQLite file, and the same as a real server."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect, sync_playwright

from db.engine import connect
from remediation.outbox import Outbox
from serving.console import add_console
from serving.listening import Server
from serving.slack.api import SlackConfig, SlackVerifier
from serving.slack.notifier import SlackNotifier
from serving.slack.route import interactions
from tests.api.api_world import World
from tests.api.slack_server import SECRET, TOKEN, SlackServer
from tests.api.slack_world import NOW_S, Clicking, Told, make, make_clicks
from tests.databases import migrate
from tests.patience import PATIENCE_S

expect.set_options(timeout=PATIENCE_S * 1_000)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty world."""
    url = f"sqlite:///{tmp_path / 'homeostat.db'}"
    migrate(url)
    engine = connect(url)
    yield World(engine, tmp_path / "audit")
    engine.dispose()


@pytest.fixture
def ill(world: World) -> World:
    """A world in which one model is ill and a ticket waits."""
    world.fall_ill()
    return world


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = Server(app)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url)
            yield url
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "uvicorn did not stop"


def _wait_for(url: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            httpx.get(f"{url}/anything")
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline_s, "uvicorn did not start"
            time.sleep(0.01)


Serve = Callable[[FastAPI], AbstractContextManager[str]]


@pytest.fixture
def serve() -> Serve:
    """A real HTTP server for an application: `with serve(app) as url`."""
    return _served


@pytest.fixture
def slack(serve: Serve) -> Iterator[SlackServer]:
    """A Slack of our own."""
    server = SlackServer()
    with serve(server.app()) as server.url:
        yield server


@pytest.fixture
def told(ill: World, slack: SlackServer) -> Told:
    """The ill world, and a notifier to Slack."""
    return make(ill, f"{slack.url}/api/")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chart: drawing takes longer than all the rest."""
    monkeypatch.setattr("serving.slack.notifier.drawn_of", lambda *_, **__: None)


@pytest.fixture
def clicking(ill: World, serve: Serve, slack: SlackServer, undrawn: None) -> Iterator[Clicking]:
    """The API with Slack's route, a Slack, and the agent's outbox between them."""
    app = ill.app(token="api-token")
    verifier = SlackVerifier(SECRET, now_s=lambda: NOW_S)
    app.include_router(interactions(verifier, make_clicks(ill, slack)))
    with serve(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        config = SlackConfig(token=TOKEN, channel="#homeostat", api_url=f"{slack.url}/api/")
        notifier = SlackNotifier(config, ill.journal)
        yield Clicking(ill, slack, client, Outbox(ill.journal, notifier, ill.clock))


@pytest.fixture
def client(ill: World) -> Iterator[httpx.Client]:
    """A client of the API of the ill world."""
    with _served(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; each page has cookies and storage of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def sequencing(world: World) -> Iterator[None]:
    """The audit log's sequencer, as the agent runs it."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.1):
            world.sequence()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console said; must stay empty."""
    return []


@pytest.fixture
def page(
    browser: Browser, world: World, serve: Serve, sequencing: None, complaints: list[str]
) -> Iterator[Page]:
    """The overview of an empty world."""
    app = world.app()
    add_console(app, world.services())
    with serve(app) as url:
        page = browser.new_page(color_scheme="light")
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        yield page
        page.close()
