"""Checking an export with nothing but the file, and a key that the auditor has from elsewhere."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from db.audit.findings import Findings
from db.audit.keys import Chain
from db.audit.merkle import Edge, verify_consistency
from db.audit.note import Note, Verifier, parse
from db.audit.proofs import COLUMNS, FORMAT, Proven, Statement, check_proven, decoded
from db.errors import AuditError
from remediation.values import AuditEntry

_MAX_CELL = 2**31 - 1
"""The csv module's own limit of 128 KiB is less than a long entry may have."""


@dataclass(frozen=True, slots=True)
class OfflineReport:
    """What an export proves. `size`: the entries that its checkpoint vouches for, of which the file holds `entries`;
    `complete`: it holds them all. `key` signed the checkpoint; `pinned`: the auditor's own key leads to it. `witness`
    is the witness's key, where it has cosigned."""

    ok: bool
    problems: list[str]
    entries: int
    size: int
    complete: bool
    key: str
    pinned: bool
    witness: str | None


def verify_export(path: Path, key: str | None = None) -> OfflineReport:
    """Check every entry of an export. `key`: a line of `log.pub` that the auditor kept, the first or a later one.

    Raises `AuditError` for a file that is no export, and for a key that is none.
    """
    mine = None if key is None else _verifier(key)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            parts = _csv_parts(file) if path.suffix == ".csv" else _json_parts(file)
            statement = next(parts, None)
            if not isinstance(statement, Statement) or statement.format != FORMAT:
                raise AuditError(f"{path} is no export of an audit log in the form {FORMAT}.")
            return _verify(statement, (part for part in parts if isinstance(part, Proven)), mine)
    except KeyError as error:
        raise AuditError(f"{path} is no whole export of an audit log: it lacks {error}.") from error
    except (ValueError, csv.Error) as error:
        raise AuditError(f"{path} is no whole export of an audit log: {error}.") from error


def _verify(statement: Statement, entries: Iterator[Proven], key: Verifier | None) -> OfflineReport:
    findings = Findings()
    note, chain = parse(statement.checkpoint), Chain.parse("\n".join(statement.keys))
    trusted = _trusted(findings, chain, key)
    signer = next((each for each in reversed(trusted) if each.signed(note)), None)
    if signer is None:
        findings.add("The checkpoint is not signed by the log's key.")
    witness = _check_witness(findings, statement, note)
    edge, count, before = Edge(), 0, -1
    for proven in entries:
        hashed, problems = check_proven(proven, note, proof=not statement.complete)
        for problem in problems:
            findings.add(problem)
        if proven.index <= before or (statement.complete and proven.index != before + 1):
            findings.add(f"Entry {proven.index} follows entry {before}: entries are missing or out of order.")
        before, count = proven.index, count + 1
        edge.append(hashed)
    if statement.complete and (edge.size, edge.root()) != (note.checkpoint.size, note.checkpoint.root):
        findings.add(
            f"The file is said to hold all {note.checkpoint.size} entries, but the {edge.size} in it do not give the "
            "root that was signed: entries were edited, removed or added."
        )
    if count != statement.entries:
        findings.add(f"The file is said to hold {statement.entries} entries, it holds {count}.")
    return OfflineReport(
        ok=not findings.problems,
        problems=findings.problems,
        entries=count,
        size=note.checkpoint.size,
        complete=statement.complete,
        key="" if signer is None else signer.text,
        pinned=key is not None,
        witness=witness,
    )


def _verifier(key: str) -> Verifier:
    try:
        return Verifier.parse(next(iter(key.split()), ""))
    except ValueError as error:
        raise AuditError(f"key is no line of log.pub: {error}.") from error


def _trusted(findings: Findings, chain: Chain, key: Verifier | None) -> tuple[Verifier, ...]:
    """The keys that may have signed: from the auditor's own on."""
    if key is None:
        return chain.keys
    if key not in chain.keys:
        findings.add(f"The export's keys do not contain yours ({key.text}): it is another log, or forged.")
        return ()
    return chain.keys[chain.keys.index(key) :]


def _check_witness(findings: Findings, statement: Statement, note: Note) -> str | None:
    if statement.witness is None:
        return None
    cosigned, chain = parse(statement.witness.checkpoint), Chain.parse("\n".join(statement.witness.keys))
    key = next((each for each in reversed(chain.keys) if each.signed(cosigned)), None)
    if key is None:
        findings.add("The witness's checkpoint is not signed by its key.")
    old, new = cosigned.checkpoint, note.checkpoint
    proof = decoded(statement.witness.consistency)
    if not verify_consistency(old.size, new.size, proof, old.root, new.root):
        findings.add(
            f"The log of {new.size} entries does not begin with the {old.size} that the witness cosigned: it was "
            "forked."
        )
    return None if key is None else key.text


def _json_parts(file: Iterable[str]) -> Iterator[Statement | Proven]:
    for number, line in enumerate(file):
        yield msgspec.json.decode(line, type=Proven) if number else msgspec.json.decode(line, type=Statement)


def _csv_parts(file: Iterable[str]) -> Iterator[Statement | Proven]:
    csv.field_size_limit(_MAX_CELL)
    for row in csv.DictReader(file, strict=True):
        if None in row or None in row.values():
            raise ValueError(f"a line has more or fewer than {len(COLUMNS)} cells")
        if row["statement"]:
            yield msgspec.json.decode(row["statement"], type=Statement)
            continue
        at = datetime.fromisoformat(row["at"])
        entry = AuditEntry(
            index=int(row["index"]),
            id=row["id"],
            at_us=round(at.timestamp() * 1e6),
            actor=row["actor"],
            action=row["action"],
            subject=row["subject"],
            detail=msgspec.json.decode(row["detail"]),
            leaf_hash=row["leaf_hash"],
        )
        yield Proven(
            index=int(row["index"]),
            entry=entry,
            leaf=row["leaf"],
            personal=msgspec.json.decode(row["personal"], type=dict[str, tuple[str, str]]),
            proof=tuple(row["proof"].split()),
        )
