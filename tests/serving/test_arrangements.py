"""The inference server answers in the way that was decided: shares, shadows, a constant, imputation, pause, detail."""

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from remediation.training_values import TrainedModel
from remediation.values import Arrangement
from serving.arranged import Served, Voice
from serving.loading import Loaded
from tests.sdk.intake_parts import Quiet, rows

from .conftest import MemoryBus
from .inference_world import (
    Calls,
    MemoryRegistry,
    acknowledged,
    body,
    decide,
    served,
    until,
    until_version,
)

ROW = {"a": 0, "b": 3}
"""Version 1 (`right`) says 1 about it, version 2 (`wrong`) says 0."""


def _asked(count: int, prefix: str = "p") -> dict[str, Any]:
    return {"instances": [{"id": f"{prefix}{i}", "features": ROW} for i in range(count)]}


async def _predict(client: httpx.AsyncClient, asked: dict[str, Any]) -> dict[str, Any]:
    return (await client.post("/v1/models/m/predict", json=asked)).raise_for_status().json()


def _versions(answer: dict[str, Any]) -> dict[str, str]:
    return {row["id"]: row.get("version", answer["version"]) for row in answer["predictions"]}


async def test_shares_are_a_property_of_the_id(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    calls = Calls()
    digests = {"2": wrong.digest}
    async with served(MemoryRegistry(right, wrong), bus, calls) as client:
        await decide(bus, "1", right.digest, 1, shares={"2": 0.2}, digests=digests)
        await until_version(client, "1", 1)
        first = await _predict(client, _asked(50))
        alone = [_versions(await _predict(client, {"instances": [one]})) for one in _asked(50)["instances"]]
        await decide(bus, "1", right.digest, 2, shares={"2": 0.6}, digests=digests)
        await until_version(client, "1", 2)
        more = _versions(await _predict(client, _asked(50)))
    met = _versions(first)
    assert 2 <= list(met.values()).count("2") <= 20
    assert {key: value for one in alone for key, value in one.items()} == met
    assert {id for id, version in met.items() if version == "2"} < {
        id for id, version in more.items() if version == "2"
    }
    for row in first["predictions"]:
        assert row["prediction"] == (1 if met[row["id"]] == "1" else 0)
    logged = {id: call["version"] for call in calls.calls[:2] for id in call["id"]}
    assert logged == met
    assert [each.arrangement for each in acknowledged(bus)] == [
        Arrangement(shares={"2": share}, digests=digests).hash for share in (0.2, 0.6)
    ]


async def test_an_arrangement_that_cannot_be_is_refused(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"shares": {"2": 0.5}}, "version 2 is named without a digest"),
        ({"shares": {"2": 0.5}, "digests": {"2": right.digest}}, f"but {right.digest} was decided to serve"),
        ({"shadows": ("7",), "digests": {"7": "sha256:0"}}, "the registry has no version '7'"),
        ({"shares": {"1": 0.5}, "digests": {"1": right.digest}}, "version 1 is the decided one"),
        ({"shares": {"2": 1.5}, "digests": {"2": wrong.digest}}, "at most 1"),
        ({"constant": 2.0}, "constant: 2.0 is no score"),
        ({"replicas": 3}, "replicas: 3 cannot be brought about by an inference server"),
    ]
    async with served(MemoryRegistry(right, wrong), bus) as client:
        await until_version(client, "1", 0)
        for epoch, (arrangement, why) in enumerate(refused, start=1):
            await decide(bus, "1", right.digest, epoch, **arrangement)
            await until(lambda epoch=epoch: len(acknowledged(bus)) == epoch)
            last = acknowledged(bus)[-1]
            assert not last.loaded
            assert why in last.detail
        await until_version(client, "1", 0)
        assert (await _predict(client, _asked(1)))["predictions"][0]["prediction"] == 1


