"""A model that was trained elsewhere comes into the registry, described and signed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import structlog.testing
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner, Result

from db.engine import connect, reading
from deploy.cli import app
from serving.keyring import Keyring
from serving.loading import load
from serving.model_errors import RegistryUnreachable
from serving.registry import MlflowRegistry
from serving.signatures import Signatures
from tests.databases import migrate

from .conftest import trained


def test_a_model_from_elsewhere_is_told_how_it_comes_here(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    rows = np.random.default_rng(5).normal(1, 1, (120, 2))
    table = pd.DataFrame(rows, columns=["b", "a"]).assign(said=(rows[:, 0] > 1).astype(int), was=1)
    table.to_csv(tmp_path / "reference.csv", index=False)
    (tmp_path / "model.onnx").write_bytes(trained("elsewhere").onnx)
    (tmp_path / "elsewhere.yaml").write_text(
        "model: elsewhere\ntask: binary\nreference: {file: reference.csv}\n"
        "columns: {prediction: said, label: was, features: [b, a]}\n"
    )
    client = MlflowClient(mlflow_server, registry_uri=mlflow_server)
    client.create_registered_model("elsewhere")
    client.create_model_version("elsewhere", source="s3://theirs/churn")

    def said(*words: str, code: int = 0) -> str:
        found = CliRunner().invoke(app, ["models", *words])
        assert found.exit_code == code, (found.output, found.exception)
        return found.stdout + str(found.exception or "")

    assert "homeostat models register elsewhere --onnx" in said(
        "sign", "elsewhere", "1", "--reason", "x", code=1
    )
    assert "was not registered by Homeostat" in said("verify", "elsewhere", "1", code=1)
    files = ("--onnx", str(tmp_path / "model.onnx"), "--monitor", str(tmp_path / "elsewhere.yaml"))
    with structlog.testing.capture_logs():
        item = json.loads(said("register", "elsewhere", *files, "--reason", "CI run 4711", "--json"))
    assert (item["version"], item["ok"], item["signature"]) == ("2", True, "valid")
    registry = MlflowRegistry(mlflow_server, Signatures(Keyring(tmp_path / "signing"), "require"))
    assert load(registry, "elsewhere", "2", digest=None).onnx.features == ("b", "a")
    (tmp_path / "elsewhere.yaml").write_text(
        (tmp_path / "elsewhere.yaml").read_text().replace("[b, a]", "[b]")
    )
    assert "model.onnx: the model takes a, which the reference does not have" in said(
        "register", "elsewhere", *files, "--reason", "again", code=1
    )


def test_what_becomes_of_a_registration_is_on_record_also_where_nobody_lived_to_tell(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    url = f"sqlite:///{tmp_path / 'homeostat.db'}"
    migrate(url)
    rows = np.random.default_rng(5).normal(1, 1, (120, 2))
    table = pd.DataFrame(rows, columns=["b", "a"]).assign(said=(rows[:, 0] > 1).astype(int), was=1)
    table.to_csv(tmp_path / "reference.csv", index=False)
    (tmp_path / "model.onnx").write_bytes(trained("recorded").onnx)
    (tmp_path / "recorded.yaml").write_text(
        "model: recorded\ntask: binary\nreference: {file: reference.csv}\n"
        "columns: {prediction: said, label: was, features: [b, a]}\n"
    )

    def run(*more: str) -> Result:
        files = ("--onnx", str(tmp_path / "model.onnx"), "--monitor", str(tmp_path / "recorded.yaml"))
        words = ("models", "register", "recorded", *files, "--reason", "CI", "--by", "mira", *more)
        return CliRunner().invoke(app, words)

    def told() -> list[tuple[str, str]]:
        engine = connect(url)
        with reading(engine) as connection:
            query = "SELECT action, subject FROM audit_leaves ORDER BY position"
            found = [tuple(row) for row in connection.exec_driver_sql(query)]
        engine.dispose()
        return found

    registry = MlflowRegistry(mlflow_server, Signatures(Keyring(tmp_path / "signing"), "warn"))
    would = run("--dry-run")
    assert "recorded would be registered as its first version, with 2 features" in would.stdout
    assert (told(), registry.versions("recorded")) == ([], [])
    register = MlflowRegistry.register

    def killed_after(self: MlflowRegistry, *given: Any, **named: Any) -> Any:
        register(self, *given, **named)
        raise Killed

    intended, done = ("model.register_intended", "model/recorded"), ("model.registered", "recorded/2")
    with monkeypatch.context() as patched:
        patched.setattr(MlflowRegistry, "register", killed_after)
        with pytest.raises(Killed):
            run()
    assert told() == [intended]
    assert run().exit_code == 0
    assert told() == [intended, intended, done]

    def refuses(*_: Any, **__: Any) -> Any:
        raise RegistryUnreachable("MLflow does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowRegistry, "register", refuses)
        assert run().exit_code == 1
    assert told() == [intended, intended, done, intended, ("model.register_failed", "model/recorded")]
