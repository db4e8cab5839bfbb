"""Random streams for the test of interleavings: what is sent, when, and how it may be cut."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from homeostat.contract import (
    LabelBatch,
    PredictionBatch,
    encode_labels,
    encode_predictions,
    headers_of,
    key_of,
    partition_of,
)
from streams.stages import InputRecord
from streams.topics import EVENTS
from tests.streams.stream_data import Events, make_events

MODELS = ("loan", "churn")
PARTITIONS = 3
SECOND_US = 1_000_000
SECONDS = 3.0
"""In which events come, a hundred a second of each model."""
_LINGER_US = 100_000
"""Rows of one kind leave their producer together, so often."""
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trouble:
    """How far the order of the input may be from that of times, in seconds, and shares of what is odd."""

    jitter_s: float = 0.15
    late: float = 0.0
    late_s: float = 3.0
    early: float = 0.05
    early_s: float = 0.1
    delay_s: float = 1.5
    twice: float = 0.03
    revised: float = 0.05


@dataclass(frozen=True)
class Sent:
    """One row on its way. `at_us`: when the broker gets it; `row`: of the model's events; `version` None: a label."""

    at_us: int
    model: str
    version: str | None
    row: int
    time_us: int
    value: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What is sent, in order of the broker's time."""

    sent: tuple[Sent, ...]
    events: dict[str, Events]

    def records(self, spread: int, cuts: np.random.Generator | None) -> list[InputRecord]:
        """The rows as batches: rows of one kind that follow each other in a partition, cut further by `cuts`."""
        runs: list[list[Sent]] = []
        last: dict[int, list[Sent]] = {}
        for one in self.sent:
            place = self._partition(one, spread)
            run = last.get(place)
            most = 40 if cuts is None else int(cuts.integers(1, 60))
            if run is None or len(run) >= most or not _goes_with(run[0], one):
                run = last[place] = []
                runs.append(run)
            run.append(one)
        found, offsets = list[InputRecord](), dict[int, int]()
        for number, run in enumerate(sorted(runs, key=lambda run: run[-1].at_us)):
            place = self._partition(run[0], spread)
            offset = offsets.get(place, 0)
            offsets[place] = offset + 1
            found.append(self._record(run, number, place, offset))
        return found

    def _partition(self, one: Sent, spread: int) -> int:
        key = key_of(self.events[one.model].ids[one.row])
        return partition_of(one.model, key, PARTITIONS, spread)

    def _record(self, run: Sequence[Sent], number: int, partition: int, offset: int) -> InputRecord:
        first, events = run[0], self.events[run[0].model]
        rows = np.array([one.row for one in run])
        times_us = np.array([one.time_us for one in run])
        batch: PredictionBatch | LabelBatch
        if first.version is None:
            batch = LabelBatch.of(
                model=first.model,
                producer=f"l{partition}",
                sequence=number,
                ids=[events.ids[row] for row in rows],
                times_us=times_us,
                values=np.array([one.value for one in run]),
            )
            value = encode_labels(batch)
        else:
            batch = PredictionBatch.of(
                model=first.model,
                version=first.version,
                producer=f"p{partition}",
                sequence=number,
                ids=[events.ids[row] for row in rows],
                times_us=times_us,
                predictions=events.predictions[rows],
                scores=events.scores[rows],
                features={"age": events.age[rows], "city": events.city[rows]},
                segments={"city": events.city[rows].tolist()} if first.model == MODELS[0] else None,
            )
            value = encode_predictions(batch)
        headers, key = tuple(headers_of(batch)), first.model.encode()
        return InputRecord(EVENTS, partition, offset, key, value, headers, run[-1].at_us)


def _goes_with(first: Sent, other: Sent) -> bool:
    """Whether a batch may hold both."""
    kind = (first.model, first.version, first.at_us)
    return kind == (other.model, other.version, other.at_us)


def make_plan(seed: int, trouble: Trouble, gap_s: float = 0.0) -> Plan:
    """Two models, the second version of one of which comes after two thirds of its events. After half of the time all
    are silent for `gap_s`."""
    rng, rows = np.random.default_rng(seed), round(100 * SECONDS)
    events = {
        model: _with_gap(make_events(rows, seed % 1_000 + place, 15.0), gap_s)
        for place, model in enumerate(MODELS)
    }
    sent = [one for model in MODELS for one in _of_model(model, events[model], rng, trouble)]
    # What comes behind the last prediction would only say how far silence has carried the time of the model.
    last_us = max(one.at_us for one in sent if one.version is not None)
    order = [sent[at] for at in rng.permutation(len(sent)) if sent[at].at_us <= last_us]
    return Plan(tuple(sorted(order, key=lambda one: one.at_us)), events)


def _with_gap(events: Events, gap_s: float) -> Events:
    middle = len(events.ids) // 2
    events.times_us[middle:] += round(gap_s * SECOND_US)
    return events


def _of_model(model: str, events: Events, rng: np.random.Generator, trouble: Trouble) -> list[Sent]:
    found, count = list[Sent](), len(events.ids)
    for row, time_us in enumerate(events.times_us.tolist()):
        version = "2" if model == MODELS[0] and row >= 2 * count // 3 else "1"
        late_s = trouble.late_s if rng.random() < trouble.late else 0.0
        at_us = time_us + _us(late_s + trouble.jitter_s * rng.random())
        found.append(Sent(_tick(at_us, model, 0), model, version, row, time_us))
        if rng.random() < trouble.twice:
            found.append(Sent(_tick(at_us + _us(rng.random()), model, 0), model, version, row, time_us))
        if rng.random() < 0.15:
            continue
        early = rng.random() < trouble.early
        delay_s = -trouble.early_s * rng.random() if early else 0.3 + trouble.delay_s * rng.random()
        value = float(events.labels[row])
        found += _labels(model, row, time_us + _us(delay_s), value, rng, trouble)
    return found


def _labels(
    model: str, row: int, time_us: int, value: float, rng: np.random.Generator, trouble: Trouble
) -> list[Sent]:
    """The label of a prediction, and what repeats or revises it."""
    found = [Sent(_tick(time_us + _us(0.1 * rng.random()), model, 1), model, None, row, time_us, value)]
    chance = rng.random()
    if chance < trouble.revised + trouble.twice:
        time_us += _us(0.6 + rng.random())
        again = 1.0 - value if chance < trouble.revised else value
        found.append(Sent(_tick(time_us, model, 1), model, None, row, time_us, again))
    return found


def _tick(at_us: int, model: str, place: int) -> int:
    """When a producer of this kind sends next."""
    return -(-at_us // _LINGER_US) * _LINGER_US + 10_000 * (2 * MODELS.index(model) + place)


def _us(seconds: float) -> int:
    return round(seconds * SECOND_US)
