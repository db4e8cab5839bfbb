"""Round trips through a real MLflow server."""

import logging
import traceback
from base64 import b64decode
from pathlib import Path

import httpx
import pytest

from remediation.training_values import TrainedModel
from serving.mlflow_server import MlflowServer
from serving.model_errors import DigestMismatch, RegistryRefused, RegistryUnreachable
from serving.registry import MlflowRegistry
from serving.runtime import OnnxModel
from tests.patience import PATIENCE_S

from .conftest import trained
from .peer_server import Asked, peer_server


@pytest.fixture(scope="module")
def first() -> TrainedModel:
    return trained("round-trip")


def test_a_registered_version_comes_back_whole(registry: MlflowRegistry, first: TrainedModel) -> None:
    registered = registry.register(first, tags={"homeostat.reason": "first"})
    found = registry.version("round-trip", registered.version)
    assert found == registered
    assert found.digest == first.digest
    assert found.features == ("b", "a")
    assert found.metrics == first.metrics
    assert registry.onnx("round-trip", registered.version) == first.onnx
    assert registered.version in registry.models()["round-trip"]
    assert registered in registry.versions("round-trip")


def test_all_models_are_told_in_one_search(registry: MlflowRegistry, first: TrainedModel) -> None:
    registry.register(first, tags={"homeostat.reason": "one"})
    asked: list[str] = []

    def answers(request: Asked) -> tuple[int, object]:
        asked.append(request.path)
        tags = [{"key": key, "value": "x"} for key in ("homeostat.digest", "homeostat.card")]
        entries = [
            {"name": name, "version": number, "tags": own}
            for name, number, own in (("b", "10", tags), ("b", "9", tags), ("a", "1", tags), ("c", "1", []))
        ]
        return 200, {"model_versions": entries}

    with peer_server(answers) as server:
        assert MlflowRegistry(server.url).models() == {"a": ["1"], "b": ["9", "10"]}
    assert len(asked) == 1, asked


def test_the_reference_is_under_the_number_of_the_version(
    registry: MlflowRegistry, first: TrainedModel
) -> None:
    registered = registry.register(first, tags={})
    reference = registry.reference("round-trip", registered.version)
    assert (reference.model, reference.version) == ("round-trip", registered.version)
    assert reference.revision == registered.reference_revision != first.reference.revision
    assert reference.features == first.reference.features
    assert reference.performance == first.reference.performance


def test_the_champion_is_read_back(registry: MlflowRegistry, model_name: str) -> None:
    versions = [registry.register(trained(model_name, seed=seed), tags={}).version for seed in (0, 1)]
    assert [card.version for card in registry.versions(model_name)] == versions == ["1", "2"]
    assert registry.champion(model_name) is None
    registry.set_champion(model_name, "2")
    assert registry.champion(model_name) == "2"
    registry.set_champion(model_name, "1")
    assert registry.champion(model_name) == "1"


def test_what_is_not_there_is_none_or_refused(registry: MlflowRegistry, first: TrainedModel) -> None:
    registry.register(first, tags={})
    assert registry.version("round-trip", "999") is None
    assert registry.version("round-trip", "seven") is None
    assert registry.version("nobody", "1") is None
    assert registry.champion("nobody") is None
    assert registry.versions("nobody") == []
    with pytest.raises(RegistryRefused, match="no version '999' of the model 'round-trip'"):
        registry.set_champion("round-trip", "999")


def test_a_changed_artifact_is_refused(
    registry: MlflowRegistry, mlflow_folder: Path, model_name: str
) -> None:
    card = registry.register(trained(model_name), tags={})
    (stored,) = (mlflow_folder / "artifacts").glob(f"*/{card.run_id}/artifacts/model/model.onnx")
    stored.write_bytes(trained(model_name, flipped=True).onnx)
    with pytest.raises(DigestMismatch, match=f"{card.digest} was registered"):
        registry.onnx(model_name, card.version)
    (stored.parent / "reference.json").write_text("{}")
    with pytest.raises(DigestMismatch, match=r"reference\.json"):
        registry.reference(model_name, card.version)


def test_mlflows_page_shows_metrics_parameters_and_candidates(
    registry: MlflowRegistry, mlflow_server: str, model_name: str
) -> None:
    card = registry.register(trained(model_name), tags={"homeostat.reason": "test"})
    api = f"{mlflow_server}/api/2.0/mlflow"
    run = httpx.get(f"{api}/runs/get", params={"run_id": card.run_id}, timeout=PATIENCE_S).json()["run"]
    assert run["info"]["status"] == "FINISHED"
    assert {metric["key"] for metric in run["data"]["metrics"]} == set(card.metrics)
    assert {"key": "algorithm", "value": "LogisticRegression"} in run["data"]["params"]
    version = httpx.get(
        f"{api}/model-versions/get", params={"name": model_name, "version": "1"}, timeout=PATIENCE_S
    ).json()
    tags = {tag["key"]: tag["value"] for tag in version["model_version"]["tags"]}
    assert tags["homeostat.reason"] == "test"
    assert tags["homeostat.digest"] == card.digest


def test_a_server_that_is_away_is_told_apart() -> None:
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9 does not answer"):
        MlflowRegistry("http://127.0.0.1:9").version("m", "1")


def test_the_password_in_the_address_opens_the_registry_and_is_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "of another registry")

    def refuses(asked: Asked) -> tuple[int, object]:
        given = asked.headers.get("authorization", "")
        right = b64decode(given.removeprefix("Basic ")).decode() == "ann:se/cret"
        return (200, {}) if right else (401, {"error_code": "PERMISSION_DENIED", "message": "who are you?"})

    caplog.set_level(logging.DEBUG)
    with peer_server(refuses) as server:
        assert MlflowRegistry(server.url.replace("http://", "http://ann:se%2Fcret@")).models() == {}
    told = ""
    for registry in (
        MlflowRegistry("http://ann:se%2Fcret@127.0.0.1:9"),
        MlflowRegistry(server.url.replace("http://", "http://ann:se%2Fcret@")),
    ):
        with pytest.raises(RegistryUnreachable) as away:
            registry.models()
        told += "".join(traceback.format_exception(away.value)) + caplog.text
    assert "127.0.0.1:9 does not answer" in told
    assert "se%2Fcret" not in told
    assert "se/cret" not in told


def test_the_registered_bytes_run(registry: MlflowRegistry, first: TrainedModel) -> None:
    card = registry.register(first, tags={})
    assert OnnxModel(registry.onnx("round-trip", card.version)).features == ("b", "a")


def test_a_database_is_opened_with_the_password_in_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    class Client:
        def __init__(self, uri: str, registry_uri: str) -> None:
            opened.extend([uri, registry_uri])

    monkeypatch.setattr("mlflow.tracking.MlflowClient", Client)
    address = "postgresql://ann:secret@db/mlflow"
    server = MlflowServer(address)
    assert isinstance(server.call(lambda client: client), Client)
    assert opened == [address, address]
    assert server.uri == "postgresql://db/mlflow"
