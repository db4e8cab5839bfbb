"""The fault campaign on the embedded stack: one fault and one control, through real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.campaign.scenarios import CAUSE_OF
from benchmarks.campaign.stack import chosen
from tests.e2e.conftest import assert_nothing_runs

SEED = 93
LIMIT_S = 1_200


def test_a_quarter_are_controls_and_no_fault_comes_twice() -> None:
    picked = chosen(20, 5)
    assert picked == chosen(20, 5) != chosen(20, 6)
    faults = [each.fault for each in picked if each.fault is not None]
    assert len(faults) == len(set(faults)) == 15
    assert set(faults) < set(CAUSE_OF)
    assert {each.fault for each in chosen(3, 5, "silence")} == {"silence"}


@pytest.mark.soak
@pytest.mark.timeout(LIMIT_S + 60)
def test_a_bad_release_is_undone_and_a_control_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")}
    command = [sys.executable, "-m", "benchmarks.campaign", "--stack", "2", "--seed", str(SEED), "--json"]
    done = subprocess.run(
        [*command, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env=settings,
    )
    assert done.returncode == 0, done.stderr
    found = {each["id"]: each["value"] for each in json.loads(done.stdout)["scenarios"]}
    assert found["campaign.stack.cause"] == found["campaign.stack.action"] == 1
    for none in ("harm", "control_actions", "control_incidents", "endless", "problems"):
        assert found[f"campaign.stack.{none}"] == 0, done.stderr
    assert_nothing_runs(home)
