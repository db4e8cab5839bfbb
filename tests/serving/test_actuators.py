"""Actuators against servers that behave as the real ones do: tokens, conflicts, failures, lost answers."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediation.errors import StepFailed
from remediation.values import Arrangement, Desired, ModelVersion
from serving.actuators.building import RoutedPublisher, build_actuators
from serving.actuators.mlflow_alias import MlflowAlias
from serving.actuators.values import (
    ActuatorsInvalid,
    KServeReach,
    MlflowAliasReach,
    Reaches,
    WebhookReach,
    read_reaches,
)
from serving.actuators.webhook import Webhook
from serving.model_errors import RegistryUnreachable
from serving.peers import PeerTrouble
from serving.signing import is_signed

from .peer_server import Asked, PeerServer, peer_server

S = 1_000_000
SECRET = "s3cret-of-the-hook"
NOTHING = Arrangement()


def desired(version: str = "2", epoch: int = 5, arrangement: Arrangement = NOTHING) -> Desired:
    return Desired(
        model="m",
        version=version,
        digest=f"sha256:{version}",
        epoch=epoch,
        decided_by="agent",
        reason="test",
        at_us=0,
        arrangement=arrangement,
    )


class Service:
    """A service that takes signed states, once per idempotency key."""

    def __init__(self) -> None:
        self.applied: dict[str, Any] = {}
        self.state: dict[str, Any] | None = None

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        signed = is_signed(
            SECRET,
            asked.body,
            asked.headers.get("x-homeostat-timestamp", ""),
            asked.headers.get("x-homeostat-signature", ""),
            now_s=time.time(),
            window_s=300,
        )
        if not signed:
            return 401, {"message": f"bad signature; the secret is not {SECRET}"}
        if asked.method == "GET":
            return (404, {}) if self.state is None else (200, self.state)
        if asked.headers["idempotency-key"] not in self.applied:
            self.applied[asked.headers["idempotency-key"]] = asked.json
            told = asked.json
            self.state = {
                "epoch": told["epoch"],
                "state": "loaded",
                "version": told["version"],
                "digest": told["digest"],
                "arrangement": told["arrangement_hash"],
            }
        return 202, None


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def hook(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[PeerServer]:
    with peer_server(service) as peer:
        monkeypatch.setenv("HOOK_URL", f"{peer.url}/hooks/token-in-path")
        monkeypatch.setenv("HOOK_STATE", f"{peer.url}/state/{{model}}")
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        yield peer


def webhook(**more: Any) -> Webhook:
    return Webhook(
        WebhookReach(
            name="hook",
            models="*",
            url_env="HOOK_URL",
            state_url_env="HOOK_STATE",
            secret_env="HOOK_SECRET",
            **more,
        )
    )


async def _standing(actuator: Any, wanted: Desired, after_s: float = 1.0) -> tuple[str, str]:
    found = await actuator.observe(wanted, asked_us=0, now_us=round(after_s * S))
    return found.state, found.sentence


async def test_a_webhook_is_told_once_and_asked(hook: PeerServer, service: Service) -> None:
    actuator = webhook()
    assert (await _standing(actuator, desired()))[0] == "waiting"
    await actuator.apply(desired())
    await actuator.apply(desired())
    assert list(service.applied) == ["m:5"]
    assert msgspec.convert(service.applied["m:5"], Desired) == desired()
    assert await _standing(actuator, desired()) == (
        "loaded",
        "hook says that version 2 serves (with the digest)",
    )
    assert hook.asked[-1].path == "/state/m"


async def test_a_webhooks_lost_answer_is_one_effect(hook: PeerServer, service: Service) -> None:
    hook.lose = 1
    with pytest.raises(PeerTrouble):
        await webhook().apply(desired())
    await webhook().apply(desired())
    assert len(service.applied) == 1
    assert (await _standing(webhook(), desired()))[0] == "loaded"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 302])
async def test_what_a_webhook_refuses_is_not_tried_again(hook: PeerServer, status: int) -> None:
    hook.trouble = [status]
    with pytest.raises(StepFailed) as told:
        await webhook().apply(desired())
    assert "token-in-path" not in str(told.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_a_webhook_in_trouble_is_tried_again(hook: PeerServer, status: int) -> None:
    hook.trouble = [status, status]
    with pytest.raises(PeerTrouble, match=f"HTTP {status}"):
        await webhook().apply(desired())
    assert (await _standing(webhook(), desired()))[0] == "waiting"


async def test_no_secret_is_told(hook: PeerServer, monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    monkeypatch.setenv("HOOK_SECRET", f"{SECRET}-but-another")
    with pytest.raises(StepFailed, match="bad signature") as told:
        await webhook().apply(desired())
    assert "token-in-path" not in str(told.value)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    hook.handler = lambda asked: (403, {"message": f"you sent {SECRET}"})
    with pytest.raises(StepFailed) as told:
        await webhook().apply(desired())
    assert SECRET not in str(told.value)
    monkeypatch.delenv("HOOK_SECRET")
    with pytest.raises(StepFailed, match="HOOK_SECRET"):
        await webhook().apply(desired())


async def test_a_slow_webhook_is_given_up(hook: PeerServer) -> None:
    import threading

    hook.gate = threading.Event()
    slow = webhook(timeout_s=0.2)
    with pytest.raises(PeerTrouble, match="ReadTimeout"):
        await slow.apply(desired())
    assert (await _standing(slow, desired()))[0] == "waiting"
    assert (await _standing(slow, desired(), after_s=121.0))[0] == "refused"


@pytest.mark.parametrize(
    ("state", "expected", "sentence"),
    [
        ({"epoch": 4, "state": "loaded"}, "waiting", "does not know epoch 5"),
        ({"epoch": 6, "state": "loaded"}, "refused", "epoch 6 since"),
        ({"epoch": 5, "state": "waiting", "detail": "3 of 4 pods"}, "waiting", "3 of 4 pods"),
        ({"epoch": 5, "state": "refused", "detail": "no such file"}, "refused", "no such file"),
        ({"epoch": 5, "state": "loaded", "digest": "sha256:9"}, "refused", "says digest sha256:9"),
        ({"epoch": 5, "state": "loaded", "arrangement": "cafe"}, "refused", "says arrangement cafe"),
        ({"epoch": 5, "state": "loaded"}, "loaded", "without a digest"),
        ({"epoch": "?"}, "waiting", "what is no state"),
    ],
)
async def test_what_a_webhook_says_is_compared(
    hook: PeerServer, service: Service, state: dict[str, Any], expected: str, sentence: str
) -> None:
    service.state = state
    found = await _standing(webhook(), desired())
    assert found[0] == expected
    assert sentence in found[1]


def test_a_webhook_refuses_what_it_does_not_support(hook: PeerServer) -> None:
    paused = desired(arrangement=Arrangement(paused=True, replicas=2))
    assert webhook(supports=("paused", "replicas")).refusal(paused) is None
    refusal = webhook(supports=("paused",)).refusal(paused)
    assert refusal == "hook supports paused, and this needs replicas"


class Registry:
    """An alias, and a digest per version."""

    def __init__(self) -> None:
        self.alias: str | None = None
        self.down = False

    def set_champion(self, model: str, version: str) -> None:
        self._asked()
        self.alias = version

    def champion(self, model: str) -> str | None:
        self._asked()
        return self.alias

    def version(self, model: str, version: str) -> ModelVersion | None:
        self._asked()
        return ModelVersion(model=model, version=version, digest=f"sha256:{version}")

    def _asked(self) -> None:
        if self.down:
            raise RegistryUnreachable("the registry does not answer")


async def test_an_alias_is_set_and_read_back() -> None:
    registry: Any = Registry()
    actuator = MlflowAlias(registry, MlflowAliasReach(name="alias", models="*"))
    assert await _standing(actuator, desired()) == ("waiting", "the alias champion names None, not 2")
    await actuator.apply(desired())
    assert (await _standing(actuator, desired()))[0] == "loaded"
    changed = msgspec.structs.replace(desired(), digest="sha256:other")
    assert (await _standing(actuator, changed))[0] == "refused"
    registry.down = True
    assert (await _standing(actuator, desired(), after_s=61))[0] == "refused"
    assert actuator.refusal(desired(arrangement=Arrangement(paused=True))) is not None
    assert "not known" in actuator.proves


async def test_each_model_goes_its_own_way(hook: PeerServer, service: Service) -> None:
    told: list[str] = []

    class Own:
        async def publish_desired(self, desired: Desired) -> None:
            told.append(desired.model)

    async def announce(desired: Desired) -> None:
        told.append(f"announced {desired.model}")

    reach = WebhookReach(
        name="hook", models="far-*", url_env="HOOK_URL", state_url_env="HOOK_STATE", secret_env="HOOK_SECRET"
    )
    reaches = Reaches(actuators=(reach,))
    registry: Any = Registry()
    actuators = build_actuators(reaches, registry, announce)
    publisher = RoutedPublisher(Own(), reaches, actuators)
    far = msgspec.structs.replace(desired(), model="far-away")
    await publisher.publish_desired(desired())
    await publisher.publish_desired(far)
    assert told == ["m", "announced far-away"]
    assert list(service.applied) == ["far-away:5"]
    assert (reaches.name_for("far-away"), reaches.name_for("m")) == ("hook", "homeostat")


GOOD = """
actuators:
  - {kind: homeostat, models: "fraud-own"}
  - {kind: kserve, name: k8s, models: "fraud-*", namespace: ml, storage_uri: "s3://m/{model}/{version}"}
  - {kind: sagemaker, name: aws, models: "churn", region: eu-west-1, replicas_of: 1}
