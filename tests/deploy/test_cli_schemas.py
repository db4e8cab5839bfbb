"""`homeostat schemas ...`, and the schema that a promotion makes known."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
import yaml
from typer.testing import CliRunner

from deploy.actuation import publisher as publisher_of
from deploy.cli import app
from deploy.errors import UserError
from detectors.reference import Reference
from remediation.bus import Bus
from remediation.ports import Registry
from remediation.values import Desired
from streams.broker.admin import ensure_topics
from streams.bus import KafkaBus
from streams.control.bus import publish_reference
from streams.control.configuration import Configuration
from streams.control.schema_file import read_schema_file
from streams.control.schemas import Schema
from streams.topics import CONTROL, DESIRED, TopicSpec
from tests.streams.stream_data import make_reference

RUN = CliRunner()


@pytest.fixture
def model(kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model that nobody else has, on a real broker."""
    asyncio.run(ensure_topics(kafka, [TopicSpec(CONTROL, 1)]))
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOMEOSTAT_BROKER", kafka)
    monkeypatch.chdir(tmp_path)
    return f"{topic_prefix}/pets"


def run(*command: str, code: int = 0) -> str:
    result = RUN.invoke(app, ["schemas", *command])
    if code == 1 and isinstance(result.exception, UserError):
        return f"{result.stdout}{result.exception}"
    assert result.exit_code == code, (result.output, result.exception)
    return result.output if code == 2 else result.stdout


def written(model: str, version: str, **features: str) -> str:
    """A schema file with these types of features."""
    entries = [{"name": name, "type": type} for name, type in features.items()]
    path = Path(f"{version}.yaml")
    path.write_text(yaml.safe_dump({"model": model, "version": version, "features": entries}))
    return str(path)


def test_from_a_reference_to_a_schema_of_ones_own(kafka: str, model: str) -> None:
    async def announce() -> None:
        async with KafkaBus(kafka) as bus:
            await publish_reference(bus, make_reference(model, "1"))

    assert f"There is no schema of {model!r}." in run("show", model, code=1)
    asyncio.run(announce())
    (implied,) = json.loads(run("list", "--model", model, "--json"))
    assert (implied["version"], implied["origin"], implied["features"]) == ("1", "reference", 2)
    Path("own.yaml").write_text(run("show", model))
    assert "implied by the version's reference" in Path("own.yaml").read_text()

    assert "0 differences" in run("register", "own.yaml"), "it is pinned"
    assert "unchanged, for revision" in run("register", "own.yaml")
    assert json.loads(run("register", "own.yaml", "--json"))["outcome"] == "unchanged"
    (own,) = json.loads(run("list", "--model", model, "--json"))
    assert (own["origin"], own["revision"]) == ("registered", implied["revision"])

    text = written(model, "2", age="text", city="text", zip="text")
    told = json.loads(run("register", text, "--json", code=1))
    assert (told["outcome"], told["breaks"], told["compared_with"]["version"]) == ("refused", True, "1")
    refused = run("register", text, code=1)
    assert "Compared with version 1 (registered)" in refused
    assert "BREAKS  f.age: type changed (float64 -> text)" in refused
    assert "batches that carry f.age as a number are refused" in refused
    assert "fits    f.zip: new feature" in refused
    assert "is not registered: 2 changes (f.age, f.city) would break events" in refused
    assert "would be registered, although it breaks events" in run("register", text, "--force", "--dry-run")
    assert len(json.loads(run("list", "--model", model, "--json"))) == 1
    assert "registered, although it breaks events" in run("register", text, "--force")

    shown = json.loads(run("show", model, "--json"))
    assert (shown["version"], shown["origin"], len(shown["features"])) == ("2", "registered", 3)
    assert "f.age: type changed" in run("diff", model, "1", "2", code=1)
    assert json.loads(run("diff", model, "2", "1", "--json", code=1))["breaks"] is True
    assert "No difference." in run("diff", model, "2", "2")
    assert "there are those of 1, 2" in run("diff", model, "1", "3", code=1)
    assert "registered" in run("list", "--model", model)
    assert run("list", "--model", "nobody's") == "None.\n"


def test_a_draft_can_be_registered_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,age,city,y\n1,3,Rome,cat\n2,4,Oslo,dog\n")
    name = str(tmp_path / "d.csv")
    options = ("--model", "pets", "--version", "3", "--leave-out", "y", "--segment", "city")
    draft = run("infer", name, *options, "--task", "multiclass", "--classes", "cat, dog,owl")
    assert draft.splitlines()[1] == "# no feature: 'id' (a column of the contract by its name)"
    (tmp_path / "d.yaml").write_text(draft)
    schema = read_schema_file(tmp_path / "d.yaml")
    assert (schema.classes, schema.segments) == (("cat", "dog", "owl"), ("city",))
    assert [feature.name for feature in schema.features] == ["age", "city"]


def test_mistakes_are_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HOMEOSTAT_BROKER", raising=False)
    (tmp_path / "d.csv").write_text("age\n1\n")
    good = (str(tmp_path / "d.csv"), "--model", "m", "--version", "1")
    (tmp_path / "bad.yaml").write_text("model: m\nversion: '1'\nfeatures: [{name: a, type: number}]\n")
    for command, words in [
        (("infer", str(tmp_path / "no.csv"), *good[1:]), "there is no such file"),
        (("infer", *good, "--classes", "a,b,c"), "3 classes; task binary has 0 or 2"),
        (("infer", *good, "--leave-out", "x"), "there are no columns ['x']; it has ['age']"),
        (("register", str(tmp_path / "bad.yaml")), "features.0 (a): type is 'number'"),
        (("list",), "No Homeostat runs in"),
    ]:
        assert words in run(*command, code=1)
    assert "'ranking' must be one of binary" in run("infer", *good, "--task", "ranking", code=2)
    assert "--classes" in run("infer", *good, "--task", "multiclass", code=2)


class _Bus:
    """Notes what is published, and when."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, bytes]] = []

    async def publish(
        self, topic: str, *, key: bytes, value: bytes, headers: Mapping[str, bytes] | None = None
    ) -> None:
        self.records.append((topic, key, value))


class _Registry:
    def reference(self, model: str, version: str) -> Reference:
        return make_reference(model, version)

    def set_champion(self, model: str, version: str) -> None: ...


async def test_a_promotion_makes_the_schema_known_before_the_version_serves() -> None:
    bus = _Bus()
    publisher = publisher_of(cast("Bus", bus), cast("Registry", _Registry()), Configuration())
    desired = Desired(
        model="loan", version="2", digest="d", epoch=1, decided_by="sam", reason="better", at_us=1
    )
    await publisher.publish_desired(desired)
    assert [(topic, key.split(b"/")[0]) for topic, key, _ in bus.records] == [
        (CONTROL, b"reference"),
        (CONTROL, b"implied-schema"),
        (DESIRED, b"loan"),
    ]
    schema = Schema.from_json(bus.records[1][2])
    assert [feature.name for feature in schema.features] == ["age", "city"]
