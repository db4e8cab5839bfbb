"""The profile stage: duplicates, lateness, sealing, the label join in every order, accounting."""

import dataclasses

import msgspec
import numpy as np
import pytest

from detectors.profile import Profile
from detectors.values import Accounting, PaneSnapshot
from streams.control.schemas import FeatureSchema, build_schema
from streams.deadletters import DeadLetter
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord, OutputRecord
from streams.topics import DEADLETTERS, EVENTS, METRICS, PROFILES
from tests.streams.stream_data import (
    START_US,
    Events,
    label_record,
    make_configuration,
    make_events,
    prediction_record,
)

MODEL = "loan"
SECOND_US = 1_000_000


class Driver:
    """A stage with its outputs decoded."""

    def __init__(self, **settings: object) -> None:
        self.configuration = make_configuration(MODEL, ("1", "2"), **settings)
        self.stage = ProfileStage(0, 1, self.configuration)
        self.snapshots: list[PaneSnapshot] = []
        self.accounting: dict[str, Accounting] = {}
        self.letters: list[DeadLetter] = []
        self.sequence = 0

    def send(self, record: InputRecord) -> None:
        self.stage.process(dataclasses.replace(record, offset=self.stage.offset + 1))

    def predict(self, events: Events, rows: object, version: str = "1", sequence: int | None = None) -> None:
        self.sequence += 1
        number = self.sequence if sequence is None else sequence
        self.send(prediction_record(events, np.atleast_1d(np.asarray(rows)), MODEL, number, version))

    def label(self, events: Events, rows: object, **changes: object) -> None:
        self.sequence += 1
        self.send(label_record(events, np.atleast_1d(np.asarray(rows)), MODEL, self.sequence, **changes))  # type: ignore[arg-type]

    def flush(self, final: bool = True) -> None:
        flush = self.stage.flush(final)
        if flush is None:
            return
        self.stage.snapshot({topic: range(len(deltas)) for topic, deltas in flush.deltas.items()})
        for output in flush.outputs:
            self._take(output)

    def counts(self, model: str = MODEL) -> Accounting:
        self.flush()
        return self.accounting[model]

    def panes(self, axis: str) -> dict[tuple[str, int], PaneSnapshot]:
        """The last snapshot of each pane, after the end of the input."""
        self.stage.end()
        self.flush()
        return {
            (found.version, (found.pane_us - START_US) // SECOND_US): found
            for found in self.snapshots
            if found.axis == axis and found.version
        }

    def profile(self, snapshot: PaneSnapshot) -> Profile:
        return Profile.from_bytes(self.configuration.reference(MODEL, snapshot.version), snapshot.profile)

    def _take(self, output: OutputRecord) -> None:
        if output.topic == PROFILES:
            self.snapshots.append(msgspec.msgpack.decode(output.value, type=PaneSnapshot))
        elif output.topic == METRICS:
            account = msgspec.json.decode(output.value, type=Accounting)
            self.accounting[account.model] = account
            assert (
                account.received
                == account.profiled + account.late + account.deadlettered + account.duplicates
            )
            assert account.label_received == (
                account.joined
                + account.waiting
                + account.orphaned
                + account.revised
                + account.label_deadlettered
                + account.label_duplicates
            )
        elif output.topic == DEADLETTERS:
            self.letters.append(msgspec.json.decode(output.value, type=DeadLetter))


def at_seconds(*seconds: float) -> Events:
    """Events with these times after the start; labels become known one second later."""
    events = make_events(len(seconds), 3)
    events.times_us = START_US + (np.array(seconds) * SECOND_US).astype(np.int64)
    events.label_times_us = events.times_us + SECOND_US
    return events


def test_rows_fall_into_panes_of_event_time() -> None:
    driver = Driver()
    driver.predict(at_seconds(0.1, 0.9, 1.0, 2.5), np.arange(4))
    assert {key: pane.rows for key, pane in driver.panes("event").items()} == {
        ("1", 0): 2,
        ("1", 1): 1,
        ("1", 2): 1,
    }


def test_a_pane_is_sealed_in_the_middle_of_a_batch_whatever_the_batches() -> None:
    events = at_seconds(0.1, 0.2, 1.4, 0.3, 1.6, 0.4, 3.0)
    sealed = []
    for cuts in ([7], [1] * 7, [3, 4], [5, 2]):
        driver = Driver()
        start = 0
        for rows in cuts:
            driver.predict(events, np.arange(start, start + rows))
            start += rows
        driver.flush()
        first = next(found for found in driver.snapshots if found.pane_us == START_US)
        sealed.append((first.rows, first.sealed_rows, first.profile))
        last = driver.panes("event")["1", 0]
        assert (last.rows, last.sealed_rows) == (4, 3)
    assert sealed[0][:2] == (3, 3), "1.6 s is the first time past the pane's end and the delay of 0.5 s"
    assert all(found == sealed[0] for found in sealed)


def test_a_repeated_id_counts_once_per_version() -> None:
    events = at_seconds(0.1, 0.2, 0.3)
    driver = Driver()
    driver.predict(events, [0, 1, 0])
    driver.predict(events, [1, 2])
    driver.predict(events, [0, 1, 2], version="2")
    counts = driver.counts()
    assert (counts.received, counts.profiled, counts.duplicates) == (8, 6, 2)


def test_a_batch_sent_again_under_its_number_is_a_duplicate_as_a_whole() -> None:
    events = at_seconds(0.1, 0.2)
    driver = Driver()
    driver.predict(events, [0, 1], sequence=5)
    driver.predict(events, [0, 1], sequence=5)
    driver.sequence = 5
    driver.label(events, [0])
    driver.sequence = 5
    driver.label(events, [0], values=np.array([9.0]))
    counts = driver.counts()
    assert (counts.profiled, counts.duplicates) == (2, 2)
    assert (counts.joined, counts.revised, counts.label_duplicates) == (1, 0, 1)


def test_what_is_later_than_the_lateness_is_counted_and_not_profiled() -> None:
    driver = Driver(lateness_s=30.0)
    events = at_seconds(100.0, 69.9, 70.1)
    driver.predict(events, [0, 1, 2])
    counts = driver.counts()
    assert (counts.received, counts.profiled, counts.late) == (3, 2, 1)


def test_the_lateness_of_a_file_is_that_of_the_stream_to_the_microsecond() -> None:
    lateness_s, behind_s = 0.6, 8.0
    assert lateness_s + behind_s - behind_s < lateness_s
    driver = Driver(lateness_s=lateness_s + behind_s, behind_s=behind_s)
    driver.predict(at_seconds(10.0, 9.4, 9.3), [0, 1, 2])
    assert (driver.counts().profiled, driver.counts().late) == (2, 1)


def test_an_unreadable_record_goes_to_the_dead_letters_with_its_bytes() -> None:
    driver = Driver()
    driver.send(InputRecord(EVENTS, 0, 0, None, b"not arrow", (("kind", b"predictions"),)))
    counts = driver.counts("_unknown")
    assert (counts.received, counts.deadlettered) == (1, 1)
    (letter,) = driver.letters
    assert (letter.original, letter.topic, letter.offset, letter.stage) == (
        b"not arrow",
        EVENTS,
        0,
        "profile",
    )


@pytest.mark.parametrize("label_first", [False, True])
def test_an_outcome_counts_in_both_panes_whichever_comes_first(label_first: bool) -> None:
    events = at_seconds(0.5)
    driver = Driver()
    if label_first:
        driver.label(events, 0)
        assert driver.counts().waiting == 1
    driver.predict(events, 0)
    if not label_first:
        driver.label(events, 0)
    counts = driver.counts()
    assert (counts.joined, counts.waiting) == (1, 0)
    by_event, by_label = driver.panes("event")["1", 0], driver.panes("label")["1", 1]
    assert driver.profile(by_event).labelled == 1
    assert driver.profile(by_label).labelled == by_label.rows == 1


@pytest.mark.parametrize("label_first", [False, True])
def test_a_label_of_a_time_before_its_prediction_counts_at_that_of_the_prediction(label_first: bool) -> None:
    """Which windows of labels have closed by then depends on who else is in the partition."""
    events, driver = at_seconds(0.5, 5.5, 7.5), Driver()
    driver.predict(events, 0)
    if not label_first:
        driver.predict(events, 1)
    driver.label(events, [1, 0], times_us=START_US + np.array([1, 5]) * SECOND_US)
    if label_first:
        driver.predict(events, 1)
    driver.label(events, [0, 1, 2])
    by_label = driver.panes("label")
    assert {second: (pane.rows, pane.sealed_rows) for (_, second), pane in by_label.items()} == {5: (2, 2)}


def test_an_outcome_of_a_prediction_behind_its_label_is_sealed_where_no_label_comes_any_more() -> None:
    events, driver = at_seconds(0.5, 60.5), Driver()
    driver.predict(events, 0)
    driver.label(events, [0, 1], times_us=np.full(2, START_US + SECOND_US))
    for at_s in (100.0, 103.0):
        driver.stage.tick(START_US + int(at_s * SECOND_US), caught_up=True)
    driver.predict(events, 1)
    driver.flush()
    assert [one.pane_us for one in driver.snapshots if one.axis == "label" and one.version] == [
        START_US + SECOND_US
    ]
    for at_s in (104.0, 200.0):
        driver.stage.tick(START_US + int(at_s * SECOND_US), caught_up=True)
    driver.flush()
    last = [one for one in driver.snapshots if one.axis == "label" and one.version][-1]
    assert (last.pane_us, last.rows, last.sealed_rows) == (START_US + 60 * SECOND_US, 1, 1)


def test_a_label_belongs_to_every_version_of_the_event() -> None:
    events = at_seconds(0.5)
    driver = Driver()
    driver.predict(events, 0)
    driver.label(events, 0)
    driver.predict(events, 0, version="2")
    assert driver.counts().joined == 1
    panes = driver.panes("label")
    assert {version for version, _ in panes} == {"1", "2"}
    assert all(driver.profile(pane).labelled == 1 for pane in panes.values())


@pytest.mark.parametrize("in_one_batch", [False, True])
def test_another_value_is_a_revision_and_the_same_a_duplicate(in_one_batch: bool) -> None:
    events = at_seconds(0.5)
    events.labels[0] = 1.0 - events.predictions[0]
    driver = Driver()
    driver.predict(events, 0)
    values = [events.labels[0], 1 - events.labels[0], 1 - events.labels[0]]
    if in_one_batch:
        driver.label(events, [0, 0, 0], values=np.array(values))
    else:
        for value in values:
            driver.label(events, 0, values=np.array([value]))
    counts = driver.counts()
    assert (counts.joined, counts.revised, counts.label_duplicates) == (1, 1, 1)
    for pane in (driver.panes("event")["1", 0], driver.panes("label")["1", 1]):
        confusion = driver.profile(pane).confusion
        assert confusion.rows == 1
        assert confusion.tp + confusion.tn == 1, "the revised label says that the prediction was right"


@pytest.mark.parametrize("times_s", [(4.1, 3.8), (3.8, 4.1), (3.2, 3.8), (2.2, 2.9)])
def test_a_revision_takes_back_only_what_was_counted(times_s: tuple[float, float]) -> None:
    """The window of a prediction at 0.5 s counts labels up to 4 s: the lateness of 2.5 s is taken in whole panes."""
    events, driver = at_seconds(0.5), Driver(lateness_s=2.5)
    driver.predict(events, 0)
    right = float(events.predictions[0])
    for value, time_s in zip((1 - right, right), times_s, strict=True):
        times_us = START_US + np.array([time_s * SECOND_US]).astype(np.int64)
        driver.label(events, 0, values=np.array([value]), times_us=times_us)
    event, label = driver.profile(driver.panes("event")["1", 0]), driver.panes("label")
    assert min(event.confusion) >= 0
    assert event.labelled == (times_s[0] < 4)
    assert event.confusion.tp + event.confusion.tn == (max(times_s) < 4), (
        "the revised label was known in time"
    )
    assert sum(driver.profile(one).labelled for one in label.values()) == 1


def test_a_revision_out_of_order_takes_back_nothing_that_was_never_counted() -> None:
    """The second label comes too late for the prediction's window. The third one is older, and finds the second."""
    events, driver = at_seconds(0.5), Driver(lateness_s=30.0)
    driver.predict(events, 0)
    right = float(events.predictions[0])
    for value, time_s in ((right, 1.5), (1 - right, 40.0), (right, 2.0)):
        times_us = START_US + np.array([int(time_s * SECOND_US)])
        driver.label(events, 0, values=np.array([value]), times_us=times_us)
    for profile in (driver.profile(driver.panes(axis)["1", at]) for axis, at in (("event", 0), ("label", 1))):
        assert min(profile.confusion) >= 0
        assert profile.confusion.tp + profile.confusion.tn == profile.labelled == 1
    assert driver.counts().revised == 2


def test_a_label_of_an_unknown_class_is_a_label_and_can_be_revised() -> None:
    events, driver = at_seconds(0.5), Driver()
    schema = build_schema(MODEL, "2", [FeatureSchema(name="age")], task="binary", classes=["no", "yes"])
    driver.configuration.add_schema(schema)
    driver.predict(events, 0)
    for value in ("perhaps", "perhaps", "yes"):
        driver.label(events, 0, values=[value])
    counts = driver.counts()
    assert (counts.joined, counts.label_duplicates, counts.revised) == (1, 1, 1)
    for pane in (driver.panes("event")["1", 0], driver.panes("label")["1", 1]):
        assert driver.profile(pane).labelled == 1
    assert driver.panes("label")["1", 1].rows == 1


def test_the_cut_into_batches_decides_on_no_revision() -> None:
    """A revision that comes after its label's pane could be corrected, by a label that came right before."""
    events, driver, others = at_seconds(0.5, 40.0), Driver(lateness_s=30.0), Driver(lateness_s=30.0)
    values = np.array([0.0, 1.0, 1.0])
    times_us = START_US + np.array([1_000_000, 40_500_000, 40_600_000])
    for one, parts in ((driver, [[0, 1, 2]]), (others, [[0], [1], [2]])):
        one.predict(events, [0, 1])
        for part in parts:
            rows = np.array([0, 1, 0])[part]
            one.label(events, rows, values=values[part], times_us=times_us[part])
    first, last = (one.panes("label")["1", 1] for one in (driver, others))
    assert first.profile == last.profile
    assert driver.counts() == others.counts()


def test_a_waiting_label_can_be_revised_and_is_orphaned_past_the_horizon() -> None:
    events = at_seconds(0.5, 0.6, 4_000.0)
    driver = Driver(label_horizon_s=3_600.0)
    driver.label(events, 0, values=np.array([0.0]))
    driver.label(events, 0, values=np.array([1.0]))
    driver.label(events, 0, values=np.array([1.0]))
    driver.label(events, 1)
    counts = driver.counts()
    assert (counts.waiting, counts.revised, counts.label_duplicates) == (2, 1, 1)
    driver.predict(events, 0)
    assert driver.counts().joined == 1
    driver.predict(events, 2)
    counts = driver.counts()
    assert (counts.waiting, counts.orphaned, counts.joined) == (0, 1, 1)


def test_a_label_for_a_dropped_pane_still_counts_on_the_label_axis() -> None:
    events = at_seconds(0.5, 100.0)
    events.label_times_us[0] = START_US + 100 * SECOND_US
    driver = Driver(lateness_s=30.0)
    driver.predict(events, [0, 1])
    driver.flush()
    driver.label(events, 0)
    assert driver.profile(driver.panes("label")["1", 100]).labelled == 1
    assert driver.profile(driver.panes("event")["1", 0]).labelled == 0


def test_silence_seals_once_the_broker_says_that_nothing_more_is_there() -> None:
    driver = Driver(idle_s=2.0)
    driver.predict(at_seconds(0.5), 0)
    now_us = 10_000 * SECOND_US
    for second in range(10):
        driver.stage.tick(now_us + second * SECOND_US, caught_up=False)
    driver.flush(final=False)
    assert not driver.snapshots
    driver.stage.tick(now_us + 10 * SECOND_US, caught_up=True)
    driver.flush(final=False)
    pane, idle = driver.snapshots
    assert (pane.rows, pane.sealed_rows) == (1, 1)
    assert (idle.version, idle.watermark_us) == ("", 2**63 - 1)


def test_a_version_without_a_reference_is_profiled_by_rows() -> None:
    driver = Driver()
    driver.predict(at_seconds(0.5), 0, version="9")
    pane = driver.panes("event")["9", 0]
    assert (pane.reference_revision, pane.rows) == ("", 1)
    assert driver.stage.unconfigured(prediction_record(at_seconds(0.5), np.array([0]), MODEL, 1, "9")) == (
        MODEL,
        "9",
    )


def test_what_is_forgotten_was_too_old_to_be_asked_for() -> None:
    driver = Driver(label_horizon_s=100.0, lateness_s=30.0)
    events = make_events(6_000, 3, rate=10.0)
    for start in range(0, 6_000, 200):
        driver.predict(events, np.arange(start, start + 200))
        driver.flush()
    state = driver.stage._models[MODEL]  # pyright: ignore[reportPrivateUsage]
    assert len(state.table) <= 2 * 1_200 + 200, "100 s at 10 events per second, kept at most about twice over"
    driver.predict(events, np.arange(5_500, 5_600))
    assert driver.counts().duplicates == 100
