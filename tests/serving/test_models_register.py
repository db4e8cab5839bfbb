"""A model that was trained elsewhere comes into the registry, described and signed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import structlog.testing
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from deploy.cli import app
from serving.keyring import Keyring
from serving.loading import load
from serving.registry import MlflowRegistry
from serving.signatures import Signatures

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
