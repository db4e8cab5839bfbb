"""One suite over both databases: `url` is an empty SQLite file, then an empty database of a real
PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db.engine import connect
from db.journal import SqlJournal
from tests.databases import migrate
from tests.db.audit_world import Log, Template
from tests.db.values import TickingClock


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'homeostat.db'}"
    return request.getfixturevalue("postgres")()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A migrated database."""
    migrate(url)
    engine = connect(url)
    yield engine
    engine.dispose()


@pytest.fixture
def journal(engine: Engine) -> SqlJournal:
    """An empty journal."""
    return SqlJournal(engine, TickingClock())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    """One filled audit log per module and database."""
    folder = tmp_path_factory.mktemp("audit")
    url = f"sqlite:///{folder / 'homeostat.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")()
    migrate(url)
    engine = connect(url)
    yield Template(Log(engine, folder / "audit").fill())
    engine.dispose()


@pytest.fixture
def log(filled: Template, tmp_path: Path) -> Log:
    """The filled audit log as new."""
    return filled.renewed(tmp_path / "audit")
