"""The log, or a part of it, as a file that can be checked without us: JSON lines or CSV."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, select

from db.audit.leaves import Leaf
from db.audit.proofs import COLUMNS, Proofs, Proven, Statement, prove
from db.engine import reading
from db.tables import LeafRow

Form = Literal["jsonl", "csv"]
_BLOCK = 500
"""Entries per query: SQLite takes no more than 999 values in one."""


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which entries. `model`: what concerns it, with its incidents, plans, approvals and actions. Times in
    microseconds, from `since_us` on and before `until_us`."""

    model: str | None = None
    actor: str | None = None
    since_us: int | None = None
    until_us: int | None = None

    @property
    def empty(self) -> bool:
        """Whether everything is asked for."""
        return self == Filter()


def export(proofs: Proofs, wanted: Filter, form: Form = "jsonl") -> Iterator[str]:
    """The lines of the file. All entries of one checkpoint, or those that `wanted` names, each then with its proof.

    Raises `AuditError` where nothing can be proven.
    """
    with reading(proofs.engine) as connection:
        note, nodes, statement = proofs.statement(connection)
        size = note.checkpoint.size
        indices: list[int] = list(range(size)) if wanted.empty else _matching(connection, wanted, size)
        statement = msgspec.structs.replace(
            statement,
            filter=msgspec.to_builtins(wanted),
            complete=wanted.empty,
            entries=len(indices),
        )
        blocks = (
            prove(connection, nodes, indices[at : at + _BLOCK], proofs=not wanted.empty)
            for at in range(0, len(indices), _BLOCK)
        )
        yield from lines(statement, (proven for block in blocks for proven in block), form)


def lines(statement: Statement, entries: Iterable[Proven], form: Form) -> Iterator[str]:
    """The file's lines: the statement first, then the entries. In CSV the statement stands in a column of its own."""
    if form == "jsonl":
        yield msgspec.json.encode(statement).decode()
        for proven in entries:
            yield msgspec.json.encode(proven).decode()
        return
    yield _csv_line(COLUMNS)
    yield _csv_line([*[""] * (len(COLUMNS) - 1), msgspec.json.encode(statement).decode()])
    for proven in entries:
        entry = proven.entry
        yield _csv_line(
            [
                *(proven.index, entry.id, _when(entry.at_us), entry.actor, entry.action, entry.subject),
                *(msgspec.json.encode(entry.detail).decode(), entry.leaf_hash, proven.leaf),
                *(msgspec.json.encode(proven.personal).decode(), " ".join(proven.proof), ""),
            ]
        )


def _matching(connection: Connection, wanted: Filter, size: int) -> list[int]:
    query = select(LeafRow.leaf, LeafRow.actor, LeafRow.at_us).where(LeafRow.idx < size)
    of_model, found = _OfModel(wanted.model), list[int]()
    rows = connection.execute(query.order_by(LeafRow.idx), execution_options={"yield_per": 1_000})
    for index, (leaf, actor, at_us) in enumerate(rows):
        # Every entry is looked at: one that is too old may say to which model an incident belongs.
        fits = of_model.fits(leaf)
        if fits and wanted.actor in (None, actor) and _within(at_us, wanted.since_us, wanted.until_us):
            found.append(index)
    return found


class _OfModel:
    """Follows what belongs to a model: its incidents, and what belongs to these."""

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._subjects = {f"model/{model}"}

    def fits(self, text: str) -> bool:
        if self._model is None:
            return True
        leaf = msgspec.json.decode(text, type=Leaf)
        named = [
            f"{kind}/{leaf.detail.get(f'{kind}_id')}" for kind in ("incident", "plan", "approval", "action")
        ]
        if leaf.detail.get("model") == self._model or self._subjects & {leaf.subject, *named}:
            self._subjects.add(leaf.subject)
            return True
        return False


def _within(at_us: int, since_us: int | None, until_us: int | None) -> bool:
    return (since_us is None or at_us >= since_us) and (until_us is None or at_us < until_us)


def _when(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="microseconds")


def _csv_line(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().removesuffix("\r\n")
