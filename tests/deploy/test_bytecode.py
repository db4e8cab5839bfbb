"""Where the processes of a stack keep what Python has compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import stack_parts
from deploy.settings import Settings
from deploy.stack import bytecode
from deploy.stack.bytecode import ELSEWHERE, FORBIDS, kept_compiled

SET = {FORBIDS: "1"}


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries as uv installs them."""
    monkeypatch.setattr(bytecode, "_installed_compiled", lambda: False)


def test_what_is_kept_anyway_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "_installed_compiled", lambda: True)
    assert kept_compiled(tmp_path, SET) == {}
    monkeypatch.setattr(bytecode, "_installed_compiled", lambda: False)
    assert kept_compiled(tmp_path, {}) == {}
    assert kept_compiled(tmp_path, SET | {ELSEWHERE: "/somewhere"}) == {}


@pytest.mark.usefixtures("uncompiled")
def test_where_it_is_forbidden_the_next_process_finds_it_in_the_cache_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "slow_to_compile.py").write_text("word = 1\n")
    told = kept_compiled(tmp_path / "cache", SET)
    subprocess.run(
        [sys.executable, "-S", "-c", "import slow_to_compile"],
        cwd=source,
        env=os.environ | SET | told,
        check=True,
    )
    assert [each.name for each in source.iterdir()] == ["slow_to_compile.py"]
    assert list((tmp_path / "cache" / "bytecode").rglob("slow_to_compile.*.pyc"))


@pytest.mark.usefixtures("uncompiled")
def test_every_process_of_python_in_the_stack_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FORBIDS, "1")
    settings = Settings(home=tmp_path, broker="127.0.0.1:9092", cache=tmp_path / "cache")
    parts = stack_parts(settings)
    assert {"mlflow", "profile", "agent", "api"} <= {part.name for part in parts}
    assert {(part.env or {}).get(ELSEWHERE) for part in parts} == {str(tmp_path / "cache" / "bytecode")}
