"""What the archive role deletes because its retention is over is in the audit log."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.engine import connect
from deploy import wiring
from deploy.retiring import retiring
from deploy.settings import Settings
from streams.archive.files import list_files
from streams.archive.upkeep import Upkeep, UpkeepConfig
from streams.archive.worker import ArchiveConfig
from streams.store import LocalStore
from tests.databases import migrate
from tests.streams.archive_parts import START_US, fill

LATE_S = START_US / 1e6 + 30 * 86_400
KEEP = UpkeepConfig(retention_days=2)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an archive, and no database yet."""
    for name in ("ARCHIVE", "DATABASE_URL"):
        monkeypatch.delenv(f"HOMEOSTAT_{name}", raising=False)
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    fill(LocalStore(tmp_path / "archive"), 4)
    return tmp_path


def told(home: Path) -> list[tuple[str, str, str]]:
    with connect(f"sqlite:///{home / 'homeostat.db'}").connect() as connection:
        rows = connection.execute(text("SELECT actor, action, leaf FROM audit_leaves ORDER BY position"))
        return [(row[0], row[1], str(row[2])) for row in rows]


def test_what_is_past_its_retention_is_told_before_and_after(home: Path) -> None:
    migrate(f"sqlite:///{home / 'homeostat.db'}")
    store = LocalStore(home / "archive")
    files = len(list_files(store))
    assert Upkeep(store, KEEP, retiring=retiring).run(LATE_S).retired == files
    assert [each[:2] for each in told(home)] == [
        ("archive", "archive.retire_intended"),
        ("archive", "archive.retired"),
    ]
    assert f'"files":{files}' in told(home)[-1][2].replace(" ", "")
    assert Upkeep(store, KEEP, retiring=retiring).run(LATE_S).retired == 0
    assert len(told(home)) == 2


def test_what_cannot_be_told_is_not_deleted(home: Path) -> None:
    (home / "homeostat.db").write_bytes(b"this is no database" * 100)
    store = LocalStore(home / "archive")
    files = len(list_files(store))
    with pytest.raises(Exception, match="database"):
        Upkeep(store, KEEP, retiring=retiring).run(LATE_S)
    assert len(list_files(store)) == files


def test_without_a_database_days_go_all_the_same(home: Path) -> None:
    store = LocalStore(home / "archive")
    assert Upkeep(store, KEEP, retiring=retiring).run(LATE_S).retired
    assert list_files(store) == []


def test_the_archive_role_tells(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setenv("HOMEOSTAT_BROKER", "127.0.0.1:9")
    monkeypatch.setattr("streams.archive.worker.run_archive", given.append)
    wiring.ROLES["archive"](Settings())
    config: ArchiveConfig = given[0]
    assert config.retiring is retiring
