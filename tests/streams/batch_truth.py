"""What must come out, computed with pandas and NumPy straight from the events that were sent.

Nothing of the product takes part in it: no profile, pane, table or stage. Given is only what the documents promise
(which event counts, to which pane a label belongs) and, for the bounds of windows, the seals that the run has logged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Accounting, MetricPoint, PaneSnapshot
from streams.judge.seals import Seal

Measure = tuple[str, str | None]
"""Name of a measure, and its feature."""
Place = tuple[str, int]
"""Model and partition."""

PREDICTIONS = ("received", "profiled", "late", "deadlettered", "duplicates")
LABELS = (
    "label_received",
    "joined",
    "waiting",
    "orphaned",
    "revised",
    "label_deadlettered",
    "label_duplicates",
)
_PERFORMANCE = ("accuracy", "precision", "recall", "f1", "balanced_accuracy")
_LEAST_ROWS = 50
"""Below so many rows little is measured: there a point may say why instead of how much."""


class Rules(NamedTuple):
    """What the monitor says, in microseconds."""

    pane_us: int
    lateness_us: int
    max_ahead_us: int = 300_000_000


@dataclass(frozen=True)
class SentRows:
    """The rows of one record as its producer meant them. `frame` has the columns id and time_us; of predictions
    prediction, score, f.<name> and s.<name>; of labels value. `refused`: the record breaks the contract or the schema,
    and all its rows are set aside. `arrived_us`: the broker's time, 0 where rows are not held against it."""

    model: str
    version: str | None
    partition: int
    producer: str
    sequence: int
    frame: pd.DataFrame
    refused: bool = False
    arrived_us: int = 0


@dataclass(frozen=True)
class Truth:
    """What the events of all models amount to.

    `accepted`: each prediction that counts, with version, segments, pane and, where its label has come, `label` and
    `label_pane`. `accounting`: by model and partition, the names of `PREDICTIONS` and `LABELS`.
    """

    accepted: dict[str, pd.DataFrame]
    accounting: dict[Place, dict[str, int]] = field(default_factory=dict[Place, dict[str, int]])

    @classmethod
    def of(cls, sent: Sequence[SentRows], rules: Rules | Mapping[str, Rules]) -> "Truth":
        """`sent`: in the order in which each partition holds them. `rules`: for all models, or by model."""
        places: dict[Place, list[SentRows]] = {}
        for rows in sent:
            places.setdefault((rows.model, rows.partition), []).append(rows)
        accepted: dict[str, list[pd.DataFrame]] = {}
        accounting: dict[Place, dict[str, int]] = {}
        for place, mine in places.items():
            of_model = rules if isinstance(rules, Rules) else rules[place[0]]
            found, accounting[place] = _of_partition(mine, of_model)
            accepted.setdefault(place[0], []).append(found)
        return cls(
            {model: pd.concat(parts, ignore_index=True) for model, parts in accepted.items()}, accounting
        )

    def window(self, seal: Seal) -> pd.DataFrame:
        """The rows that belong to a window, in its final state."""
        rows = self.accepted[seal.model]
        panes = rows["pane"] if seal.axis == "event" else rows["label_pane"]
        inside = (rows["version"] == seal.version) & (panes >= seal.after_us) & (panes < seal.end_us)
        if seal.segment != "all":
            name, _, value = seal.segment.partition("=")
            inside &= rows[f"s.{name}"] == value
        return rows[inside.to_numpy(dtype=bool)]

    def measures(self, seal: Seal) -> dict[Measure, tuple[float | None, int]]:
        """Value and number of rows of every measure of a window that pandas can tell; None: not defined."""
        rows = self.window(seal)
        found: dict[Measure, tuple[float | None, int]] = {}
        if seal.axis == "event":
            for name in [name for name in rows.columns if name.startswith("f.")]:
                found["missing_rate", name[2:]] = float(is_missing(rows[name]).mean()), len(rows)
            found["positive_rate", None] = float((rows["prediction"] > 0.5).mean()), len(rows)
        labelled = rows[rows["label"].notna()]
        for name, value in confusion_measures(labelled["prediction"], labelled["label"]).items():
            found[name, None] = value, len(labelled)
        return found

    def histogram(
        self, model: str, version: str, feature: str, edges: npt.ArrayLike, end_us: int
    ) -> npt.NDArray[np.int64]:
        """Values of a numeric feature in the bins edges[i-1] < x <= edges[i], over the rows of a version in the panes
        before `end_us`."""
        rows = self.accepted[model]
        chosen = (rows["version"] == version) & (rows["pane"] < end_us)
        with np.errstate(over="ignore"):
            values = rows.loc[chosen, f"f.{feature}"].to_numpy().astype(np.float32)
        bounds = np.asarray(edges, dtype=np.float32)
        places = np.searchsorted(bounds, values[~np.isnan(values)], side="left")
        return np.bincount(places, minlength=len(bounds) + 1)


