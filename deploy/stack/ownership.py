"""One supervisor per home: who has the home, and is anybody there?

The supervisor holds a lock on `supervisor.lock` as long as it lives; the kernel drops that lock however the
supervisor ends.
"""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

from deploy.stack.errors import AlreadyRunning

_TRIES = 5
_RETRY_S = 0.1
"""Whoever asks `is_owned` holds the lock for a moment: one refusal does not yet mean an owner."""


@contextmanager
def ownership(home: Path) -> Generator[None]:
    """Own `home` within the block. Raises `AlreadyRunning` when another process does."""
    with (home / "supervisor.lock").open("a") as lock:
        for last in [False] * (_TRIES - 1) + [True]:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if last:
                    raise AlreadyRunning(f"A stack is already running in {home}.") from None
                time.sleep(_RETRY_S)
        _pid_file(home).write_text(f"{os.getpid()}\n")
        try:
            yield
        finally:
            _pid_file(home).unlink(missing_ok=True)


def is_owned(home: Path) -> bool:
    """Whether a supervisor lives in `home` now."""
    try:
        with (home / "supervisor.lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False


def owner(home: Path) -> psutil.Process | None:
    """The living supervisor of `home`. Only an owner's number is trusted: a dead one's may be given again."""
    if not is_owned(home):
        return None
    try:
        return psutil.Process(int(_pid_file(home).read_text()))
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None


def _pid_file(home: Path) -> Path:
    return home / "supervisor.pid"
