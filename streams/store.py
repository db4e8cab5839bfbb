"""Files of the archive on any storage that pyarrow knows: list, read, write whole, delete.

A file appears whole or not at all: on a local folder by renaming a file that is on the disk already, on object
storage because an upload is seen when it is complete. Object storage knows no renaming, and none is used there.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import contextlib
import ctypes
import os
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

_CHUNK_BYTES = 8 * 1024 * 1024
_ATTEMPTS = 3
_LOCK_POLL_S = 0.01
"""Upkeep lets go for some milliseconds between two folders."""
_SECRETS = re.compile(r"//[^/@]*@")
TEMPORARY = ".tmp"
SWAP_GRACE_S = 600.0
"""A reader that has begun to list a folder finds its files for so long after they were replaced as a whole."""


class StorageInvalid(RuntimeError):
    """Stored files cannot be used as asked; the message says what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored file: `path` relative to the archive, `size` in bytes, `changed_s` seconds since the epoch."""

    path: str
    size: int
    changed_s: float


class Store(Protocol):
    """Storage of an archive. Paths are relative, with slashes. Every method raises `OSError` when the storage is
    away, `FileNotFoundError` where a file is not there (any more)."""

    location: str

    def entries(self, folder: str = "") -> list[Entry]:
        """All files below a folder, in no order; none where there is no such folder. What is there during the
        whole call is in it, and so is what takes its place while it runs."""
        ...

    def open(self, path: str) -> Any:
        """A pyarrow file to read at any position."""
        ...

    def put(self, path: str, content: pa.Buffer | Path) -> None:
        """Write a file as a whole, in place of one that is there; a `Path` is a local file, and used up."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def replace(self, folder: str, old: Sequence[str], new: Sequence[tuple[str, Path]]) -> None:
        """In a folder put the files `new` (name, local file) in the place of `old` (names)."""
        ...

    def scratch(self) -> Path:
        """A name for a local file to be written and then put."""
        ...

    def tidy(self, *, now: bool = False) -> None:
        """Remove what earlier work left behind; with `now` also what is kept a while for readers under way."""
        ...

    def exclusive(self, wait_s: float = 0.0) -> contextlib.AbstractContextManager[bool]:
        """Keep other upkeep off for the time of the block; False when there already is some."""
        ...


def open_store(location: str | Path, setting: str = "HOMEOSTAT_ARCHIVE") -> Store:
    """The storage at a local path, or at a URI as pyarrow understands it (`s3://bucket/prefix?region=...`, `gs://`,
    `abfs://`, `file://`). Raises `StorageInvalid` for a URI that pyarrow does not understand."""
    text = str(location)
    if "://" not in text:
        return LocalStore(Path(text))
    try:
        system, root = pafs.FileSystem.from_uri(text)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).replace(text, _shown(text))
        raise StorageInvalid(
            f"{setting} is {_shown(text)!r}: {reason}. Give a folder, or a URI such as s3://bucket/prefix?region=eu-west-1"
        ) from error
    if isinstance(system, pafs.LocalFileSystem):
        return LocalStore(Path(root))
    if not root.strip("/"):
        raise StorageInvalid(
            f"{setting} is {_shown(text)!r}, which names no bucket; give one, and a prefix if you like"
        )
    return ObjectStore(system, root.rstrip("/"), text)


def _shown(location: str) -> str:
    """Neither keys in the query nor in front of the bucket belong into a log."""
    return _SECRETS.sub("//", location.split("?")[0])


