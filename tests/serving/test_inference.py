"""The inference server over real HTTP: answers, problems, swaps under load."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from remediation.ports import Registry
from remediation.training_values import TrainedModel
from remediation.values import ModelVersion, Signed
from serving.keyring import Keyring
from serving.model_errors import DigestMismatch, RegistryUnreachable, SignatureRefused
from serving.registry import MlflowRegistry
from serving.signatures import Signatures
from tests.patience import PATIENCE_S

from .conftest import MemoryBus, trained
from .inference_world import Calls, MemoryRegistry, acknowledged, body, decide, served, until, until_version


async def test_a_batch_is_scored_and_logged(right: TrainedModel, bus: MemoryBus) -> None:
    calls = Calls()
    async with served(MemoryRegistry(right), bus, calls) as client:
        await until_version(client, "1", 0)
        before_s = time.time()
        asked = body({"a": 0, "b": 3}, {"b": -2.5, "a": None}, ids=True)
        answer = (await client.post("/v1/models/m/predict", json=asked)).raise_for_status().json()
    assert (answer["model"], answer["version"], answer["digest"]) == ("m", "1", right.digest)
    assert [row["id"] for row in answer["predictions"]] == ["p0", "p1"]
    assert [row["prediction"] for row in answer["predictions"]] == [1, 0]
    assert answer["predictions"][0]["score"] > 0.9 > 0.1 > answer["predictions"][1]["score"]
    (call,) = calls.calls
    assert (call["model"], call["version"], call["id"]) == ("m", "1", ["p0", "p1"])
    assert call["feature_names"] == ("b", "a")
    assert call["features"][0].tolist() == [3.0, 0.0]
    assert call["prediction"].tolist() == [1, 0]
    assert before_s <= call["time"] <= time.time()
    assert len(call["latency_ms"]) == 2
    assert call["latency_ms"][0] > 0


async def test_ids_are_made_where_none_is_given(right: TrainedModel, bus: MemoryBus) -> None:
    async with served(MemoryRegistry(right), bus) as client:
        await until_version(client, "1", 0)
        rows = body({"a": 0, "b": 3}, {"a": 0, "b": 3})
        answer = (await client.post("/v1/models/m/predict", json=rows)).json()
    assert len({row["id"] for row in answer["predictions"]}) == 2


PROBLEMS: list[tuple[str, Any, int, str]] = [
    ("nobody", body({"a": 1, "b": 2}), 404, r"model 'nobody' is not served here; these are: ['m']"),
    ("m", body({"a": 1}), 422, "instances[0].features: ['b'] are absent"),
    ("m", body({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}), 422, "instances[1].features: ['c'] are unknown"),
    ("m", body({"a": 1, "b": "?"}), 422, "instances[0].features['b']: '?' is neither a number nor null"),
    ("m", body({"a": True, "b": 2}), 422, "instances[0].features['a']: True is neither a number nor null"),
    ("m", body({"a": 1e300, "b": 2}), 422, "instances[0].features['a']: 1e+300 is beyond single precision"),
    ("m", {"instances": []}, 422, "instances: is empty"),
    ("m", {"rows": []}, 422, "rows"),
    ("m", {"instances": [{"id": "", "features": {}}]}, 422, "$.instances[0].id"),
    ("m", [1], 422, "got `array`"),
    ("m", body(*[{"a": 1, "b": 2}] * 51), 413, "51 in one request; at most 50"),
]


async def test_problems_name_field_and_value(right: TrainedModel, bus: MemoryBus) -> None:
    async with served(MemoryRegistry(right), bus) as client:
        await until_version(client, "1", 0)
        for model, asked, status, detail in PROBLEMS:
            response = await client.post(f"/v1/models/{model}/predict", json=asked)
            problem = response.json()
            assert (response.status_code, problem["status"]) == (status, status), problem
            assert response.headers["content-type"] == "application/problem+json"
            assert detail in problem["detail"]
            assert problem["instance"] == f"/v1/models/{model}/predict"
        broken = await client.post("/v1/models/m/predict", content=b'{"instances": [')
        assert (broken.status_code, broken.json()["title"]) == (400, "The body is not JSON")
        unknown = await client.get("/v2/models")
        assert (unknown.status_code, unknown.json()["detail"]) == (404, "GET /v2/models: Not Found")
        assert unknown.headers["content-type"] == "application/problem+json"


async def test_a_client_that_goes_away_costs_nothing(right: TrainedModel, bus: MemoryBus) -> None:
    calls = Calls()
    async with served(MemoryRegistry(right), bus, calls) as client:
        await until_version(client, "1", 0)
        assert client.base_url.port is not None
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"POST /v1/models/m/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        row = body({"a": 0, "b": 3})
        assert (await client.post("/v1/models/m/predict", json=row)).status_code == 200
    assert len(calls.calls) == 1


async def test_health_says_what_is_not_loaded(bus: MemoryBus) -> None:
    async with served(MemoryRegistry(), bus) as client:
        health = (await client.get("/healthz")).raise_for_status().json()
        response = await client.post("/v1/models/m/predict", json=body({"a": 1, "b": 2}))
    assert health == {"status": "ok", "server": "s1", "loaded": 0, "waiting": ["m"]}
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


async def test_openapi_shows_the_shapes(bus: MemoryBus) -> None:
    async with served(MemoryRegistry(), bus) as client:
        document = (await client.get("/openapi.json")).raise_for_status().json()
    assert {"PredictRequest", "PredictResponse", "Instance", "Prediction"} <= set(
        document["components"]["schemas"]
    )


async def test_the_decided_version_serves_from_the_start(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    await decide(bus, "1", right.digest, 1)
    await decide(bus, "2", wrong.digest, 2)
    async with served(MemoryRegistry(right, wrong), bus) as client:
        await until_version(client, "2", 2)
    (acknowledgement,) = acknowledged(bus)
    assert (acknowledgement.version, acknowledgement.loaded, acknowledgement.epoch) == ("2", True, 2)
    assert (acknowledgement.server, acknowledgement.digest) == ("s1", wrong.digest)


async def test_an_older_epoch_is_refused(right: TrainedModel, wrong: TrainedModel, bus: MemoryBus) -> None:
    async with served(MemoryRegistry(right, wrong), bus) as client:
        await decide(bus, "2", wrong.digest, 5)
        await until_version(client, "2", 5)
        await decide(bus, "1", right.digest, 4)
        await until(lambda: len(acknowledged(bus)) == 2)
        await until_version(client, "2", 5)
        await decide(bus, "1", right.digest, 5)
        await until(lambda: len(acknowledged(bus)) == 3)
        await until_version(client, "2", 5)
        await decide(bus, "2", wrong.digest, 5)
        await until(lambda: len(acknowledged(bus)) == 4)
    assert [each.loaded for each in acknowledged(bus)] == [True, False, False, True]
    assert "epoch 4 (version 1) is refused" in acknowledged(bus)[1].detail


async def test_another_digest_is_not_loaded(right: TrainedModel, wrong: TrainedModel, bus: MemoryBus) -> None:
    async with served(MemoryRegistry(right, wrong), bus) as client:
        await until_version(client, "1", 0)
        await decide(bus, "2", right.digest, 1)
        await until(lambda: len(acknowledged(bus)) == 1)
        await until_version(client, "1", 0)
        await decide(bus, "9", right.digest, 2)
        await until(lambda: len(acknowledged(bus)) == 2)
        await decide(bus, "2", wrong.digest, 3)
        await until_version(client, "2", 3)
        await until(lambda: len(acknowledged(bus)) == 3)
    assert [each.loaded for each in acknowledged(bus)] == [False, False, True]
    assert f"{right.digest} was decided to serve" in acknowledged(bus)[0].detail
    assert "no version '9'" in acknowledged(bus)[1].detail


async def test_an_unreachable_registry_is_ridden_out(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    registry = MemoryRegistry(right, wrong)
    async with served(registry, bus) as client:
        await until_version(client, "1", 0)
        registry.trouble = RegistryUnreachable("the registry does not answer")
        await decide(bus, "2", wrong.digest, 1)
        await until(lambda: len(acknowledged(bus)) == 1)
        answer = await client.post("/v1/models/m/predict", json=body({"a": 0, "b": 3}))
        assert answer.raise_for_status().json()["version"] == "1"
        registry.trouble = None
        await until_version(client, "2", 1)
        await until(lambda: len(acknowledged(bus)) == 2)
    first, second = acknowledged(bus)
    assert (first.loaded, first.detail) == (False, "the registry does not answer")
    assert second.loaded


async def test_going_back_waits_for_no_registry(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    registry = MemoryRegistry(right, wrong)
    async with served(registry, bus) as client:
        await decide(bus, "1", right.digest, 1)
        await until_version(client, "1", 1)
        await decide(bus, "2", wrong.digest, 2)
        await until_version(client, "2", 2)
        registry.trouble = RegistryUnreachable("the registry does not answer")
        for epoch, (version, digest) in enumerate([("1", right.digest), ("2", wrong.digest)], 3):
            await decide(bus, version, digest, epoch)
            await until_version(client, version, epoch)
        await decide(bus, "1", wrong.digest, 5)
        await until(lambda: len(acknowledged(bus)) == 5)
    assert [each.loaded for each in acknowledged(bus)] == [True, True, True, True, False]


async def test_an_undo_brings_back_no_version_whose_key_was_revoked(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus, tmp_path: Path
) -> None:
    """The bytes are in memory; the registry, which would refuse them, has the last word."""
    ring = Keyring(tmp_path)
    signatures, key = Signatures(ring), ring.signer().key

    class Signing(MemoryRegistry):
        def version(self, model: str, version: str) -> ModelVersion | None:
            card = super().version(model, version)
            signed = Signed(state="valid", key=key.id, signed_us=key.since_us)
            return card and msgspec.structs.replace(card, signature=signatures.still(signed))

        def onnx(self, model: str, version: str) -> bytes:
            card = self.version(model, version)
            if card is not None and card.signature.refused:
                raise SignatureRefused(card.signature.why)
            return super().onnx(model, version)

    async with served(Signing(right, wrong), bus, signatures=signatures) as client:
        await decide(bus, "1", right.digest, 1)
        await until_version(client, "1", 1)
        await decide(bus, "2", wrong.digest, 2)
        await until_version(client, "2", 2)
        await decide(bus, "1", right.digest, 3)
        await until_version(client, "1", 3)
        ring.revoke(key.id, "laptop stolen")
        await decide(bus, "1", right.digest, 4)
        await until_version(client, "1", 4)
        await decide(bus, "2", wrong.digest, 5)
        await until(lambda: len(acknowledged(bus)) == 5)
        await until_version(client, "1", 4)
    assert [each.loaded for each in acknowledged(bus)] == [True, True, True, True, False]
    assert "was revoked (laptop stolen)" in acknowledged(bus)[-1].detail


async def test_a_start_without_the_registry_is_ridden_out(right: TrainedModel, bus: MemoryBus) -> None:
    registry = MemoryRegistry(right)
    registry.trouble = RegistryUnreachable("the registry does not answer")
    async with served(registry, bus) as client:
        assert (await client.get("/healthz")).json()["waiting"] == ["m"]
        registry.trouble = None
        await until_version(client, "1", 0)
    assert acknowledged(bus) == []


async def test_swaps_under_load_fail_no_request(registry: Registry, model_name: str) -> None:
    """Six clients ask without a pause while four swaps happen between two real versions of a real registry."""
    assert isinstance(registry, MlflowRegistry)
    cards = [registry.register(trained(model_name, flipped=flip), tags={}) for flip in (False, True)]
    registry.set_champion(model_name, "1")
    bus, calls, stop = MemoryBus(), Calls(), asyncio.Event()
    seen: set[tuple[str, int]] = set()
    failures: list[str] = []
    count = 0
    asked = body(*[{"a": 0, "b": 3}] * 10)

    async def ask(url: httpx.URL) -> None:
        nonlocal count
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as own:
            while not stop.is_set():
                response = await own.post(f"/v1/models/{model_name}/predict", json=asked)
                count += 1
                if response.status_code != 200:
                    failures.append(response.text)
                    return
                answer = response.json()
                seen.add((answer["version"], answer["predictions"][0]["prediction"]))

    async with served(registry, bus, calls, model=model_name) as client, asyncio.TaskGroup() as group:
        await until_version(client, "1", 0)
        for _ in range(6):
            group.create_task(ask(client.base_url))
        for epoch in range(1, 5):
            card = cards[epoch % 2]
            await decide(bus, card.version, card.digest, epoch, model=model_name)
            await until_version(client, card.version, epoch)
        stop.set()
    assert failures == []
    assert count > 50
    assert sum(len(call["id"]) for call in calls.calls) == 10 * count
    # Version 1 says 1, version 2 says 0: an answer always names the version that gave it.
    assert seen == {("1", 1), ("2", 0)}
    assert [each.loaded for each in acknowledged(bus)] == [True] * 4


async def test_a_changed_artifact_is_never_served(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    class Changed(MemoryRegistry):
        def onnx(self, model: str, version: str) -> bytes:
            if version == "2":
                raise DigestMismatch("model.onnx has another digest")
            return super().onnx(model, version)

    async with served(Changed(right, wrong), bus) as client:
        await until_version(client, "1", 0)
        await decide(bus, "2", wrong.digest, 1)
        await until(lambda: len(acknowledged(bus)) == 1)
        await until_version(client, "1", 0)
    assert (acknowledged(bus)[0].loaded, acknowledged(bus)[0].detail) == (
        False,
        "model.onnx has another digest",
    )
