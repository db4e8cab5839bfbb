"""Checking the whole audit log against everything that was ever signed, and the tables against the log."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from db.audit.findings import Findings
from db.audit.history import History
from db.audit.merkle import Edge
from db.audit.places import Place
from db.audit.statements import Statements, in_database, in_files, in_topic
from db.audit.walk import Walk
from db.audit.witness import FOLDER
from db.engine import reading
from db.tables import NodeRow, TreeRow


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found.

    `entries`: leaves with a place in the tree. `pending`: leaves that wait for the sequencer. `checkpoints`:
    signed statements checked, over the database, the file, the witness and the topic. `problems`: one sentence
    each; none means that the log is whole. `notices`: what a reader of a whole log must know all the same: restores,
    changes of keys, redactions.
    """

    ok: bool
    entries: int
    problems: list[str]
    pending: int = 0
    checkpoints: int = 0
    notices: list[str] = field(default_factory=list[str])


def verify(
    engine: Engine, key_dir: Path, witness_dir: Path | None = None, topic: Sequence[str] | None = None
) -> VerifyReport:
    """Recompute every leaf hash and the tree, in linear time, and compare with every checkpoint there is.

    It shows: an entry edited, removed, inserted or put elsewhere; a tail cut off, also by restoring an old
    backup; a log forked or signed with another key; a checkpoint removed; a value redacted without an entry, or put
    back; a state row changed, added or removed without an entry. It cannot show a log cut off together with the
    checkpoint file, the witness's file and the topic, nor one rewritten by somebody who holds both private keys: keep
    the witness elsewhere.

    `topic`: the notes in the Kafka topic, if it can be read. May run while the log grows: what is outside is read
    before the database.
    """
    findings = Findings()
    chain, outside = in_files(findings, key_dir, witness_dir or key_dir / FOLDER)
    if topic is not None:
        outside += in_topic(findings, topic)
    walk = Walk(findings)
    with reading(engine) as connection:
        places = [in_database(findings, connection), *outside]
        walk.run(connection, (note.checkpoint.size for place in places for note in place.notes))
        history = History(findings, chain.log, walk.acts)
        statements = Statements(findings, chain, history, places)
        statements.check(walk)
        history.check_removed(walk.removed)
        if walk.entries and chain.log is None:
            findings.add("The log's public key (log.pub) is missing, so no signature can be checked.")
        _check_tree(findings, connection, walk)
        _check_nodes(findings, connection, walk.edge)
        for problem in walk.rows.problems(connection):
            findings.add(problem)
    return VerifyReport(
        ok=not findings.problems,
        entries=walk.entries,
        problems=findings.problems,
        pending=walk.pending,
        checkpoints=_count(places),
        notices=history.notices,
    )


def _count(places: Sequence[Place]) -> int:
    return sum(len(place.notes) for place in places)


def _check_tree(findings: Findings, connection: Connection, walk: Walk) -> None:
    trees = connection.execute(select(TreeRow.size, TreeRow.edge)).all()
    if len(trees) != 1:
        findings.add(f"The audit tree must have one row, it has {len(trees)}.")
    elif (trees[0].size, trees[0].edge) != (walk.edge.size, walk.edge.to_bytes()):
        findings.add(
            f"The stored tree of {trees[0].size} entries is not the one that the {walk.entries} entries "
            "give: entries were changed, added or removed behind the sequencer."
        )


def _check_nodes(findings: Findings, connection: Connection, edge: Edge) -> None:
    """The stored inner nodes, each against the one that the entries give."""
    given = {(height, number): root for height, number, root in edge.tiles}
    for height, number, root in connection.execute(select(NodeRow.height, NodeRow.number, NodeRow.hash)):
        expected = given.pop((height, number), None)
        if expected is None:
            findings.add(
                f"The stored hash {number} of height {height} is none of the log's: it was added or moved."
            )
        elif root != expected:
            findings.add(
                f"The stored hash over the entries {_under(height, number)} is not the one that they give: it, or one "
                "of them, was changed."
            )
    for height, number in given:
        findings.add(f"The stored hash over the entries {_under(height, number)} is gone: it was removed.")


def _under(height: int, number: int) -> str:
    return f"{number << height} to {((number + 1) << height) - 1}"
