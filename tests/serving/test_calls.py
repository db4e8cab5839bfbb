"""Effects outside of serving: once, without a shell, with a deadline; and what nobody knows is not done again."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from detectors.errors import ReferenceInvalid
from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec
from remediation.clock import SystemClock
from remediation.errors import StepFailed
from serving.actuators.values import Commands
from serving.calls.caller import Calls
from serving.calls.command import Command
from serving.calls.http_call import HttpCall
from serving.calls.records import Records
from serving.calls.refresh import RefreshReference
from serving.peers import PeerTrouble
from serving.signing import is_signed
from tests.patience import PATIENCE_S

from .peer_server import Asked, PeerServer, peer_server

FACTS = {"incident": "inc-1", "model": "m", "cause": "upstream_data_break", "summary": "age is 0"}


class Tracker:
    """Opens one issue per idempotency key."""

    def __init__(self) -> None:
        self.issues: dict[str, Any] = {}

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if asked.method == "GET":
            key = asked.path.rpartition("/")[2]
            return (200, {"html_url": f"https://t/{key}"}) if key in self.issues else (404, {})
        key = asked.headers["idempotency-key"]
        self.issues.setdefault(key, asked)
        return 201, {"html_url": f"https://t/{key}", "id": 4711}


@pytest.fixture
def tracker() -> Tracker:
    return Tracker()


@pytest.fixture
def peer(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> Iterator[PeerServer]:
    with peer_server(tracker) as peer:
        monkeypatch.setenv("ISSUES", f"{peer.url}/hooks/secret-path")
        monkeypatch.setenv("ISSUE_CHECK", f"{peer.url}/issues/{{key}}")
        monkeypatch.setenv("ISSUE_SECRET", "top-secret")
        yield peer


async def test_an_issue_is_opened_once_and_says_what_is_known(peer: PeerServer, tracker: Tracker) -> None:
    call = HttpCall()
    told = {"url_env": "ISSUES", "secret_env": "ISSUE_SECRET", "facts": FACTS, "body": {"labels": "ml"}}
    assert await call.call(told, key="act-1") == "HTTP 201: https://t/act-1"
    assert await call.call(told, key="act-1") == "HTTP 201: https://t/act-1"
    (asked,) = tracker.issues.values()
    content = asked.json
    assert (content["title"], content["labels"]) == ("m: upstream_data_break", "ml")
    assert (content["incident"], content["key"]) == ("inc-1", "act-1")
    assert "summary: age is 0" in content["body"]
    headers = asked.headers
    signed = (headers["x-homeostat-timestamp"], headers["x-homeostat-signature"])
    assert is_signed("top-secret", asked.body, *signed, now_s=time.time(), window_s=300)
    assert not is_signed("top-secret", asked.body, *signed, now_s=time.time() + 600, window_s=300)
    assert not is_signed("top-secret", asked.body + b" ", *signed, now_s=time.time(), window_s=300)


async def test_a_lost_answer_is_looked_for(peer: PeerServer, tracker: Tracker) -> None:
    call = HttpCall()
    told = {"url_env": "ISSUES", "check_env": "ISSUE_CHECK", "body": {}}
    assert await call.observe(told, key="act-1") is None
    peer.lose = 1
    with pytest.raises(PeerTrouble):
        await call.call(told, key="act-1")
    assert await call.observe(told, key="act-1") == "HTTP 200: https://t/act-1"
    assert await call.observe({"url_env": "ISSUES"}, key="act-1") is None
    assert len(tracker.issues) == 1


async def test_who_refuses_is_told_without_secrets(peer: PeerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    call = HttpCall()
    peer.trouble = [403]
    with pytest.raises(StepFailed, match="HTTP 403") as told:
        await call.call({"url_env": "ISSUES"}, key="k")
    assert "secret-path" not in str(told.value)
    peer.trouble = [409, 503]
    for _ in range(2):
        with pytest.raises(PeerTrouble):
            await call.call({"url_env": "ISSUES"}, key="k")
    with pytest.raises(StepFailed, match="NOT_SET"):
        await call.call({"url_env": "NOT_SET"}, key="k")
    with pytest.raises(StepFailed, match="url_env"):
        await call.call({}, key="k")


def command(folder: Path, **more: Any) -> Command:
    return Command(Commands(environment=("PATH", "ALLOWED"), **more), Records(folder), SystemClock())


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _python(code: str) -> dict[str, Any]:
    return {"argv": [sys.executable, "-S", "-c", code]}


async def test_a_command_runs_once(tmp_path: Path) -> None:
    file = tmp_path / "ran"
    told = _python(f"open({str(file)!r}, 'a').write('x'); print('first'); print('last')")
    assert await command(tmp_path / "r").observe(told, key="k") is None
    assert await command(tmp_path / "r").call(told, key="k") == "exit status 0: first | last"
    assert await command(tmp_path / "r").call(told, key="k") == "exit status 0: first | last"
    assert await command(tmp_path / "r").observe(told, key="k") == "exit status 0: first | last"
    assert file.read_text() == "x"


async def test_a_command_that_was_begun_is_never_run_again(tmp_path: Path) -> None:
    """A process that died after it began the command, at any moment before it recorded the end."""
    records = Records(tmp_path)
    assert records.begin("k", now_us=1)
    (damaged,) = tmp_path.glob("*.json")
    for content in (damaged.read_bytes(), b"", b'{"key": "k", "sta'):
        damaged.write_bytes(content)
        for attempt in (command(tmp_path).call, command(tmp_path).observe):
            with pytest.raises(StepFailed, match="unknown whether it ran"):
                await attempt(_python("print(1)"), key="k")


_KILLED = """
import asyncio, sys
from pathlib import Path
from remediation.clock import SystemClock
from serving.actuators.values import Commands
from serving.calls.command import Command
from serving.calls.records import Records
home = Path(sys.argv[1])
code = f"import time; open({str(home / 'ran')!r}, 'a').write('x'); time.sleep(60)"
command = Command(Commands(), Records(home / "calls"), SystemClock())
asyncio.run(command.call({"argv": [sys.executable, "-S", "-c", code]}, key="k"))
"""


async def test_a_caller_that_is_killed_leaves_what_nobody_runs_again(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _KILLED, str(tmp_path))
    await _until((tmp_path / "ran").exists)
    (child,) = psutil.Process(process.pid).children()
    process.kill()
    await process.wait()
    for attempt in (command(tmp_path / "calls").observe, command(tmp_path / "calls").call):
        with pytest.raises(StepFailed, match="unknown whether it ran"):
            await attempt(_python("print(1)"), key="k")
    assert (tmp_path / "ran").read_text() == "x"
    child.kill()


async def test_there_is_no_shell_and_only_the_allowed_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOWED", "yes")
    monkeypatch.setenv("HOMEOSTAT_SLACK_TOKEN", "xoxb-secret")
    code = "import os, sys, json; print(json.dumps([sorted(os.environ), sys.argv[1:]]))"
    told = {"argv": [*_python(code)["argv"], "$HOME; rm -rf *", "`id`"]}
    outcome = await command(tmp_path).call(told, key="k")
    names, arguments = json.loads(outcome.removeprefix("exit status 0: "))
    assert arguments == ["$HOME; rm -rf *", "`id`"]
    assert set(names) - {"LC_CTYPE"} == {"ALLOWED", "HOMEOSTAT_IDEMPOTENCY_KEY", "PATH"}


async def test_failures_and_deadlines_are_told_and_kept(tmp_path: Path) -> None:
    failing = _python("import sys; print('no such table'); sys.exit(3)")
    for _ in range(2):
        with pytest.raises(StepFailed, match="exit status 3: no such table"):
            await command(tmp_path).call(failing, key="failing")
    file, other = tmp_path / "child", tmp_path / "other"
    grandchild = f"echo $$ > '{file}'; exec sleep 60"
    slow = {"argv": ["sh", "-c", 'echo begun; sh -c "$0"; true', grandchild], "timeout_s": 1.0}
    with pytest.raises(StepFailed, match=r"ran for over 1 s and was ended: begun"):
        await command(tmp_path).call(slow, key="slow")
    await _until(lambda: not _is_alive(int(file.read_text())))
    with pytest.raises(StepFailed, match="could not be started"):
        await command(tmp_path).call({"argv": ["/no/such/program"]}, key="absent")
    with pytest.raises(StepFailed, match="argv"):
        await command(tmp_path).call({"argv": "rm -rf /"}, key="text")
    running = asyncio.create_task(
        command(tmp_path).call({"argv": ["sh", "-c", f"touch '{other}'; sleep 60"]}, key="cancelled")
    )
    await _until(other.exists)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(StepFailed, match="ended before it was finished"):
        await command(tmp_path).observe({}, key="cancelled")


async def test_what_is_cancelled_while_it_is_being_started_is_ended_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned, go_on = asyncio.Event(), asyncio.Event()
    processes: list[asyncio.subprocess.Process] = []
    spawn = asyncio.create_subprocess_exec

    async def slow(*argv: str, **options: Any) -> asyncio.subprocess.Process:
        processes.append(await spawn(*argv, **options))
        spawned.set()
        await go_on.wait()
        return processes[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    running = asyncio.create_task(command(tmp_path).call({"argv": ["sleep", "60"]}, key="cancelled"))
    await spawned.wait()
    running.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert processes[0].returncode is not None
    with pytest.raises(StepFailed, match="ended before it was finished"):
        await command(tmp_path).observe({}, key="cancelled")


async def test_two_attempts_at_once_are_one(tmp_path: Path) -> None:
    file = tmp_path / "ran"
    told = _python(f"import time; open({str(file)!r}, 'a').write('x'); time.sleep(0.2)")
    both = await asyncio.gather(
        *(command(tmp_path / "r").call(told, key="k") for _ in range(2)), return_exceptions=True
    )
    assert file.read_text() == "x"
    assert sorted(type(one) for one in both if isinstance(one, StepFailed)) in ([], [StepFailed])


async def test_commands_are_off_until_they_are_allowed_and_can_have_a_prefix(tmp_path: Path) -> None:
    off = Command(None, Records(tmp_path), SystemClock())
    with pytest.raises(StepFailed, match="a section `commands`"):
        await off.call(_python("1"), key="k")
    boxed = command(tmp_path, prefix=("/usr/bin/env", "IN_A_BOX=1"))
    assert (
        await boxed.call(_python("import os; print(os.environ['IN_A_BOX'])"), key="k") == "exit status 0: 1"
    )


def _reference() -> Reference:
    return build_reference("m", "1", {"a": np.arange(200.0)}, [FeatureSpec(name="a")])


async def test_a_reference_is_refreshed_and_a_second_time_is_the_same(tmp_path: Path) -> None:
    published: list[str] = []
    asked: list[Any] = []

    def build(model: str, version: str, **stretch: Any) -> Reference:
        asked.append((model, version, stretch))
        if stretch["rows"] > 1_000:
            raise ReferenceInvalid("the archive has 3 events")
        return _reference()

    async def publish(reference: Reference) -> None:
        published.append(reference.revision)
        if len(published) == 1:
            raise TimeoutError("the broker did not answer")

    refresh = RefreshReference(build, publish, Records(tmp_path), SystemClock())
    told = {"model": "m", "version": "1", "reason": "a campaign", "rows": 500, "until_us": 9, "since_us": 3}
    with pytest.raises(TimeoutError):
        await refresh.call(told, key="k")
    assert await refresh.observe(told, key="k") is None
    outcome = await refresh.call(told, key="k")
    assert "version 1 of m is compared with its last 200 rows" in outcome
    assert "a campaign" in outcome
    assert await refresh.observe(told, key="k") == outcome
    assert len(set(published)) == 1
    assert asked[0] == ("m", "1", {"rows": 500, "until_us": 9, "since_us": 3})
    with pytest.raises(StepFailed, match="the archive has 3 events"):
        await refresh.call({**told, "rows": 2_000}, key="k2")
    with pytest.raises(StepFailed, match="reason"):
        await refresh.call({**told, "reason": ""}, key="k3")


async def test_the_caller_knows_who_does_what(tmp_path: Path, peer: PeerServer) -> None:
    calls = Calls({"open_issue": HttpCall(), "run_command": command(tmp_path)})
    assert (await calls.call("open_issue", {"url_env": "ISSUES"}, key="k")).startswith("HTTP 201")
    assert await calls.observe("run_command", {}, key="k") is None
    with pytest.raises(StepFailed, match="http_call cannot be done here; what can: open_issue, run_command"):
        await calls.call("http_call", {}, key="k")
