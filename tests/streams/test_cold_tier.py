"""The cold tier: where a prediction lies changes no number, and no file is missing that a checkpoint names."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.fs as pafs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from detectors.values import Accounting, PaneSnapshot
from streams.profile.cold_store import FolderSegments, MirroredSegments, Part, SegmentError, segment_stores
from streams.profile.cold_tier import ColdConfig, ColdTier, Shelf
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord
from streams.store import ObjectStore
from streams.topics import METRICS, PROFILES
from tests.streams.cold_parts import ONE_VERSION, held
from tests.streams.stream_data import Events, label_record, make_configuration, make_events, prediction_record

MODEL = "loan"
SECOND_US = 1_000_000
SHORT = {"pane_s": 0.5, "lateness_s": 1.0, "label_horizon_s": 15.0, "hot_horizon_s": 2.0}
SLOW = settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
"""An example takes a third of a second, and what fails is not smaller than its stream: no shrinking."""


class Line:
    """A stage over records in memory that checkpoints at the same records in every run, and dies in between."""

    def __init__(self, cold: ColdConfig | None, **changes: object) -> None:
        self.cold = cold
        self.configuration = make_configuration(MODEL, ("1", "2"), **(SHORT | changes))
        self.topics: dict[str, list[InputRecord]] = {}
        self.checkpoint: tuple[int, bytes, dict[str, list[tuple[int, int]]]] | None = None
        self.stage = self.restored()
        self.most_hot = self.most_cold = 0

    def run(
        self, records: Sequence[InputRecord], flush_at: set[int], deaths: np.random.Generator | None
    ) -> None:
        while self.stage.offset + 1 < len(records):
            self.stage.process(records[self.stage.offset + 1])
            if self.stage.offset in flush_at:
                self.save(killed=deaths is not None and deaths.random() < 0.15)
            if deaths is not None and deaths.random() < 0.05:
                self.stage = self.restored()
        self.stage.end()
        self.save(final=True)

    def save(self, *, final: bool = False, killed: bool = False) -> None:
        stage, offset = self.stage, self.stage.offset
        # Nothing is held back: how long a pane can be corrected is then a matter of the records alone.
        flush = stage.flush(final=True)
        self.most_hot = max(self.most_hot, self.rows(hot=True))
        self.most_cold = max(self.most_cold, self.rows(hot=False))
        if flush is None:
            return
        if killed and not final:
            self.stage = self.restored()
            return
        written: dict[str, list[int]] = {}
        for topic, deltas in flush.deltas.items():
            stored = self.topics.setdefault(topic, [])
            written[topic] = [len(stored) + number for number in range(len(deltas))]
            stored += [
                InputRecord(topic, 0, place, delta.key, delta.value, ())
                for place, delta in zip(written[topic], deltas, strict=True)
            ]
        for output in flush.outputs:
            stored = self.topics.setdefault(output.topic, [])
            stored.append(InputRecord(output.topic, 0, len(stored), output.key, output.value, output.headers))
        snapshot = stage.snapshot(written)
        self.checkpoint = (offset, snapshot.state, snapshot.needed)
        stage.committed()

    def restored(self) -> ProfileStage:
        stage = ProfileStage(0, 1, self.configuration, self.cold)
        if self.checkpoint is not None:
            offset, state, needed = self.checkpoint
            log = {
                topic: [self.topics[topic][at] for first, last in ranges for at in range(first, last + 1)]
                for topic, ranges in needed.items()
            }
            stage.restore(offset, state, log)
        return stage

    def rows(self, *, hot: bool) -> int:
        state = self.stage._models[MODEL]  # pyright: ignore[reportPrivateUsage]
        return len(state.table) if hot else len(state.cold or ())

    def accounting(self) -> Accounting:
        found = [msgspec.json.decode(r.value or b"", type=Accounting) for r in self.topics[METRICS]]
        return found[-1]

    def panes(self) -> dict[tuple[str, str, str, int], tuple[int, int | None, bytes]]:
        snapshots = [msgspec.msgpack.decode(r.value or b"", type=PaneSnapshot) for r in self.topics[PROFILES]]
        return {
            (one.axis, one.version, one.segment, one.pane_us): (one.rows, one.sealed_rows, one.profile)
            for one in snapshots
            if one.version
        }


def stream(seed: int, *, resent: bool = True, rows: int = 250) -> list[InputRecord]:
    """Predictions of half a minute, a tenth of them again under another version some seconds later; labels from a
    second before to twenty seconds behind, some again, some with another value. `resent`: some predictions come
    again, at once or (with a new time) much later."""
    rng = np.random.default_rng(seed)
    events = make_events(rows, seed, rate=rows / 30)
    start_us, everything = int(events.times_us[0]), np.arange(rows)
    sends: list[tuple[int, str, np.ndarray, Events]] = []

    def send(what: str, chosen: np.ndarray, times_us: np.ndarray) -> None:
        there = dataclasses.replace(events, times_us=events.times_us.copy())
        there.times_us[chosen] = there.label_times_us[chosen] = np.maximum(times_us, start_us)
        order = chosen[np.argsort(there.times_us[chosen], kind="stable")]
        cuts = np.flatnonzero(np.diff(there.times_us[order] // (SECOND_US // 2))) + 1
        sends.extend((int(there.times_us[part[-1]]), what, part, there) for part in np.split(order, cuts))

    def some(share: float) -> np.ndarray:
        return everything[rng.random(rows) < share]

    events.label_times_us = events.times_us.copy()
    send("1", everything, events.times_us)
    again = some(0.1)
    send("2", again, events.times_us[again] + rng.integers(0, 8 * SECOND_US, len(again)))
    for what, share in (("label", 0.7), ("label", 0.3), ("other", 0.2)):
        chosen = some(share)
        delays = rng.choice([-0.5, 0.3, 2.5, 5.0, 9.0, 20.0], len(chosen)) * SECOND_US
        send(what, chosen, events.times_us[chosen] + delays.astype(np.int64))
    if resent:
        twice, later = some(0.1), some(0.1)
        send("1", twice, events.times_us[twice] + rng.integers(0, SECOND_US, len(twice)))
        send("1", later, events.times_us[later] + rng.integers(2, 12, len(later)) * SECOND_US)
    sends.sort(key=lambda one: one[0])
    return [
        prediction_record(there, part, MODEL, number, what, offset=number)
        if what in ("1", "2")
        else label_record(
            there,
            part,
            MODEL,
            number,
            values=events.labels[part] if what == "label" else 1 - events.labels[part],
            offset=number,
        )
        for number, (_, what, part, there) in enumerate(sends)
    ]


def flushes(records: Sequence[InputRecord], every: int) -> set[int]:
    return set(range(every - 1, len(records), every))


RUNS = given(
    seed=st.integers(0, 2**32 - 1),
    every=st.integers(1, 12),
    least=st.sampled_from([0, 40, 150]),
    most=st.sampled_from([30, 10_000]),
)


@SLOW
@RUNS
def test_where_a_prediction_lies_changes_no_number(
    tmp_path_factory: pytest.TempPathFactory, seed: int, every: int, least: int, most: int
) -> None:
    no_difference(tmp_path_factory.mktemp("segments"), seed, every, least, most)


@pytest.mark.soak
@pytest.mark.timeout(1_200)
@settings(SLOW, max_examples=200)
@RUNS
def test_where_a_prediction_lies_changes_no_number_in_many_runs(
    tmp_path_factory: pytest.TempPathFactory, seed: int, every: int, least: int, most: int
) -> None:
    no_difference(tmp_path_factory.mktemp("segments"), seed, every, least, most)


def no_difference(folder: Path, seed: int, every: int, least: int, most: int) -> None:
    """With segments and deaths as without either, and the account whatever the times of the checkpoints."""
    store = FolderSegments(folder)
    records = stream(seed)
    flush_at = flushes(records, every)
    hot, cold = Line(None), Line(ColdConfig(store, least, most))
    hot.run(records, flush_at, None)
    cold.run(records, flush_at, np.random.default_rng(seed))
    assert cold.accounting() == hot.accounting()
    assert cold.panes() == hot.panes()
    others = Line(ColdConfig(store, least, most))
    others.run(records, flushes(records, 13 - every), None)
    assert others.accounting() == hot.accounting()
    accounting = hot.accounting()
    assert min(accounting.joined, accounting.revised, accounting.label_duplicates, accounting.orphaned) > 0
    if least < 50:
        assert cold.most_cold > 0


@SLOW
@given(seed=st.integers(0, 2**32 - 1), every=st.integers(1, 12))
def test_a_short_hot_horizon_gives_what_an_endless_one_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, every: int
) -> None:
    store = FolderSegments(tmp_path_factory.mktemp("segments"))
    records = [record for record in stream(seed, resent=False) if dict(record.headers).get("version") != b"2"]
    records = [dataclasses.replace(record, offset=number) for number, record in enumerate(records)]
    flush_at = flushes(records, every)
    endless, short = Line(None, hot_horizon_s=1e6), Line(ColdConfig(store, 0))
    endless.run(records, flush_at, None)
    short.run(records, flush_at, np.random.default_rng(seed))
    assert short.accounting() == endless.accounting()
    assert short.panes() == endless.panes()
    assert short.most_cold > 0


def test_memory_holds_the_hot_horizon_and_the_log_is_short(tmp_path: Path) -> None:
    records = stream(3, resent=False, rows=3_000)
    line = Line(ColdConfig(FolderSegments(tmp_path), 0))
    line.run(records, flushes(records, 4), None)
    assert line.most_hot < 1_200, "2 s of 30 s, about twice over, and labels that wait"
    assert line.most_cold > 900
    assert len(list(tmp_path.iterdir())) <= 8
    assert line.checkpoint is not None
    needed = sum(last - first + 1 for first, last in line.checkpoint[2]["homeostat.state.profile.ids"])
    assert needed < len(line.topics["homeostat.state.profile.ids"])


def test_segments_are_merged_and_dropped_with_their_time(tmp_path: Path) -> None:
    store, rng = FolderSegments(tmp_path), np.random.default_rng(1)
    shelf = Shelf(ColdConfig(store, 0, most_rows=4_000))
    tier = ColdTier(MODEL, shelf)
    keys = rng.integers(0, 2**63, 10_000, dtype=np.uint64)
    for minute in range(50):
        assert tier.add(held(keys[minute * 200 :][:200].tolist(), minute), ONE_VERSION, 0)
    assert len(tier) == 10_000
    assert len(tier.manifest()) <= 12
    assert max(info.rows for info in tier.manifest()) <= 4_000
    found = tier.find(keys[::7], ONE_VERSION, 0)
    assert found is not None
    assert sorted(found.rows["key"].tolist()) == sorted(keys[::7].tolist())
    assert tier.find(keys[:50], ONE_VERSION, 25) is None
    shelf.committed()
    assert store.names() == {info.name for info in tier.manifest()}
    tier.drop_before(30)
    assert len(tier) < 8_000
    for minute in range(50, 54):
        tier.add(held([minute], minute), ONE_VERSION, 49)
    tier.drop_before(49)
    assert 204 <= len(tier) <= 4_000
    again = tier.find(keys, ONE_VERSION, 49)
    assert again is not None
    assert len(again.rows) == 200


def test_a_file_that_a_checkpoint_names_is_kept_and_what_a_crash_leaves_is_swept(tmp_path: Path) -> None:
    records = stream(5)
    store = FolderSegments(tmp_path)
    line = Line(ColdConfig(store, 0))
    half = len(records) // 2
    for record in records[:half]:
        line.stage.process(record)
        line.save()
    named = set(named_by(line))
    assert named
    assert store.names() == named
    for record in records[half : half + 40]:
        line.stage.process(record)
    zombie = line.stage
    assert zombie.flush() is not None
    orphans = store.names() - named
    assert orphans, "a segment was put, and its owner died before the checkpoint"
    (tmp_path / "half.tmp").write_bytes(b"half written")
    line.stage = line.restored()
    assert store.names() == named | orphans | {"half.tmp"}, (
        "nothing is deleted before a checkpoint is committed"
    )
    for record in records[half : half + 40]:
        line.stage.process(record)
    line.save()
    assert store.names() == set(named_by(line))
    line.restored()


def named_by(line: Line) -> list[str]:
    return line.restored()._models[MODEL].segment_names  # pyright: ignore[reportPrivateUsage]


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A line whose last checkpoint names segments."""
    records = stream(7)
    line = Line(ColdConfig(FolderSegments(tmp_path_factory.mktemp("aged")), 0))
    line.run(records, flushes(records, 3), None)
    return line


