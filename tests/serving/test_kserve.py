"""The actuator `kserve` against an API server that merges patches, counts resource versions, and rolls out."""

from collections.abc import Iterator
from typing import Any

import pytest

from remediation.errors import StepFailed
from remediation.values import Arrangement, Desired
from serving.actuators.kserve import KServe
from serving.actuators.values import KServeReach
from serving.peers import PeerTrouble

from .peer_server import Asked, PeerServer, peer_server

S = 1_000_000
TOKEN = "token-of-the-pod"
PATH = "/apis/serving.kserve.io/v1beta1/namespaces/ml/inferenceservices/m"


def merged(content: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    found = dict(content) if isinstance(content, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


class Cluster:
    """One InferenceService. Its controller works when it is told to."""

    def __init__(self) -> None:
        self.revision = 1
        self.rolled_out = 1
        self.content: dict[str, Any] | None = {
            "metadata": {"name": "m", "resourceVersion": "7", "generation": 1, "annotations": {"mine": "x"}},
            "spec": {
                "predictor": {
                    "maxReplicas": 2,
                    "model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://b/m/1"},
                }
            },
        }
        self.control()

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"message": f"{asked.headers.get('authorization')} is not valid"}
        if self.content is None or asked.path != PATH:
            return 404, {"message": "not found"}
        if asked.method == "GET":
            return 200, self.content
        assert asked.headers["content-type"] == "application/merge-patch+json"
        metadata = self.content["metadata"]
        if asked.json["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        changed = merged(self.content, asked.json)
        if changed["spec"] != self.content["spec"]:
            changed["metadata"]["generation"] += 1
        self.touch(changed)
        return 200, changed

    def touch(self, changed: dict[str, Any]) -> None:
        changed["metadata"]["resourceVersion"] = str(int(changed["metadata"]["resourceVersion"]) + 1)
        self.content = changed

    def control(self, *, ready: bool = True, failed: str | None = None) -> None:
        """What the controller does with the newest specification."""
        assert self.content is not None
        generation = self.content["metadata"]["generation"]
        percent = self.content["spec"]["predictor"].get("canaryTrafficPercent")
        self.revision = generation
        newest = generation if ready else self.rolled_out
        traffic = [{"revisionName": f"m-{newest}", "percent": 100 if percent is None else percent}]
        if percent is not None and ready:
            traffic.append({"revisionName": f"m-{self.rolled_out}", "percent": 100 - percent})
        if percent is None and ready:
            self.rolled_out = generation
        self.content["status"] = {
            "observedGeneration": generation,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", "reason": "Rolling"}],
            "components": {
                "predictor": {
                    "latestCreatedRevision": f"m-{generation}",
                    "latestReadyRevision": f"m-{newest}",
                    "traffic": traffic,
                }
            },
            "modelStatus": {"transitionStatus": "UpToDate"}
            if failed is None
            else {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": {"message": failed}},
        }


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def api(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[PeerServer]:
    monkeypatch.setenv("K8S_TOKEN", TOKEN)
    with peer_server(cluster) as peer:
        yield peer


@pytest.fixture
def kserve(api: PeerServer) -> KServe:
    return _kserve(api)


def _kserve(api: PeerServer, **more: Any) -> KServe:
    told = {"url": api.url, "token_env": "K8S_TOKEN", **more}
    return KServe(
        KServeReach(name="k8s", models="*", namespace="ml", storage_uri="s3://b/{model}/{version}", **told)
    )


def desired(version: str, epoch: int, **arrangement: Any) -> Desired:
    return Desired(
        model="m",
        version=version,
        digest=f"sha256:{version}",
        epoch=epoch,
        decided_by="agent",
        reason="test",
        at_us=0,
        arrangement=Arrangement(**arrangement),
    )


async def _state(kserve: KServe, wanted: Desired, after_s: float = 1.0) -> tuple[str, str]:
    found = await kserve.observe(wanted, asked_us=0, now_us=round(after_s * S))
    return found.state, found.sentence


def _patches(api: PeerServer) -> int:
    return sum(asked.method == "PATCH" for asked in api.asked)


async def test_a_version_is_rolled_out_once_and_read_back(
    kserve: KServe, api: PeerServer, cluster: Cluster
) -> None:
    wanted = desired("2", 5)
    assert kserve.refusal(wanted) is None
    await kserve.apply(wanted)
    await kserve.apply(wanted)
    assert _patches(api) == 1
    assert cluster.content is not None
    assert cluster.content["spec"]["predictor"]["model"] == {
        "modelFormat": {"name": "onnx"},
        "storageUri": "s3://b/m/2",
    }
    assert cluster.content["metadata"]["annotations"]["mine"] == "x"
    assert cluster.content["metadata"]["annotations"]["homeostat.dev/digest"] == "sha256:2"
    assert (await _state(kserve, wanted))[1].endswith("the controller has not seen the change yet")
    cluster.control(ready=False)
    assert (await _state(kserve, wanted))[1].endswith("not ready (Rolling)")
    cluster.control()
    assert await _state(kserve, wanted) == (
        "loaded",
        "ml/m: revision m-2 is ready with 100 % of the traffic",
    )


async def test_a_canary_is_shifted_and_taken_back(kserve: KServe, cluster: Cluster) -> None:
    digests = {"2": "sha256:2"}
    for epoch, share in enumerate((0.1, 0.5), start=5):
        wanted = desired("1", epoch, shares={"2": share}, digests=digests)
        await kserve.apply(wanted)
        cluster.control()
        assert await _state(kserve, wanted) == (
            "loaded",
            f"ml/m: revision m-{cluster.revision} is ready with {round(share * 100)} % of the traffic",
        )
    back = desired("1", 7)
    await kserve.apply(back)
    cluster.control()
    assert (await _state(kserve, back))[0] == "loaded"
    assert cluster.content is not None
    assert cluster.content["spec"]["predictor"]["model"]["storageUri"] == "s3://b/m/1"
    assert "canaryTrafficPercent" not in cluster.content["spec"]["predictor"]
    with pytest.raises(StepFailed, match="has rolled out version 1, not 3"):
        await kserve.apply(desired("3", 8, shares={"2": 0.1}, digests=digests))


async def test_a_lost_answer_is_one_change(kserve: KServe, api: PeerServer, cluster: Cluster) -> None:
    original = api.handler

    def loses_patches(asked: Asked) -> tuple[int, Any]:
        api.lose = int(asked.method == "PATCH" and not api.lose and _patches(api) == 1)
        return original(asked)

    api.handler = loses_patches
    with pytest.raises(PeerTrouble):
        await kserve.apply(desired("2", 5))
    await kserve.apply(desired("2", 5))
    assert _patches(api) == 1
    cluster.control()
    assert (await _state(kserve, desired("2", 5)))[0] == "loaded"


async def test_nobody_is_overwritten(kserve: KServe, api: PeerServer, cluster: Cluster) -> None:
    original = api.handler

    def changed_in_between(asked: Asked) -> tuple[int, Any]:
        answer = original(asked)
        if asked.method == "GET" and _patches(api) == 0 and cluster.content is not None:
            cluster.touch({**cluster.content, "metadata": {**cluster.content["metadata"]}})
        return answer

    api.handler = changed_in_between
    with pytest.raises(PeerTrouble, match="changed by somebody else"):
        await kserve.apply(desired("2", 5))
    api.handler = original
    await kserve.apply(desired("2", 5))
    await kserve.apply(desired("3", 6))
    with pytest.raises(StepFailed, match="epoch 6 is in force"):
        await kserve.apply(desired("2", 5))
    with pytest.raises(StepFailed, match="epoch 6 is another decision"):
        await kserve.apply(desired("3", 6, replicas=2))
    assert (await _state(kserve, desired("2", 5)))[0] == "refused"
    assert cluster.content is not None
    cluster.content["spec"]["predictor"]["model"]["storageUri"] = "s3://b/by/hand"
    assert (await _state(kserve, desired("3", 6)))[1] == (
        "ml/m was changed by somebody else: it names s3://b/by/hand"
    )


async def test_what_fails_is_told_and_what_hangs_is_given_up(
    kserve: KServe, api: PeerServer, cluster: Cluster
) -> None:
    wanted = desired("2", 5, replicas=3)
    await kserve.apply(wanted)
    assert cluster.content is not None
    assert cluster.content["spec"]["predictor"]["minReplicas"] == 3
    assert cluster.content["spec"]["predictor"]["maxReplicas"] == 3
    cluster.control(ready=False, failed="no such bucket")
    assert await _state(kserve, wanted) == ("refused", "ml/m: BlockedByFailedLoad: no such bucket")
    cluster.control(ready=False)
    assert (await _state(kserve, wanted, after_s=599))[0] == "waiting"
    assert (await _state(kserve, wanted, after_s=601))[0] == "refused"
    api.trouble = [500]
    assert (await _state(kserve, wanted))[0] == "waiting"
    cluster.content = None
    assert (await _state(kserve, wanted))[0] == "refused"
    with pytest.raises(StepFailed, match="there is no InferenceService ml/m"):
        await kserve.apply(wanted)


async def test_the_token_is_checked_and_never_told(
    kserve: KServe, api: PeerServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("K8S_TOKEN", "another-token")
    with pytest.raises(StepFailed, match="HTTP 401") as told:
        await kserve.apply(desired("2", 5))
    assert "another-token" not in str(told.value)
    file = tmp_path / "token"
    with pytest.raises(StepFailed, match="cannot be read"):
        await _kserve(api, token_env=None, token_file=file).apply(desired("2", 5))
    file.write_text(TOKEN + "\n")
    await _kserve(api, token_env=None, token_file=file).apply(desired("2", 5))
    assert _patches(api) == 1


def test_what_kserve_cannot_do_is_refused(kserve: KServe, api: PeerServer) -> None:
    digests = {"2": "a", "3": "b"}
    refused = {
        "KServe knows no shadows, paused": {"shadows": ("2",), "paused": True},
        "not with 2": {"shares": {"2": 0.1, "3": 0.1}, "digests": digests},
        "whole per cents": {"shares": {"2": 0.125}, "digests": digests},
    }
    for reason, arrangement in refused.items():
        assert reason in (kserve.refusal(desired("1", 5, **arrangement)) or "")
    raw = _kserve(api, mode="raw")
    assert (
        raw.refusal(desired("1", 5, shares={"2": 0.1})) == "KServe shifts traffic only in its serverless mode"
    )
    assert raw.refusal(desired("1", 5, replicas=2)) is None
