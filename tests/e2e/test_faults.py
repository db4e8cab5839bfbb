"""Bad days of the stack itself, while nothing is wrong with the model: nothing is lost, and nobody is alarmed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest

from deploy.stack.lifecycle import status
from deploy.stack.state import Health
from tests.e2e.conftest import assert_nothing_runs, homeostat
from tests.patience import PATIENCE_S, patient_s

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

AWAY_S = 20
ROLES = ("profile", "judge", "gate", "archive", "record", "agent")


@contextlib.contextmanager
def quiet_demo(folder: Path) -> Generator["subprocess.Popen[str]"]:
    """A demo without faults under way; ended with its stack if the test fails."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")}
    command = [sys.executable, "-m", "deploy.cli", "--home", str(folder), "demo", "--no-faults"]
    running = subprocess.Popen(
        [*command, "--json", str(folder / "demo.json")], stderr=subprocess.PIPE, text=True, env=settings
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()
        homeostat(folder / "demo", "down")
        assert_nothing_runs(folder / "demo")


def until(condition: Callable[[], bool], limit_s: float) -> None:
    """Wait for a real process."""
    deadline = time.monotonic() + patient_s(limit_s)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def process(home: Path, part: str) -> psutil.Process:
    """The process of a part."""
    found = status(home).part(part)
    assert found is not None
    assert found.process is not None
    running = found.process.process()
    assert running is not None
    return running


def restarted(home: Path, part: str, was: psutil.Process) -> bool:
    """Another process does the part's work."""
    found = status(home).part(part)
    return (
        found is not None
        and found.health is Health.HEALTHY
        and found.process is not None
        and found.process.pid != was.pid
    )


@pytest.mark.soak
def test_killed_workers_and_a_broker_that_goes_away_change_nothing(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    with quiet_demo(tmp_path) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "A healthy day" in line:
                break
        killed = {role: process(home, role) for role in ROLES}
        for each in killed.values():
            each.send_signal(signal.SIGKILL)
        until(lambda: all(restarted(home, role, was) for role, was in killed.items()), 90)
        broker = process(home, "kafka")
        broker.send_signal(signal.SIGSTOP)
        away_until = time.monotonic() + AWAY_S
        until(lambda: time.monotonic() > away_until, AWAY_S + 5)
        broker.send_signal(signal.SIGCONT)
        told = running.stderr.read()
        assert running.wait(timeout=PATIENCE_S * 5) == 0, told
    assert "Traceback" not in told
    found = json.loads((tmp_path / "demo.json").read_text())
    assert found["incidents"] == []
    assert found["failed_requests"] == 0
    assert found["accounting"]["closes"]
    assert found["accounting"]["predictions"]["received"] == found["predictions"] > 0
    assert found["audit_verified"]


def test_ctrl_c_leaves_no_process_behind_also_in_the_background_of_a_script(tmp_path: Path) -> None:
    with contextlib.ExitStack() as ending:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what a script runs with `&`
        try:
            running = ending.enter_context(quiet_demo(tmp_path))
        finally:
            signal.signal(signal.SIGINT, before)
        until(lambda: status(tmp_path / "demo").running, 60)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 130
        assert "Traceback" not in told
        assert_nothing_runs(tmp_path / "demo")