def test_a_missing_or_damaged_file_is_named_with_what_to_do(aged: Line, tmp_path: Path) -> None:
    assert aged.cold is not None
    name = named_by(aged)[-1]
    content = Path(aged.cold.store.location, name).read_bytes()
    for found in named_by(aged):
        (tmp_path / found).write_bytes(Path(aged.cold.store.location, found).read_bytes())
    line = Line(None)
    line.topics, line.checkpoint = aged.topics, aged.checkpoint
    with pytest.raises(SegmentError, match="HOMEOSTAT_SEGMENTS is not set"):
        line.restored()
    (tmp_path / name).write_bytes(content[:-70] + b"x" + content[-69:])
    line.cold = ColdConfig(FolderSegments(tmp_path))
    with pytest.raises(SegmentError, match=f"{name} is damaged.*Put the file back"):
        line.restored()
    (tmp_path / name).unlink()
    with pytest.raises(SegmentError, match=f"{name} is missing.*shared folder or object storage"):
        line.restored()
    (tmp_path / name).write_bytes(content)
    line.restored()


class Full(FolderSegments):
    """A disk that takes nothing."""

    def put(self, parts: Sequence[Part]) -> str:
        raise OSError(28, "No space left on device")


def test_where_the_disk_is_full_predictions_stay_in_memory(tmp_path: Path) -> None:
    records = stream(9)
    flush_at = flushes(records, 5)
    hot, cold = Line(None), Line(ColdConfig(Full(tmp_path), 0))
    hot.run(records, flush_at, None)
    cold.run(records, flush_at, np.random.default_rng(2))
    assert cold.most_cold == 0
    assert (cold.accounting(), cold.panes()) == (hot.accounting(), hot.panes())


