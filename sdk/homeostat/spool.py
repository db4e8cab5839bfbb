"""Batches on disk while the broker is away: one file a batch, one folder a process, one lock a folder.

    spool_dir/PRODUCER.lock       locked for as long as the process lives
    spool_dir/PRODUCER/N.batch    N: the batch's sequence; written under another name and renamed when whole
    spool_dir/damaged/            what could not be read, set aside

A folder whose lock is free belonged to a process that is no more: who takes the lock adopts the folder, and
sends its batches under their own producer and sequence, so that what had arrived before counts once.
A file survives the death of its process at any moment. It is not forced to the disk: a power cut may tear the
last ones, which their checksums show.
"""

import json
import logging
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import xxhash

from homeostat.locks import lock, unlock

logger = logging.getLogger("homeostat")

_MAGIC = b"HSP1"
_HEAD = struct.Struct(">4sIQ")
_SUFFIX = ".batch"
_UNFINISHED = ".part"
_DAMAGED = "damaged"
_MAX_META_BYTES = 65_536
# How old the sum of other processes' files may be, in the check against the bound.
_OTHERS_FRESH_S = 5.0


class Damaged(Exception):
    """A spool file that is not what was written."""


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What a file says of its batch, beside the batch."""

    producer: str
    sequence: int
    model: str
    version: str | None
    slot: int
    rows: int
    value_bytes: int
    value_hash: int


class Spool:
    """The spool of one process in `folder`, which others use as well; all their files take `max_bytes` at most.

    Used by one thread at a time. Errors of the file system are `OSError`s.
    """

    def __init__(self, folder: Path, max_bytes: int, producer: str) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._producer = producer
        self._locks: dict[str, IO[bytes]] = {}
        self._all_bytes = 0
        self._summed_at_s = float("-inf")

    def keep(self, meta: Meta, value: bytes) -> Path | None:
        """Write a batch of this process or of an adopted one; None when the spool is full."""
        text = json.dumps(asdict(meta)).encode()
        total = _HEAD.size + len(text) + len(value)
        if self._used() + total > self._max_bytes:
            return None
        if meta.producer not in self._locks:
            self._begin(meta.producer)
        path = self._folder / meta.producer / f"{meta.sequence:020d}{_SUFFIX}"
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            with unfinished.open("wb") as file:
                file.writelines((_HEAD.pack(_MAGIC, len(text), xxhash.xxh3_64_intdigest(text)), text, value))
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        self._all_bytes += total
        return path

    def load(self, path: Path) -> bytes:
        """The batch in the file; raises `Damaged`."""
        with path.open("rb") as file:
            meta = _read_meta(file)
            value = file.read(meta.value_bytes + 1)
        if len(value) != meta.value_bytes or xxhash.xxh3_64_intdigest(value) != meta.value_hash:
            raise Damaged("its checksum does not fit")
        return value

    def forget(self, path: Path) -> None:
        """The batch is with the broker; a folder of another process goes with its last one."""
        path.unlink(missing_ok=True)
        producer = path.parent.name
        if producer != self._producer and producer in self._locks and not any(path.parent.iterdir()):
            self._end(producer)

    def set_aside(self, path: Path, reason: str) -> None:
        """Move a damaged file out of the way, and say so."""
        aside = self._folder / _DAMAGED
        aside.mkdir(exist_ok=True)
        target = aside / f"{path.parent.name}-{path.name}"
        path.replace(target)
        logger.warning(
            "homeostat: a spooled batch cannot be read (%s); it is set aside as %s", reason, target
        )

    def adopt(self) -> Iterator[tuple[Path, Meta]]:
        """The batches of processes that are no more, in the order in which they were made."""
        if not self._folder.is_dir():
            return
        for folder in sorted(self._folder.iterdir()):
            producer = folder.name
            if producer in self._locks or producer in (self._producer, _DAMAGED) or not folder.is_dir():
                continue
            held = lock(self._lock_path(producer))
            if held is None:
                continue
            self._locks[producer] = held
            if not folder.is_dir():
                self._end(producer)
                continue
            yield from self._of(folder)
            if not any(folder.iterdir()):
                self._end(producer)

    def close(self) -> None:
        """Give the folders back: what they still hold, another process adopts."""
        for producer in list(self._locks):
            folder = self._folder / producer
            if folder.is_dir() and any(folder.iterdir()):
                unlock(self._locks.pop(producer))
            else:
                self._end(producer)

    def abandon(self) -> None:
        """In a forked child: the locks are the parent's, and only the child's copies of them go."""
        for held in self._locks.values():
            held.close()
        self._locks.clear()

    def _of(self, folder: Path) -> Iterator[tuple[Path, Meta]]:
        for path in sorted(folder.iterdir()):
            try:
                if path.suffix != _SUFFIX:
                    raise Damaged("its writing was cut short")
                with path.open("rb") as file:
                    meta = _read_meta(file)
                    found_bytes = os.fstat(file.fileno()).st_size - file.tell()
                if found_bytes != meta.value_bytes:
                    raise Damaged(f"{found_bytes} bytes in place of {meta.value_bytes}")
                if meta.producer != folder.name:
                    raise Damaged(f"a batch of {meta.producer}")
            except Damaged as error:
                self.set_aside(path, str(error))
            else:
                yield path, meta

    def _begin(self, producer: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        held = lock(self._lock_path(producer))
        if held is None:
            raise BlockingIOError(f"{self._lock_path(producer)} is locked by another process")
        self._locks[producer] = held
        (self._folder / producer).mkdir(exist_ok=True)

    def _end(self, producer: str) -> None:
        folder = self._folder / producer
        if folder.is_dir():
            folder.rmdir()
        held = self._locks.pop(producer)
        # Windows does not delete open files; elsewhere the name must go while the lock is held.
        if os.name == "nt":
            unlock(held)
            self._lock_path(producer).unlink(missing_ok=True)
        else:
            self._lock_path(producer).unlink(missing_ok=True)
            unlock(held)

    def _lock_path(self, producer: str) -> Path:
        return self._folder / f"{producer}.lock"

    def _used(self) -> int:
        now_s = time.monotonic()
        if now_s - self._summed_at_s > _OTHERS_FRESH_S:
            self._summed_at_s = now_s
            self._all_bytes = sum(_size(path) for path in self._folder.glob("*/*"))
        return self._all_bytes


def _read_meta(file: IO[bytes]) -> Meta:
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise Damaged("it is cut off")
    magic, length, hash = _HEAD.unpack(head)
    text = file.read(length) if length <= _MAX_META_BYTES else b""
    if magic != _MAGIC or xxhash.xxh3_64_intdigest(text) != hash:
        raise Damaged("its checksum does not fit")
    return Meta(**json.loads(text))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
