"""A report on a world with two incidents, made once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from report_world import at, lived_world

from db.audit.verify import VerifyReport
from reporting.rollup import collect
from reporting.values import ReportData

INTACT = VerifyReport(ok=True, entries=214, problems=[], checkpoints=9)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """40 minutes: a bad release rolled back, and a population shift cured by retraining."""
    world = lived_world(tmp_path_factory.mktemp("world"))
    return collect(
        world.journal,
        world.records,
        INTACT,
        since_us=at(-60),
        until_us=at(2_400),
        now_us=at(2_405),
        console_url="http://127.0.0.1:8420/",
    )
