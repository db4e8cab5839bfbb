"""The supervisor on real processes: starts in order, restarts what dies, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.stack.ending import marked_processes
from deploy.stack.errors import PartFailed, StartTimedOut
from deploy.stack.lifecycle import StackStatus, down, status, up_attached, up_detached
from deploy.stack.state import EventKind, Health, StackEvent
from deploy.stack.supervisor import OnEvent
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(Path(__file__).with_name("small_stack.py"))]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose stack is certainly gone after the test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield tmp_path / "home"
    down(tmp_path / "home")
    assert marked_processes(tmp_path / "home") == []


def _up(home: Path, scenario: str = "healthy", tell: OnEvent = lambda event: None) -> list[StackEvent]:
    events: list[StackEvent] = []

    def keep(event: StackEvent) -> None:
        events.append(event)
        tell(event)

    os.environ["SCENARIO"] = scenario
    try:
        result = up_detached(home, keep, [*COMMAND, str(home)], PATIENCE_S)
    finally:
        del os.environ["SCENARIO"]
    assert result.started
    return events


def _eventually(
    home: Path,
    condition: Callable[[StackStatus], bool],
) -> StackStatus:
    deadline = time.monotonic() + PATIENCE_S
    while not condition(seen := status(home)):
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
    return seen


def _pid(seen: StackStatus, part: str) -> int:
    state = seen.part(part)
    assert state is not None
    assert state.process is not None
    return state.process.pid


def _restarted(part: str, times: int = 1) -> Callable[[StackStatus], bool]:
    def condition(seen: StackStatus) -> bool:
        state = seen.part(part)
        return state is not None and state.restarts >= times and state.health is Health.HEALTHY

    return condition


def test_parts_start_in_order_and_down_leaves_nothing(home: Path) -> None:
    events = _up(home)
    healthy = [event.part for event in events if event.kind is EventKind.HEALTHY]
    assert healthy == ["first", "second"]
    assert status(home).healthy
    stopped = down(home)
    assert {name.split()[0] for name in stopped} >= {"first", "second"}
    assert marked_processes(home) == []
    seen = status(home)
    assert (seen.running, seen.state, seen.orphans) == (False, None, [])
    assert down(home) == []
    log = (home / "logs" / "supervisor.log").read_text()
    assert (
        log.index("second: stopped") < log.index("first: stopped") < log.index("stack: everything is stopped")
    )


def test_killed_part_is_restarted_and_said_so(home: Path) -> None:
    _up(home)
    before = _pid(status(home), "first")
    os.kill(before, signal.SIGKILL)
    after = _eventually(home, _restarted("first"))
    assert _pid(after, "first") != before
    assert "first: died by SIGKILL; starting again in 0.5 s" in (home / "logs" / "supervisor.log").read_text()
    assert len(marked_processes(home, "first")) == 2, "the child of the killed life must be gone"


def test_second_up_finds_the_first(home: Path) -> None:
    _up(home)
    before = status(home)
    result = up_detached(home, lambda event: None, [*COMMAND, str(home)])
    assert not result.started
    assert result.status.healthy
    assert _pid(result.status, "first") == _pid(before, "first")
    assert not up_attached(home, list, lambda event: None).started
    direct = subprocess.run([*COMMAND, str(home)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert direct.stderr.strip() == f"A stack is already running in {home}."


def test_down_ends_what_a_killed_supervisor_left(home: Path) -> None:
    _up(home)
    _kill_supervisor(home)
    seen = status(home)
    assert not seen.running
    assert len(seen.orphans) == 3
    assert {name.split()[0] for name in down(home)} == {"first", "second"}
    assert marked_processes(home) == []


def test_up_ends_what_a_killed_supervisor_left(home: Path) -> None:
    _up(home)
    left = {process.pid for process in marked_processes(home)}
    _kill_supervisor(home)
    _up(home)
    assert not left & {process.pid for process in marked_processes(home)}
    assert "ended what an earlier supervisor had left" in (home / "logs" / "supervisor.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_to_the_supervisor_stops_all(home: Path, number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # a run of the tests by nohup would hand down another
    try:
        _up(home)
    finally:
        signal.signal(number, before)
    supervisor = _supervisor(home)
    supervisor.send_signal(number)
    supervisor.wait(timeout=PATIENCE_S)
    assert marked_processes(home) == []
    assert not (home / "supervisor.pid").exists()


def test_part_that_does_not_hear_is_killed(home: Path) -> None:
    _up(home, "deaf")
    down(home)
    assert marked_processes(home) == []
    assert "has not ended 0.5 s after SIGTERM; it is killed" in (home / "logs" / "supervisor.log").read_text()


class Impatient:
    """The clock of `up`: time stands still until the first part is healthy and the third was told of as `kind`, and is
    over then."""

    def __init__(self, kind: EventKind) -> None:
        self._awaited = {(EventKind.HEALTHY, "first"), (kind, "third")}
        self.told: list[str] = []

    def __call__(self, event: StackEvent) -> None:
        self.told.append(f"{event.part} {event.message}")
        self._awaited.discard((event.kind, event.part or ""))

    def monotonic(self) -> float:
        return 0.0 if self._awaited else 2 * PATIENCE_S

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def test_part_that_cannot_start_is_named_with_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Impatient(EventKind.DIED)
    monkeypatch.setattr("deploy.stack.lifecycle.time", clock)
    with pytest.raises(PartFailed, match=r"third is (?s:.*)the database has gone fishing") as failure:
        _up(home, "failing", clock)
    assert "first is" not in str(failure.value)
    assert not isinstance(failure.value, StartTimedOut)
    assert "third ended with exit code 3; it is started again" in clock.told
    assert marked_processes(home) == []


def test_part_that_needs_longer_is_no_failure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Impatient(EventKind.STARTING)
    monkeypatch.setattr("deploy.stack.lifecycle.time", clock)
    with pytest.raises(
        StartTimedOut, match=r"third is starting(?s:.*)try `homeostat up --detach --timeout 600`"
    ):
        _up(home, "slow", clock)
    assert not [each for each in clock.told if "started again" in each]
    assert marked_processes(home) == []


def test_error_while_parts_are_made_reaches_the_person(home: Path) -> None:
    with pytest.raises(
        PartFailed, match=r"^Port 1234 \(from HOMEOSTAT_API_PORT\) is already used by a teapot\.$"
    ):
        _up(home, "refused")


def _supervisor(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "supervisor.pid").read_text()))


def _kill_supervisor(home: Path) -> None:
    supervisor = _supervisor(home)
    supervisor.kill()
    supervisor.wait(timeout=PATIENCE_S)