async def test_a_shadow_scores_and_does_not_answer(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    calls = Calls()
    async with served(MemoryRegistry(right, wrong), bus, calls) as client:
        await decide(bus, "1", right.digest, 1, shadows=("2",), digests={"2": wrong.digest})
        await until_version(client, "1", 1)
        answer = await _predict(client, _asked(3))
        await until(lambda: len(calls.calls) == 2)
        page = (await client.get("/metrics")).text
    assert set(_versions(answer).values()) == {"1"}
    own, shadow = calls.calls
    assert (own["version"], own["id"]) == ("1", ["p0", "p1", "p2"])
    # The same event id: what turns out to be true of a request is true of the shadow's copy, too.
    assert (shadow["version"], shadow["id"]) == ("2", own["id"])
    assert shadow["prediction"].tolist() == [0, 0, 0]
    assert shadow["time"] == own["time"]
    assert 'shadow_instances_total{model="m",outcome="scored",version="2"} 3.0' in page


async def test_a_failing_shadow_is_nobodys_trouble(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls()

    def logging(model: str, **event: Any) -> None:
        if event["version"] == "2":
            raise RuntimeError("the shadow's log is full")
        calls(model, **event)

    async with served(MemoryRegistry(right, wrong), bus, logging) as client:
        await decide(bus, "1", right.digest, 1, shadows=("2",), digests={"2": wrong.digest})
        await until_version(client, "1", 1)
        for _ in range(3):
            await _predict(client, _asked(1))
        found = ""
        while 'outcome="failed",version="2"} 3.0' not in found:
            found = (await client.get("/metrics")).text
    assert len(calls.calls) == 3


async def test_a_constant_answers_and_is_nobodys_prediction(right: TrainedModel, bus: MemoryBus) -> None:
    calls = Calls()
    async with served(MemoryRegistry(right), bus, calls) as client:
        await decide(bus, "1", right.digest, 1, constant=0.25)
        await until_version(client, "1", 1)
        answer = await _predict(client, _asked(2))
    assert answer["constant"] is True
    assert [(row["prediction"], row["score"]) for row in answer["predictions"]] == [(0, 0.25)] * 2
    (call,) = calls.calls
    assert (call["status"], call["prediction"], call["score"]) == ("constant", None, None)
    assert call["features"].tolist() == [[3.0, 0.0]] * 2


async def test_what_is_answered_is_what_the_sdk_sends(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    quiet = Quiet()
    log: Any = quiet.client.log
    digests = {"2": wrong.digest}
    async with served(MemoryRegistry(right, wrong), bus, log) as client:
        await decide(bus, "1", right.digest, 1, shares={"2": 0.5}, digests=digests)
        await until_version(client, "1", 1)
        met = _versions(await _predict(client, _asked(20)))
        await decide(bus, "1", right.digest, 2, constant=0.25)
        await until_version(client, "1", 2)
        await _predict(client, _asked(2, "c"))
    sent = {row["id"]: (parcel.version, row) for parcel in quiet.parcels() for row in rows(parcel)}
    assert {id: sent[id][0] for id in met} == met
    assert all(row["status"] is None for id, (_, row) in sent.items() if id in met)
    version, row = sent["c0"]
    assert (version, row["status"], row["prediction"], row["f.b"]) == ("1", "constant", None, 3.0)
    assert len(sent) == 22


async def test_an_imputed_feature_is_replaced_and_logged_as_sent(right: TrainedModel, bus: MemoryBus) -> None:
    calls = Calls()
    async with served(MemoryRegistry(right), bus, calls) as client:
        await decide(bus, "1", right.digest, 1, imputed={"b": -2.5})
        await until_version(client, "1", 1)
        asked = {"instances": [{"id": "x", "features": ROW}, {"id": "y", "features": {"a": 0}}]}
        answer = await _predict(client, asked)
        await decide(bus, "1", right.digest, 2, imputed={"b": None, "not of this version": 1.0})
        await until_version(client, "1", 2)
        missing = await _predict(client, body(ROW))
        plain = await client.post("/v1/models/m/predict", json=body({"b": 1}))
    assert [row["prediction"] for row in answer["predictions"]] == [0, 0]
    assert calls.calls[0]["features"][0].tolist() == [3.0, 0.0]
    assert np.isnan(calls.calls[0]["features"][1][0])
    assert missing["predictions"][0]["score"] < 0.99
    assert plain.status_code == 422


async def test_a_paused_model_refuses_with_its_reason(right: TrainedModel, bus: MemoryBus) -> None:
    calls = Calls()
    async with served(MemoryRegistry(right), bus, calls) as client:
        await decide(bus, "1", right.digest, 1, paused=True)
        await until_version(client, "1", 1)
        response = await client.post("/v1/models/m/predict", json=_asked(2))
        shown = (await client.get("/v1/models")).json()["models"][0]
        page = (await client.get("/metrics")).text
        await decide(bus, "1", right.digest, 2)
        await until_version(client, "1", 2)
        await _predict(client, _asked(1))
    assert (response.status_code, response.headers["retry-after"]) == (503, "30")
    assert response.headers["content-type"] == "application/problem+json"
    assert "paused (epoch 1): test" in response.json()["detail"]
    assert shown["arrangement"] == {"paused": True}
    assert shown["arrangement_hash"] == Arrangement(paused=True).hash
    assert 'homeostat_serving_share{model="m",version="1"} 0.0' in page
    assert 'instances_total{model="m",outcome="paused",version="1"} 2.0' in page
    assert len(calls.calls) == 1


async def test_detail_names_no_value(right: TrainedModel, bus: MemoryBus) -> None:
    with structlog.testing.capture_logs() as told:
        async with served(MemoryRegistry(right), bus) as client:
            await decide(bus, "1", right.digest, 1, detailed=True)
            await until_version(client, "1", 1)
            await _predict(client, body({"a": 4711.25, "b": None}, ids=True))
    (line,) = [one for one in told if one["event"] == "A request was answered."]
    assert (line["ids"], line["versions"], line["features"], line["missing"]) == (["p0"], {"1": 1}, 2, 1)
    assert "4711" not in str(line)


async def test_no_request_fails_while_arrangements_change(
    right: TrainedModel, wrong: TrainedModel, bus: MemoryBus
) -> None:
    digests = {"2": wrong.digest}
    changes: list[dict[str, Any]] = [
        {"shares": {"2": 0.3}, "digests": digests},
        {"shadows": ("2",), "digests": digests},
        {"constant": 0.75},
        {"imputed": {"b": 3.0}},
        {"shares": {"2": 1.0}, "digests": digests, "shadows": (), "detailed": True},
        {},
    ]
    statuses: list[int] = []
    stop = asyncio.Event()

    async def ask(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            statuses.append((await client.post("/v1/models/m/predict", json=_asked(5))).status_code)

    async with served(MemoryRegistry(right, wrong), bus) as client, asyncio.TaskGroup() as group:
        await until_version(client, "1", 0)
        for _ in range(4):
            group.create_task(ask(client))
        for epoch, arrangement in enumerate(changes, start=1):
            await decide(bus, "1", right.digest, epoch, **arrangement)
            await until_version(client, "1", epoch)
        stop.set()
    assert set(statuses) == {200}
    assert [each.loaded for each in acknowledged(bus)] == [True] * len(changes)


async def test_another_arrangement_in_one_epoch_loses(right: TrainedModel, bus: MemoryBus) -> None:
    async with served(MemoryRegistry(right), bus) as client:
        await decide(bus, "1", right.digest, 1, constant=0.5)
        await until_version(client, "1", 1)
        await decide(bus, "1", right.digest, 1)
        await until(lambda: len(acknowledged(bus)) == 2)
    assert [each.loaded for each in acknowledged(bus)] == [True, False]


def _split(right: TrainedModel, shares: dict[str, float], ids: list[str]) -> dict[str, str]:
    voices = {name: Voice(Loaded("m", name, "", None)) for name in ("1", *shares)}  # type: ignore[arg-type]
    found = Served(decided=voices["1"], shares=tuple((voices[name], share) for name, share in shares.items()))
    return {
        ids[row]: voice.loaded.version
        for voice, rows in found.split(ids)
        for row in (range(len(ids)) if rows is None else rows.tolist())
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=1, max_size=40), st.data())
def test_every_id_has_one_version(right: TrainedModel, ids: list[str], data: st.DataObject) -> None:
    small = data.draw(st.floats(0.01, 1.0))
    large = data.draw(st.floats(small, 1.0))
    first, second = _split(right, {"2": small}, ids), _split(right, {"2": large}, ids)
    assert set(first) == set(ids)
    assert {id for id in ids if first[id] == "2"} <= {id for id in ids if second[id] == "2"}
    assert set(_split(right, dict.fromkeys("23456789ab", 0.1), ids).values()) <= set("23456789ab")


def test_an_id_meets_the_same_version_in_every_release_of_homeostat(right: TrainedModel) -> None:
    met = _split(right, {"2": 0.25, "3": 0.25}, [f"id-{i}" for i in range(12)])
    assert "".join(met[f"id-{i}"] for i in range(12)) == "121111113113"


def test_shares_are_what_they_say(right: TrainedModel) -> None:
    met = list(_split(right, {"2": 0.1, "3": 0.3}, [f"id-{i}" for i in range(20_000)]).values())
    assert abs(met.count("2") / 20_000 - 0.1) < 0.01
    assert abs(met.count("3") / 20_000 - 0.3) < 0.01
