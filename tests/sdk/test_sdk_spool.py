"""The spool: batches on disk survive their process, go out in order later, and damage is told and set aside."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deploy.stack.kafka import KafkaBroker
from homeostat import Client
from homeostat.contract import LabelBatch
from homeostat.spool import Damaged, Meta, Spool
from tests.patience import PATIENCE_S, patient_s
from tests.sdk.test_sdk_kafka import check_sequences_rise, create_topic, distinct_ids, log_rows, read_topic

NOBODY = "127.0.0.1:1"
VALUE = b"a batch" * 100


def meta(sequence: int, producer: str = "p", value: bytes = VALUE, rows: int = 3) -> Meta:
    import xxhash

    return Meta(
        producer=producer,
        sequence=sequence,
        model="m",
        version=None,
        slot=0,
        rows=rows,
        value_bytes=len(value),
        value_hash=xxhash.xxh3_64_intdigest(value),
    )


def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + patient_s(timeout_s)
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come true"
        time.sleep(0.02)


def test_a_spool_is_adopted_when_its_process_is_gone_and_not_before(tmp_path: Path) -> None:
    first = Spool(tmp_path / "s", 1 << 20, "p")
    paths = [first.keep(meta(i), VALUE) for i in range(12)]
    assert all(paths)
    second = Spool(tmp_path / "s", 1 << 20, "q")
    assert list(second.adopt()) == []
    first.close()
    found = list(second.adopt())
    assert [each.sequence for _, each in found] == list(range(12))
    assert found[0][1] == meta(0)
    assert list(Spool(tmp_path / "s", 1 << 20, "r").adopt()) == []
    for path, _ in found:
        assert second.load(path) == VALUE
        second.forget(path)
    assert list((tmp_path / "s").iterdir()) == []


def test_the_spool_is_bounded_and_finds_room_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 3_000, "p")
    paths = [spool.keep(meta(i), VALUE) for i in range(5)]
    assert [path is not None for path in paths] == [True, True, True, False, False]
    spool._summed_at_s = float("-inf")  # type: ignore[attr-defined]
    assert paths[0] is not None
    spool.forget(paths[0])
    assert spool.keep(meta(9), VALUE) is not None
    spool.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"HSP2" + data[4:],
        lambda data: data[:30] + b"?" + data[31:],
        lambda data: os.urandom(len(data)),
    ],
)
def test_a_torn_file_is_told_and_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    first = Spool(tmp_path, 1 << 20, "p")
    paths = [first.keep(meta(i), VALUE) for i in range(3)]
    first.close()
    assert paths[1] is not None
    paths[1].write_bytes(damage(paths[1].read_bytes()))
    second = Spool(tmp_path, 1 << 20, "q")
    assert [each.sequence for _, each in second.adopt()] == [0, 2]
    assert "set aside as" in caplog.text
    assert [path.name for path in (tmp_path / "damaged").iterdir()] == [f"p-{1:020d}.batch"]
    second.close()


def test_damage_inside_a_batch_shows_when_it_is_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20, "p")
    path = spool.keep(meta(0), VALUE)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Damaged, match="checksum"):
        spool.load(path)
    spool.close()


def test_an_unfinished_file_is_no_batch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Spool(tmp_path, 1 << 20, "p")
    assert first.keep(meta(0), VALUE)
    (tmp_path / "p" / "00000000000000000001.part").write_bytes(b"HSP1")
    first.close()
    with closing(Spool(tmp_path, 1 << 20, "q")) as second:
        assert len(list(second.adopt())) == 1
    assert "its writing was cut short" in caplog.text


def _keep_until_killed(folder: Path, count: Any) -> None:
    spool = Spool(folder, 1 << 30, f"p-{os.getpid()}")
    for i in range(1_000_000):
        assert spool.keep(meta(i, f"p-{os.getpid()}"), VALUE)
        count.value = i + 1


def test_kill_9_loses_nothing_that_was_spooled(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    count = context.Value("q", 0)
    process = context.Process(target=_keep_until_killed, args=(tmp_path, count))
    process.start()
    until(lambda: count.value > 200)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with closing(Spool(tmp_path, 1 << 30, "q")) as spool:
        found = [each.sequence for _, each in spool.adopt()]
    assert found == list(range(len(found)))
    assert count.value <= len(found) <= count.value + 1


def test_while_the_broker_is_away_memory_stays_empty(tmp_path: Path) -> None:
    client = Client()
    client.open(NOBODY, spool_dir=tmp_path, max_rows=1_000, batch_rows=100, linger_s=0.01, exit_timeout_s=0)
    for start in range(0, 5_000, 500):
        log_rows(client, start, start + 500)
        until(lambda stop=start + 500: client.stats().spooled == stop)
    stats = client.stats()
    assert (stats.logged, stats.spooled, stats.pending, stats.dropped) == (5_000, 5_000, 0, {})
    log_rows(client, 5_000, 5_050)
    client.close(timeout_s=0)
    heir = Client()
    heir.open(NOBODY, spool_dir=tmp_path, exit_timeout_s=0)
    assert heir.flush(timeout_s=0.1) is True, "nothing of its own waits"
    heir.close(timeout_s=0)
    with closing(Spool(tmp_path, 1 << 30, "q")) as spool:
        assert sum(each.rows for _, each in spool.adopt()) == 5_050


def test_a_full_spool_and_an_unusable_one_leave_the_rest_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder, limit in ((tmp_path / "s", 1 << 20), (tmp_path / "file", 1 << 30)):
        client = Client()
        client.open(NOBODY, spool_dir=folder, spool_max_bytes=limit, linger_s=0.01, exit_timeout_s=0)
        for i in range(400):
            client.log("m", version="1", id=str(i), features={"x": str(i) + "y" * 4_000}, prediction=1)
        until(lambda: "batches wait in memory" in caplog.text)
        until(lambda client=client: client.stats().spooled + client.stats().pending == 400)
        stats = client.stats()
        assert stats.pending > 0
        client.close(timeout_s=0)
        after = client.stats()
        assert (after.pending, after.spooled + after.dropped["closed"]) == (0, 400)
        caplog.clear()


def test_no_raw_value_lies_on_the_disk(tmp_path: Path) -> None:
    client = Client()
    protect = {"email": "hash", "name": "drop", "city": "mask", "id": "hash"}
    client.open(NOBODY, spool_dir=tmp_path, protect=protect, protect_key="k" * 32, exit_timeout_s=0)
    person = {"email": "ada@example.org", "name": "Lovelace", "city": "Marylebone"}
    client.log(
        "m", version="1", id="patient-1", features=person, prediction=1, segments={"city": "Marylebone"}
    )
    client.close(timeout_s=0)
    (path,) = tmp_path.glob("*/*.batch")
    content = path.read_bytes()
    assert b"length 8-15" in content
    assert not any(raw in content for raw in (b"ada@", b"Lovelace", b"Marylebone", b"patient-1"))


FORKING = """
    import os, sys, time
    import homeostat
    homeostat.init("127.0.0.1:1", spool_dir=sys.argv[1], linger_s=0.01, exit_timeout_s=0)
    homeostat.log("m", version="1", id="a", features={"x": 1.0}, prediction=1)
    while homeostat.stats().spooled < 1:
        time.sleep(0.01)
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
    os._exit(9)     # as if it were killed
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_the_spool_of_its_dead_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.wait(PATIENCE_S) == 9
        with closing(Spool(tmp_path, 1 << 30, "q")) as spool:
            assert [each.rows for _, each in spool.adopt()] == [1]


