"""The doctor finds what is wrong, says what to do, and shows no secret."""

import socket
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from deploy import doctor
from deploy.doctor import Check, Level, run_checks
from deploy.settings import Settings

SECRET = "s3cr3t-w0rd"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "HOMEOSTAT_BROKER", "HOMEOSTAT_DATABASE_URL", "HOMEOSTAT_SMTP_URL"):
        monkeypatch.delenv(name, raising=False)


def _checked(settings: Settings) -> dict[str, Check]:
    checks = run_checks(settings)
    assert SECRET not in repr(checks)
    for check in checks:
        assert bool(check.advice) == (check.level is not Level.OK), check
    return {check.name: check for check in checks}


def _settings(home: Path, **given: object) -> Settings:
    return Settings.model_validate({"home": home, **given})


@pytest.mark.slow
def test_installation_of_the_tests_is_well(tmp_path: Path, kafka: str) -> None:
    checks = _checked(_settings(tmp_path / "new" / "home"))
    assert {name for name, check in checks.items() if check.level is Level.FAIL} == set()
    assert "openjdk" in checks["java"].found
    assert not (tmp_path / "new").exists()
    assert kafka in _checked(_settings(tmp_path, broker=kafka))["kafka"].found


@pytest.mark.slow
def test_services_that_do_not_answer_are_told_without_secrets(tmp_path: Path) -> None:
    checks = _checked(
        _settings(
            tmp_path,
            broker="127.0.0.1:9",
            database_url=f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/db",
            HOMEOSTAT_MLFLOW_TRACKING_URI=f"http://me:{SECRET}@127.0.0.1:9",
            smtp_url=f"smtp://me:{SECRET}@127.0.0.1:9",
            slack_token=SECRET,
        )
    )
    assert checks["kafka"].level is Level.FAIL
    assert checks["database"].level is Level.FAIL
    assert "me:***@127.0.0.1:9" in checks["database"].found
    assert checks["mlflow"].level is Level.FAIL
    assert checks["mail"].level is Level.WARN
    assert "HOMEOSTAT_SLACK_SIGNING_SECRET" in checks["slack"].advice
    assert "not needed" in checks["java"].found


@pytest.mark.parametrize(
    ("check", "given", "level"),
    [
        (doctor._existing_broker, {"broker": "kafka"}, Level.FAIL),
        (doctor._database, {"database_url": "nonsense"}, Level.FAIL),
        (doctor._database, {"database_url": "sqlite://"}, Level.OK),
        (doctor._mlflow, {"HOMEOSTAT_MLFLOW_TRACKING_URI": "file:///tmp/runs"}, Level.WARN),
        (doctor._mail, {"smtp_url": "smtp://host:port"}, Level.FAIL),
        (doctor._mail, {"smtp_url": "host"}, Level.FAIL),
        (doctor._slack, {"slack_signing_secret": SECRET}, Level.WARN),
        (doctor._slack, {"slack_signing_secret": SECRET, "slack_token": SECRET}, Level.OK),
    ],
)
def test_settings_are_judged(tmp_path: Path, check: object, given: dict[str, object], level: Level) -> None:
    assert callable(check)
    settings = _settings(tmp_path, **given)
    found = check(settings.broker if check is doctor._existing_broker else settings)
    assert found.level is level, found
    assert SECRET not in repr(found)


def test_taken_port_names_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = doctor._api_port(_settings(tmp_path, api_port=server.getsockname()[1]))
    assert found.level is Level.FAIL
    assert "HOMEOSTAT_API_PORT" in found.advice


def test_missing_jars_without_network_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "maven_central", lambda: "http://127.0.0.1:9/maven2")
    found = doctor._kafka(_settings(tmp_path, cache=tmp_path))
    assert found.level is Level.FAIL
    assert "127.0.0.1:9" in found.found


def test_poor_machine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poor = namedtuple("poor", "available free")(available=1, free=1)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: poor)
    monkeypatch.setattr(doctor.psutil, "disk_usage", lambda path: poor)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    levels = [
        check(_settings(tmp_path)).level
        for check in (doctor._memory, doctor._disk, doctor._chromium, doctor._python)
    ]
    assert levels == [Level.FAIL, Level.FAIL, Level.WARN, Level.FAIL]


def test_home_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = doctor._home(_settings(tmp_path / "file" / "home"))
    assert found.level is Level.FAIL
    assert "HOMEOSTAT_HOME" in found.advice


def test_a_wrong_policy_is_told_once_and_not_as_a_missing_variable_of_a_channel(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("break_glas: [admin]\n")
    checks = _checked(Settings(home=tmp_path, policy=tmp_path / "policy.yaml"))
    assert "break_glas" in checks["policy"].found
    assert "break_glas" not in checks["channels"].found
    assert "policy first" in checks["channels"].advice
