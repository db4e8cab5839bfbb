"""The workload of the fault tests as records: what producers send, in order, and what pandas is told of it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.reference import Reference, build_reference
from detectors.segment_profiles import with_segments
from detectors.segments import ALL, own_of
from detectors.sequential.blocks import Rows
from detectors.values import Monitor
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
from tests.streams.batch_distances import Before
from tests.streams.batch_truth import SentRows, Truth
from tests.streams.fault_plan import (
    END_S,
    NUMBERS,
    SECOND_US,
    SPECS,
    Plan,
    end_ids,
    ends_of,
    extra_columns,
    labels_of,
    predictions_of,
)


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

    def before(self) -> dict[tuple[str, str, str], Before]:
        """The references with their rows, by model, version and segment."""
        found: dict[tuple[str, str, str], Before] = {}
        for plan in self.plans:
            rows = reference_rows(plan)
            parts = {ALL: rows} | {f"plan={one}": part for one, part in rows.groupby("s.plan")}
            for reference in references_of(plan):
                for segment, part in parts.items():
                    mine = own_of(reference, segment)
                    assert not mine.alone, mine.because
                    found[plan.model, reference.version, segment] = Before(mine.reference, part)
        return found

    def truth(self) -> Truth:
        """What pandas makes of it."""
        rules = {plan.model: plan.rules() for plan in self.plans}
        return Truth.of([send.rows for send in self.direct if send.rows is not None], rules)


def reference_rows(plan: Plan) -> pd.DataFrame:
    """What both versions are compared with: the same population in other years."""
    return predictions_of(replace(plan, requests=3_000, seed=99, shadow=0.0, shift=0.0))


def references_of(plan: Plan) -> list[Reference]:
    """The references of versions 1 and 2, with their segments."""
    events = reference_rows(plan)
    columns: dict[str, npt.NDArray[Any]] = {name: events[f"f.{name}"].to_numpy() for name in NUMBERS}
    columns["city"] = events["f.city"].to_numpy(dtype=object)
    known = {
        "scores": events["score"].to_numpy(),
        "predictions": events["prediction"].to_numpy(),
        "labels": events["truth"].to_numpy(),
    }
    rows = Rows(columns, **known, segments={"plan": events["s.plan"].tolist()})
    return [
        with_segments(build_reference(plan.model, version, columns, SPECS, **known), rows)
        for version in ("1", "2")
    ]


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


def _batches(plan: Plan, partitions: int) -> Iterator[Send]:
    predictions = predictions_of(plan)
    labels = labels_of(plan, predictions)
    slots = range(plan.spread)
    end_us = int(max(predictions["arrival_us"].max(), labels["arrival_us"].max())) + END_S * SECOND_US
    predictions = pd.concat([predictions, ends_of(plan, end_us, predictions)], ignore_index=True)
    ends = pd.DataFrame(
        {"id": end_ids(plan), "value": 1.0, "time_us": end_us, "arrival_us": end_us + SECOND_US}
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


def _cut(plan: Plan, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    if plan.batch_rows:
        number = np.arange(len(rows)) // plan.batch_rows
    else:
        number = (rows["arrival_us"] // int(plan.batch_s * SECOND_US)).to_numpy()
    for _, part in rows.groupby(number, sort=True):
        yield part


def is_end(rows: SentRows) -> bool:
    """Whether these are the last events of a model."""
    return str(rows.frame["id"].iloc[-1]).startswith(f"{rows.model}-end-")


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
