"""Whatever is done to the log in the ways that it has verifies; whatever is done to it in another way does not."""

import random
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from db.audit import Sequencer, Witness
from db.audit.export import Filter, export
from db.audit.notefile import NoteFile
from db.audit.offline import verify_export
from db.audit.proofs import Proofs
from db.engine import connect, reading, writing
from db.errors import AuditError
from db.tables import LeafRow, TreeRow
from tests.databases import migrate
from tests.db.audit_world import Log, forget_after

STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from([1, 2, 7, 300])),
    st.tuples(st.sampled_from(["sequence", "witness", "rotate", "back up", "restore"]), st.just(0)),
    st.tuples(st.just("redact"), st.integers(0, 400)),
)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
STEPS = st.lists(STEP, min_size=3, max_size=14)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "homeostat.db"
    migrate(f"sqlite:///{path}")
    return path


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=SLOW,
)
@given(steps=STEPS)
def test_whatever_is_done_as_it_should_verifies(empty: Path, steps: list[tuple[str, int]]) -> None:
    _live(empty, steps)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=SLOW,
)
@given(steps=st.lists(STEP, min_size=10, max_size=25))
def test_long_lives_verify(empty: Path, steps: list[tuple[str, int]]) -> None:
    _live(empty, steps)


def _live(empty: Path, steps: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(empty, folder / "homeostat.db")
        engine = connect(f"sqlite:///{folder / 'homeostat.db'}")
        log, topic, saved = Log(engine, folder / "audit"), list[str](), (0, b"")
        for what, much in steps:
            saved = _step(log, what, much, saved, topic)
        log.sequence()
        _publish(log, topic)
        report = log.whole(topic)
        if report.entries:
            path = folder / "audit.jsonl"
            for wanted in (Filter(), Filter(actor="ann")):
                lines = export(Proofs(engine, log.folder), wanted)
                path.write_text("".join(f"{line}\n" for line in lines))
                assert verify_export(path).problems == []
        engine.dispose()


@contextmanager
def allowed(*refusals: str) -> Generator[None]:
    try:
        yield
    except AuditError as error:
        if not any(words in str(error) for words in refusals):
            raise


def _step(log: Log, what: str, much: int, saved: tuple[int, bytes], topic: list[str]) -> tuple[int, bytes]:
    """One step. Returns the newest backup."""
    if what == "write":
        log.write(much)
    elif what == "sequence":
        Sequencer(log.engine, log.folder).run_once()
        _publish(log, topic)
    elif what == "witness":
        Witness(log.engine, log.folder).run_once()
    elif what == "back up":
        with reading(log.engine) as connection:
            tree = connection.execute(select(TreeRow.size, TreeRow.edge)).one()
        return tree.size, tree.edge
    elif what == "restore" and saved[0]:
        with writing(log.engine) as connection:
            forget_after(connection, *saved)
        _publish(log, topic)
        with allowed("nothing is lost"):
            log.keeper.restored(at_us=1, actor="mira", reason="disk died", topic=topic)
    elif what == "rotate":
        with allowed("is empty"):
            log.keeper.rotate(at_us=1, actor="mira", reason="yearly")
    elif what == "redact":
        with allowed("is empty", "There is no entry", "has no field"):
            log.keeper.redact(much, ["actor"], at_us=1, actor="dpo", reason="art. 17")
    return saved


def _publish(log: Log, topic: list[str]) -> None:
    file = NoteFile(log.folder / "checkpoints.txt")
    if file.exists():
        topic += [note.text() for note in file.notes()][len(topic) :]


CELLS = {
    "audit_leaves": ("idx", "id", "at_us", "actor", "action", "subject", "leaf", "leaf_hash", "personal"),
    "audit_nodes": ("height", "number", "hash"),
    "audit_tree": ("size", "edge"),
    "audit_checkpoints": ("size", "note"),
}
FILES = ("checkpoints.txt", "log.pub", "witness/checkpoints.txt", "witness/witness.pub", "witness/log.pub")


@pytest.fixture
def rich(empty: Path, tmp_path: Path) -> Iterator[Log]:
    """Rotated, redacted, restored, and large enough for an inner node."""
    shutil.copy(empty, tmp_path / "homeostat.db")
    engine = connect(f"sqlite:///{tmp_path / 'homeostat.db'}")
    log = Log(engine, tmp_path / "audit").fill()
    log.keeper.rotate(at_us=1, actor="mira", reason="yearly")
    log.keeper.redact(3, ["actor"], at_us=1, actor="dpo", reason="art. 17")
    log.sequence()
    saved = _step(log, "back up", 0, (0, b""), [])
    log.more()
    _step(log, "restore", 0, saved, [])
    log.more(entries=260)
    log.whole()
    yield log
    engine.dispose()


def test_any_single_change_of_a_stored_value_is_shown(rich: Log) -> None:
    _change_cells(rich, random.Random(0), 40)
    _change_files(rich, random.Random(0), 40)
    rich.whole()


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_many_single_changes_are_shown(rich: Log) -> None:
    _change_cells(rich, random.Random(99), 300)
    for name in FILES:
        path = rich.folder / name
        for at in range(0, path.stat().st_size, 7):
            _change_file(rich, path, at, 1 << at % 8)


def _change_cells(log: Log, rng: random.Random, times: int) -> None:
    for _ in range(times):
        table = rng.choice(list(CELLS))
        column = rng.choice(CELLS[table])
        with reading(log.engine) as connection:
            query = f"SELECT rowid, {column} FROM {table} ORDER BY rowid"
            row, value = rng.choice(connection.execute(text(query)).all())
        changed, statement = _bent(value, rng), text(f"UPDATE {table} SET {column} = :new WHERE rowid = :row")
        try:
            with log.engine.begin() as connection:
                connection.execute(statement, {"new": changed, "row": row})
        except IntegrityError:
            continue
        assert not log.verify().ok, (table, column, row, value, changed)
        if column not in ("height", "number", "size") or table == "audit_tree":
            with log.engine.begin() as connection:
                connection.execute(statement, {"new": value, "row": row})
        else:
            with log.engine.begin() as connection:
                undo = text(
                    f"UPDATE {table} SET {column} = :old WHERE {column} = :new AND rowid IN (:row, :new)"
                )
                connection.execute(undo, {"old": value, "new": changed, "row": row})


def _bent(value: object, rng: random.Random) -> object:
    """The value with one byte changed; a number with one bit."""
    if isinstance(value, int):
        return value ^ 1 << rng.randrange(20)
    if isinstance(value, bytes):
        at = rng.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
    told = str(value)
    at = rng.randrange(len(told))
    return told[:at] + chr((ord(told[at]) ^ 1 << rng.randrange(7)) or 1) + told[at + 1 :]


def _change_files(log: Log, rng: random.Random, times: int) -> None:
    for _ in range(times):
        path = log.folder / rng.choice(FILES)
        _change_file(log, path, rng.randrange(path.stat().st_size), 1 << rng.randrange(8))


def _change_file(log: Log, path: Path, at: int, bit: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
    assert not log.verify().ok, (path.name, at, whole[max(0, at - 30) : at + 30])
    path.write_bytes(whole)


def test_the_log_of_these_tests_has_inner_nodes(rich: Log) -> None:
    with reading(rich.engine) as connection:
        assert (connection.scalar(select(func.count()).select_from(LeafRow)) or 0) > 256
        assert connection.scalar(text("SELECT count(*) FROM audit_nodes")) == 1
