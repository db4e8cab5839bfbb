"""What has been done, by key, in files that outlive the process: begun before the effect, completed after it."""

import hashlib
import os
from pathlib import Path
from typing import Literal

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One effect. `ran`: begun and not completed (the process died in between, or it runs still)."""

    key: str
    state: Literal["begun", "done", "failed"]
    at_us: int
    outcome: str = ""


class Records:
    """A folder with one file per key. Agents that shall know of each other's effects share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> Record | None:
        """The record of a key; one that was being written when the machine failed says that it was begun."""
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(content, type=Record)
        except msgspec.DecodeError:
            return Record(key=key, state="begun", at_us=0)

    def begin(self, key: str, *, now_us: int) -> bool:
        """Note the intent on disk; False where somebody else has noted it before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        record = Record(key=key, state="begun", at_us=now_us)
        try:
            descriptor = os.open(self._path(key), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        self._settle()
        return True

    def complete(self, key: str, state: Literal["done", "failed"], outcome: str, *, now_us: int) -> Record:
        """Note the outcome."""
        record = Record(key=key, state=state, at_us=now_us, outcome=outcome)
        path = self._path(key)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        self._settle()
        return record

    def _settle(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"
