"""What a person does to the log itself: a new key, telling of a restore from a backup, a redaction.

Each is an entry that the log's key signs, so each needs the log's folder; each is sequenced at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, Engine, select, update

from db.audit.acts import Redaction, Restoration, Rotation, act, checked
from db.audit.keys import create_next, settle
from db.audit.leaves import Leaf, append, append_all
from db.audit.leftovers import Leftovers, leftovers
from db.audit.note import Note, Signer
from db.audit.notefile import CHECKPOINTS, NoteFile
from db.audit.places import Place, topic_place
from db.audit.rows import bound_row, replace_row
from db.audit.sealed import REDACTED, ROW_KEYS, ROWS, commitment, dump, load
from db.audit.sequencer import KEY_NAME, Sequencer
from db.audit.tree import newest_note
from db.audit.witness import FOLDER, Witness
from db.engine import reading, writing
from db.errors import AuditError, UnknownEntry
from db.keyfiles import locked
from db.tables import LeafRow


@dataclass(frozen=True, slots=True)
class Removed:
    """A redaction, of an entry that tells of `action` about `subject`, and where its words still stand."""

    told: Redaction
    action: str
    subject: str
    leftovers: Leftovers


class Keeper:
    """The keeper of one log. `actor` and `reason` go into the entry; both can be redacted later as any other.

    `key_dir` and `witness_dir` as for `Sequencer` and `Witness`.
    """

    def __init__(self, engine: Engine, key_dir: Path, witness_dir: Path | None = None) -> None:
        self._engine = engine
        self._witness = Witness(engine, key_dir, witness_dir)
        self._witness_file = NoteFile((witness_dir or key_dir / FOLDER) / CHECKPOINTS)
        self._sequencer = Sequencer(engine, key_dir)

    def rotate(self, *, at_us: int, actor: str, reason: str) -> Rotation:
        """Sign with a new key from now on; the old private key is gone afterwards, what it signed stays valid.

        A crash leaves either the old key in force and nothing changed, or the new one in force: the sequencer ends
        what was begun.
        """
        folder = self._sequencer.folder
        with locked(folder):
            old = self._signer()
            self._sequencer.run_locked(old)
            new, _ = create_next(folder, KEY_NAME, old)
            told = Rotation(old.verifier.text, new.verifier.text)
            entry = act(old, told, at_us=at_us, actor=actor, reason=reason)
            self._sequencer.sequence([new, old], lambda connection: append_all(connection, [entry]))
            settle(folder, KEY_NAME, took_over=True)
            self._sequencer.publish()
            return told

    def rotate_witness(self, *, at_us: int, actor: str, reason: str) -> Rotation:
        """The same for the witness's key, whose chain in `witness.pub` vouches for itself; the entry is for readers.
        Needs the witness's folder."""
        checked(reason)
        old, new = self._witness.rotate()
        told = Rotation(old.text, new.text)
        with writing(self._engine) as connection:
            append(
                connection,
                at_us=at_us,
                actor=actor,
                action="audit.witness_key_rotated",
                subject="audit",
                detail={**msgspec.to_builtins(told), "reason": reason},
            )
        return told

    def in_use(self, *, witness: bool, reason: str) -> str:
        """The key that `rotate` (with `witness` `rotate_witness`) would replace now. Raises what these would."""
        checked(reason)
        return (self._witness.key() if witness else self._signer()).verifier.text

    def restored(
        self,
        *,
        at_us: int,
        actor: str,
        reason: str,
        topic: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Restoration:
        """Tell that the database was restored from a backup, and what is lost with it: the entries that checkpoints
        outside the database vouch for. `topic`: the notes in the Kafka topic, if there is one. `dry_run`: only say what
        would be told.

        Raises `AuditError` when nothing is missing, and when the database is no older state of this log.
        """
        with locked(self._sequencer.folder):
            signer = self._signer()
            with reading(self._engine) as connection:
                newest = newest_note(connection)
                before = self._sequencer.restorations(connection)
            places = self._places(topic)
            entries = 0 if newest is None else newest.checkpoint.size
            lost = {place.kind: lost for place in places if (lost := place.lost(entries, before)) is not None}
            if not lost:
                raise AuditError(
                    f"No checkpoint vouches for more than the {entries} entries that the database holds: nothing is "
                    "lost, so there is no restore to tell of."
                )
            for place in places:
                _check_older(place, newest, before)
            until = max(
                note.checkpoint.size
                for place in places
                if place.kind in lost
                for note in place.notes[lost[place.kind].first :]
            )
            told = Restoration(entries, until, dict(lost))
            entry = act(signer, told, at_us=at_us, actor=actor, reason=reason)
            if dry_run:
                return told
            self._sequencer.sequence(
                [signer], lambda connection: append_all(connection, [entry]), restored=True
            )
            self._sequencer.publish()
            return told

    def redact(
        self,
        index: int,
        fields: Sequence[str],
        *,
        at_us: int,
        actor: str,
        reason: str,
        dry_run: bool = False,
    ) -> Removed:
        """Remove the values of `fields` (`actor`, `detail.reason`, ...) and their salts from an entry.

        What the same values say in the state rows that the entry wrote last is replaced there too, and the new entry
        tells of these rows, so that every row stays bound to the log. With `dry_run` all of it is taken back before
        anybody sees it. Raises `AuditError` for an entry or a field that is not there.
        """
        with locked(self._sequencer.folder):
            signer = self._signer()
            done: list[Removed] = []

            def write(connection: Connection) -> None:
                leaf, told, words, rows = _remove(connection, index, fields)
                left = leftovers(connection, words)
                entry = act(signer, told, at_us=at_us, actor=actor, reason=reason, rows=rows)
                append_all(connection, [entry])
                done.append(Removed(told, leaf.action, leaf.subject, left))

            if dry_run:
                with writing(self._engine) as connection:
                    write(connection)
                    connection.rollback()
                return done[0]
            self._sequencer.run_locked(signer)
            self._sequencer.sequence([signer], write)
            self._sequencer.publish()
            return done[0]

    def _signer(self) -> Signer:
        signer = self._sequencer.signer()
        if signer is None:
            raise AuditError("The audit log is empty: there is no entry and no key yet.")
        return signer

    def _places(self, topic: Sequence[str] | None) -> list[Place]:
        places = [Place("file", self._sequencer.file.notes())]
        if self._witness_file.exists():
            places.append(Place("witness", self._witness_file.notes()))
        return places if topic is None else [*places, topic_place(topic)]


def _check_older(place: Place, newest: Note | None, before: Sequence[Restoration]) -> None:
    """The last common checkpoint must be the same: otherwise the database is another log, not an older one."""
    kept = {note.checkpoint.size: note.checkpoint for _, note in place.standing(before)}
    if newest is not None and kept.get(newest.checkpoint.size, newest.checkpoint) != newest.checkpoint:
        raise AuditError(
            f"The checkpoint of {newest.checkpoint.size} entries in {place.name} is not the one in the database: this "
            "is no older state of the same log, but a fork."
        )


def _remove(
    connection: Connection, index: int, fields: Sequence[str]
) -> tuple[Leaf, Redaction, set[str], Mapping[str, Any]]:
    """The entry, what was removed from it, the words, and the rows that lost them."""
    row = connection.execute(
        select(LeafRow.position, LeafRow.leaf, LeafRow.personal).where(LeafRow.idx == index)
    ).one_or_none()
    if row is None:
        raise UnknownEntry(f"There is no entry {index} in the audit log.")
    leaf, kept = msgspec.json.decode(row.leaf, type=Leaf), load(row.personal)
    known = sorted(kept.keys() - {ROWS})
    wrong = [name for name in fields if name not in known]
    if wrong or not fields:
        raise UnknownEntry(
            f"Entry {index} has no field {wrong[0] if wrong else ''!r} that can be redacted; it has "
            f"{', '.join(known) or 'none'}."
        )
    values = {kept.pop(name)[1] for name in fields}
    rows: dict[str, Any] = {}
    if ROWS in kept:
        salt, _ = kept.pop(ROWS)
        for key, hashed in leaf.detail[ROWS].items():
            value = bound_row(connection, key)
            if value is not None and hashed == commitment(salt, key, value):
                rows[key] = _without(value, values)
                replace_row(connection, key, rows[key])
        fields = [*fields, ROWS]
    changes: dict[str, Any] = {"personal": dump(kept)}
    if "actor" in fields:
        changes["actor"] = REDACTED
    connection.execute(update(LeafRow).where(LeafRow.position == row.position).values(changes))
    return leaf, Redaction(index, leaf.id, tuple(fields)), values, rows


def _without(value: dict[str, Any], values: set[str]) -> dict[str, Any]:
    """The row's value without these words, however deep they stand."""

    def clean(key: str, said: Any) -> Any:
        if isinstance(said, dict):
            return {inner: clean(inner, one) for inner, one in cast("dict[str, Any]", said).items()}
        if isinstance(said, list):
            return [clean(key, one) for one in cast("list[Any]", said)]
        return REDACTED if key in ROW_KEYS and said in values else said

    return clean("", value)
