"""Checking entries against themselves: what every block of the log says."""

from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from db.audit.acts import ACTS
from db.audit.columns import Columns
from db.audit.leaves import Leaf
from db.audit.rows import Write
from db.audit.sealed import REDACTED, ROWS, Personal, commitment, load_bytes


class _Detail(msgspec.Struct, gc=False):
    rows: dict[str, str] | None = None


class _Told(msgspec.Struct, gc=False):
    """The part of a leaf that is looked at for each of a million: the rest is covered by the hash."""

    id: str
    at_us: int
    action: str
    subject: str
    actor: str = ""
    detail: _Detail = msgspec.field(default_factory=_Detail)
    sealed: dict[str, str] = msgspec.field(default_factory=dict[str, str])


_decoder = msgspec.json.Decoder(_Told)
_BESIDE = ("id", "at_us", "actor", "action", "subject")


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

    def take(self, columns: Columns) -> None:
        """Check entries against themselves, in their order."""
        hashes, decode = self.hashes, _decoder.decode
        for index, data, stored, personal, leaf_id, at_us, actor, action, subject in zip(
            *columns, strict=True
        ):
            found = sha256(b"\x00" + data).digest()
            hashes.append(found)
            if found != stored:
                self._edited(index, leaf_id, "its text does not have the hash stored with it")
            try:
                told, kept = decode(data), {} if personal is None else load_bytes(personal)
            except ValueError as error:
                self.problems.append(f"{_name(index, leaf_id)} cannot be read: {error}.")
                continue
            who = self._check_sealed(index, told, kept) if told.sealed or kept else told.actor
            said, stands = (
                (told.id, told.at_us, who, told.action, told.subject),
                (leaf_id, at_us, actor, action, subject),
            )
            if said != stands:
                self._check_beside(index, leaf_id, said, stands)
            if told.detail.rows:
                salt = None if not told.sealed else kept[ROWS][0] if ROWS in kept else ""
                for key, value in told.detail.rows.items():
                    self.writes[key] = Write(value, salt, index, action)
            if told.action in ACTS and index is not None:
                self.acts.append(Act(index, msgspec.json.decode(data, type=Leaf)))

    def _check_beside(
        self, index: int | None, leaf_id: str, said: tuple[object, ...], stands: tuple[object, ...]
    ) -> None:
        """The columns beside the text repeat it."""
        for column, one, other in zip(_BESIDE, said, stands, strict=True):
            if one != other:
                self._edited(index, leaf_id, f"its column {column} is {other!r}, its text says {one!r}")

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


def read(columns: Columns) -> Block:
    """Check entries against themselves, in their order."""
    block = Block()
    block.take(columns)
    return block


def _name(index: int | None, leaf_id: str) -> str:
    return f"Waiting entry {leaf_id}" if index is None else f"Entry {index}"
