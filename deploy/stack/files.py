"""Small file habits of the stack: whole-file writes, ends of logs, logs that do not grow for ever."""

import os
import tempfile
from pathlib import Path

MAX_LOG_BYTES = 10 * 1024 * 1024


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` so that a reader sees the old or the new text, and a crash leaves one of them."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def tail(text: str, lines: int = 15) -> str:
    """The last `lines` lines that are not empty."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def tail_file(path: Path, lines: int = 15, window_bytes: int = 64 * 1024) -> str:
    """The last lines of a log, read from its end; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - window_bytes))
            return tail(file.read().decode("utf-8", errors="replace"), lines)
    except FileNotFoundError:
        return ""


def rotate(path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Move a log that has grown beyond `max_bytes` to `<name>.1`."""
    if path.exists() and path.stat().st_size > max_bytes:
        os.replace(path, path.with_name(path.name + ".1"))
