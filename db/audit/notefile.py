"""The files of checkpoints outside the database: signed notes one after the other, only ever appended to."""

import base64
import binascii
import os
from pathlib import Path
from typing import BinaryIO

from db.audit.note import Note, parse
from db.errors import AuditError

CHECKPOINTS = "checkpoints.txt"

_END = b"\n\n\n"
"""A note ends with a newline, two empty lines follow, and none of that stands inside a note."""

_TAIL_BYTES = 8_192
"""A note is about 250 bytes, with a cosignature 400: the last two fit many times over."""


class NoteFile:
    """Notes separated by two empty lines.

    A power loss may leave an unfinished note at the end. It was never vouched for, so readers pass over it
    and the next append removes it. Anything else that is not a note is an `AuditError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether the file is there at all."""
        return self.path.exists()

    def create(self) -> None:
        """An empty file; removing it later is then visible."""
        with self.path.open("ab") as file:
            os.fsync(file.fileno())

    def notes(self) -> list[Note]:
        """Every complete note, in order."""
        data = self.path.read_bytes()
        end = _complete(data)
        if not _is_torn(data[end:]):
            raise AuditError(
                f"{self.path} was changed by hand: its end is not the beginning of a checkpoint."
            )
        return self._parse(data[:end])

    def since(self, offset: int) -> tuple[list[Note], int]:
        """The complete notes from a byte of the file on, which an earlier call returned, and where they end."""
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read()
        end = _complete(data)
        return self._parse(data[:end]), offset + end

    def last(self) -> Note | None:
        """The last complete note, read from the end of the file."""
        with self.path.open("rb") as file:
            start, data = _tail(file)
        before, separator, text = data[: max(0, _complete(data) - len(_END))].rpartition(_END)
        if start and not separator:
            raise AuditError(
                f"{self.path} was changed by hand: there is no checkpoint in its last {len(data)} bytes."
            )
        return self._parse(text + _END)[0] if text or before else None

    def append(self, notes: list[Note]) -> None:
        """Add notes; they are on disk when this returns."""
        with self.path.open("r+b") as file:
            start, data = _tail(file)
            file.seek(start + _complete(data))
            file.truncate()
            file.write(b"".join(note.text().rstrip("\n").encode() + _END for note in notes))
            file.flush()
            os.fsync(file.fileno())

    def _parse(self, data: bytes) -> list[Note]:
        try:
            return [parse(f"{text}\n") for text in data.decode().split(_END.decode())[:-1]]
        except ValueError as error:
            raise AuditError(f"{self.path} was changed by hand: {error}.") from error


def _tail(file: BinaryIO) -> tuple[int, bytes]:
    start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
    file.seek(start)
    return start, file.read()


def _complete(data: bytes) -> int:
    """Where the last complete note ends."""
    return data.rfind(_END) + len(_END) if _END in data else 0


def _is_torn(tail: bytes) -> bool:
    """Whether the tail is the beginning of a note, as a power loss leaves it, and not one that was changed."""
    try:
        *lines, rest = tail.decode().split("\n")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    ended = False
    for number, line in enumerate(lines):
        if number < 4:
            fits = (number == 3) == (line == "") and (number != 1 or line.isdecimal())
        elif line:
            fits = not ended and _is_signature(line)
        else:
            ended = fits = True
        if not fits:
            return False
    return not (ended and rest)


def _is_signature(line: str) -> bool:
    try:
        data = base64.b64decode(line.rpartition(" ")[2], validate=True)
    except (ValueError, binascii.Error):
        return False
    return line.startswith("— ") and len(data) >= 68
