"""A seeded workload for the fault tests: what producers send, in order, and what pandas is told of it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec, Monitor
from homeostat.contract import (
    LabelBatch,
    PredictionBatch,
    encode_labels,
    encode_predictions,
    headers_of,
    key_of,
    partition_of,
)
from streams.control.configuration import Configuration
from streams.stages import InputRecord
from streams.topics import EVENTS, INGEST
from tests.streams.batch_truth import Rules, SentRows, Truth

START_US = 1_760_000_000_000_000
SECOND_US = 1_000_000
NUMBERS = tuple(f"f{number:02d}" for number in range(12))
CITIES = ("Rome", "Oslo", "Bern", "Łódź", "🚀")
PLANS = ("gold", "silver", None)
SPECS = (*(FeatureSpec(name=name) for name in NUMBERS), FeatureSpec(name="city", kind="categorical"))
ENDS, END_S = 4, 60
"""The last events of a model, at least one on each of its partitions, come so much later than all others: what is
before them is sealed without a wait."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One model's traffic. `shadow`: share of requests that version 2 answers as well. `labelled`: share with a
    label, of which `early` come before their prediction. `disorder_s`: how late a tenth of the rows comes at most; the
    rest is at most `jitter_s` late. `batch_rows` cuts batches by rows instead of every `batch_s` of arrival."""

    model: str
    requests: int = 5_000
    seed: int = 1
    rate: float = 250.0
    start_us: int = START_US
    shadow: float = 0.3
    labelled: float = 0.6
    early: float = 0.05
    revised: float = 0.03
    repeated: float = 0.03
    missing: float = 0.02
    jitter_s: float = 0.2
    disorder_s: float = 15.0
    batch_s: float = 0.4
    batch_rows: int = 0
    spread: int = 1
    segments: tuple[str, ...] = ("plan",)
    window_rows: int = 1_000
    label_window_rows: int = 500
    delay_s: float = 1.0
    lateness_s: float = 600.0
    idle_s: float = 3_600.0
    window_s: float = 0.0
    over_gate: bool = False

    def monitor(self) -> Monitor:
        """How it is watched."""
        return Monitor(
            model=self.model,
            features=SPECS,
            segments=self.segments,
            window_rows=self.window_rows,
            label_window_rows=self.label_window_rows,
            window_s=self.window_s,
            pane_s=1.0,
            watermark_delay_s=self.delay_s,
            lateness_s=self.lateness_s,
            label_horizon_s=21_600.0,
            idle_s=self.idle_s,
            spread=self.spread,
        )

    def rules(self) -> Rules:
        """What pandas must know of that."""
        return Rules(pane_us=SECOND_US, lateness_us=round(self.lateness_s * SECOND_US))


@dataclass(frozen=True)
class Send:
    """One record to be sent: to `topic` and `partition`, at `at_s` of the stream's own time, and what it means."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    at_s: float
    rows: SentRows | None = None

    def record(self, offset: int = 0, timestamp_us: int = 0) -> InputRecord:
        """As a stage sees it."""
        place = (self.topic, self.partition, offset, self.key, self.value, self.headers)
        return InputRecord(*place, timestamp_us=timestamp_us)


