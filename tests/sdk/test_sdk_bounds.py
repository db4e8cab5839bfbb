"""Memory keeps to its bounds: what makes room, what is dropped and counted, and that no caller waits for it."""

import asyncio
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest

from homeostat import Client, Stats
from homeostat.intake import Unit
from tests.patience import PATIENCE_S
from tests.sdk.intake_parts import NOBODY, Quiet, log_rows, rows


def test_the_oldest_batches_make_room() -> None:
    quiet = Quiet(max_rows=1_000, batch_rows=100, on_full="drop_oldest")
    log_rows(quiet.client, 0, 950)
    in_parcels = quiet.parcels()
    log_rows(quiet.client, 950, 1_250)
    stats = quiet.client.stats()
    assert (stats.dropped, stats.pending) == ({"oldest": 300}, 950)
    assert [parcel.given_up for parcel in in_parcels] == [True] * 3 + [False] * 7
    ids = [str(i) for i in range(5_000, 6_500)]
    quiet.client.log("m", version="1", id=ids, features={"x": np.ones(1_500)}, prediction=np.ones(1_500))
    stats = quiet.client.stats()
    assert stats.pending <= 1_000
    assert stats.logged == stats.pending + sum(stats.dropped.values())
    found = {row["id"] for parcel in quiet.parcels() for row in rows(parcel)}
    assert {"6499", "6000"} <= found
    quiet.client.close(timeout_s=0)


def test_blocking_waits_for_room_and_no_longer_than_told() -> None:
    quiet = Quiet(max_rows=100, batch_rows=100, on_full="block", block_timeout_s=0.2)
    log_rows(quiet.client, 0, 100)
    started_s = time.monotonic()
    log_rows(quiet.client, 100, 101)
    assert 0.15 < time.monotonic() - started_s < PATIENCE_S
    assert quiet.client.stats().dropped == {"block_timeout": 1}
    quiet.client.close(timeout_s=0)

    quiet = Quiet(max_rows=100, batch_rows=100, on_full="block", block_timeout_s=60)
    log_rows(quiet.client, 0, 100)
    parcel = quiet.parcels()[0]
    quiet.ledger.take(parcel)
    timer = threading.Timer(0.05, lambda: quiet.ledger.acknowledged(parcel))
    timer.start()
    log_rows(quiet.client, 101, 102)
    timer.join()
    assert quiet.client.stats().dropped == {}
    assert (quiet.client.stats().acknowledged, quiet.client.stats().pending) == (100, 1)
    quiet.client.close(timeout_s=0)


def test_memory_is_bounded_in_bytes() -> None:
    quiet = Quiet(max_bytes=1 << 20)
    text = "x" * 4_000
    for i in range(1_000):
        quiet.client.log("m", version="1", id=str(i), features={"x": text + str(i)}, prediction=1)
    stats = quiet.client.stats()
    assert 200 < stats.pending < 300
    assert stats.dropped == {"memory_full": 1_000 - stats.pending}
    array = np.ones((2_000, 100))
    quiet.client.log(
        "m", version="1", id=[str(i) for i in range(2_000)], features={"e": array}, prediction=np.ones(2_000)
    )
    assert quiet.ledger.nbytes <= (1 << 20) + 10_000
    quiet.parcels()
    assert quiet.ledger.nbytes <= 2 << 20
    quiet.client.close(timeout_s=0)


def test_the_bytes_that_are_counted_come_down_to_nothing(quiet: Quiet) -> None:
    log_rows(quiet.client, 0, 150)
    quiet.client.log("m", version="1", id="a", features={"x": "text" * 50}, prediction=1)
    quiet.client.log("m", version="1", id="b", features={"x": [1.0, 2.0]}, prediction=1)
    quiet.client.log("m", version="1", id="c", features={"x": object()}, prediction=1)
    quiet.client.log("m", version="1", id=["d"], features={"x": [1.0]}, prediction=[1])
    quiet.client.label("m", id="d", value=1)
    assert quiet.ledger.nbytes > 150 * 100
    for parcel in quiet.parcels():
        assert quiet.ledger.take(parcel)
        quiet.ledger.acknowledged(parcel)
    assert (quiet.ledger.nbytes, quiet.ledger.rows) == (0, 0)
    assert quiet.client.stats().acknowledged == 154
    assert quiet.client.stats().rejected == 1


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest", "block"])
def test_threads_and_a_packer_keep_every_count(policy: str) -> None:
    client = Client()
    client.open(
        NOBODY,
        max_rows=3_000,
        batch_rows=100,
        linger_s=0.01,
        on_full=policy,
        block_timeout_s=0.0002,
        exit_timeout_s=0,
    )

    def work(name: int) -> None:
        for i in range(1_500):
            client.log("m", version=str(i % 3), id=f"{name}-{i}", features={"x": 1.0, "y": i}, prediction=1)
            if i % 500 == 0:
                client.label("m", id=[f"{name}-{i}"] * 50, value=[1] * 50)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = client.stats()
    assert (stats.logged, stats.labelled) == (4_500, 450)
    assert stats.logged + stats.labelled == stats.pending + sum(stats.dropped.values())
    assert stats.pending <= 3_000 + len(threads)
    client.close(timeout_s=0)


