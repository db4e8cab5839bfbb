"""Files of the archive that are not as they were written: noticed before they do harm, named, and worked around."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.archive.counters import ArchiveCounters
from streams.archive.erasure import erase
from streams.archive.errors import ArchiveDamaged, ArchiveError
from streams.archive.files import list_files, open_parquet, tables_in
from streams.archive.layout import ArchiveFile
from streams.archive.read import ArchiveReader
from streams.archive.seal import METADATA
from streams.archive.status import check, status_of
from streams.archive.upkeep import Upkeep, UpkeepConfig, UpkeepReport
from streams.store import LocalStore, Store
from streams.telemetry_names import ARCHIVE_AWAY, ARCHIVE_DAMAGED, ARCHIVE_OVERDUE, ARCHIVE_STORED_FILES
from tests.streams import damage
from tests.streams.archive_parts import NOW_S, START_US, fill, globbed, ids_of, predictions, write

ROOT = Path(__file__).parents[2]


def _path(store: Store, file: ArchiveFile) -> Path:
    return Path(store.location) / file.path


def _flip(path: Path, at: int) -> bytes:
    """Harm one byte (from the end where `at` is negative); returns what was there."""
    sound = path.read_bytes()
    changed = bytearray(sound)
    changed[at] ^= 0x10
    path.write_bytes(changed)
    return sound


def test_nothing_that_happens_to_a_file_ends_the_process_or_changes_a_row(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.streams.damage", str(tmp_path), "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout)
    assert found.keys() == {"refused", "same"}
    assert found["refused"] > damage.FOOTER_FLIPS + damage.OTHERS
    assert found["same"] < damage.PAGE_FLIPS


def test_every_kind_of_file_is_sealed_and_outsiders_read_it(store: Store) -> None:
    ids = fill(store, 4)
    erase(store, "churn", ids[:1], by="me", now_us=START_US)
    Upkeep(store, UpkeepConfig(fan_in=2)).run(START_US / 1e6, closed=False)
    fill(store, 1)
    for file in list_files(store):
        content = _path(store, file).read_bytes()
        footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        assert content[footer - 16 : footer - 8] == b"hmstSEAL", file.path
        assert pq.read_table(_path(store, file)).num_rows == sum(
            one.num_rows for one in tables_in(store, file)
        )


def test_a_file_of_a_writer_that_knew_no_seals_is_read(store: Store) -> None:
    write(store, [predictions(0, 20)])
    [file] = list_files(store)
    [table] = tables_in(store, file)
    old = {name: value for name, value in table.schema.metadata.items() if name != METADATA}
    pq.write_table(table.replace_schema_metadata(old), _path(store, file))
    with open_parquet(store, file) as opened:
        assert opened.read().num_rows == 20
    assert ArchiveReader(store).predictions("churn").num_rows == 20


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "0 bytes long, which is too short"),
        (b"PAR1", "too short"),
        (b"broken, and for quite some time", "it ends with b'time'"),
        (b"PAR1" + b"\xff\xff\xff\x7fPAR1", "12 bytes long, and its footer alone would be 2147483647"),
        (b"PAR1" + b"\x15" * 40 + b"\x28\x00\x00\x00PAR1", "its footer is no Parquet"),
    ],
)
def test_what_is_no_file_of_ours_is_said_in_plain_words(tmp_path: Path, content: bytes, why: str) -> None:
    store = LocalStore(tmp_path / "archive")
    write(store, [predictions(0, 3)])
    [file] = list_files(store)
    _path(store, file).write_bytes(content)
    with pytest.raises(ArchiveDamaged, match=why) as raised:
        ArchiveReader(store).predictions("churn")
    assert str(_path(store, file)) in str(raised.value)
    assert raised.value.path == file.path


@pytest.mark.parametrize("at", [40, -20], ids=["a page", "the footer"])
@pytest.mark.parametrize("closed", [True, False])
def test_neighbours_are_compacted_around_a_damaged_file(store: Store, at: int, closed: bool) -> None:
    ids = fill(store, 9, rows=3)
    harmed = sorted(list_files(store, "predictions"), key=lambda file: file.span)[4]
    sound = _flip(_path(store, harmed), at)
    now_s = NOW_S if closed else START_US / 1e6
    upkeep = Upkeep(store, UpkeepConfig(fan_in=3))
    report = upkeep.run(now_s)
    assert report.damaged == [harmed.path]
    assert [
        file.span.first for file in sorted(list_files(store, "predictions"), key=lambda one: one.span)
    ] == [
        0,
        8,
        10,
    ]
    assert _path(store, harmed).read_bytes() != sound, "it is left alone"
    again = upkeep.run(now_s)
    assert (again.damaged, again.merged) == ([harmed.path], 0)
    with pytest.raises(ArchiveDamaged, match=harmed.span.name):
        ArchiveReader(store).predictions("churn")
    assert ArchiveReader(store).labels("churn").num_rows == 27

    _path(store, harmed).unlink()
    _path(store, harmed).write_bytes(sound)
    mended = upkeep.run(now_s)
    assert (mended.damaged, mended.merged, mended.into) == ([], 3, 1)
    assert ids_of(ArchiveReader(store).predictions("churn")) == ids == globbed(Path(store.location))


def test_a_damaged_file_does_not_keep_orders_and_retention_from_the_others(store: Store) -> None:
    write(store, [predictions(0, 200), predictions(0, 200, "other")])
    first, second = sorted(list_files(store, "predictions", "churn"), key=lambda file: file.place.day)
    now_s = first.changed_s
    held = _path(store, second).read_bytes()
    erase(store, "churn", ["e150"], by="me", now_us=int(now_s * 1e6))
    _path(store, second).write_bytes(held)  # a writer that was stopped for long
    _flip(_path(store, first), -20)
    config = UpkeepConfig(retention_days=1, retention_of={"churn": 36_500})
    report = Upkeep(store, config).run(NOW_S)
    assert report.damaged == [first.path]
    assert (report.erased_again, report.retired) == (1, 2)
    assert "e150" not in pq.read_table(_path(store, second)).column("id").to_pylist()


def test_erasing_goes_on_behind_a_damaged_file_and_gives_no_receipt(store: Store) -> None:
    fill(store, 3)
    harmed, last = sorted(list_files(store, "predictions"), key=lambda file: file.span)[::2]
    sound = _flip(_path(store, harmed), 40)
    with pytest.raises(ArchiveError, match="1 damaged files of churn may hold rows to erase") as raised:
        erase(store, "churn", ["e3", "e31"], by="me", now_us=int(NOW_S * 1e6))
    assert harmed.span.name in str(raised.value)
    assert "e31" not in pq.read_table(_path(store, last)).column("id").to_pylist()
    _path(store, harmed).write_bytes(sound)
    assert erase(store, "churn", ["e3", "e31"], by="me", now_us=int(NOW_S * 1e6)).verified
    assert not {"e3", "e31"} & set(globbed(Path(store.location)))


def test_status_and_check_tell_what_is_damaged(store: Store) -> None:
    fill(store, 4)
    page, footer = list_files(store, "labels")[:2]
    _flip(_path(store, page), 40)
    _flip(_path(store, footer), -20)
    [labels, predictions_] = status_of(store)
    assert (labels.by_day[0].damaged, labels.by_day[0].files, labels.by_day[0].rows) == ((footer.path,), 4, 9)
    assert predictions_.to_data()["damaged"] == []
    told: list[tuple[int, int]] = []
    files, errors = check(store, tell=lambda done, of: told.append((done, of)))
    assert files == 6
    assert [error.path for error in errors] == sorted([page.path, footer.path])
    assert told[-1] == (8, 8)
    assert check(store, "other") == (0, [])


def test_a_file_that_is_compacted_away_after_it_was_opened_is_missing_and_not_out_of_reach(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 4)
    gone = list_files(store)[0]

    def compacted(source: Any) -> Any:
        store.delete(gone.path)
        raise OSError("AWS Error RESOURCE_NOT_FOUND during GetObject operation")

    monkeypatch.setattr("streams.archive.files.read_footer", compacted)
    with pytest.raises(FileNotFoundError), open_parquet(store, gone):
        pass


def test_a_storage_that_goes_away_has_damaged_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "archive")
    fill(store, 2)
    [file, *_] = list_files(store, "predictions")

    class Away:
        """Open, and then the network ends."""

        def __init__(self, source: Any) -> None:
            self._source = source

        def size(self) -> int:
            return self._source.size()

        def read_at(self, *_: Any) -> bytes:
            raise OSError("no route to host")

        def close(self) -> None:
            self._source.close()

    opened = store.open
    monkeypatch.setattr(store, "open", lambda path: Away(opened(path)))
    with pytest.raises(OSError, match="no route to host"):
        list(tables_in(store, file))
    monkeypatch.undo()

    def fails(*_: Any, **__: Any) -> pa.Table:
        monkeypatch.setattr(store, "open", lambda path: (_ for _ in ()).throw(OSError("no route to host")))
        raise OSError("read failed")

    monkeypatch.setattr(pq.ParquetFile, "read", fails)
    with pytest.raises(OSError, match="no route to host"):
        list(tables_in(store, file))


def test_the_counters_say_when_the_archive_stands_still() -> None:
    counters = ArchiveCounters(pending_rows=3, storage_away=True)
    counters.tidied(UpkeepReport(files=7, bytes=70, damaged=["a"]))
    counters.tidied(UpkeepReport(busy=True))
    counters.pending_since_s = 1.0
    told = {sample.metric: sample.value for sample in counters.samples(flush_s=5.0)}
    assert told[ARCHIVE_OVERDUE] > 1e9
    assert (told[ARCHIVE_AWAY], told[ARCHIVE_DAMAGED], told[ARCHIVE_STORED_FILES]) == (1, 1, 7)
    counters.pending_since_s = 0.0
    assert {one.metric: one.value for one in counters.samples(5.0)}[ARCHIVE_OVERDUE] == 0