def is_missing(column: pd.Series) -> pd.Series:
    """NaN, None, and of texts the empty one."""
    return column.isna() if pd.api.types.is_numeric_dtype(column) else column.isna() | (column == "")


def confusion_measures(predictions: pd.Series, labels: pd.Series) -> dict[str, float | None]:
    """What four counts say, by the usual definitions."""
    said, true = predictions > 0.5, labels > 0.5
    tp, fp = int((said & true).sum()), int((said & ~true).sum())
    fn, tn = int((~said & true).sum()), int((~said & ~true).sum())
    recall, specificity = _share(tp, tp + fn), _share(tn, tn + fp)
    balanced = None if recall is None or specificity is None else (recall + specificity) / 2
    return {
        "accuracy": _share(tp + tn, tp + fp + fn + tn),
        "precision": _share(tp, tp + fp),
        "recall": recall,
        "f1": _share(2 * tp, 2 * tp + fp + fn),
        "balanced_accuracy": balanced,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _of_partition(sent: Sequence[SentRows], rules: Rules) -> tuple[pd.DataFrame, dict[str, int]]:
    counts = dict.fromkeys((*PREDICTIONS, *LABELS), 0)
    newest: dict[str, int] = {}
    kept: dict[bool, list[pd.DataFrame]] = {True: [], False: []}
    for place, rows in enumerate(sent):
        labels = rows.version is None
        before = "label_" if labels else ""
        counts[before + "received"] += len(rows.frame)
        if rows.refused:
            counts[before + "deadlettered"] += len(rows.frame)
            continue
        if rows.sequence <= newest.get(rows.producer, -1):
            counts[before + "duplicates"] += len(rows.frame)
            continue
        newest[rows.producer] = rows.sequence
        ahead = rows.frame["time_us"] > (rows.arrived_us or 2**62) + rules.max_ahead_us
        counts[before + "deadlettered"] += int(ahead.sum())
        frame = rows.frame[~ahead].assign(record=place, version=rows.version)
        kept[labels].append(frame)
    predictions = _accepted(pd.concat(kept[False], ignore_index=True), rules, counts)
    labels_frame = pd.concat(kept[True], ignore_index=True) if kept[True] else None
    return _labelled(predictions, labels_frame, rules, counts), counts


def _accepted(rows: pd.DataFrame, rules: Rules, counts: dict[str, int]) -> pd.DataFrame:
    """Of several rows with one id and version the first that is not late counts."""
    late = rows["time_us"] < rows["time_us"].cummax() - rules.lateness_us
    names = ["version", "id"]
    in_time = rows[~late]
    first = in_time[~in_time.duplicated(names)]
    accepted = rows.index.isin(first.index)
    first_at = pd.Series(first.index, index=pd.MultiIndex.from_frame(first[names]))
    others = rows[~accepted]
    known_at = first_at.reindex(pd.MultiIndex.from_frame(others[names])).to_numpy(dtype=float)
    again = known_at < others.index.to_numpy()
    counts["profiled"] += len(first)
    counts["duplicates"] += int(again.sum())
    counts["late"] += int((~again).sum())
    return first.assign(pane=first["time_us"] // rules.pane_us * rules.pane_us)


def _labelled(
    predictions: pd.DataFrame, labels: pd.DataFrame | None, rules: Rules, counts: dict[str, int]
) -> pd.DataFrame:
    """The last value counts, in the pane of the first, or of the prediction where that is later."""
    if labels is None:
        return predictions.assign(label=np.nan, label_pane=np.nan)
    marks = labels["time_us"].cummax()
    panes = np.maximum(labels["time_us"], marks - rules.lateness_us) // rules.pane_us * rules.pane_us
    labels = labels.assign(pane=panes, mark=marks, earlier=labels.groupby("id")["value"].shift())
    first = labels["earlier"].isna()
    same = ~first & (labels["earlier"] == labels["value"])
    has_prediction = labels["id"].isin(predictions["id"])
    counts["joined"] += int((first & has_prediction).sum())
    counts["waiting"] += int((first & ~has_prediction).sum())
    counts["label_duplicates"] += int(same.sum())
    counts["revised"] += int((~first & ~same).sum())

    chosen = labels[first].set_index("id")
    known = predictions["id"].map(chosen["record"])
    pane = predictions["id"].map(chosen["pane"])
    afterwards = known < predictions["record"]
    floor = _mark_before(labels, predictions["record"]) - rules.lateness_us
    pane = pane.where(~afterwards, np.maximum(pane, floor // rules.pane_us * rules.pane_us))
    pane = pane.where(pane.isna(), np.maximum(pane, predictions["pane"]))
    return predictions.assign(
        label=predictions["id"].map(labels.groupby("id")["value"].last()), label_pane=pane
    )


def _mark_before(labels: pd.DataFrame, records: pd.Series) -> pd.Series:
    """How far labels had come when these records were read."""
    place = np.searchsorted(labels["record"].to_numpy(), records.to_numpy()) - 1
    marks = labels["mark"].to_numpy()
    return pd.Series(np.where(place >= 0, marks[np.maximum(place, 0)], -(2**62)), index=records.index)


class Agreement(NamedTuple):
    """How much was compared."""

    windows: int
    points: int
    rows: int


def assert_points(truth: Truth, seals: Iterable[Seal], points: Iterable[MetricPoint]) -> Agreement:
    """Every final point that pandas can tell, of every window that was logged, and that no window lacks its points;
    windows by rows lie side by side without a gap."""
    by_window: dict[tuple[Any, ...], list[MetricPoint]] = {}
    for point in points:
        by_window.setdefault(window_of(point), []).append(point)
    seals = list(seals)
    _assert_side_by_side(seals)
    compared = rows = 0
    for seal in seals:
        expected = truth.measures(seal)
        found = {(point.measure, point.feature): point for point in by_window.get(window_of(seal), [])}
        where = f"{seal.model} {seal.version} {seal.segment} {seal.axis} {seal.window}"
        for name, (value, count) in expected.items():
            point = found.get(name)
            if point is None:
                assert not count, f"{where}: no point of {name}"
                continue
            compared += _agrees(where, point, value, count)
        rows += len(truth.window(seal))
    return Agreement(len(seals), compared, rows)


def _agrees(where: str, point: MetricPoint, value: float | None, rows: int) -> int:
    name = (point.measure, point.feature)
    if point.value is None:
        few = value is None or rows < _LEAST_ROWS or point.measure in ("balanced_accuracy",)
        assert few, f"{where}: {name} is undefined ({point.undefined}), pandas says {value} of {rows} rows"
        return 0
    assert point.rows == rows, f"{where}: {name} counts {point.rows} rows, pandas {rows}"
    assert value is not None
    assert abs(point.value - value) <= 1e-9, f"{where}: {name} is {point.value!r}, pandas says {value!r}"
    return 1


def window_of(one: MetricPoint | Seal) -> tuple[Any, ...]:
    """What names a window among all."""
    return one.model, one.version, one.segment, one.axis, one.window


def _assert_side_by_side(seals: Sequence[Seal]) -> None:
    series: dict[tuple[Any, ...], list[Seal]] = {}
    for seal in seals:
        series.setdefault(window_of(seal)[:4], []).append(seal)
    for name, mine in series.items():
        mine.sort(key=lambda seal: seal.end_us)
        for before, after in pairwise(mine):
            assert after.after_us == before.end_us, (
                f"{name}: a gap between {before.window} and {after.window}"
            )


def assert_accounting(truth: Truth, found: Mapping[tuple[str, str, int], Accounting]) -> None:
    """Every count of every model and partition; `found` by stage, model and partition."""
    for (model, partition), expected in truth.accounting.items():
        account = found["profile", model, partition]
        counts = {name: getattr(account, name) for name in expected}
        assert counts == expected, f"{model}/{partition}: {counts} is not {expected}"


def assert_histograms(
    truth: Truth, snapshots: Iterable[PaneSnapshot], references: Iterable[Reference], end_us: int
) -> int:
    """The bins of every numeric feature, over all panes before `end_us`, as the newest snapshots hold them; how many
    values were counted."""
    values = 0
    snapshots = [
        one for one in snapshots if one.segment == "all" and one.axis == "event" and one.pane_us < end_us
    ]
    for reference in references:
        name = reference.model, reference.version
        mine = [one for one in snapshots if (one.model, one.version) == name]
        merged = Profile.merged(reference, (Profile.from_bytes(reference, one.profile) for one in mine))
        for slots in merged.layout.numeric:
            part = reference.feature(slots.name)
            assert part is not None
            expected = truth.histogram(*name, slots.name, part.edges, end_us)
            found = merged.counters[slots.bins]
            assert found.tolist() == expected.tolist(), f"{name} {slots.name}: {found} is not {expected}"
            values += int(found.sum())
    return values