CHILD = """
    import os, sys, time
    import homeostat
    homeostat.init(sys.argv[1], spool_dir=sys.argv[2], batch_rows=100, linger_s=0.02, exit_timeout_s=0)
    for i in range(1_000):
        homeostat.log("m", version="1", id=f"m-{i}", features={"x": i, "c": "ab"[i % 2]}, prediction=i % 2)
    assert homeostat.flush(30)
    print("up", flush=True)
    sys.stdin.readline()
    for i in range(1_000, 4_000):
        homeostat.log("m", version="1", id=f"m-{i}", features={"x": i, "c": "ab"[i % 2]}, prediction=i % 2)
        homeostat.label("m", id=f"m-{i}", value=1)
    while homeostat.stats().spooled < 6_000:
        time.sleep(0.02)
    print("spooled", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_what_a_killed_process_spooled_goes_out_with_the_next(
    kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    bootstrap, folder = kafka_broker.bootstrap, tmp_path / "spool"
    create_topic(bootstrap, "homeostat.events")
    command = [sys.executable, "-c", textwrap.dedent(CHILD), bootstrap, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        kafka_broker.stop()
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "spooled\n"
        child.kill()

    client = Client()
    client.open(bootstrap, spool_dir=folder, batch_rows=100, linger_s=0.02, exit_timeout_s=0)
    log_rows(client, 4_000, 5_000)
    until(lambda: client.stats().spooled == 1_000)
    kafka_broker.start()
    assert client.flush(PATIENCE_S), client.stats()
    until(lambda: client.stats().acknowledged == 7_000, 40)
    stats = client.stats()
    assert (stats.adopted, stats.spooled, stats.pending, stats.dropped) == (6_000, 0, 0, {})
    assert stats.adopted_processes == 1
    client.close()

    records = read_topic(bootstrap, "homeostat.events")
    check_sequences_rise(records)
    assert distinct_ids(records) == Counter(f"m-{i}" for i in range(5_000))
    assert distinct_ids(records, LabelBatch) == Counter(f"m-{i}" for i in range(1_000, 4_000))
    assert len({record.batch.producer for record in records}) == 2
    assert not list(folder.glob("*/*"))


@pytest.mark.soak
def test_a_spooled_batch_that_the_broker_finds_too_large_is_sent_in_parts(
    kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    bootstrap, folder = kafka_broker.bootstrap, tmp_path / "spool"
    create_topic(bootstrap, "homeostat.events", partitions=1, max_message_bytes="9000")
    kafka_broker.kill()
    client = Client()
    client.open(bootstrap, spool_dir=folder, batch_rows=300, linger_s=0.02, exit_timeout_s=0)
    for start in range(0, 900, 300):
        log_rows(client, start, start + 300)
        until(lambda stop=start + 300: client.stats().spooled == stop)
    kafka_broker.start()
    assert client.flush(PATIENCE_S), client.stats()
    stats = client.stats()
    assert (stats.acknowledged, stats.spooled, stats.pending, stats.dropped) == (900, 0, 0, {})
    client.close()
    records = read_topic(bootstrap, "homeostat.events")
    check_sequences_rise(records)
    assert distinct_ids(records) == Counter(f"m-{i}" for i in range(900))
    assert not list(folder.glob("*/*"))
