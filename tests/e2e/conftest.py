"""One run of the demo for all tests that look at what it leaves."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 900


@dataclass(frozen=True, slots=True)
class Run:
    """A finished `homeostat` command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class DemoRun:
    """A finished demo whose stack still runs."""

    run: Run
    data: dict[str, Any]
    home: Path
    folder: Path

    @property
    def console(self) -> str:
        """The console's address."""
        return str(self.data["console"])


def homeostat(
    home: Path, *arguments: str, env: dict[str, str] | None = None, limit_s: float = LIMIT_S
) -> Run:
    """Run the command as a person would."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "--home", str(home), *arguments],
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        env=settings | (env or {}),
    )
    return Run(done.returncode, done.stdout, done.stderr)


def play(folder: Path, *options: str, env: dict[str, str] | None = None) -> tuple[Run, dict[str, Any]]:
    """Run the demo in a folder; its summary as data."""
    summary = folder / "demo.json"
    run = homeostat(folder, "demo", "--json", str(summary), *options, env=env)
    return run, json.loads(summary.read_text()) if summary.exists() else {}


def assert_nothing_runs(home: Path) -> None:
    """No process of the stack in `home` is left."""
    from deploy.stack.ending import marked_processes

    assert not list(marked_processes(home))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoRun]:
    """The demo with faults, its stack kept for all tests that look at it, and no longer: ten idle processes cost the
    rest of the session dearly."""
    folder = tmp_path_factory.mktemp("demo")
    home = folder / "demo"
    try:
        run, data = play(folder, "--keep")
        yield DemoRun(run, data, home, folder)
    finally:
        stopped: Sequence[str] = homeostat(home, "down").err
        assert stopped
    assert_nothing_runs(home)