def test_rows_put_down_while_others_are_cut_off_are_all_there_once() -> None:
    quiet = Quiet(max_rows=20_000, batch_rows=50)
    before_s = sys.getswitchinterval()

    def work(name: int) -> None:
        for i in range(2_000):
            features = {"x": 1.0} if i % 3 else {"x": "text"}
            quiet.client.log("m", version=str(i % 2), id=f"{name}-{i}", features=features, prediction=1)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    units: list[Unit | None] = []
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            quiet.intake.look(older_than_s=0)
            units += iter(quiet.intake.take, None)
            stats = quiet.client.stats()
            assert stats.logged == stats.pending
    finally:
        sys.setswitchinterval(before_s)
        for thread in threads:
            thread.join()
    quiet.intake.close()
    units += iter(quiet.intake.take, None)
    ids = Counter(id for unit in units if unit is not None for block in unit.blocks() for id in block.ids)
    assert ids == Counter(f"{name}-{i}" for name in range(3) for i in range(2_000))
    assert quiet.ledger.rows == quiet.client.stats().logged == 6_000
    assert sum(unit.nbytes for unit in units if unit is not None) == quiet.ledger.nbytes
    quiet.client.close(timeout_s=0)


def test_room_that_one_model_does_not_use_is_there_for_another() -> None:
    quiet = Quiet(max_rows=1_000, batch_rows=100)
    for i in range(1_010):
        model = f"m{i}" if i < 20 else "m"
        quiet.client.log(model, version="1", id=str(i), features={"x": 1.0}, prediction=1)
    assert quiet.client.stats().dropped == {"memory_full": 10}
    assert quiet.client.stats().pending == 1_000
    log_rows(quiet.client, 0, 1)
    assert quiet.client.stats().dropped == {"memory_full": 11}
    for parcel in quiet.parcels():
        assert quiet.ledger.take(parcel)
        quiet.ledger.acknowledged(parcel)
    log_rows(quiet.client, 0, 10)
    assert (quiet.client.stats().pending, quiet.client.stats().dropped) == (10, {"memory_full": 11})
    quiet.intake.look(older_than_s=60)
    quiet.parcels()
    quiet.intake.look(older_than_s=60)
    assert quiet.ledger.rows == 10
    quiet.client.close(timeout_s=0)


def test_close_counts_rows_that_were_put_down_without_a_word() -> None:
    quiet = Quiet(max_rows=1_000, batch_rows=100)
    log_rows(quiet.client, 0, 7)
    assert quiet.ledger.close() == 7
    assert quiet.ledger.stats() == Stats(logged=7, dropped={"closed": 7})
    quiet.parcels()
    log_rows(quiet.client, 7, 9)
    assert quiet.ledger.stats() == Stats(logged=9, dropped={"closed": 9})
    quiet.client.close(timeout_s=0)


async def test_in_an_event_loop_nothing_waits() -> None:
    async with Client() as client:
        client.open(NOBODY, exit_timeout_s=0)
        await asyncio.gather(*(asyncio.to_thread(log_rows, client, i, i + 50) for i in range(5)))
        log_rows(client, 0, 500)
        flushing = asyncio.create_task(client.aflush(timeout_s=PATIENCE_S))
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not flushing.done()
        flushing.cancel()
        assert await client.aflush(timeout_s=0.1) is False
        assert client.stats().logged == 750
    assert (client.stats().pending, client.stats().dropped) == (0, {"closed": 750})


def test_a_loop_that_gave_up_its_flush_ends_at_once() -> None:
    client = Client()
    client.open(NOBODY, exit_timeout_s=0)
    log_rows(client, 0, 1)

    async def hurry() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.aflush(timeout_s=4 * PATIENCE_S), 0.05)

    started_s = time.monotonic()
    asyncio.run(hurry())
    assert time.monotonic() - started_s < PATIENCE_S
    client.close(timeout_s=0)