@dataclass
class Load:
    """Everything that is sent, in order. `direct`: the same without the gate, as batches on the events topic."""

    plans: Sequence[Plan]
    partitions: int
    sends: list[Send] = field(default_factory=list[Send])
    direct: list[Send] = field(default_factory=list[Send])

    @classmethod
    def of(cls, plans: Sequence[Plan], partitions: int) -> "Load":
        """The traffic of some models, mixed by time of arrival."""
        load = cls(plans, partitions)
        for plan in plans:
            batches = list(_batches(plan, partitions))
            load.direct += batches
            load.sends += _as_json(plan, batches) if plan.over_gate else batches
        load.sends.sort(key=lambda send: send.at_s)
        load.direct.sort(key=lambda send: send.at_s)
        return load

    @property
    def models(self) -> set[str]:
        """Whose traffic it is."""
        return {plan.model for plan in self.plans}

    def with_more(self, sends: Iterable[Send]) -> "Load":
        """The same with more records for the events topic, each at its time."""
        more = list(sends)
        found = replace(self, sends=[*self.sends, *more], direct=[*self.direct, *more])
        found.sends.sort(key=lambda send: send.at_s)
        found.direct.sort(key=lambda send: send.at_s)
        return found

    @property
    def end_us(self) -> int:
        """The pane of the last event of the model that ends first: all panes before it are sealed."""
        ends = [
            int(send.rows.frame["time_us"].max()) for send in self.direct if send.rows and is_end(send.rows)
        ]
        return min(ends) // SECOND_US * SECOND_US

    @property
    def events(self) -> int:
        """Predictions and labels."""
        return sum(len(send.rows.frame) for send in self.direct if send.rows is not None)

    def monitors(self) -> list[Monitor]:
        return [plan.monitor() for plan in self.plans]

    def references(self) -> list[Reference]:
        return [reference for plan in self.plans for reference in references_of(plan)]

    def configuration(self) -> Configuration:
        """For runs in memory."""
        found = Configuration()
        for monitor in self.monitors():
            found.add_monitor(monitor)
        for reference in self.references():
            found.add_reference(reference)
        return found

    def records(self) -> list[InputRecord]:
        """The records of the events topic, numbered by partition."""
        offsets = [-1] * self.partitions
        found: list[InputRecord] = []
        for send in self.direct:
            offsets[send.partition] += 1
            arrived_us = send.rows.arrived_us if send.rows is not None else 0
            found.append(send.record(offsets[send.partition], arrived_us))
        return found

    def truth(self) -> Truth:
        """What pandas makes of it."""
        rules = {plan.model: plan.rules() for plan in self.plans}
        return Truth.of([send.rows for send in self.direct if send.rows is not None], rules)


def references_of(plan: Plan) -> list[Reference]:
    """The references of versions 1 and 2: the same population in other years."""
    events = predictions_of(replace(plan, requests=3_000, seed=99, shadow=0.0))
    columns: dict[str, npt.NDArray[Any]] = {name: events[f"f.{name}"].to_numpy() for name in NUMBERS}
    columns["city"] = events["f.city"].to_numpy(dtype=object)
    known = {
        "scores": events["score"].to_numpy(),
        "predictions": events["prediction"].to_numpy(),
        "labels": events["truth"].to_numpy(),
    }
    return [build_reference(plan.model, version, columns, SPECS, **known) for version in ("1", "2")]


def send_of(rows: SentRows, at_s: float = 0.0) -> Send:
    """Rows as a record on the events topic."""
    frame = rows.frame
    shared: dict[str, Any] = {
        "model": rows.model,
        "producer": rows.producer,
        "sequence": rows.sequence,
        "ids": frame["id"].tolist(),
        "times_us": frame["time_us"].to_numpy(),
    }
    if rows.version is None:
        labels = LabelBatch.of(**shared, values=frame["value"].to_numpy())
        value, headers = encode_labels(labels), headers_of(labels)
    else:
        batch = PredictionBatch.of(
            **shared,
            version=rows.version,
            predictions=frame["prediction"].to_numpy(),
            scores=frame["score"].to_numpy(),
            features={name[2:]: _column(frame[name]) for name in frame if str(name).startswith("f.")},
            segments={name[2:]: frame[name].tolist() for name in frame if str(name).startswith("s.")},
        )
        value, headers = encode_predictions(batch), headers_of(batch)
    return Send(EVENTS, rows.partition, rows.model.encode(), value, tuple(headers), at_s, rows)


def again(send: Send, producer: str | None = None) -> Send:
    """The same record once more: as the broker would redeliver it, or as another producer would send the same rows."""
    assert send.rows is not None
    if producer is None:
        return send
    headers = tuple(
        (name, producer.encode() if name == "producer" else value) for name, value in send.headers
    )
    return replace(send, headers=headers, rows=replace(send.rows, producer=producer))


def _column(values: pd.Series) -> npt.NDArray[Any]:
    return values.to_numpy(dtype=object) if values.dtype == object else values.to_numpy()


