"""One suite over both databases: `url` is an empty SQLite file, then an empty database of a real
PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db.engine import connect
from db.migrate import upgrade


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'homeostat.db'}"
    return request.getfixturevalue("postgres")()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A migrated database."""
    upgrade(url)
    engine = connect(url)
    yield engine
    engine.dispose()
