"""The end of a worker process, made certain.

Faust's consumer lives in a thread of its own that is joined without a limit, and the interpreter waits for it, too: a
rebalance at the wrong moment, or a broker that is away, would keep a worker for ever that has nothing left to do.
"""

import os
import sys
import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger()

_TELL_TIMEOUT_S = 1.0
"""A pipe that nobody reads does not keep the process."""


class LastResort:
    """Ends this process when it does not end by itself. `end` is called with the exit code, by a thread."""

    def __init__(self, end: Callable[[int], object] = os._exit) -> None:
        self._end = end
        self._timers: tuple[threading.Timer, ...] = ()

    def within(self, limit_s: float, code: int, why: str) -> None:
        """From now on: end with `code` after `limit_s`, telling `why`. Replaces what was said before."""
        for timer in self._timers:
            timer.cancel()
        # Both now: when the interpreter ends, which it may be doing by then, no thread can be started any more.
        silent = threading.Timer(limit_s + _TELL_TIMEOUT_S, self._end, (code,))
        telling = threading.Timer(limit_s, self._now, (limit_s, code, why, silent))
        self._timers = (telling, silent)
        for timer in self._timers:
            timer.daemon = True
            timer.start()

    def _now(self, limit_s: float, code: int, why: str, silent: threading.Timer) -> None:
        _tell(limit_s, why)
        silent.cancel()
        self._end(code)


def _tell(limit_s: float, why: str) -> None:
    _log.warning("The worker did not end by itself and is ended.", after_s=limit_s, reason=why)
    sys.stdout.flush()
    sys.stderr.flush()