class LocalStore:
    """A folder. Beside it lies `.<name>.swap`, where whole folders wait a while after they were replaced."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()
        self._swap = self._root.with_name(f".{self._root.name}.swap")
        self.location = str(self._root)

    def entries(self, folder: str = "") -> list[Entry]:
        """See `Store.entries`."""
        return _settled(lambda: self._list(folder))

    def _list(self, folder: str) -> dict[str, Entry]:
        found = ((path.relative_to(self._root).as_posix(), stat) for path, stat in _walk(self._root / folder))
        return {path: Entry(path, stat.st_size, stat.st_mtime) for path, stat in found}

    def open(self, path: str) -> Any:
        """See `Store.open`."""
        return pa.OSFile(str(self._root / path))

    def put(self, path: str, content: pa.Buffer | Path) -> None:
        """See `Store.put`: on the disk before it has its name."""
        if isinstance(content, Path):
            source = content
            with source.open("rb") as done:
                os.fsync(done.fileno())
        else:
            source = self.scratch()
            with source.open("wb") as sink:
                sink.write(content)
                sink.flush()
                os.fsync(sink.fileno())
        self._move(source, self._root / path)

    def delete(self, path: str) -> None:
        """See `Store.delete`. A folder that is empty then goes as well."""
        place = self._root / path
        place.unlink(missing_ok=True)
        for folder in place.parents:
            if folder == self._root:
                return
            try:
                folder.rmdir()
            except OSError:
                return  # it holds something, or a writer has just removed it

    def replace(self, folder: str, old: Sequence[str], new: Sequence[tuple[str, Path]]) -> None:
        """See `Store.replace`: at once for every reader, where the file system can exchange two folders."""
        place = self._root / folder
        for _, path in new:
            with path.open("rb") as done:
                os.fsync(done.fileno())
        if not self._exchange(place, set(old), new):
            for name, path in new:
                if path.exists():
                    self._move(path, place / name)
            for name in old:
                (place / name).unlink(missing_ok=True)
        _fsync_folder(place)

    def scratch(self) -> Path:
        """See `Store.scratch`: on the archive's own file system, so that it can be renamed."""
        folder = self._root / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        return folder / uuid.uuid4().hex

    def tidy(self, *, now: bool = False) -> None:
        """See `Store.tidy`. A folder that was replaced gives back what came into it in its last moment."""
        for path, found in _walk(self._root / TEMPORARY):
            if time.time() - found.st_mtime > SWAP_GRACE_S:
                path.unlink(missing_ok=True)
        for staged in sorted(self._swap.glob("*")) if self._swap.exists() else []:
            self._give_back(staged)
            if now or time.time() - staged.stat().st_ctime > SWAP_GRACE_S:
                shutil.rmtree(staged)

    @contextlib.contextmanager
    def exclusive(self, wait_s: float = 0.0) -> Generator[bool]:
        """See `Store.exclusive`: among the processes of this machine."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".upkeep.lock").open("wb") as handle:
            locked = _lock(handle, wait_s)
            yield locked

    def _move(self, source: Path, target: Path) -> None:
        for attempt in range(_ATTEMPTS):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source.replace(target)
                break
            except FileNotFoundError:
                # Retention has removed the empty folder in this moment.
                if attempt == _ATTEMPTS - 1:
                    raise
        _fsync_folder(target.parent)

    def _exchange(self, place: Path, old: set[str], new: Sequence[tuple[str, Path]]) -> bool:
        """Build the folder as it shall be, and let the two change places; False where that cannot be done."""
        staged = self._swap / uuid.uuid4().hex
        content = staged / "content"
        try:
            content.mkdir(parents=True)
            (staged / "place").write_text(place.relative_to(self._root).as_posix())
            kept = [name for name in os.listdir(place) if name not in old]
            for name in kept:
                os.link(place / name, content / name)
            for name, path in new:
                os.link(path, content / name)
            (staged / "known").write_text("\n".join([*old, *kept, *(name for name, _ in new)]))
            if not _exchange_folders(content, place):
                shutil.rmtree(staged)
                return False
        except OSError:
            # No such file system call, no hard links, or another file system beside the archive.
            if content.exists():
                shutil.rmtree(staged)
            return False
        for _, path in new:
            path.unlink()
        self._give_back(staged)
        return True

    def _give_back(self, staged: Path) -> None:
        """Files that a writer put into a folder after it was copied and before it was exchanged."""
        try:
            known = set((staged / "known").read_text().splitlines())
            place = self._root / (staged / "place").read_text()
        except FileNotFoundError:
            return  # it was never complete
        if not place.exists():
            return
        live = set(os.listdir(place))
        for name in set(os.listdir(staged / "content")) - known - live:
            (staged / "content" / name).replace(place / name)


class ObjectStore:
    """A bucket and prefix, or whatever else pyarrow's file systems reach."""

    def __init__(self, system: Any, root: str, location: str) -> None:
        self._system = system
        self._root = root
        self.location = _shown(location)

    def entries(self, folder: str = "") -> list[Entry]:
        """See `Store.entries`."""
        return _settled(lambda: self._list(folder))

    def _list(self, folder: str) -> dict[str, Entry]:
        base = f"{self._root}/{folder}".rstrip("/")
        found = self._system.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=True))
        skip = len(self._root) + 1
        return {
            one.path: Entry(
                one.path[skip:], one.size, one.mtime_ns / 1e9 if one.mtime_ns is not None else 0.0
            )
            for one in found
            if one.type == pafs.FileType.File
        }

    def open(self, path: str) -> Any:
        """See `Store.open`."""
        return self._system.open_input_file(f"{self._root}/{path}")

    def put(self, path: str, content: pa.Buffer | Path) -> None:
        """See `Store.put`. The content is complete before the upload begins: closing a stream publishes it."""
        if isinstance(content, Path):
            with content.open("rb") as source:
                self._upload(path, iter(lambda: source.read(_CHUNK_BYTES), b""))
            content.unlink()
        else:
            self._upload(path, [content])

    def _upload(self, path: str, parts: Iterable[Any]) -> None:
        stream = self._system.open_output_stream(f"{self._root}/{path}")
        for part in parts:
            stream.write(part)
        stream.close()

    def delete(self, path: str) -> None:
        """See `Store.delete`."""
        with contextlib.suppress(FileNotFoundError):
            self._system.delete_file(f"{self._root}/{path}")

    def replace(self, folder: str, old: Sequence[str], new: Sequence[tuple[str, Path]]) -> None:
        """See `Store.replace`: written first and deleted after, so that nothing is ever missing."""
        for name, path in new:
            self.put(f"{folder}/{name}", path)
        for name in old:
            self.delete(f"{folder}/{name}")

    def scratch(self) -> Path:
        """See `Store.scratch`: in the system's folder for temporary files."""
        handle, name = tempfile.mkstemp(prefix="homeostat-archive-")
        os.close(handle)
        return Path(name)

    def tidy(self, *, now: bool = False) -> None:
        """See `Store.tidy`: nothing is left behind here."""

    @contextlib.contextmanager
    def exclusive(self, wait_s: float = 0.0) -> Generator[bool]:
        """See `Store.exclusive`: object storage has no locks; two at once cost work and nothing else."""
        yield True


