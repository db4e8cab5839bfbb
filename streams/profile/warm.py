"""Compiled code is made, or loaded, at its first use, which takes seconds: before a worker joins its group."""

from pathlib import Path

import numpy as np

from detectors.concept.against import warm as warm_concept
from detectors.kernels import add_sums
from detectors.profile import warm as warm_profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec, Monitor
from detectors.warm import warm as warm_measures
from homeostat.contract import LabelBatch, PredictionBatch, encode_labels, encode_predictions, headers_of
from streams.control.configuration import Configuration
from streams.profile.cold_segment import warm as warm_segments
from streams.profile.id_kernels import mark_aged
from streams.profile.id_rows import ROW
from streams.profile.id_slots import Index
from streams.profile.id_table import IdTable
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord

_ROWS = 8
_MODEL = "_warm"


def is_compiled() -> bool:
    """Whether an earlier process has left machine code in the kernels' cache."""
    folder: str = add_sums.stats.cache_path  # pyright: ignore
    return any(Path(folder).glob("kernels.add_sums-*.nbc"))


def warm_up(*, backwards: bool = False) -> None:
    """Take a few made-up events through all that the profile and judge stages do with numbers. backwards: what else
    comes last comes first, so that two processes that start together compile about half each."""
    parts = warm_profile, _warm_stage, warm_concept, warm_measures, warm_segments
    for part in reversed(parts) if backwards else parts:
        part()


def _warm_stage() -> None:
    Index(2).grow(4)
    IdTable().find(np.zeros(1, dtype=np.uint64))
    mark_aged(np.zeros(1, dtype=ROW), np.zeros(1, dtype=np.int64), 0, np.zeros(1, dtype=np.bool_))
    numbers = np.arange(_ROWS, dtype=np.float64)
    features = {"x": numbers, "y": numbers[::-1].copy()}
    scores = np.linspace(0.1, 0.9, _ROWS)
    specs = [FeatureSpec(name=name) for name in features]
    labels = (numbers > 3).astype(np.float64)
    configuration = Configuration()
    configuration.add_monitor(Monitor(model=_MODEL, features=tuple(specs)))
    reference = build_reference(_MODEL, "1", features, specs, scores=scores, labels=labels)
    configuration.add_reference(reference)
    ids, times_us = [str(number) for number in range(_ROWS)], np.full(_ROWS, 1_000_000_000)
    stage = ProfileStage(0, 1, configuration)
    for sequence, values in enumerate(
        (features, {name: part.astype(np.float32) for name, part in features.items()})
    ):
        batch = PredictionBatch.of(
            model=_MODEL,
            version="1",
            producer="warm",
            sequence=sequence,
            ids=[f"{sequence}{id}" for id in ids],
            times_us=times_us,
            predictions=labels,
            scores=scores,
            features=values,
        )
        stage.process(_record(sequence, encode_predictions(batch), headers_of(batch)))
    known = LabelBatch.of(
        model=_MODEL,
        producer="warm",
        sequence=2,
        ids=[f"0{id}" for id in ids],
        times_us=times_us,
        values=labels,
    )
    stage.process(_record(2, encode_labels(known), headers_of(known)))
    stage.end()
    flush = stage.flush(final=True)
    assert flush is not None
    snapshot = stage.snapshot({topic: range(len(deltas)) for topic, deltas in flush.deltas.items()})
    log = {
        topic: [
            InputRecord(topic, 0, offset, delta.key, delta.value, ()) for offset, delta in enumerate(deltas)
        ]
        for topic, deltas in flush.deltas.items()
    }
    ProfileStage(0, 1, configuration).restore(2, snapshot.state, log)


def _record(offset: int, value: bytes, headers: list[tuple[str, bytes]]) -> InputRecord:
    return InputRecord("", 0, offset, None, value, tuple(headers))
