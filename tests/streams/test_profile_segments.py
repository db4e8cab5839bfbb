"""The profile stage: segments, schemas that events follow or not, clocks that run ahead, classes by name."""

import dataclasses

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec, Monitor, PaneSnapshot
from homeostat.contract import LabelBatch, PredictionBatch, encode_labels, encode_predictions, headers_of
from streams.control.configuration import Configuration
from streams.deadletters import DeadLetter
from streams.profile.series import MAX_SEGMENT_VALUES, SeriesCodes
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord
from streams.topics import DEADLETTERS, EVENTS, PROFILES

START_US = 1_760_000_000_000_000
ROWS = 400
PLANS = ("gold", "basic", None)


def configuration(**changes: object) -> Configuration:
    rng = np.random.default_rng(5)
    known = Configuration()
    settings: dict[str, object] = {"model": "loan", "segments": ("plan",), "pane_s": 1.0, "window_rows": 100}
    known.add_monitor(Monitor(**(settings | changes)))  # type: ignore[arg-type]
    x = rng.normal(0, 1, 2_000)
    known.add_reference(
        build_reference(
            "loan", "1", {"x": x}, [FeatureSpec(name="x")], scores=1 / (1 + np.exp(-x)), labels=(x > 0) * 1.0
        )
    )
    return known


@dataclasses.dataclass
class World:
    """Seeded events with a segment, and their labels."""

    x: np.ndarray
    plan: list[str | None]
    truth: np.ndarray

    @classmethod
    def of(cls, seed: int = 1) -> "World":
        rng = np.random.default_rng(seed)
        x = rng.normal(0, 1, ROWS)
        return cls(x, [PLANS[i] for i in rng.integers(0, 3, ROWS)], (x + rng.normal(0, 0.5, ROWS) > 0) * 1.0)

    def predictions(self, rows: np.ndarray, sequence: int, **changes: object) -> InputRecord:
        given: dict[str, object] = {
            "model": "loan",
            "version": "1",
            "producer": "p",
            "sequence": sequence,
            "ids": [f"e{row}" for row in rows],
            "times_us": START_US + rows * 10_000,
            "predictions": (self.x[rows] > 0) * 1.0,
            "scores": 1 / (1 + np.exp(-self.x[rows])),
            "features": {"x": self.x[rows]},
            "segments": {"plan": [self.plan[row] for row in rows]},
        }
        batch = PredictionBatch.of(**(given | changes))  # type: ignore[arg-type]
        return InputRecord(EVENTS, 0, sequence, b"loan", encode_predictions(batch), tuple(headers_of(batch)))

    def labels(self, rows: np.ndarray, sequence: int, values: object = None) -> InputRecord:
        batch = LabelBatch.of(
            model="loan",
            producer="p",
            sequence=sequence,
            ids=[f"e{row}" for row in rows],
            times_us=START_US + rows * 10_000 + 500_000,
            values=self.truth[rows] if values is None else values,  # type: ignore[arg-type]
        )
        return InputRecord(EVENTS, 0, sequence, b"loan", encode_labels(batch), tuple(headers_of(batch)))


