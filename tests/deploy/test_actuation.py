"""What the settings and HOMEOSTAT_ACTUATORS say becomes actuators, a caller, and what is announced."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from deploy import actuation, doctor
from deploy.errors import UserError
from deploy.second_eyes import agent_config
from deploy.settings import Settings
from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec
from remediation.clock import SystemClock
from remediation.errors import StepFailed
from remediation.values import Arrangement, Desired
from streams.control.bus import publish_reference
from streams.control.configuration import Configuration

FILE = """
actuators:
  - {kind: kserve, name: cluster, models: "far-*", namespace: ml, storage_uri: "s3://m/{model}/{version}"}
commands: {environment: [PATH]}
"""


class Bus:
    """Control records go where they are read."""

    def __init__(self) -> None:
        self.configuration = Configuration()
        self.published: list[str] = []

    async def publish(self, topic: str, *, key: bytes, value: bytes | None, headers: object = None) -> None:
        self.configuration.apply(key, value)
        self.published.append(key.decode())


class Registry:
    def reference(self, model: str, version: str) -> Reference:
        return _reference(version)

    def set_champion(self, model: str, version: str) -> None:
        self.champion = version


def _reference(version: str, rows: float = 200.0) -> Reference:
    return build_reference("m", version, {"a": np.arange(rows)}, [FeatureSpec(name="a")])


def _settings(tmp_path: Path, text: str | None = FILE) -> Settings:
    file = tmp_path / "actuators.yaml"
    if text is not None:
        file.write_text(text)
    return Settings(home=tmp_path, actuators=file)


def test_the_agent_knows_who_serves_what_and_how_patient_to_be(tmp_path: Path) -> None:
    config = agent_config(_settings(tmp_path))
    assert (config.actuator("far-away"), config.actuator("near")) == ("cluster", "homeostat")
    assert config.patience_s == {"cluster": 600.0}
    assert agent_config(Settings(home=tmp_path)).actuator("far-away") == "homeostat"
    with pytest.raises(UserError, match=r"HOMEOSTAT_ACTUATORS: .*cannot be read"):
        agent_config(Settings(home=tmp_path, actuators=tmp_path / "absent.yaml"))


async def test_every_version_that_is_named_is_announced_and_a_replaced_reference_stays(
    tmp_path: Path,
) -> None:
    bus: Any = Bus()
    registry: Any = Registry()
    publisher = actuation.publisher(bus, registry, bus.configuration)
    arrangement = Arrangement(shares={"2": 0.1}, shadows=("3", "2"), digests={"2": "b", "3": "c"})
    desired = Desired(
        model="m",
        version="1",
        digest="a",
        epoch=1,
        decided_by="d",
        reason="r",
        at_us=1,
        arrangement=arrangement,
    )
    await publisher.publish_desired(desired)
    references = [key for key in bus.published if key.startswith("reference/")]
    assert [key.split("/")[2] for key in references] == ["1", "2", "3"]
    refreshed = _reference("1", 300.0)
    await publish_reference(bus, refreshed, effective_us=5)
    known = len(bus.published)
    await publisher.publish_desired(desired)
    assert bus.configuration.reference("m", "1") == refreshed
    assert [key.split("/")[0] for key in bus.published[known:]] == ["m"], "nothing is fetched that is known"
    assert registry.champion == "1"


async def test_who_only_scores_is_announced_before_its_reference_and_until_it_answers() -> None:
    bus: Any = Bus()
    publisher = actuation.publisher(bus, cast(Any, Registry()), bus.configuration)
    for epoch, (shares, shadows) in enumerate(
        [({}, ("2",)), ({}, ("2",)), ({"2": 0.1}, ("2", "3")), ({}, ())]
    ):
        await publisher.publish_desired(
            Desired(
                model="m",
                version="1",
                digest="a",
                epoch=epoch,
                decided_by="d",
                reason="r",
                at_us=10 * (epoch + 1),
                arrangement=Arrangement(shares=shares, shadows=shadows),
            )
        )
    known = [key for key in bus.published if key == "shadows/m" or key.startswith("reference/m/2")]
    assert [each.split("/")[0] for each in known] == ["shadows", "reference", "shadows", "shadows"]
    spans = [(each.version, each.from_us, each.until_us) for each in bus.configuration.shadowing("m").spans]
    assert spans == [("2", 10, 30), ("3", 30, 40)]


async def test_the_caller_keeps_its_records_in_the_home(tmp_path: Path) -> None:
    bus: Any = Bus()
    caller = actuation.caller(_settings(tmp_path), bus, bus.configuration, SystemClock())
    argv = [sys.executable, "-S", "-c", "print('done')"]
    assert await caller.call("run_command", {"argv": argv}, key="k") == "exit status 0: done"
    assert len(list((tmp_path / "calls").iterdir())) == 1
    told = {"model": "m", "version": "1", "reason": "r", "rows": 100, "until_us": 5}
    with pytest.raises(StepFailed, match="has no reference that could be refreshed"):
        await caller.call("refresh_reference", told, key="r")
    await asyncio.gather(publish_reference(bus, _reference("1")))
    with pytest.raises(StepFailed, match="the archive has no events of model 'm'"):
        await caller.call("refresh_reference", told, key="r")
    without = actuation.caller(Settings(home=tmp_path), bus, bus.configuration, SystemClock())
    with pytest.raises(StepFailed, match="a section `commands`"):
        await without.call("run_command", {"argv": argv}, key="k2")


def test_the_doctor_says_what_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(settings: Settings) -> tuple[str, str]:
        check = doctor._actuators(settings)
        return check.level, check.found

    assert found(Settings(home=tmp_path))[0] == "ok"
    assert found(_settings(tmp_path)) == ("ok", "cluster: far-* (commands may run)")
    hook = "{kind: webhook, name: h, models: x, url_env: H_URL, state_url_env: H_STATE, secret_env: H_SECRET}"
    monkeypatch.setenv("H_URL", "http://x")
    assert found(_settings(tmp_path, f"actuators: [{hook}]")) == ("warn", "not set: H_SECRET, H_STATE")
    assert found(_settings(tmp_path, "actuators: 1"))[0] == "fail"


@pytest.mark.parametrize(
    ("check", "text", "level", "told"),
    [
        (doctor._playbooks, "playbooks: [{name: p, steps: [{action: dance}]}]", "fail", "step 1 (dance)"),
        (doctor._playbooks, "playbooks: [{name: p, steps: [{action: rollback}]}]", "ok", "1 of"),
        (doctor._playbooks, "", "warn", "1 finding"),
        (doctor._policy, "rules: [{quorum: 2}]", "fail", "name at least one person"),
        (doctor._policy, "people: {mira: {}}", "ok", "1 person"),
    ],
)
def test_the_doctor_reads_the_files(
    tmp_path: Path, check: Callable[[Settings], doctor.Check], text: str, level: str, told: str
) -> None:
    assert check(Settings(home=tmp_path)).level == "ok"
    file = tmp_path / "file.yaml"
    file.write_text(text)
    found = check(Settings(home=tmp_path, playbooks=file, policy=file))
    assert (found.level, told in found.found) == (level, True), found