def _settled(look: Callable[[], dict[str, Entry]]) -> list[Entry]:
    """A listing is not made in one moment. It is taken again until nothing has gone in between: what replaces a file
    is there before the file goes, so whoever replaced what is missing is in the last listing."""
    before = look()
    while True:
        after = look()
        if before.keys() <= after.keys():
            return list(after.values())
        before = after


def _walk(folder: Path) -> Generator[tuple[Path, os.stat_result]]:
    """All files below a folder that are still there when they are looked at."""
    try:
        with os.scandir(folder) as listed:
            found = list(listed)
    except (FileNotFoundError, NotADirectoryError):
        return
    for one in found:
        if one.is_dir(follow_symlinks=False):
            yield from _walk(Path(one.path))
        else:
            with contextlib.suppress(FileNotFoundError):
                yield Path(one.path), one.stat(follow_symlinks=False)


def _lock(handle: IO[bytes], wait_s: float) -> bool:
    import fcntl

    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_LOCK_POLL_S)


def _fsync_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return  # moved away again already
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange_folders(one: Path, other: Path) -> bool:
    """Both change names in one step (renameat2 of Linux, renamex_np of macOS); False where there is no such call."""
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        at_cwd, exchange = -100, 2
        return libc.renameat2(at_cwd, first, at_cwd, second, exchange) == 0
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        swap = 2
        return libc.renamex_np(first, second, swap) == 0
    return False
