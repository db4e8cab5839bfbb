"""A lock on a file that ends with its process, however that ends."""

import os
import sys
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def lock(path: Path) -> IO[bytes] | None:
    """The file, locked for this process; None when another has it."""
    file = path.open("ab")
    try:
        _try_lock(file.fileno())
    except OSError:
        file.close()
        return None
    return file


def unlock(file: IO[bytes]) -> None:
    """Let others lock it."""
    _unlock(file.fileno())
    file.close()