def run(
    stage: ProfileStage, records: list[InputRecord]
) -> tuple[dict[tuple[str, str, int], PaneSnapshot], list[DeadLetter]]:
    """The last snapshot of each pane, and the dead letters."""
    for record in records:
        stage.process(record)
    stage.end()
    flush = stage.flush(final=True)
    assert flush is not None
    snapshots = [
        msgspec.msgpack.decode(one.value, type=PaneSnapshot) for one in flush.outputs if one.topic == PROFILES
    ]
    letters = [
        msgspec.json.decode(one.value, type=DeadLetter) for one in flush.outputs if one.topic == DEADLETTERS
    ]
    panes = {
        (one.segment, one.axis, (one.pane_us - START_US) // 1_000_000): one
        for one in snapshots
        if one.version
    }
    return panes, letters


@pytest.mark.parametrize("batch_rows", [ROWS, 37, 1])
@pytest.mark.parametrize("labels_first", [False, True])
def test_each_segment_is_counted_by_itself(batch_rows: int, labels_first: bool) -> None:
    world, known = World.of(), configuration()
    starts = range(0, ROWS, batch_rows)
    rows = [np.arange(start, min(start + batch_rows, ROWS)) for start in starts]
    predictions = [world.predictions(part, number) for number, part in enumerate(rows)]
    labels = [world.labels(part, number + len(rows)) for number, part in enumerate(rows)]
    records = [*labels, *predictions] if labels_first else [*predictions, *labels]
    ordered = [dataclasses.replace(record, offset=offset) for offset, record in enumerate(records)]
    if labels_first:
        for offset, record in enumerate(ordered):
            headers = tuple((n, str(offset).encode() if n == "sequence" else v) for n, v in record.headers)
            ordered[offset] = dataclasses.replace(record, headers=headers)
    panes, letters = run(ProfileStage(0, 1, known), ordered)
    assert not letters
    plan = np.array([name or "" for name in world.plan])
    reference = known.reference("loan", "1")
    for second in range(4):
        inside = np.arange(ROWS) // 100 == second
        for segment, mine in (
            ("all", inside),
            ("plan=gold", inside & (plan == "gold")),
            ("plan=basic", inside & (plan == "basic")),
        ):
            pane = panes[segment, "event", second]
            assert pane.rows == mine.sum()
            said, truth = world.x[mine] > 0, world.truth[mine] > 0
            confusion = Profile.from_bytes(reference, pane.profile).confusion
            assert confusion.tp == int((said & truth).sum())
            assert confusion.tn == int((~said & ~truth).sum())
    assert {segment for segment, _, _ in panes} == {"all", "plan=gold", "plan=basic"}


def test_segments_survive_a_restart_and_stay_few() -> None:
    codes = SeriesCodes()
    values = [f"v{number}" for number in range(MAX_SEGMENT_VALUES + 10)]
    batch = PredictionBatch.of(
        model="loan",
        version="1",
        producer="p",
        sequence=0,
        ids=values,
        times_us=np.full(len(values), START_US),
        predictions=np.zeros(len(values)),
        segments={"plan": values},
    )
    found = np.asarray(codes.of(batch, ("plan",)))
    labels = [codes.segments(code)[1] for code in found.tolist()]
    assert labels[:MAX_SEGMENT_VALUES] == [f"plan={value}" for value in values[:MAX_SEGMENT_VALUES]]
    assert set(labels[MAX_SEGMENT_VALUES:]) == {"plan=(other)"}
    with capture_logs() as logs:
        for _ in range(2):
            codes.tell_crowded("loan", 2)
    assert [(one["column"], one["told_apart"], one["spread"]) for one in logs] == [
        ("plan", MAX_SEGMENT_VALUES, 2)
    ]
    again = SeriesCodes(list(codes))
    assert np.asarray(again.of(batch, ("plan",))).tolist() == found.tolist()
    assert list(again) == list(codes)


def test_a_batch_without_the_segment_counts_as_a_whole_only() -> None:
    world = World.of()
    panes, _ = run(ProfileStage(0, 1, configuration()), [world.predictions(np.arange(50), 0, segments=None)])
    assert {segment for segment, _, _ in panes} == {"all"}


def test_rows_from_the_future_move_no_watermark_and_can_be_sent_again() -> None:
    world, known = World.of(), configuration()
    stage = ProfileStage(0, 1, known)
    rows = np.arange(100)
    times_us = START_US + rows * 10_000
    times_us[[3, 50]] += 3_600_000_000
    record = world.predictions(rows, 0, times_us=times_us)
    arrived = dataclasses.replace(record, timestamp_us=START_US + 1_000_000)
    panes, letters = run(stage, [arrived])
    assert panes["all", "event", 0].rows == 98
    assert {second for _, _, second in panes} == {0}
    assert [letter.field for letter in letters] == ["time"]
    assert "2 of 100 rows are from the future" in letters[0].reason
    again = dataclasses.replace(
        arrived, value=letters[0].original, headers=letters[0].headers, timestamp_us=START_US + 3_700_000_000
    )
    panes, letters = run(ProfileStage(0, 1, known), [again])
    assert sum(pane.rows for (segment, _, _), pane in panes.items() if segment == "all") == 2
    assert not letters


def test_a_batch_whose_columns_clash_with_the_schema_is_set_aside_as_a_whole() -> None:
    world, known = World.of(), configuration()
    stage = ProfileStage(0, 1, known)
    texts = np.array(["1.0"] * 20, dtype=object)
    panes, letters = run(
        stage,
        [world.predictions(np.arange(20), 0, features={"x": texts}), world.predictions(np.arange(20, 60), 1)],
    )
    assert panes["all", "event", 0].rows == 40
    assert [(letter.field, letter.model) for letter in letters] == [("column f.x", "loan")]


def test_classes_come_by_name() -> None:
    rng = np.random.default_rng(2)
    classes = ("cat", "dog", "emu")
    truth = rng.integers(0, 3, 600)
    said = np.where(rng.random(600) < 0.8, truth, (truth + 1) % 3)
    known = Configuration()
    known.add_monitor(Monitor(model="loan", task="multiclass", pane_s=1.0))
    reference = build_reference(
        "loan",
        "1",
        {"x": rng.normal(0, 1, 600)},
        [FeatureSpec(name="x")],
        scores=np.full(600, 0.8),
        predictions=said.astype(float),
        labels=truth.astype(float),
        task="multiclass",
        classes=classes,
    )
    known.add_reference(reference)
    world, rows = World.of(), np.arange(100)
    names = [classes[i] for i in said[:100]]
    predictions = world.predictions(rows, 0, predictions=names, segments=None)
    labels = world.labels(rows, 1, values=[classes[i] for i in truth[:100]])
    panes, letters = run(ProfileStage(0, 1, known), [predictions, labels])
    assert not letters
    profile = Profile.from_bytes(reference, panes["all", "event", 0].profile)
    assert profile.labelled == 100


def test_a_value_that_is_called_as_the_others_are_takes_no_place_of_one() -> None:
    """Whatever a restart finds, as many values are told apart."""
    values = ["(other)", *(f"v{number}" for number in range(MAX_SEGMENT_VALUES))]
    batch = PredictionBatch.of(
        model="loan",
        version="1",
        producer="p",
        sequence=0,
        ids=values,
        times_us=np.full(len(values), START_US),
        predictions=np.zeros(len(values)),
        segments={"plan": values},
    )
    codes = SeriesCodes()
    found = np.asarray(codes.of(batch, ("plan",)))
    assert [codes.segments(code)[1] for code in found.tolist()] == [f"plan={value}" for value in values]