def predictions_of(plan: Plan) -> pd.DataFrame:
    """Rows of both versions, with the time of arrival, in no order."""
    rng = np.random.default_rng(plan.seed)
    rows = plan.requests
    numbers = rng.normal(0, 1, (rows, len(NUMBERS)))
    numbers[:, 1] += 0.6 * numbers[:, 0]
    score = 1 / (1 + np.exp(-2 * numbers[:, 0] - numbers[:, 1]))
    truth = (rng.uniform(size=rows) < score).astype(float)
    numbers[:, 3:5] *= 1_000
    numbers[rng.uniform(size=numbers.shape) < plan.missing] = np.nan
    frame = pd.DataFrame({f"f.{name}": numbers[:, place] for place, name in enumerate(NUMBERS)})
    frame["f.f05"] = frame["f.f05"].astype(np.float32)
    city = np.array(CITIES, dtype=object)[rng.integers(0, len(CITIES), rows)]
    city[rng.uniform(size=rows) < plan.missing] = None
    frame["f.city"] = city
    frame["s.plan"] = np.array(PLANS, dtype=object)[rng.choice(len(PLANS), rows, p=[0.2, 0.7, 0.1])]
    span_us = int(rows / plan.rate * SECOND_US)
    frame["time_us"] = plan.start_us + np.sort(rng.integers(0, span_us, rows)) // 1_000 * 1_000
    frame["id"] = [f"{plan.model}-{number}" for number in range(rows)]
    frame["score"], frame["truth"] = score, truth
    frame["prediction"], frame["version"] = (score >= 0.5).astype(float), "1"
    frame["arrival_us"] = frame["time_us"] + _delays(plan, rng, rows)
    second = frame[rng.uniform(size=rows) < plan.shadow].copy()
    second["version"], second["score"] = "2", second["score"] ** 1.1
    second["prediction"] = (second["score"] >= 0.5).astype(float)
    second["arrival_us"] += rng.integers(0, 50_000, len(second))
    return pd.concat([frame, second], ignore_index=True)


def _delays(plan: Plan, rng: np.random.Generator, rows: int) -> npt.NDArray[np.int64]:
    """How long rows are on their way, microseconds."""
    usual = rng.uniform(0, plan.jitter_s, rows)
    delayed = rng.uniform(size=rows) < 0.1
    seconds = np.where(delayed, rng.uniform(0, max(plan.disorder_s, plan.jitter_s), rows), usual)
    return (seconds * SECOND_US).astype(np.int64)


def _labels(plan: Plan, predictions: pd.DataFrame) -> pd.DataFrame:
    """Labels of the requests, some early, some revised, some repeated."""
    rng = np.random.default_rng(plan.seed + 1_000)
    requests = predictions[predictions["version"] == "1"]
    chosen = requests[rng.uniform(size=len(requests)) < plan.labelled]
    rows = len(chosen)
    labels = pd.DataFrame({"id": chosen["id"].to_numpy(), "value": chosen["truth"].to_numpy()})
    labels["time_us"] = chosen["time_us"].to_numpy() + rng.integers(300, 5_000, rows) * 1_000
    labels["arrival_us"] = np.maximum(labels["time_us"], chosen["arrival_us"].to_numpy()) + _delays(
        plan, rng, rows
    )
    early = rng.uniform(size=rows) < plan.early
    before_us = chosen["arrival_us"].to_numpy() - rng.integers(500, 2_000, rows) * 1_000
    labels.loc[early, "arrival_us"] = before_us[early]
    labels.loc[early, "time_us"] = chosen["time_us"].to_numpy()[early]
    # The first record of a model is a prediction: at it the workers look for what the model is compared with.
    labels["arrival_us"] = np.maximum(labels["arrival_us"], plan.start_us + SECOND_US)
    more = [labels]
    for share, change in ((plan.revised, True), (plan.repeated, False)):
        part = labels[rng.uniform(size=rows) < share].copy()
        delay_us = rng.integers(1_000, 8_000, len(part)) * 1_000
        part["time_us"], part["arrival_us"] = part["time_us"] + delay_us, part["arrival_us"] + delay_us
        part["value"] = 1 - part["value"] if change else part["value"]
        more.append(part)
    return pd.concat(more, ignore_index=True)


