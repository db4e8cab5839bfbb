"""Where checkpoints are kept, and which of them still count after the log was restored from a backup."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from sqlalchemy import Connection, select

from db.audit.acts import RESTORED, Lost, Restoration, restoration, signed_by
from db.audit.keys import Chain
from db.audit.leaves import Leaf
from db.audit.note import Checkpoint, Note, parse
from db.audit.notefile import NoteFile
from db.errors import AuditError
from db.tables import LeafRow

Kind = Literal["database", "file", "witness", "topic"]
NAMES: dict[Kind, str] = {
    "database": "the database",
    "file": "the checkpoint file",
    "witness": "the witness's file",
    "topic": "the Kafka topic",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Checkpoints as they stand in one place, in its order."""

    kind: Kind
    notes: list[Note] = field(default_factory=list[Note])

    @property
    def name(self) -> str:
        """As sentences call it."""
        return NAMES[self.kind]

    def lost(self, entries: int, before: Sequence[Restoration]) -> Lost | None:
        """What this place states that a log restored to `entries` entries cannot keep; None where there is
        nothing."""
        first = next(
            (at for at, note in self.standing(before) if note.checkpoint.size > entries), len(self.notes)
        )
        if first == len(self.notes):
            return None
        last = self.notes[-1].checkpoint
        return Lost(first, len(self.notes), self.digest(first), last.size, last.root.hex())

    def digest(self, first: int, after: int | None = None) -> str:
        """SHA-256 over the bodies of the notes `first` to `after - 1`, in hex."""
        bodies = "".join(note.checkpoint.body for note in self.notes[first:after])
        return hashlib.sha256(bodies.encode()).hexdigest()

    def standing(self, restorations: Sequence[Restoration]) -> list[tuple[int, Note]]:
        """The notes that no restoration has set aside, with their places in `notes`."""
        ranges = [one.places[self.kind] for one in restorations if self.kind in one.places]
        return [
            (at, note)
            for at, note in enumerate(self.notes)
            if not any(lost.first <= at < lost.after for lost in ranges)
        ]


def topic_place(texts: Sequence[str]) -> Place:
    """The topic's notes; a record may stand there twice, of which the first counts. Raises `AuditError`."""
    try:
        return Place("topic", [parse(text) for text in dict.fromkeys(texts)])
    except ValueError as error:
        raise AuditError(f"The Kafka topic holds something else than checkpoints: {error}.") from error


def last_standing(file: NoteFile, kind: Kind, restorations: Sequence[Restoration]) -> Note | None:
    """The newest note that counts. Reads the end of the file only, but for just after a restoration."""
    last = file.last()
    lost = [one.places[kind] for one in restorations if kind in one.places]
    if last is None or not any(_is(last.checkpoint, each) for each in lost):
        return last
    standing = Place(kind, file.notes()).standing(restorations)
    return standing[-1][1] if standing else None


def restorations_of(connection: Connection, chain: Chain | None) -> list[Restoration]:
    """Every restoration that the log tells of, oldest first. Raises `AuditError` for one that is not signed."""
    query = (
        select(LeafRow.idx, LeafRow.leaf)
        .where(LeafRow.action == RESTORED, LeafRow.idx.is_not(None))
        .order_by(LeafRow.idx)
    )
    found: list[Restoration] = []
    for index, text in connection.execute(query):
        leaf = msgspec.json.decode(text, type=Leaf)
        try:
            key = signed_by(leaf.action, leaf.subject, leaf.detail)
        except ValueError as error:
            raise AuditError(f"Entry {index} ({RESTORED}) is forged: {error}.") from error
        if chain is None or key not in chain.keys:
            raise AuditError(f"Entry {index} ({RESTORED}) is forged: {key.text} is no key of this log.")
        found.append(restoration(leaf.detail))
    return found


def _is(checkpoint: Checkpoint, lost: Lost) -> bool:
    return (checkpoint.size, checkpoint.root.hex()) == (lost.last_size, lost.last_root)
