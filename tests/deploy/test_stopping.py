"""A command that is asked to end does so in order, however it is asked and however it was started."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from deploy.stack.stopping import STOP_SIGNALS, hearing, until_stopped
from tests.patience import PATIENCE_S


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["foreground", "ignored"])
def started_with(request: pytest.FixtureRequest) -> Iterator[signal.Handlers]:
    """As a shell starts a command: Ctrl-C is ignored by one that a script runs in the background."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    signal.signal(signal.SIGINT, request.param)
    yield request.param
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_every_signal_to_stop_ends_the_work_in_order(
    number: signal.Signals, started_with: signal.Handlers
) -> None:
    ended: list[str] = []

    async def work() -> int:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # a second, impatient one
            await asyncio.sleep(0.05)
            ended.append("in order")
        return 0

    assert await asyncio.wait_for(until_stopped(work()), PATIENCE_S) == 128 + number
    assert ended == ["in order"]


async def test_what_nobody_stops_gives_its_own_code() -> None:
    async def work() -> int:
        return 1

    assert await until_stopped(work()) == 1


async def test_what_cancels_itself_was_not_stopped_by_a_signal() -> None:
    async def work() -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await until_stopped(work())


async def test_a_closed_terminal_does_not_stop_what_was_started_by_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    heard: asyncio.Queue[signal.Signals] = asyncio.Queue()
    try:
        with hearing(heard.put_nowait):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert await asyncio.wait_for(heard.get(), PATIENCE_S) is signal.SIGTERM
            assert heard.empty()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
