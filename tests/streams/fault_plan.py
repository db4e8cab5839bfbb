"""A seeded workload for the fault tests: how a model's traffic looks, and its rows."""

from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.values import FeatureSpec, Monitor
from homeostat.contract import key_of
from tests.streams.batch_truth import Rules

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
    label, of which `early` come before their prediction, with times up to `backdated_s` before it. `disorder_s`: how
    late a tenth of the rows comes at most; the rest is at most `jitter_s` late. `shift`: by how much f02 moves after
    the first half. `batch_rows` cuts batches by rows instead of every `batch_s` of arrival."""

    model: str
    requests: int = 5_000
    seed: int = 1
    rate: float = 250.0
    start_us: int = START_US
    shadow: float = 0.3
    labelled: float = 0.6
    early: float = 0.05
    backdated_s: float = 0.0
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
    label_window_s: float = 0.0
    shift: float = 0.0
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
            label_window_s=self.label_window_s,
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


def predictions_of(plan: Plan) -> pd.DataFrame:
    """Rows of both versions, with the time of arrival, in no order."""
    rng = np.random.default_rng(plan.seed)
    rows = plan.requests
    numbers = rng.normal(0, 1, (rows, len(NUMBERS)))
    numbers[:, 1] += 0.6 * numbers[:, 0]
    score = 1 / (1 + np.exp(-2 * numbers[:, 0] - numbers[:, 1]))
    truth = (rng.uniform(size=rows) < score).astype(float)
    numbers[:, 3:5] *= 1_000
    numbers[rows // 2 :, 2] += plan.shift
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


def labels_of(plan: Plan, predictions: pd.DataFrame) -> pd.DataFrame:
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
    if plan.backdated_s:
        back_us = rng.integers(0, round(plan.backdated_s * SECOND_US), int(early.sum()))
        labels.loc[early, "time_us"] = np.maximum(labels.loc[early, "time_us"] - back_us, plan.start_us)
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


def end_ids(plan: Plan) -> list[str]:
    """One id for each partition that the model may have, whatever its spread."""
    found: dict[int, str] = {}
    for number in count():
        name = f"{plan.model}-end-{number}"
        found.setdefault(key_of(name) % ENDS, name)
        if len(found) == ENDS:
            break
    return [found[slot] for slot in range(ENDS)]


def ends_of(plan: Plan, end_us: int, like: pd.DataFrame) -> pd.DataFrame:
    ids = end_ids(plan)
    return like.iloc[[0] * len(ids)].assign(id=ids, time_us=end_us, arrival_us=end_us, version="1")


def extra_columns(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if str(name)[:2] in ("f.", "s.")]
