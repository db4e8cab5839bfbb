"""Erasing one person's rows by event id: an order that stays, and the proof that no file holds them.

An order is a small file in the archive, with the 64-bit keys of the ids and not the ids. Whoever writes a file of the
archive reads the orders before and again after: so an order is obeyed by a file that is being written while it is
given, and by rows that come later. Readers obey orders too.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import hashlib
import re
import secrets
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from homeostat.keys import keys_of
from streams.archive.errors import ArchiveDamaged, ArchiveError
from streams.archive.files import list_files, open_parquet, tables_in
from streams.archive.layout import ArchiveFile, day_of, model_part
from streams.archive.tables import writing
from streams.store import Store

_log = structlog.get_logger()

_FOLDER = "erasures"
_NAME = re.compile(r"^erasures/[0-9]+-[0-9a-f]+\.json$")
_ROUNDS = 5
_LOCK_WAIT_S = 120.0
_CLOCK_SKEW_S = 300.0
"""The storage's clock, which stamps files, may differ so much from the one that stamps orders."""
_WATCH_S = 86_400.0

Keys = npt.NDArray[np.uint64]
_NO_KEYS: Keys = np.zeros(0, np.uint64)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of `model` with these keys shall not be. `made_us`: when it was given."""

    id: str
    model: str
    keys: list[int]
    made_us: int
    by: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did. `id_hashes`: SHA-256 of model, NUL and id; rows by kind; files by what became of them.

    `verified`: after it, each of `files_checked` files was read and none holds a row of these ids. A dry run counts
    what it would do and verifies nothing.
    """

    model: str
    id_hashes: list[str]
    predictions: int
    labels: int
    files_rewritten: int
    files_deleted: int
    files_checked: int
    verified: bool
    dry_run: bool
    order: str
    made_us: int
    by: str


@dataclass(frozen=True, slots=True)
class Erasures:
    """All orders that were there when they were read."""

    orders: dict[str, Order] = field(default_factory=dict[str, Order])

    def keys(self, part: str) -> Keys:
        """Sorted keys of a model (its part of the path)."""
        found = [
            key for order in self.orders.values() if model_part(order.model) == part for key in order.keys
        ]
        return np.unique(np.array(found, np.uint64)) if found else _NO_KEYS

    def without(self, table: pa.Table, part: str) -> pa.Table:
        """The rows of a model's table that may be."""
        keys = self.keys(part)
        if not len(keys) or not table.num_rows:
            return table
        erased = np.isin(table.column("key").to_numpy(), keys)
        return table.filter(pa.array(~erased)) if erased.any() else table


def read_erasures(store: Store, known: Erasures | None = None) -> Erasures:
    """The orders of an archive; those that are `known` are not read again."""
    orders = dict(known.orders) if known else {}
    for entry in store.entries(_FOLDER):
        if entry.path in orders or not _NAME.match(entry.path):
            continue
        with store.open(entry.path) as source:
            content = source.read()
        try:
            orders[entry.path] = msgspec.json.decode(content, type=Order)
        except msgspec.DecodeError as error:
            raise ArchiveError(
                f"{store.location}/{entry.path} is no order to erase ({error}); restore it from a backup, or delete it "
                "and give the order again"
            ) from error
    return Erasures(orders)


def erase(
    store: Store, model: str, ids: Sequence[str], *, by: str, now_us: int, dry_run: bool = False
) -> Receipt:
    """Erase all rows of a model with these event ids, predictions and labels, now and for ever.

    Raises `ArchiveError` when an id is empty, when other upkeep does not end within two minutes, when files go on
    being found that hold such rows (then the order stays and upkeep goes on with it), or when a file is damaged: it
    may hold some, all others do not any more.
    """
    wanted = list(dict.fromkeys(ids))
    if not wanted or not all(wanted):
        raise ArchiveError(
            f"ids: {len(wanted)} ids, of which some are empty; give the ids of events to erase"
        )
    order = Order(
        id=f"{_FOLDER}/{now_us}-{secrets.token_hex(4)}.json",
        model=model,
        keys=[int(key) for key in keys_of(wanted)],
        made_us=now_us,
        by=by,
    )
    keys = np.unique(np.array(order.keys, np.uint64))
    done = _Done()
    if dry_run:
        for file in _files(store, model):
            _count(file, _held(store, file, keys), done)
        checked, verified = len(_files(store, model)), False
    else:
        store.put(order.id, pa.py_buffer(msgspec.json.encode(order)))
        with store.exclusive(_LOCK_WAIT_S) as locked:
            if not locked:
                raise ArchiveError(
                    f"{store.location} is being compacted for more than {_LOCK_WAIT_S:.0f} s; the order is given and "
                    "will be obeyed, give it again for a receipt"
                )
            store.tidy(now=True)
            checked = _until_none(store, model, keys, done)
        verified = True
    return Receipt(
        model=model,
        id_hashes=[hashlib.sha256(f"{model}\0{one}".encode()).hexdigest() for one in wanted],
        predictions=done.rows["predictions"],
        labels=done.rows["labels"],
        files_rewritten=done.rewritten,
        files_deleted=done.deleted,
        files_checked=checked,
        verified=verified,
        dry_run=dry_run,
        order="" if dry_run else order.id,
        made_us=now_us,
        by=by,
    )


