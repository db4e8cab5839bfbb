"""Reading every entry once, in order: its hash, its columns, what it sealed, and the tree that it grows."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from db.audit.acts import ACTS
from db.audit.findings import Findings
from db.audit.leaves import Leaf
from db.audit.merkle import Edge
from db.audit.rows import LastWrites, Write
from db.audit.sealed import REDACTED, ROWS, Personal, commitment, load
from db.tables import LeafRow

BLOCK = 4_096
_COLUMNS = (
    *(LeafRow.idx, LeafRow.leaf, LeafRow.leaf_hash, LeafRow.personal),
    *(LeafRow.id, LeafRow.at_us, LeafRow.actor, LeafRow.action, LeafRow.subject),
)


class _Detail(msgspec.Struct):
    rows: dict[str, str] | None = None


class _Told(msgspec.Struct):
    """The part of a leaf that is looked at for each of a million: the rest is covered by the hash."""

    id: str
    at_us: int
    action: str
    subject: str
    actor: str = ""
    detail: _Detail = msgspec.field(default_factory=_Detail)
    sealed: dict[str, str] = msgspec.field(default_factory=dict[str, str])


_decoder = msgspec.json.Decoder(_Told)


@dataclass(frozen=True, slots=True)
class Act:
    """An entry about the log itself, as it stands in its leaf."""

    index: int
    leaf: Leaf


@dataclass(slots=True)
class Walk:
    """What one pass over the entries gives. `roots`: the tree's root at each size that was asked for.
    `unsealed`: the sealed fields whose value is gone, by (entry, id)."""

    findings: Findings
    edge: Edge = field(default_factory=Edge)
    rows: LastWrites = field(default_factory=LastWrites)
    entries: int = 0
    pending: int = 0
    roots: dict[int, bytes] = field(default_factory=dict[int, bytes])
    acts: list[Act] = field(default_factory=list[Act])
    removed: dict[tuple[int | None, str], set[str]] = field(
        default_factory=dict[tuple[int | None, str], set[str]]
    )
    _whole: bool = True

    def run(self, connection: Connection, sizes: Iterable[int]) -> None:
        """One pass. After a gap the tree cannot grow any more, but the entries are still read."""
        ahead = sorted(set(sizes), reverse=True)
        for block in _blocks(connection):
            self._grow([self._read(row) for row in block], block, ahead)
        waiting = select(*_COLUMNS).where(LeafRow.idx.is_(None)).order_by(LeafRow.position)
        for row in connection.execute(waiting, execution_options={"yield_per": BLOCK}):
            self._read(row)
            self.pending += 1

    def _grow(self, hashes: list[bytes], block: Sequence[Any], ahead: list[int]) -> None:
        first, self.entries = self.entries, self.entries + len(block)
        if not self._whole:
            return
        # Indices are unique and in order, so they follow one another when both ends are right.
        if (block[0][0], block[-1][0]) != (first, first + len(block) - 1):
            at = next(at for at, row in enumerate(block) if row[0] != first + at)
            self.findings.add(_missing(first + at, block[at][0] - 1))
            self._whole = False
            hashes = hashes[:at]
        start = 0
        while ahead and ahead[-1] <= first + len(hashes):
            size = ahead.pop()
            self.edge.extend(hashes[start : size - first])
            start = size - first
            self.roots[size] = self.edge.root()
        self.edge.extend(hashes[start:])

    def _read(self, row: Any) -> bytes:
        """Check one entry against itself. Returns its hash."""
        index, text, stored, personal, leaf_id, at_us, actor, action, subject = row
        data = text.encode()
        found = sha256(b"\x00" + data).digest()
        if found != stored:
            self._edited(index, leaf_id, "its text does not have the hash stored with it")
        try:
            told, kept = _decoder.decode(data), load(personal)
        except ValueError as error:
            self.findings.add(f"{_name(index, leaf_id)} cannot be read: {error}.")
            return found
        who = self._check_sealed(index, told, kept) if told.sealed or kept else told.actor
        if (told.id, told.at_us, told.action, told.subject, who) != (leaf_id, at_us, action, subject, actor):
            said = {"id": told.id, "at_us": told.at_us, "actor": who, "action": told.action}
            said["subject"] = told.subject
            for column, stands in zip(said, (leaf_id, at_us, actor, action, subject), strict=True):
                if said[column] != stands:
                    self._edited(
                        index, leaf_id, f"its column {column} is {stands!r}, its text says {said[column]!r}"
                    )
        if told.detail.rows:
            salt = None if not told.sealed else kept[ROWS][0] if ROWS in kept else ""
            for key, value in told.detail.rows.items():
                self.rows.last[key] = Write(value, salt, index, action)
        if told.action in ACTS and index is not None:
            self.acts.append(Act(index, msgspec.json.decode(data, type=Leaf)))
        return found

    def _check_sealed(self, index: int | None, told: _Told, kept: Personal) -> str:
        sealed = told.sealed
        for name, (salt, value) in kept.items():
            if name not in sealed:
                self._edited(index, told.id, f"a value is kept for {name}, which its text does not seal")
            elif commitment(salt, name, value) != sealed[name]:
                self._edited(index, told.id, f"the value kept for {name} is not the one that its text sealed")
        if len(kept) < len(sealed):
            self.removed[index, told.id] = set(sealed.keys() - kept.keys())
        if "actor" in kept:
            return kept["actor"][1]
        return REDACTED if "actor" in sealed else told.actor

    def _edited(self, index: int | None, leaf_id: str, how: str) -> None:
        self.findings.add(f"{_name(index, leaf_id)} was edited: {how}.")


def _blocks(connection: Connection) -> Iterator[Sequence[Any]]:
    """All entries in order; the next block is fetched while this one is read."""

    def fetch(after: int) -> Sequence[Any]:
        query = select(*_COLUMNS).where(LeafRow.idx > after).order_by(LeafRow.idx).limit(BLOCK)
        return connection.execute(query).all()

    with ThreadPoolExecutor(1, thread_name_prefix="audit-walk") as fetcher:
        block = fetch(-(2**62))
        while block:
            following = fetcher.submit(fetch, block[-1][0])
            yield block
            block = following.result()


def _name(index: int | None, leaf_id: str) -> str:
    return f"Waiting entry {leaf_id}" if index is None else f"Entry {index}"


def _missing(first: int, last: int) -> str:
    what = f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
    return f"{what} missing from the middle of the log: removed. The tree cannot be followed from there on."
