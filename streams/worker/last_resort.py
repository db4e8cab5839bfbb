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
        self._timer: threading.Timer | None = None

    def within(self, limit_s: float, code: int, why: str) -> None:
        """From now on: end with `code` after `limit_s`, telling `why`. Replaces what was said before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(limit_s, self._now, (limit_s, code, why))
        self._timer.daemon = True
        self._timer.start()

    def _now(self, limit_s: float, code: int, why: str) -> None:
        telling = threading.Thread(target=_tell, args=(limit_s, why), daemon=True)
        telling.start()
        telling.join(_TELL_TIMEOUT_S)
        self._end(code)


def _tell(limit_s: float, why: str) -> None:
    _log.warning("The worker did not end by itself and is ended.", after_s=limit_s, reason=why)
    sys.stdout.flush()
    sys.stderr.flush()