@dataclass(slots=True)
class _Done:
    rows: dict[str, int] = field(default_factory=lambda: {"predictions": 0, "labels": 0})
    rewritten: int = 0
    deleted: int = 0


def _count(file: ArchiveFile, held: tuple[int, int], done: _Done) -> bool:
    rows, erased = held
    done.rows[file.place.kind] += erased
    if erased == rows:
        done.deleted += 1
    elif erased:
        done.rewritten += 1
    return erased > 0


def _files(store: Store, model: str) -> list[ArchiveFile]:
    part = model_part(model)
    return [*list_files(store, "predictions", part), *list_files(store, "labels", part)]


def _until_none(store: Store, model: str, keys: Keys, done: _Done) -> int:
    """Rewrite until a look at every file finds nothing; how many files that look has seen."""
    for _ in range(_ROUNDS):
        files, found, damaged = _files(store, model), False, list[ArchiveDamaged]()
        for file in files:
            try:
                held = _held(store, file, keys)
                if held[1]:
                    rewrite(store, file, keys)
                found |= _count(file, held, done)
            except FileNotFoundError:
                found = True  # compacted in this moment: look again
            except ArchiveDamaged as error:
                damaged.append(error)
        if damaged and not found:
            raise ArchiveError(
                f"{len(damaged)} damaged files of {model} may hold rows to erase; all others hold none any more. "
                "Restore the damaged ones or delete them, then give the order again for a receipt:\n"
                + "\n".join(str(error) for error in damaged)
            )
        if not found:
            return len(files)
    raise ArchiveError(
        f"{store.location}: files of {model} that hold rows to erase go on appearing; is an old writer still running? "
        "The order stays, and upkeep goes on with it"
    )


def _held(store: Store, file: ArchiveFile, keys: Keys) -> tuple[int, int]:
    """Rows of a file, and how many of them have one of `keys`."""
    rows = erased = 0
    for table in tables_in(store, file, ["key"]):
        rows += table.num_rows
        erased += int(np.isin(table.column("key").to_numpy(), keys).sum())
    return rows, erased


def rewrite(store: Store, file: ArchiveFile, keys: Keys) -> None:
    """The file without rows that have one of `keys`; without a row left it goes. Raises `ArchiveDamaged`."""
    with open_parquet(store, file) as opened:
        schema = opened.schema_arrow
    scratch, left = store.scratch(), 0
    try:
        with writing(scratch, schema) as writer:
            for table in tables_in(store, file):
                kept = table.filter(pa.array(~np.isin(table.column("key").to_numpy(), keys)))
                left += kept.num_rows
                if kept.num_rows:
                    writer.write_table(kept)
    except Exception:
        scratch.unlink(missing_ok=True)
        raise
    if left:
        store.put(file.path, scratch)
    else:
        store.delete(file.path)
        scratch.unlink()


def enforce(
    store: Store, erasures: Erasures, files: Iterable[ArchiveFile], checked: set[tuple[str, float, int]]
) -> tuple[int, list[ArchiveDamaged]]:
    """Obey orders in files that were written within a day after the order; how many were rewritten, and which cannot
    be read.

    Such a file can hold rows to erase when its writer was stopped for long between reading the orders and writing,
    or was killed right after. `checked` remembers the files that need no second look.
    """
    given_s: dict[str, list[float]] = {}
    for order in erasures.orders.values():
        given_s.setdefault(model_part(order.model), []).append(order.made_us / 1e6)
    for times_s in given_s.values():
        times_s.sort()
    rewritten, marks, damaged = 0, set[tuple[str, float, int]](), list[ArchiveDamaged]()
    for file in files:
        before = bisect(given_s.get(file.place.model, []), file.changed_s + _CLOCK_SKEW_S)
        if not before or file.changed_s - given_s[file.place.model][before - 1] > _WATCH_S:
            continue
        mark = (file.path, file.changed_s, before)
        try:
            if mark not in checked:
                rewritten += _obey(store, file, erasures.keys(file.place.model))
        except ArchiveDamaged as error:
            damaged.append(error)
        else:
            marks.add(mark)
    checked.clear()
    checked.update(marks)
    return rewritten, damaged


def _obey(store: Store, file: ArchiveFile, keys: Keys) -> bool:
    try:
        if not _held(store, file, keys)[1]:
            return False
        rewrite(store, file, keys)
    except FileNotFoundError:
        return False  # compacted in this moment; the file that replaced it is new
    _log.warning("Rows that shall be erased had come back and are erased again.", file=file.path)
    return True


def receipt_lines(receipt: Receipt) -> list[str]:
    """A receipt in words."""
    verb = "would be erased" if receipt.dry_run else "erased"
    lines = [
        f"{receipt.model}: {receipt.predictions} predictions and {receipt.labels} labels of "
        f"{len(receipt.id_hashes)} ids {verb} ({day_of(receipt.made_us)}, by {receipt.by}).",
        f"Files: {receipt.files_rewritten} rewritten, {receipt.files_deleted} deleted, {receipt.files_checked} read.",
        *(f"id sha256 {one}" for one in receipt.id_hashes),
    ]
    if receipt.verified:
        lines.append(
            "Verified: no file of the archive holds a row of these ids. The order stays for rows to come."
        )
    return lines
