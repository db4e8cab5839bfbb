"""Every checkpoint that was ever signed, wherever it is kept, held against the entries and against the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select

from db.audit.findings import Findings
from db.audit.history import History
from db.audit.keys import Chain, load_chain
from db.audit.note import Note, Verifier, parse
from db.audit.notefile import CHECKPOINTS, NoteFile
from db.audit.places import NAMES, Kind, Place, topic_place
from db.audit.sequencer import KEY_NAME
from db.audit.walk import Walk
from db.audit.witness import PINNED, WITNESS_KEY
from db.errors import AuditError
from db.tables import CheckpointRow


@dataclass(slots=True)
class Keys:
    """The public keys: the log's, the witness's. Each signature is checked once, however often it is met."""

    log: Chain | None
    witness: Chain | None
    _known: dict[tuple[str, bytes, str], bool] = field(default_factory=dict[tuple[str, bytes, str], bool])

    def valid(self, note: Note) -> set[Verifier]:
        """The keys of which the note carries a valid signature. Empty when one of its signatures is not valid."""
        found: set[Verifier] = set()
        keys = [key for chain in (self.log, self.witness) if chain is not None for key in chain.keys]
        for name, data in note.signatures:
            key = next((key for key in keys if key.name == name and key.key_id == data[:4]), None)
            if key is None or not self._valid(key, note, data):
                return set()
            found.add(key)
        return found

    def _valid(self, key: Verifier, note: Note, data: bytes) -> bool:
        body = note.checkpoint.body
        what = (key.text, data, body)
        if what not in self._known:
            self._known[what] = key.made(data, body)
        return self._known[what]


def in_files(findings: Findings, key_dir: Path, witness_dir: Path) -> tuple[Keys, list[Place]]:
    """The keys, and what the two files state."""
    keys = Keys(
        _chain(findings, key_dir / f"{KEY_NAME}.pub"), _chain(findings, witness_dir / f"{WITNESS_KEY}.pub")
    )
    pinned = _chain(findings, witness_dir / PINNED)
    if pinned is not None and (keys.log is None or not keys.log.follows(pinned)):
        findings.add(
            "The log's key is not the one that the witness knows: the log was begun anew or forged, or its key swapped."
        )
    return keys, [
        _file(findings, NoteFile(key_dir / CHECKPOINTS), "file", keys.log is not None),
        _file(findings, NoteFile(witness_dir / CHECKPOINTS), "witness", keys.witness is not None),
    ]


def in_topic(findings: Findings, texts: Sequence[str]) -> list[Place]:
    """What the Kafka topic states."""
    try:
        return [topic_place(texts)]
    except AuditError as error:
        findings.add(str(error))
        return []


def in_database(findings: Findings, connection: Connection) -> Place:
    """What the database states."""
    notes: list[Note] = []
    query = select(CheckpointRow.size, CheckpointRow.note).order_by(CheckpointRow.size)
    for size, text in connection.execute(query):
        try:
            note = parse(text)
        except ValueError as error:
            findings.add(f"The checkpoint of {size} entries in the database cannot be read: {error}.")
            continue
        if note.checkpoint.size != size:
            findings.add(f"The checkpoint stored for {size} entries states {note.checkpoint.size}.")
        notes.append(note)
    return Place("database", notes)


def _chain(findings: Findings, path: Path) -> Chain | None:
    try:
        return load_chain(path)
    except AuditError as error:
        findings.add(str(error))
        return None


def _file(findings: Findings, file: NoteFile, kind: Kind, expected: bool) -> Place:
    if not file.exists():
        if expected:
            name = NAMES[kind]
            findings.add(f"{name[0].upper()}{name[1:]} {file.path} is gone, though its key is there.")
        return Place(kind)
    try:
        return Place(kind, file.notes())
    except AuditError as error:
        findings.add(str(error))
        return Place(kind)


class Statements:
    """The checkpoints of all places; the first place is the database."""

    def __init__(self, findings: Findings, keys: Keys, history: History, places: Sequence[Place]) -> None:
        self._findings = findings
        self._keys = keys
        self._history = history
        self._inside, *self._outside = places
        self._standing: list[tuple[Place, Note]] = []

    def check(self, walk: Walk) -> None:
        """Signatures, order, agreement with each other, and agreement with the entries."""
        for place in (self._inside, *self._outside):
            self._check_lost(place)
            self._check_order(place)
        self._check_same()
        self._check_roots(walk)

    def _check_lost(self, place: Place) -> None:
        """What a restoration set aside must be what it named, and still be signed."""
        names = [one.places[place.kind] for one in self._history.restorations if place.kind in one.places]
        for lost in names:
            if place.digest(lost.first, lost.after) != lost.sha256 or lost.after > len(place.notes):
                self._findings.add(
                    f"In {place.name} the checkpoints of the entries that were lost in a restore are not those that "
                    "the log's entry about it names: they were changed or removed."
                )
            for note in place.notes[lost.first : lost.after]:
                self._check_signed(place, note, None)

    def _check_order(self, place: Place) -> None:
        before, newest = 0, 0
        for _, note in place.standing(self._history.restorations):
            size = note.checkpoint.size
            valid = self._check_signed(place, note, self._history.key_for(size))
            newest = self._check_successor(place, note, valid, newest)
            if size <= before:
                self._findings.add(
                    f"In {place.name} a checkpoint of {size} entries follows one of {before}: it was rewritten."
                )
            before = size
            self._standing.append((place, note))

    def _check_signed(self, place: Place, note: Note, log_key: Verifier | None) -> set[Verifier]:
        """`log_key`: the one that must have signed; None: any of the log's. Returns the keys whose signature counts."""
        if self._keys.log is None:
            return set()
        valid = self._keys.valid(note)
        wanted: list[tuple[str, set[Verifier]]] = [
            ("the log's key", set(self._keys.log.keys) if log_key is None else {log_key})
        ]
        if place.kind == "witness" and self._keys.witness is not None:
            wanted.append(("the witness's key", set(self._keys.witness.keys)))
        for name, keys in wanted:
            if not keys & valid:
                self._findings.add(
                    f"The checkpoint of {note.checkpoint.size} entries in {place.name} lacks a valid signature of "
                    f"{name}."
                )
        return valid

    def _check_successor(self, place: Place, note: Note, valid: set[Verifier], newest: int) -> int:
        """Once a key of the witness has cosigned, the ones before it must not. `newest` and what is returned: the
        latest key in the witness's chain that has cosigned so far."""
        if place.kind != "witness" or self._keys.witness is None:
            return 0
        keys = self._keys.witness.keys
        by = [at for at, key in enumerate(keys) if key in valid]
        if by and by[-1] < newest:
            self._findings.add(
                f"In {place.name} the checkpoint of {note.checkpoint.size} entries is cosigned with the key "
                f"{keys[by[-1]].text}, which a later one had replaced before: it was stolen, or the file rewritten."
            )
        return max([newest, *by])

    def _check_same(self) -> None:
        """Every checkpoint outside the database must be in it, and be the same."""
        known = {note.checkpoint.size: note for note in self._inside.notes}
        lost: dict[str, list[int]] = {}
        for place, note in self._standing:
            size = note.checkpoint.size
            if size not in known:
                lost.setdefault(place.name, []).append(size)
            elif known[size].checkpoint != note.checkpoint:
                self._findings.add(
                    f"Two different checkpoints of {size} entries are signed, one in {place.name} and one "
                    "in the database: the log was forked."
                )
        for where, sizes in lost.items():
            self._findings.add(
                f"Checkpoints in {where} are not in the database: {len(sizes)}, the first of {sizes[0]} entries. "
                "They were removed, or the log was rewritten."
            )

    def _check_roots(self, walk: Walk) -> None:
        agreed, beyond, contradicted = 0, dict[str, int](), set[str]()
        for place, note in sorted(self._standing, key=lambda one: one[1].checkpoint.size):
            size = note.checkpoint.size
            root = walk.roots.get(size)
            if root is None:
                beyond[place.name] = size
            elif root == note.checkpoint.root:
                agreed = size
            elif place.name not in contradicted:
                contradicted.add(place.name)
                self._findings.add(
                    f"The first {size} entries do not give the root signed in {place.name}: of the entries {agreed} "
                    f"to {size - 1} one was edited, inserted, replaced or put in another order."
                )
        for where, size in beyond.items():
            self._findings.add(
                f"A checkpoint in {where} vouches for {size} entries, only {walk.edge.size} follow one "
                "another in the database: entries were removed, the tail was cut off, or an old backup was restored. "
                "A restore must be told: `homeostat audit restored`."
            )
        largest = max((note.checkpoint.size for _, note in self._standing), default=0)
        if walk.edge.size > largest:
            self._findings.add(
                f"The entries from {largest} to {walk.edge.size - 1} are covered by no checkpoint: "
                "they were put in behind the sequencer, or checkpoints were removed."
            )
