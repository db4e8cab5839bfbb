"""A model that is silent while others speak on its partition is found idle, at the same record again and again."""

import dataclasses

import msgspec
import numpy as np
import pytest

from detectors.values import PaneSnapshot
from streams.control.configuration import Configuration
from streams.profile.log_time import LogTime
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord, Snapshot
from streams.times import IDLE_US, NEVER_US
from streams.topics import PROFILES
from tests.streams.stream_data import (
    START_US,
    label_record,
    make_events,
    make_monitor,
    make_reference,
    prediction_record,
)

SECOND_US = 1_000_000
IDLE_S = 5
SILENT, HEARD = "silent", "heard"


class Log:
    """A partition whose batches are dated by the broker, and the stage that reads it."""

    def __init__(self) -> None:
        self.configuration = configuration = Configuration()
        for model in (SILENT, HEARD):
            configuration.add_monitor(make_monitor(model, idle_s=float(IDLE_S), pane_s=2.0))
            configuration.add_reference(make_reference(model, "1"))
        self.stage = ProfileStage(0, 1, configuration)
        self.events = make_events(1_000, 3)
        self.sent = 0
        self.kept: dict[str, list[InputRecord]] = {}
        self.saved = Snapshot(b"", {})

    def send(self, model: str, at_s: float, *, label: bool = False) -> None:
        self.sent += 1
        make = label_record if label else prediction_record
        record = make(self.events, np.array([self.sent]), model, self.sent)
        dated = dataclasses.replace(record, offset=self.sent, timestamp_us=START_US + int(at_s * SECOND_US))
        self.stage.process(dated)

    def crash(self) -> None:
        """The stage as its last checkpoint left it."""
        after = ProfileStage(0, 1, self.configuration)
        after.restore(self.stage.offset, self.saved.state, self.kept)
        self.stage = after

    def told(self) -> list[PaneSnapshot]:
        flush = self.stage.flush(final=False)
        assert flush is not None
        written: dict[str, list[int]] = {}
        for topic, deltas in flush.deltas.items():
            kept = self.kept.setdefault(topic, [])
            written[topic] = list(range(len(kept), len(kept) + len(deltas)))
            kept += [
                InputRecord(topic, 0, offset, delta.key, delta.value, ())
                for offset, delta in zip(written[topic], deltas, strict=True)
            ]
        self.saved = self.stage.snapshot(written)
        decoded = [
            msgspec.msgpack.decode(one.value, type=PaneSnapshot)
            for one in flush.outputs
            if one.topic == PROFILES
        ]
        return [one for one in decoded if one.model == SILENT and one.axis == "event"]

    def idle(self) -> bool:
        return any(one.watermark_us == IDLE_US for one in self.told())


def test_a_silent_model_is_idle_while_another_is_heard() -> None:
    log = Log()
    log.send(SILENT, 0)
    for second in range(1, IDLE_S):
        log.send(HEARD, second)
    assert not log.idle()
    for second in range(IDLE_S, 2 * IDLE_S):
        log.send(HEARD, second)
    told = log.told()
    assert [(one.rows, one.sealed_rows) for one in told if one.version] == [(1, 1)]
    assert told[-1].watermark_us == IDLE_US
    log.send(SILENT, 2 * IDLE_S)
    assert NEVER_US < log.told()[-1].watermark_us < IDLE_US


def test_what_was_held_back_by_an_outage_makes_nobody_idle() -> None:
    log = Log()
    log.send(SILENT, 0)
    log.send(HEARD, 60)
    log.send(HEARD, 61)
    assert not log.idle()


@pytest.mark.parametrize("jump_s", [90, 3_600])
def test_a_clock_that_was_ahead_for_a_moment_delays_nothing(jump_s: int) -> None:
    """The broker's clock jumps and is put right: the log goes on where it was before."""
    log = Log()
    log.send(SILENT, 0)
    for at_s in (1, jump_s, 2):
        log.send(HEARD, at_s)
    assert not log.idle()
    log.crash()
    log.send(HEARD, 3)
    assert not log.idle()
    for second in range(4, 2 * IDLE_S):
        log.send(HEARD, second)
    assert log.idle()


@pytest.mark.parametrize("behind_s", [0.3, 20, 3_600])
def test_two_clocks_that_take_turns_are_not_heard_twice(behind_s: float) -> None:
    time, seconds = LogTime(), 100
    for step in range(10 * seconds):
        at_us = START_US + step * SECOND_US // 10
        time.pass_to(at_us - (round(behind_s * SECOND_US) if step % 2 else 0))
    assert 0.9 * seconds * SECOND_US < time.heard_us <= seconds * SECOND_US


def test_a_clock_that_goes_back_twice_is_followed() -> None:
    time = LogTime()
    for at_s in (0, 1, 7_200, 3_600, *range(2, 12)):
        time.pass_to(START_US + at_s * SECOND_US)
    assert time.heard_us == 11 * SECOND_US


def test_a_model_that_speaks_now_and_then_is_not_idle() -> None:
    log = Log()
    for second in range(60):
        log.send(HEARD, second)
        if second % (IDLE_S - 1) == 0:
            log.send(SILENT, second + 0.5)
    assert not log.idle()


@pytest.mark.parametrize("step_s", [0.3, 0.5, 1.0])
def test_labels_of_a_model_do_not_stand_for_its_predictions(step_s: float) -> None:
    log = Log()
    log.send(SILENT, 0)
    for step in range(int(3 * IDLE_S / step_s)):
        log.send(SILENT, (step + 1) * step_s, label=True)
    assert log.idle()


@pytest.mark.parametrize("crash_at", range(1, 12))
def test_a_crash_changes_nothing_of_when_a_model_is_found_idle(crash_at: int) -> None:
    found: list[int] = []
    for crashes in (False, True):
        log = Log()
        log.send(SILENT, 0)
        assert not log.idle()
        for second in range(1, 12):
            if crashes and second == crash_at:
                log.crash()
            log.send(HEARD, second)
            if log.idle():
                found.append(second)
    assert found == [found[0], found[0]]