def test_object_storage_is_mirrored_where_the_worker_is(tmp_path: Path) -> None:
    system = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    (tmp_path / "bucket").mkdir()

    def store(machine: str) -> MirroredSegments:
        remote = ObjectStore(system, "bucket", "s3://key:secret@bucket?region=x")
        return MirroredSegments(remote, "partition-0", FolderSegments(tmp_path / machine))

    (tmp_path / "bucket" / "partition-0").mkdir()
    name = store("one").put([b"some", memoryview(b" rows")])
    assert store("two").open(name)[:] == b"some rows"
    (tmp_path / "two" / name).write_bytes(b"nonsense.")
    assert store("two").open(name)[:] == b"some rows"
    assert store("two").names() == {name}
    assert store("one").location == "s3://bucket/partition-0"
    store("one").delete(name)
    with pytest.raises(SegmentError, match=r"s3://bucket/partition-0/.* is missing"):
        store("three").open(name)


def test_every_partition_has_a_folder_of_its_own(tmp_path: Path) -> None:
    of = segment_stores(str(tmp_path / "here"), tmp_path / "copies")
    assert of(3) is of(3)
    name = of(3).put([b"rows"])
    assert (of(3).names(), of(4).names()) == ({name}, set())
    assert (tmp_path / "here" / "partition-3" / name).exists()
