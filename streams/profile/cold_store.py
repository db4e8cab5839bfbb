"""Where segments of old predictions lie: files that never change, each named by the SHA-256 of its content.

A file is complete and on the disk before its name is told, so a checkpoint that names it can be restored. Every
input partition has a folder of its own, which only its owner writes to and deletes from.
"""

# pyarrow ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import hashlib
import mmap
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import pyarrow as pa

from streams.store import Store, open_store

Part: TypeAlias = bytes | memoryview

_SUFFIX = ".ids"
_CHUNK_BYTES = 8 * 1024 * 1024


class SegmentError(RuntimeError):
    """A segment that a checkpoint names cannot be read; the message says which, where, and what to do."""


class SegmentStore(Protocol):
    """The segments of one partition. `put`, `delete` and `names` raise `OSError` when the storage is away or
    full."""

    location: str

    def put(self, parts: Sequence[Part]) -> str:
        """Store a file of these parts, one behind the other; returns its name once it will survive a crash."""
        ...

    def open(self, name: str) -> mmap.mmap:
        """The content, to read. Raises `SegmentError` for a file that is not there or not what was put."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def names(self) -> set[str]:
        """Everything in the folder, also what a crash has left behind half written."""
        ...


class FolderSegments:
    """A local folder, or one that every worker of the installation sees. A file's checksum is looked at when this
    process first opens it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sound: set[str] = set()
        self.location = str(folder)

    def put(self, parts: Sequence[Part]) -> str:
        """See `SegmentStore`: on the disk before it has its name."""
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        name = digest.hexdigest() + _SUFFIX
        self.write(name, parts)
        return name

    def open(self, name: str) -> mmap.mmap:
        """See `SegmentStore`."""
        try:
            with self.path(name).open("rb") as file:
                if name not in self._sound:
                    found = hashlib.file_digest(file, "sha256").hexdigest() + _SUFFIX
                    if found != name:
                        raise SegmentError(
                            f"{self.path(name)} is damaged: its content has the checksum {found[:64]}. "
                            "Put the file back from a copy; without one, delete the partition's last checkpoint, "
                            "and labels find only newer predictions"
                        )
                    self._sound.add(name)
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise SegmentError(
                f"{self.path(name)} is missing, and the last checkpoint needs it. Either HOMEOSTAT_SEGMENTS names "
                "another place than when it was written, or this machine does not see the folder of the last owner: "
                "workers on several machines need a shared folder or object storage. Bring the file back"
            ) from error
        # Labels ask for single rows far apart: what lies beside them is not worth reading.
        content.madvise(mmap.MADV_RANDOM)
        return content

    def delete(self, name: str) -> None:
        """See `SegmentStore`."""
        self.path(name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """See `SegmentStore`."""
        return set(os.listdir(self._folder)) if self._folder.exists() else set()

    def path(self, name: str) -> Path:
        """Where a file is."""
        return self._folder / name

    def write(self, name: str, parts: Sequence[Part]) -> None:
        """Store under a name that is known already."""
        self._folder.mkdir(parents=True, exist_ok=True)
        scratch = self._folder / f"{uuid.uuid4().hex}.tmp"
        try:
            with scratch.open("wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self.path(name))
        except OSError:
            scratch.unlink(missing_ok=True)
            raise
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        self._sound.discard(name)


class MirroredSegments:
    """Object storage, with a copy of what is in use in a local folder: labels ask for single rows."""

    def __init__(self, store: Store, folder: str, copies: FolderSegments) -> None:
        self._store = store
        self._folder = folder
        self._copies = copies
        self.location = f"{store.location}/{folder}"

    def put(self, parts: Sequence[Part]) -> str:
        """See `SegmentStore`: in the object storage when it returns."""
        name = self._copies.put(parts)
        try:
            self._store.put(f"{self._folder}/{name}", pa.py_buffer(self._copies.open(name)))
        except OSError:
            self._copies.delete(name)
            raise
        return name

    def open(self, name: str) -> mmap.mmap:
        """See `SegmentStore`: a copy that is not there or not sound is fetched."""
        try:
            return self._copies.open(name)
        except SegmentError:
            self._fetch(name)
            return self._copies.open(name)

    def delete(self, name: str) -> None:
        """See `SegmentStore`."""
        self._store.delete(f"{self._folder}/{name}")
        self._copies.delete(name)

    def names(self) -> set[str]:
        """See `SegmentStore`; copies that are left over are among them."""
        stored = {entry.path.rpartition("/")[2] for entry in self._store.entries(self._folder)}
        return stored | self._copies.names()

    def _fetch(self, name: str) -> None:
        try:
            with self._store.open(f"{self._folder}/{name}") as source:
                parts = list(iter(lambda: source.read(_CHUNK_BYTES), b""))
        except FileNotFoundError as error:
            raise SegmentError(
                f"{self.location}/{name} is missing, and the last checkpoint needs it. HOMEOSTAT_SEGMENTS must name "
                "the place where it was written; if the object was deleted, bring it back from a version or copy"
            ) from error
        self._copies.write(name, parts)


def segment_stores(location: str, copies: Path) -> Callable[[int], SegmentStore]:
    """The store of each partition at a local path or a URI (see `streams.store.open_store`); `copies` is a
    local folder for what object storage holds. A partition's store is made once, so that it remembers what is sound.

    Raises `StorageInvalid` for a URI that pyarrow does not understand.
    """
    made: dict[int, SegmentStore] = {}
    remote = open_store(location, "HOMEOSTAT_SEGMENTS") if "://" in location else None

    def of(partition: int) -> SegmentStore:
        folder = f"partition-{partition}"
        if partition not in made and remote is None:
            made[partition] = FolderSegments(Path(location).expanduser().absolute() / folder)
        elif partition not in made and remote is not None:
            made[partition] = MirroredSegments(remote, folder, FolderSegments(copies / folder))
        return made[partition]

    return of
