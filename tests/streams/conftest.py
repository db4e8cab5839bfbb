"""Fixtures of the streams room."""

from pathlib import Path

import pytest

from streams.store import LocalStore, Store
from tests.streams.archive_parts import object_store


@pytest.fixture(params=[LocalStore, object_store])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty archive, in a folder and on object storage."""
    return request.param(tmp_path / "archive")
