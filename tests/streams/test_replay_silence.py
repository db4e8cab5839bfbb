"""A replay of one model finds it silent where the live worker did, though it looks at no other model's events."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from streams.control.configuration import Configuration, monitor_record, reference_record
from streams.judge.seals import Seal
from streams.judge.windows import SeriesName
from streams.replay.inprocess import InProcess
from streams.replay.replay import Logged, ReplayRun, Silence, Stretch
from streams.stages import InputRecord
from streams.topics import CONTROL
from tests.streams.stream_data import START_US, make_events, make_monitor, make_reference, prediction_record

SILENT, HEARD = "silent", "heard"
SECOND_US = 1_000_000


def records() -> list[InputRecord]:
    """One model speaks each second. The other one does not for eight, and then sends an event of before and more."""
    events, found = make_events(200, 3), list[InputRecord]()

    def send(model: str, at_s: float, row: int) -> None:
        one = prediction_record(events, np.array([row]), model, len(found))
        found.append(replace(one, offset=len(found), timestamp_us=START_US + round(at_s * SECOND_US)))

    send(SILENT, 0.5, 0)
    for second in range(1, 9):
        send(HEARD, second, second)
    send(SILENT, 8.2, 1)
    for row in range(2, 200):
        send(SILENT, 8.2 + row / 100, row)
    return found


def replayed(
    model: str | None, sent: Sequence[InputRecord], silences: Sequence[Silence] = ()
) -> list[tuple[int, int]]:
    """Where the windows of the silent model ended, and how many rows they were decided on with. `silences`: what the
    worker said of it besides."""
    control = [
        record
        for name in (SILENT, HEARD)
        for record in (
            monitor_record(make_monitor(name, idle_s=5.0, window_s=1.0)),
            reference_record(make_reference(name, "1")),
        )
    ]
    known = Configuration()
    for key, value in control:
        known.apply(key, value)
    live = InProcess(known, 1)
    live.feed(sent, flush_every=1 << 62)
    live.end()
    plans: dict[SeriesName, deque[Seal]] = {}
    for seal in live.results.seals:
        axis = "event" if seal.axis == "event" else "label"
        plans.setdefault(SeriesName(seal.model, seal.version, seal.segment, axis), deque()).append(seal)
    logged = Logged(dict(live.results.points), {one.id: one for one in live.results.alerts}, plans)
    logged.silences[0] = list(silences)
    told = [InputRecord(CONTROL, 0, place, *one, ()) for place, one in enumerate(control)]
    run = ReplayRun(logged, Stretch(model=model), told, [True])
    for record in sent:
        run.take(record)
    return [(one.end_us, one.rows) for one in run.end().results.seals if one.model == SILENT]


def test_a_replay_of_one_model_hears_the_others() -> None:
    everything = replayed(None, records())
    assert [rows for _, rows in everything][:1] == [1]
    assert replayed(SILENT, records()) == everything


def test_what_a_worker_that_was_behind_said_of_a_silence_ends_nothing_of_now() -> None:
    """It read the silence from the log and said so seconds later, in the middle of what came next."""
    events, sent = make_events(600, 3), list[InputRecord]()
    for offset in range(60):
        rows = np.arange(10 * offset, 10 * offset + 10)
        one = prediction_record(events, rows, SILENT, offset, offset=offset)
        sent.append(replace(one, timestamp_us=int(events.times_us[rows[-1]]) + 10_000))
    late = [Silence(START_US + at_ms * 1_000, SILENT, "event", START_US) for at_ms in (2_300, 3_650, 4_950)]
    assert replayed(None, sent, late) == replayed(None, sent)
