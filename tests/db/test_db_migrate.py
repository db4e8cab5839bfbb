"""The schema comes up on an empty database, equals the declared tables, and says why it does not fit."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from db.engine import connect, reading, writing
from db.errors import SchemaError, StoreError, Unavailable
from db.migrate import VERSION_TABLE, check, current, upgrade
from db.tables import Base
from tests.patience import PATIENCE_S


def test_upgrade_of_an_empty_database(url: str) -> None:
    assert current(url) is None
    with pytest.raises(SchemaError, match=r"revision none.*homeostat db upgrade"):
        check(url)
    upgrade(url)
    assert current(url) == "0006"
    check(url)
    upgrade(url)
    engine = connect(url)
    assert set(Base.metadata.tables) | {VERSION_TABLE} == set(inspect(engine).get_table_names())
    engine.dispose()


def test_migrations_give_the_declared_tables(engine: Engine) -> None:
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []


def test_downgrade_leaves_nothing(url: str, engine: Engine) -> None:
    from alembic import command

    from db.migrate import _config  # pyright: ignore[reportPrivateUsage]

    config = _config()
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(engine).get_table_names()) == {VERSION_TABLE}
    assert current(url) is None


def test_a_newer_schema_is_refused(url: str, engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for function in (check, upgrade):
        with pytest.raises(SchemaError, match=r"9999.*newer.*Upgrade Homeostat"):
            function(url)


def test_two_processes_at_once(url: str) -> None:
    program = "import sys; from db.migrate import upgrade; sys.stdin.readline(); upgrade(sys.argv[1])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, url],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, error = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, error
    check(url)


def test_unreachable_databases_are_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(
        Unavailable, match=r"postgresql://me:\*\*\*@127.0.0.1:1/x cannot be used now"
    ) as caught:
        check("postgresql://me:secret@127.0.0.1:1/x")
    assert caught.value.retriable
    assert "secret" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unavailable, match="unable to open database file"):
        upgrade(f"sqlite:///{tmp_path / 'folder'}")
    (tmp_path / "notes.txt").write_text("not a database, but long enough to look like one " * 40)
    with pytest.raises(StoreError, match="file is not a database"):
        upgrade(f"sqlite:///{tmp_path / 'notes.txt'}")
    with pytest.raises(StoreError, match=r"folder of the database .* cannot be made"):
        connect(f"sqlite:///{tmp_path / 'notes.txt' / 'x.db'}")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://host/name", "'mysql' is not supported"),
        ("oracle+nothing://host/name", "'oracle' is not supported"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_wrong_urls_are_told_in_words(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        connect(url)


def test_a_missing_driver_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"install `homeostat-server\[postgres\]`"):
        connect("postgresql://host/name")


def test_sqlite_survives_power_loss_and_checks_keys(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'deep' / 'er' / 'x.db'}")
    with reading(engine) as connection:
        values = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
