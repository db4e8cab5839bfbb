"""Checking entries against themselves: what every block of the log says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from db.audit.acts import ACTS
from db.audit.leaves import Leaf
from db.audit.rows import Write
from db.audit.sealed import REDACTED, ROWS, Personal, commitment, load
from db.tables import LeafRow

COLUMNS = (
    *(LeafRow.idx, LeafRow.leaf, LeafRow.leaf_hash, LeafRow.personal),
    *(LeafRow.id, LeafRow.at_us, LeafRow.actor, LeafRow.action, LeafRow.subject),
)
"""Of a row that `read` takes, in this order."""


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
class Block:
    """What some entries, in their order, say. `writes`: the last one of each row. `removed`: the sealed fields whose
    value is gone, by (entry, id)."""

    hashes: list[bytes] = field(default_factory=list[bytes])
    problems: list[str] = field(default_factory=list[str])
    writes: dict[str, Write] = field(default_factory=dict[str, Write])
    acts: list[Act] = field(default_factory=list[Act])
    removed: dict[tuple[int | None, str], set[str]] = field(
        default_factory=dict[tuple[int | None, str], set[str]]
    )

    def take(self, row: Sequence[Any]) -> None:
        """Check one entry against itself."""
        index, text, stored, personal, leaf_id, at_us, actor, action, subject = row
        data = text.encode()
        found = sha256(b"\x00" + data).digest()
        self.hashes.append(found)
        if found != stored:
            self._edited(index, leaf_id, "its text does not have the hash stored with it")
        try:
            told, kept = _decoder.decode(data), load(personal)
        except ValueError as error:
            self.problems.append(f"{_name(index, leaf_id)} cannot be read: {error}.")
            return
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
                self.writes[key] = Write(value, salt, index, action)
        if told.action in ACTS and index is not None:
            self.acts.append(Act(index, msgspec.json.decode(data, type=Leaf)))

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
        self.problems.append(f"{_name(index, leaf_id)} was edited: {how}.")


def read(rows: Sequence[Sequence[Any]]) -> Block:
    """Check entries against themselves, in their order."""
    block = Block()
    for row in rows:
        block.take(row)
    return block


def _name(index: int | None, leaf_id: str) -> str:
    return f"Waiting entry {leaf_id}" if index is None else f"Entry {index}"
