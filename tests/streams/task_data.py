"""Seeded events of models that are not binary: classes by name with a probability each and an embedding, and a
regression."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec, Monitor, Task
from homeostat.contract import (
    LabelBatch,
    PredictionBatch,
    encode_labels,
    encode_predictions,
    headers_of,
    partition_of,
)
from streams.stages import InputRecord
from streams.topics import EVENTS
from tests.streams.stream_data import START_US, make_monitor

Floats = npt.NDArray[np.float64]
CLASSES = ("cat", "dog", "owl")
REGIONS = ("eu", "us")
PETS = (FeatureSpec(name="age"), FeatureSpec(name="picture", kind="embedding", size=8))
PRICE = (FeatureSpec(name="rooms"), FeatureSpec(name="city", kind="categorical"))
BATCH_ROWS = 60


@dataclass(frozen=True)
class Traffic:
    """Events of one model in order of time. `said` and `truth`: indices of classes, or numbers. `send`: the columns of
    rows as they travel, of a batch of predictions and of labels."""

    model: str
    task: Task
    specs: tuple[FeatureSpec, ...]
    times_us: npt.NDArray[np.int64]
    said: Floats
    truth: Floats
    columns: dict[str, npt.NDArray[Any]]
    scores: Floats | None
    send: Callable[[slice], tuple[dict[str, Any], Any]]

    def monitor(self, idle_s: float) -> Monitor:
        segments = ("region",) if self.task == "multiclass" else ()
        return make_monitor(self.model, task=self.task, features=self.specs, segments=segments, idle_s=idle_s)

    def reference(self) -> Reference:
        """Of these events."""
        known: dict[str, Any] = {"predictions": self.said, "labels": self.truth, "scores": self.scores}
        classes = CLASSES if self.task == "multiclass" else ()
        return build_reference(
            self.model, "1", self.columns, self.specs, **known, task=self.task, classes=classes
        )

    def records(self, partitions: int, offsets: list[int]) -> Iterator[InputRecord]:
        """Each batch of predictions, and its labels behind it; `offsets` are taken from and moved on."""
        partition = partition_of(self.model, 0, partitions)
        for number, start in enumerate(range(0, len(self.said), BATCH_ROWS)):
            rows = slice(start, min(start + BATCH_ROWS, len(self.said)))
            columns, values = self.send(rows)
            shared: dict[str, Any] = {"model": self.model, "producer": f"p-{self.model}"}
            shared["ids"] = [f"{self.model}-{row}" for row in range(rows.start, rows.stop)]
            times_us = self.times_us[rows]
            said = PredictionBatch.of(
                **shared, sequence=2 * number, version="1", times_us=times_us, **columns
            )
            known = LabelBatch.of(
                **shared, sequence=2 * number + 1, times_us=times_us + 400_000, values=values
            )
            for batch, value in ((said, encode_predictions(said)), (known, encode_labels(known))):
                headers = tuple(headers_of(batch))
                yield InputRecord(EVENTS, partition, offsets[partition], self.model.encode(), value, headers)
                offsets[partition] += 1


def pets(rows: int, seed: int) -> Traffic:
    """Classes by name; the picture is near the middle of its class, and of another one for every tenth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, rows)
    seen = np.where(rng.uniform(size=rows) < 0.1, rng.integers(0, 3, rows), truth)
    picture = np.eye(3, 8)[seen] * 3 + rng.normal(0, 0.3, (rows, 8))
    odds = np.exp(picture[:, :3])
    shares = odds / odds.sum(axis=1, keepdims=True)
    said = shares.argmax(axis=1)
    age = rng.gamma(2, 3, rows).astype(np.float32)
    names, region = np.array(CLASSES), np.array(REGIONS)[rng.integers(0, 2, rows)]

    def send(part: slice) -> tuple[dict[str, Any], Any]:
        columns = {
            "predictions": names[said[part]].tolist(),
            "scores": shares[part].max(axis=1),
            "class_scores": shares[part],
            "features": {"age": age[part], "picture": picture[part]},
            "segments": {"region": region[part].tolist()},
        }
        return columns, names[truth[part]].tolist()

    known = {"age": age, "picture": picture}
    return Traffic(
        "pets",
        "multiclass",
        PETS,
        _times(rng, rows),
        np.asarray(said, dtype=np.float64),
        np.asarray(truth, dtype=np.float64),
        known,
        shares.max(axis=1),
        send,
    )


def prices(rows: int, seed: int) -> Traffic:
    """A regression; every seventh event has no rooms."""
    rng = np.random.default_rng(seed)
    rooms = np.where(np.arange(rows) % 7 == 0, np.nan, rng.integers(1, 7, rows))
    city = np.array(["Rome", "Oslo"], dtype=object)[rng.integers(0, 2, rows)]
    truth: Floats = 50_000 * np.nan_to_num(rooms, nan=3) + rng.normal(0, 9_000, rows)
    said = truth + rng.normal(1_000, 8_000, rows)

    def send(part: slice) -> tuple[dict[str, Any], Any]:
        features = {"rooms": rooms[part], "city": city[part]}
        return {"predictions": said[part], "features": features}, truth[part]

    known = {"rooms": rooms, "city": city}
    return Traffic("price", "regression", PRICE, _times(rng, rows), said, truth, known, None, send)


def _times(rng: np.random.Generator, rows: int) -> npt.NDArray[np.int64]:
    return START_US + np.sort(rng.integers(0, rows * 10_000, rows))
