"""What the command line does with odd data and with mistakes."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from deploy import cli
from deploy.cli.agent import told_limits
from deploy.cli.records import _show
from deploy.stack import lifecycle
from deploy.stack.errors import StartTimedOut
from deploy.wiring import ROLES
from remediation.limits import Limits


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command sets up logging for its process, which here is everybody's."""
    handlers, level, structured = logging.root.handlers[:], logging.root.level, structlog.get_config()
    yield
    structlog.configure(**structured)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["homeostat", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_help_and_small_commands_wait_for_no_large_library(tmp_path: Path) -> None:
    """What a person types a hundred times a day answers at once; what a command needs it imports itself."""
    program = """
import sys
from deploy.cli import main
for words in (["--help"], ["models", "--help"], ["models", "keys", "list"], ["silences", "set", "--help"]):
    sys.argv = ["homeostat", *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
large = ("aiokafka", "faust", "lightgbm", "matplotlib", "mlflow", "numba", "numpy", "onnxruntime", "pandas", "pyarrow")
print([name for name in (*large, "scipy", "sklearn", "sqlalchemy", "torch") if name in sys.modules], file=sys.stderr)
"""
    environment = {**os.environ, "HOMEOSTAT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stderr.strip() == "[]"


def test_an_interrupt_before_anything_is_imported_ends_in_a_word() -> None:
    program = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from deploy.command import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "homeostat: stopped.\n")


def test_brackets_in_data_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    _show({"items": [{"by": "x[/b] y[red]"}], "next_cursor": None}, False, {"by": "by"})
    assert "x[/b] y[red]" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [True, False])
def test_no_items(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    _show({"items": [], "next_cursor": None}, as_json, {"by": "by"})
    out = capsys.readouterr().out
    assert (json.loads(out)["items"] == []) if as_json else "None." in out


def test_a_log_that_is_not_there_is_not_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOMEOSTAT_DATABASE_URL", raising=False)
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    assert run(monkeypatch, "audit", "verify") == 1
    assert "nothing to verify" in capsys.readouterr().err
    assert not (tmp_path / "homeostat.db").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit", "verify"], "sqlite:///"),
        (["db", "upgrade"], "sqlite:///"),
        (["demo", "--json", "/nowhere/at/all.json"], "/nowhere/at"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", "foo")
    assert run(monkeypatch, *arguments) == 1
    told = capsys.readouterr().err
    assert told.startswith("homeostat: ")
    assert words in told


def test_a_role_that_is_not_there_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "worker", "nonsense") == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "nonsense" in told
    assert all(role in told for role in ROLES)


def test_a_start_that_needs_longer_exits_as_timed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def late(*_: object, **__: object) -> None:
        raise StartTimedOut("profile is starting")

    monkeypatch.setattr(lifecycle, "up_detached", late)
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    assert run(monkeypatch, "up", "--detach") == 4
    assert capsys.readouterr().err == "homeostat: profile is starting\n"


@pytest.mark.parametrize("detached", [["--detach"], []])
def test_wrong_files_are_refused_before_anything_starts(
    detached: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, files = tmp_path / "home", tmp_path / "files"
    files.mkdir()
    wrong = {
        "playbooks": "playbooks: [{name: p, match: {causes: [bad_relase]}}]",
        "actuators": "actuators: [{kind: mlflow, name: a, models: x}]",
        "policy": "{channels: [{kind: teams, name: t, url_env: NOT_SET_HERE}]}",
    }
    monkeypatch.setenv("HOMEOSTAT_HOME", str(home))
    for name, text in wrong.items():
        (files / name).write_text(text)
        monkeypatch.setenv(f"HOMEOSTAT_{name.upper()}", str(files / name))
    assert run(monkeypatch, "up", *detached) == 1
    told = capsys.readouterr().err
    assert "did you mean 'bad_release'" in told
    assert "did you mean 'mlflow_alias'" in told
    assert "NOT_SET_HERE" in told
    assert not home.exists()
    monkeypatch.setenv("HOMEOSTAT_PLAYBOOKS", str(files / "none"))
    assert run(monkeypatch, "up", *detached) == 1
    assert f"HOMEOSTAT_PLAYBOOKS: {files / 'none'} cannot be read" in capsys.readouterr().err


def test_the_agents_limits_and_breakers_are_told() -> None:
    limits = {name: getattr(Limits(), name) for name in Limits.__struct_fields__}
    open_one = {"limits": limits, "breakers": [{"kind": "retrain", "reason": "3 failed in a row"}]}
    assert told_limits(open_one)[1].endswith("after 3 failed actions of one kind in a row; open: retrain.")
    first, second = told_limits({"limits": limits, "breakers": []})
    assert "12 actions of a model in 24 hours, 20 of all models at once; 2 retrainings" in first
    assert second.endswith("none is open.")


def test_the_demo_does_not_empty_a_folder_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "demo" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    assert run(monkeypatch, "demo") == 1
    assert "no demo has left" in capsys.readouterr().err
    assert notes.read_text() == "mine"
