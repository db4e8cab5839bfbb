"""What a person gets for a mistake: one clear sentence, exit code 1 or 2, no stack trace."""

import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import Run, assert_nothing_runs, homeostat

pytestmark = pytest.mark.slow


def assert_told(run: Run, *words: str, code: int = 1) -> None:
    """The command failed with these words and without a trace."""
    assert run.code == code, run.err
    assert "Traceback" not in run.err
    for word in words:
        assert word in run.err, run.err


def test_a_folder_without_the_hospitals(tmp_path: Path) -> None:
    assert_told(
        homeostat(tmp_path, "demo", "--data", str(tmp_path)), "processed.cleveland.data", str(tmp_path)
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert_told(homeostat(tmp_path, "demo", "--data", str(tmp_path / "nowhere")), "nowhere")


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        run = homeostat(tmp_path, "up", "--detach", env={"HOMEOSTAT_API_PORT": port})
    assert_told(run, port, "HOMEOSTAT_API_PORT")
    assert_nothing_runs(tmp_path)


def test_no_network_for_the_first_resolve(tmp_path: Path) -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    run = homeostat(tmp_path, "demo", env={"HOMEOSTAT_CACHE": str(tmp_path / "cache"), **nowhere})
    assert_told(run, "HOMEOSTAT_BROKER")
    assert_nothing_runs(tmp_path / "demo")


def test_a_setting_that_makes_no_sense(tmp_path: Path) -> None:
    run = homeostat(tmp_path, "up", "--detach", env={"HOMEOSTAT_PARTITIONS": "many"})
    assert_told(run, "HOMEOSTAT_PARTITIONS", "many", code=2)


def test_commands_without_a_stack(tmp_path: Path) -> None:
    assert_told(homeostat(tmp_path, "incidents", "list"), "homeostat up", str(tmp_path))
    assert "not running" in homeostat(tmp_path, "status").out
    assert homeostat(tmp_path, "status").code == 1
    assert homeostat(tmp_path, "down").code == 0


def test_an_unknown_role(tmp_path: Path) -> None:
    assert_told(homeostat(tmp_path, "worker", "cook"), "cook", "profile", code=2)
