"""A checksum of a Parquet file's footer, kept in the gap in front of it.

Parquet guards pages and leaves the footer unguarded: a bit that flips there can rename a column, move a time, or make
the library end the whole process. So whoever writes a file of the archive puts sixteen bytes between its last page and
its footer, where the format allows anything and no reader looks: a word, the CRC-32 of all that follows them, and the
length of that. Whoever reads one looks there before the library sees a byte of the footer.

Layout: `docs/archive.md`. Footer: https://parquet.apache.org/docs/file-format/
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_END = struct.Struct("<I4s")
"""The footer's length, and the format's word."""
_WORD = b"hmstSEAL"
_SEAL = struct.Struct("<8sII")
_AT_ONCE_BYTES = 64 * 1024
"""Most footers are smaller: then the end of a file is one request to object storage."""

METADATA = b"homeostat.sealed"
"""A key in the file's own metadata: its writer seals. So a file whose seal is destroyed is not taken for an old one."""


def sealed(content: pa.Buffer) -> pa.Buffer:
    """A complete Parquet file with its seal."""
    view = memoryview(content)
    at = len(view) - _tail_bytes(bytes(view[-_END.size :]), len(view))
    tail = bytes(view[at:])
    return pa.py_buffer(b"".join((view[:at], _seal_of(tail), tail)))


def seal_file(path: Path) -> None:
    """The same for a local file that nobody reads yet."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(max(size - _END.size, 0))
        at = size - _tail_bytes(file.read(), size)
        file.seek(at)
        tail = file.read()
        file.seek(at)
        file.write(_seal_of(tail) + tail)


def read_footer(source: Any) -> pq.FileMetaData:
    """The footer of an open file. One without a seal is read when its writer knew none.

    Raises `ValueError` when it is no Parquet file or not as it was written, and `OSError` when the storage is away.
    """
    size = int(source.size())
    kept = min(size, _AT_ONCE_BYTES)
    end = source.read_at(kept, size - kept)
    tail_bytes = _tail_bytes(end[-_END.size :], size)
    wanted = min(tail_bytes + _SEAL.size, size)
    if wanted > kept:
        end = source.read_at(wanted - kept, size - wanted) + end
    tail = end[-tail_bytes:]
    word, checksum, length = _SEAL.unpack(end[-wanted:-tail_bytes].rjust(_SEAL.size, b"\0"))
    if word == _WORD and (checksum, length) != (zlib.crc32(tail), tail_bytes):
        raise ValueError("its footer does not have the checksum that it was written with")
    try:
        footer = pq.read_metadata(pa.BufferReader(_MAGIC + tail))
    except (pa.ArrowException, OSError) as error:  # not the storage's: the bytes are here
        raise ValueError(f"its footer is no Parquet: {error}") from error
    if word != _WORD and METADATA in (footer.metadata or {}):
        raise ValueError("its footer's checksum is not there any more")
    return footer


def _seal_of(tail: bytes) -> bytes:
    return _SEAL.pack(_WORD, zlib.crc32(tail), len(tail))


def _tail_bytes(end: bytes, size: int) -> int:
    """How long the footer is with what follows it; `end` is the end of a file of `size` bytes."""
    if len(end) != _END.size:
        raise ValueError(f"it is {size} bytes long, which is too short")
    length, word = _END.unpack(end)
    if word != _MAGIC:
        raise ValueError(
            f"it ends with {word!r}, where {_MAGIC!r} would be right: it was cut short, or overwritten"
        )
    if length + _END.size + len(_MAGIC) > size:
        raise ValueError(f"it is {size} bytes long, and its footer alone would be {length}")
    return length + _END.size
