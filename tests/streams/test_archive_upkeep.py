"""Upkeep of the archive: compaction that is killed at every step, retention, erasure."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams import store as archive_store
from streams.archive.erasure import Erasures, erase, read_erasures, receipt_lines
from streams.archive.errors import ArchiveError
from streams.archive.files import list_files
from streams.archive.layout import ArchiveFile, Span
from streams.archive.read import ArchiveReader
from streams.archive.status import status_of
from streams.archive.upkeep import Merge, Upkeep, UpkeepConfig, plan, write_merged
from streams.store import LocalStore, ObjectStore, StorageInvalid, Store, open_store
from tests.streams.archive_parts import (
    DAY_US,
    NOW_S,
    PLACE,
    START_US,
    Bucket,
    fill,
    globbed,
    ids_of,
    labels,
    object_store,
    predictions,
    write,
)


class Killed(BaseException):
    """The process ends here."""


def _plan(sizes: list[int], **more: Any) -> list[list[int]]:
    files = [
        ArchiveFile(PLACE, Span(0, 0, number * 10, number * 10 + 9), size, more.get("changed_s", 0.0))
        for number, size in enumerate(sizes)
    ]
    config = UpkeepConfig(target_bytes=100, fan_in=3, tiers_bytes=(10, 40), settle_s=60)
    found = plan(files, more.get("now_s", 2e9), config, closed=more.get("closed", False))
    return [[one.span.first // 10 for one in merge.files] for merge in found.get(PLACE, [])]


def test_what_is_merged() -> None:
    assert _plan([5, 5, 60, 5, 5]) == [[0, 1], [3, 4]], "of a closed day all neighbours that are small"
    assert _plan([40, 40, 40, 10]) == [[0, 1], [2, 3]], "up to the size that is wanted"
    assert _plan([5, 60, 5]) == []
    assert _plan([5, 5], changed_s=2e9 - 10) == [], "not while something comes"
    assert _plan([5, 5], changed_s=2e9 - 10, closed=True) == [[0, 1]]
    assert _plan([5, 5], now_s=0.0) == [], "not before the day is over"
    assert _plan([20, 5, 5, 5], now_s=0.0) == [[1, 2, 3]], "of an open day the smallest first"
    assert _plan([20, 20, 20, 5], now_s=0.0) == [[0, 1, 2, 3]], "then those that came of them"
    assert _plan([60, 60, 60], now_s=0.0) == []


def test_compaction_keeps_every_row_and_the_order(store: Store) -> None:
    fill(store, 40)
    reader = ArchiveReader(store)
    before, labelled = reader.predictions("churn"), reader.labelled("churn")
    files = len(list_files(store))
    report = Upkeep(store, UpkeepConfig(fan_in=4)).run(START_US / 1e6)
    assert 0 < report.into < report.merged <= files
    assert reader.predictions("churn").equals(before)
    report = Upkeep(store, UpkeepConfig()).run(NOW_S)
    assert len(list_files(store)) == 7, "six days of predictions, one of labels"
    assert reader.predictions("churn").equals(before)
    pd.testing.assert_frame_equal(reader.labelled("churn"), labelled)
    requests = reader.requests("churn", since_us=START_US, until_us=START_US + DAY_US)
    assert list(requests.columns) == ["time_us", "version", "latency_ms", "failed"]
    assert requests["time_us"].is_monotonic_increasing
    assert 0 < len(requests) < 600
    assert Upkeep(store, UpkeepConfig()).run(NOW_S).merged == 0
    status = {one.kind: one.to_data() for one in status_of(store)}
    assert (status["predictions"]["rows"], status["labels"]["rows"]) == (600, 120)
    assert (status["predictions"]["days"], status["predictions"]["files"]) == (6, 6)


def test_two_compactors_at_once_on_object_storage_double_nothing(tmp_path: Path) -> None:
    """Both have read before either deletes, and have chosen different neighbours."""
    store = object_store(tmp_path / "archive")
    ids = fill(store, 6)
    files = sorted(list_files(store, "predictions"), key=lambda file: file.span)
    for chosen in (files[:4], files[3:]):
        path = store.scratch()
        write_merged(store, chosen, Erasures(), path)
        store.put(f"{files[0].place.folder}/{Merge(tuple(chosen)).span.name}", path)
    for file in files:
        store.delete(file.path)
    assert len(globbed(tmp_path / "archive")) == len(ids) + 15
    assert globbed(tmp_path / "archive", distinct=True) == ids
    assert ids_of(ArchiveReader(store).predictions("churn")) == ids
    Upkeep(store, UpkeepConfig()).run(START_US / 1e6)
    assert globbed(tmp_path / "archive") == ids


@pytest.mark.soak
def test_reading_and_merging_need_little_memory(tmp_path: Path) -> None:
    store, rng, rows = LocalStore(tmp_path / "archive"), np.random.default_rng(2), 1_000
    for block in range(16):
        batches = [
            predictions(
                start,
                rows,
                features={f"x{number}": rng.normal(size=rows) for number in range(13)},
                times_us=START_US + rng.integers(0, DAY_US, rows),
            )
            for start in range(block * 64 * rows, (block + 1) * 64 * rows, rows)
        ]
        write(store, batches, block * 64)
        del batches
    before, peak, seen = pa.total_allocated_bytes(), 0, 0
    for _, table in ArchiveReader(store).batches("churn", ["predictions"]):
        seen += table.num_rows
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert seen == 16 * 64 * rows
    assert peak < 700_000_000, "all blocks lie over the whole day: some row groups of each"
    before_files = len(list_files(store))
    Upkeep(store, UpkeepConfig()).run(NOW_S)
    assert before_files == 16
    assert len(list_files(store)) < 3


def _steps(monkeypatch: pytest.MonkeyPatch, step: int) -> list[str]:
    """Let the process be killed before the file operation number `step`; what it has done until then."""
    done: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(done) == step:
                raise Killed(name)
            done.append(name)
            return real(*args, **kwargs)

        return call

    for owner, name in [
        (os, "link"),
        (os, "replace"),
        (Path, "replace"),
        (Path, "unlink"),
        (Path, "write_text"),
        (shutil, "rmtree"),
        (archive_store, "_exchange_folders"),
        (Bucket, "open_output_stream"),
        (Bucket, "delete_file"),
    ]:
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    return done


@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_at_any_step_of_compaction_loses_and_doubles_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange and isinstance(store, ObjectStore):
        pytest.skip("object storage knows no exchange")
    if not exchange:
        monkeypatch.setattr(archive_store, "_exchange_folders", lambda *_: False)
    ids, folder = fill(store, 3), Path(store.location)
    original = tmp_path / "original"
    shutil.copytree(folder, original)
    for step in range(200):
        with monkeypatch.context() as patched:
            done = _steps(patched, step)
            try:
                Upkeep(store, UpkeepConfig()).run(NOW_S)
                break
            except Killed:
                pass
        assert len(done) == step
        assert ids_of(ArchiveReader(store).predictions("churn")) == ids
        assert globbed(folder, distinct=True) == ids
        if isinstance(store, LocalStore) and exchange:
            assert globbed(folder) == ids, f"plain globbing after {done}"
        Upkeep(store, UpkeepConfig()).run(NOW_S)
        Upkeep(store, UpkeepConfig()).run(NOW_S)
        assert globbed(folder) == ids
        assert len(list_files(store, "predictions")) == 1
        shutil.rmtree(folder)
        shutil.copytree(original, folder)
    else:
        pytest.fail("compaction did not end")
    assert step > 5


def test_whoever_reads_while_folders_are_exchanged_sees_everything_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "archive")
    ids, stop, wrong, seen = fill(store, 30, 3), threading.Event(), list[int](), [0, 0]

    def look(number: int, count: Callable[[], int]) -> None:
        while not stop.is_set():
            try:
                found = count()
            except (duckdb.IOException, FileNotFoundError):
                continue  # a file that was listed is gone: an error, and no wrong number
            seen[number] += 1
            if found != len(ids):
                wrong.append(found)

    counts = [
        lambda: len(globbed(tmp_path / "archive")),
        lambda: ArchiveReader(store).predictions("churn").num_rows,
    ]
    threads = [threading.Thread(target=look, args=(number, count)) for number, count in enumerate(counts)]
    for thread in threads:
        thread.start()
    for fan_in in (9, 7, 5, 3, 2):
        Upkeep(store, UpkeepConfig(fan_in=fan_in)).run(START_US / 1e6)
    Upkeep(store, UpkeepConfig()).run(NOW_S)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert min(seen) > 0
    assert len(list_files(store, "predictions")) == 1


def test_a_file_that_comes_while_its_folder_is_exchanged_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real = LocalStore(tmp_path / "archive"), archive_store._exchange_folders
    ids = fill(store, 4)

    def late(one: Path, other: Path) -> bool:
        if "kind=predictions" in str(other):
            write(store, [predictions(60, 2)], 100)
        return real(one, other)

    monkeypatch.setattr(archive_store, "_exchange_folders", late)
    Upkeep(store, UpkeepConfig()).run(NOW_S)
    assert globbed(tmp_path / "archive") == [*ids, "e60", "e61"]


def test_a_reader_goes_on_behind_what_it_has_given_out(store: Store) -> None:
    ids = fill(store, 20)
    found: list[str] = []
    for number, (_, table) in enumerate(ArchiveReader(store).batches("churn", ["predictions"])):
        found += table.column("id").to_pylist()
        if number == 1:
            Upkeep(store, UpkeepConfig()).run(NOW_S)
    assert found == ids


# --- retention and erasure


def test_old_days_go(store: Store) -> None:
    fill(store, 20)
    write(store, [predictions(0, 300, "other")], 100)
    keep = UpkeepConfig(retention_days=2, retention_of={"other": 1})
    now_s = START_US / 1e6 + 2.5 * 86_400
    assert {file.place.model for file in Upkeep(store, keep).retired(now_s)} == {"other"}
    Upkeep(store, keep).run(now_s)
    oldest = {(one.model, one.kind): one.by_day[0].day for one in status_of(store)}
    assert oldest == {
        ("churn", "predictions"): "2026-09-21",
        ("churn", "labels"): "2026-09-21",
        ("other", "predictions"): "2026-09-22",
    }
    Upkeep(store, keep).run(now_s + 86_400)
    oldest = {(one.model, one.kind): one.by_day[0].day for one in status_of(store)}
    assert oldest == {("churn", "predictions"): "2026-09-22", ("other", "predictions"): "2026-09-23"}


def test_erasing_leaves_no_row_anywhere(store: Store) -> None:
    ids = fill(store, 10)
    write(store, [predictions(3, 1, "other")], 100)
    Upkeep(store, UpkeepConfig(fan_in=4)).run(START_US / 1e6)  # leaves the old folder behind for a while
    now_us = int(NOW_S * 1e6)
    wish = erase(store, "churn", ["e3", "e4", "nobody"], by="mira", now_us=now_us, dry_run=True)
    assert (wish.predictions, wish.labels, wish.verified) == (2, 0, False)
    assert ids_of(ArchiveReader(store).predictions("churn")) == ids
    receipt = erase(store, "churn", ["e3", "e0", "e0", "nobody"], by="mira", now_us=now_us)
    assert (receipt.predictions, receipt.labels, receipt.verified) == (2, 1, True)
    assert receipt.files_checked > 0
    assert len(receipt.id_hashes) == 3
    assert "e3" not in "\n".join(receipt_lines(receipt)).split()
    gone = [one for one in ids if one not in ("e0", "e3")]
    assert ids_of(ArchiveReader(store).predictions("churn")) == gone
    assert globbed(Path(store.location)) == sorted([*gone, "e3"], key=lambda one: (len(one), one)), (
        "e3 of other"
    )
    everywhere = [*Path(store.location).parent.rglob("*.parquet")]
    key = set(read_erasures(store).keys("churn").tolist())
    for path in everywhere:
        if "model=churn" in str(path) or ".swap" in str(path):
            assert not key & set(pq.ParquetFile(path).read(columns=["key"]).column("key").to_pylist())
    write(store, [predictions(0, 5), labels(0, 5)], 200)
    found = [one for one in ids_of(ArchiveReader(store).predictions("churn")) if one in ("e0", "e3")]
    assert found == [], "the order stays"
    assert erase(store, "churn", ["e3"], by="mira", now_us=now_us).predictions == 0


def test_rows_that_were_being_written_when_the_order_came_go_too(store: Store) -> None:
    fill(store, 3)
    paths = {file.path: (Path(store.location) / file.path).read_bytes() for file in list_files(store)}
    now_s = min(file.changed_s for file in list_files(store))
    erase(store, "churn", ["e1"], by="mira", now_us=int(now_s * 1e6))
    for path, content in paths.items():  # a writer that slept while it was decided
        (Path(store.location) / path).write_bytes(content)
    assert "e1" in globbed(Path(store.location))
    assert "e1" not in ids_of(ArchiveReader(store).predictions("churn")), "readers obey the order"
    assert Upkeep(store, UpkeepConfig()).run(START_US / 1e6).erased_again > 0
    assert "e1" not in globbed(Path(store.location))


def test_an_order_that_comes_while_files_are_merged_is_obeyed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 4)
    real = type(store).replace

    def late(self: Any, folder: str, old: Any, new: Any) -> None:
        if not read_erasures(store).orders:
            changed_s = max(file.changed_s for file in list_files(store))
            content = json.dumps(
                {
                    "id": "o",
                    "model": "churn",
                    "keys": [key_of("e1")],
                    "made_us": int(changed_s * 1e6),
                    "by": "mira",
                }
            )
            store.put("erasures/1-ab.json", pa.py_buffer(content.encode()))
        real(self, folder, old, new)

    from homeostat.keys import key_of

    monkeypatch.setattr(type(store), "replace", late)
    Upkeep(store, UpkeepConfig()).run(NOW_S)
    monkeypatch.undo()
    kinds = [file.place.kind for file in list_files(store)]
    assert sorted(kinds) == ["labels", "predictions"]
    assert "e1" not in globbed(Path(store.location))
    assert "e1" not in globbed(Path(store.location), "labels")


@pytest.mark.parametrize("ids", [[], ["a", ""]])
def test_an_erasure_needs_ids(store: Store, ids: list[str]) -> None:
    with pytest.raises(ArchiveError, match="ids"):
        erase(store, "churn", ids, by="mira", now_us=0)


def test_a_broken_order_is_named(store: Store) -> None:
    store.put("erasures/1-ab.json", pa.py_buffer(b"{}"))
    with pytest.raises(ArchiveError, match="1-ab"):
        ArchiveReader(store).predictions("churn")


@pytest.mark.parametrize("location", ["nothing://x", "s3://", "s3://b?nonsense=1"])
def test_a_location_that_cannot_be_is_told(location: str) -> None:
    with pytest.raises(StorageInvalid, match="HOMEOSTAT_ARCHIVE"):
        open_store(location)


def test_keys_do_not_get_into_messages() -> None:
    store = open_store("s3://user:secret@bucket/prefix?region=us-east-1")
    assert store.location == "s3://bucket/prefix"
    with pytest.raises(StorageInvalid) as failure:
        open_store("s3://user:secret@bucket/prefix?secret_key=hidden&nonsense=1")
    assert not {"secret", "hidden"} & set(str(failure.value).replace("=", " ").replace(":", " ").split())