"""


def test_the_file_says_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "actuators.yaml"
    wrong = {
        "actuators: [{kind: kserve, name: a, models: '*'}]": "missing required field `namespace`",
        "actuators: [{kind: nothing, name: a, models: '*'}]": "kind",
        GOOD: "`replicas_of`",
        "actuators: [{kind: mlflow_alias, name: homeostat, models: '*'}]": "means our own servers",
        "actuators: [{kind: mlflow_alias, name: a, models: x}, {kind: mlflow_alias, name: a, models: y}]": "two",
        "actuators: [{kind: kserve, name: a, models: x, namespace: n, storage_uri: 's3://m'}]": "needs {version}",
        "actuators: [{kind: kserve, name: a, models: x, namespace: n, storage_uri: '{secret}'}]": "filled in",
        "commands: {environment: ['A=1']}": "commands.environment[0]: Expected the name of an environment variable",
        "actuators: [{kind: mlflow, name: a, models: '*'}]": "actuators[0] ('a').kind is 'mlflow': Invalid value "
        "'mlflow'; did you mean 'mlflow_alias'? (there are: homeostat, mlflow_alias, ",
        "actuators: [{name: a, models: '*'}]": "actuators[0] ('a'): Object missing required field `kind` (there are",
        "actuators: [{kind: mlflow_alias, name: a, models: x, timeout: 1}, 7]": "did you mean 'timeout_s'? (known are: "
        f"kind, name, models, timeout_s, patience_s)\n{file}: actuators[1] is 7: ",
        "actuators: []\nactuators: []": "line 2, actuators stands there twice, first in line 1",
        "": "the file: Expected `object`, got `null`",
    }
    for text, reason in wrong.items():
        file.write_text(text)
        with pytest.raises(ActuatorsInvalid, match=str(file)) as told:
            read_reaches(file)
        assert reason in str(told.value), told.value
    file.write_text(
        GOOD.replace(", replicas_of: 1", "").replace("namespace: ml", "namespace: ml, ca_file: /ca.pem")
    )
    reaches = read_reaches(file)
    assert [each.ca_file for each in reaches.actuators if isinstance(each, KServeReach)] == [Path("/ca.pem")]
    assert [reaches.name_for(model) for model in ("fraud-own", "fraud-x", "churn", "other")] == [
        "homeostat",
        "k8s",
        "aws",
        "homeostat",
    ]
    assert reaches.commands is None


def test_the_file_in_the_docs_can_be_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "actuators.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "actuators.yaml"
    file.write_text(example)
    reaches = read_reaches(file)
    assert {each.name for each in reaches.actuators} == {"homeostat", "cluster", "aws", "batch", "edge"}
    assert reaches.commands is not None
    for kind in ("kserve", "sagemaker", "mlflow_alias", "webhook", "homeostat"):
        assert f"| `{kind}`" in text
