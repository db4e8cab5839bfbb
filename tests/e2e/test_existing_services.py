"""`homeostat up` beside services that already run: nothing is embedded that the environment names."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from deploy.stack.lifecycle import status
from tests.e2e.conftest import assert_nothing_runs, homeostat
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow


def test_an_existing_broker_and_database_are_used(
    kafka: str, postgres: Callable[[], str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    env = {"HOMEOSTAT_BROKER": kafka, "HOMEOSTAT_DATABASE_URL": postgres()}
    try:
        started = homeostat(home, "up", "--detach", env=env)
        assert started.code == 0, started.err
        found = status(home)
        assert found.healthy
        assert found.part("kafka") is None
        assert not (home / "homeostat.db").exists()
        api = found.part("api")
        assert api is not None
        health = httpx.get(f"{api.url}/api/v1/health", timeout=PATIENCE_S).json()
        assert health["status"] == "ok"
        again = homeostat(home, "up", "--detach", env=env)
        assert again.code == 0
        assert "already runs" in again.err
    finally:
        assert homeostat(home, "down").code == 0
    assert_nothing_runs(home)
