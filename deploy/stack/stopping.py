"""The signals that ask a command to end in order: whoever started processes ends them first."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `down` or `kill`, and a terminal that was closed."""


@contextmanager
def hearing(told: Callable[[signal.Signals], None]) -> Generator[None]:
    """Call `told` in the thread of the running event loop for each signal to stop, within the block.

    A shell starts what a script runs in the background with Ctrl-C ignored; who sends it that signal nevertheless wants
    it to end. Only a closed terminal stays ignored where it was: that is what `nohup` is for.
    """
    loop = asyncio.get_running_loop()
    heard = [
        number
        for number in STOP_SIGNALS
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]
    for number in heard:
        loop.add_signal_handler(number, told, number)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


async def until_stopped(work: Coroutine[object, object, int]) -> int:
    """The exit code of `work`; the first signal to stop cancels it, and then the code is 128 and the signal's number.

    Further signals do not cut off what `work` does to end in order.
    """
    working = asyncio.ensure_future(work)
    received: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        if not received:
            working.cancel()
        received.append(number)

    with hearing(stop):
        try:
            return await working
        except asyncio.CancelledError:
            if not received:
                raise
            return 128 + received[0]