def _batches(plan: Plan, partitions: int) -> Iterator[Send]:
    predictions = predictions_of(plan)
    labels = _labels(plan, predictions)
    slots = range(plan.spread)
    end_us = int(max(predictions["arrival_us"].max(), labels["arrival_us"].max())) + END_S * SECOND_US
    predictions = pd.concat([predictions, _ends(plan, end_us, predictions)], ignore_index=True)
    ends = pd.DataFrame(
        {"id": _end_ids(plan), "value": 1.0, "time_us": end_us, "arrival_us": end_us + SECOND_US}
    )
    labels = pd.concat([labels, ends], ignore_index=True).assign(version=None)
    parts: list[tuple[int, int, pd.DataFrame]] = []
    for frame, names in ((predictions, ["version"]), (labels, [])):
        slot = frame["id"].map(lambda one: key_of(one) % plan.spread)
        ordered = frame.assign(slot=slot).sort_values("arrival_us", kind="stable")
        for _, group in ordered.groupby([*names, "slot"], sort=True):
            cut = _cut(plan, group)
            parts += [(int(part["arrival_us"].max()), int(part["slot"].iloc[0]), part) for part in cut]
    parts.sort(key=lambda part: part[0])
    sequences = dict.fromkeys(slots, 0)
    for at_us, slot, part in parts:
        version = part["version"].iloc[0]
        wanted = ["value"] if version is None else ["prediction", "score", *extra_columns(part)]
        frame = part[["id", "time_us", *wanted]].reset_index(drop=True)
        partition = partition_of(plan.model, slot, partitions, plan.spread)
        rows = SentRows(plan.model, version, partition, f"p-{plan.model}-{slot}", sequences[slot], frame)
        sequences[slot] += 1
        yield send_of(rows, (at_us - plan.start_us) / SECOND_US)


def extra_columns(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if str(name)[:2] in ("f.", "s.")]


def _cut(plan: Plan, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    if plan.batch_rows:
        number = np.arange(len(rows)) // plan.batch_rows
    else:
        number = (rows["arrival_us"] // int(plan.batch_s * SECOND_US)).to_numpy()
    for _, part in rows.groupby(number, sort=True):
        yield part


def _end_ids(plan: Plan) -> list[str]:
    """One id for each partition that the model may have, whatever its spread."""
    found: dict[int, str] = {}
    for number in count():
        name = f"{plan.model}-end-{number}"
        found.setdefault(key_of(name) % ENDS, name)
        if len(found) == ENDS:
            break
    return [found[slot] for slot in range(ENDS)]


def is_end(rows: SentRows) -> bool:
    """Whether these are the last events of a model."""
    return str(rows.frame["id"].iloc[-1]).startswith(f"{rows.model}-end-")


def _ends(plan: Plan, end_us: int, like: pd.DataFrame) -> pd.DataFrame:
    ids = _end_ids(plan)
    return like.iloc[[0] * len(ids)].assign(id=ids, time_us=end_us, arrival_us=end_us, version="1")


def _as_json(plan: Plan, batches: Sequence[Send]) -> list[Send]:
    """The rows of each batch as an array of events for the gate, all on one partition, so that their order stays."""
    found: list[Send] = []
    partition = batches[0].partition
    for send in batches:
        assert send.rows is not None
        kind = "label" if send.rows.version is None else "prediction"
        events = [_event(plan, kind, row) for row in send.rows.frame.to_dict("records")]
        value = json.dumps(events).encode()
        found.append(replace(send, topic=INGEST, partition=partition, value=value, headers=(), rows=None))
    return found


def _event(plan: Plan, kind: str, row: Mapping[Any, Any]) -> dict[str, Any]:
    time = datetime.fromtimestamp(row["time_us"] / SECOND_US, UTC).isoformat(timespec="milliseconds")
    shared = {"kind": kind, "model": plan.model, "id": row["id"], "time": time}
    if kind == "label":
        return shared | {"value": row["value"]}
    features = {name[2:]: _plain(value) for name, value in row.items() if name.startswith("f.")}
    segments = {name[2:]: _plain(value) for name, value in row.items() if name.startswith("s.")}
    more = {
        "prediction": row["prediction"],
        "score": row["score"],
        "features": features,
        "segments": segments,
    }
    return shared | {"version": "1"} | more


def _plain(value: Any) -> Any:
    return None if value is None or (isinstance(value, float) and np.isnan(value)) else value
