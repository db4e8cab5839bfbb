"""From archived, labelled events to a training set and what an honest gate takes.

One person who comes fifty times is fifty events, but not fifty proofs: rows with the same features are one
group, and no group stands on both sides of a split. The candidate has never seen a held-out group; whether
the champion has is not known here, so the gate favours the champion if it favours anybody.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from remediation.config import RetrainingConfig
from remediation.errors import NotYet, StepFailed
from remediation.training_values import TrainingSet

_PREFIX = "f."
_SEGMENT_PREFIX = "s."


Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """`training` (with its held-out part, for the reference) and `holdout`, which is never fitted on."""

    training: TrainingSet
    holdout: TrainingSet
    told: str


def split(
    model: str,
    events: pd.DataFrame,
    features: tuple[str, ...],
    *,
    since_us: int,
    with_past: bool,
    seed: int,
    config: RetrainingConfig,
) -> Split:
    """Split archived `events` (as `Archive.labelled` gives them) into training and hold-out.

    `with_past`: events from before the change are trained on, too, for volume, but weigh no more than those
    since; not where the same inputs now have other outcomes. Held out are a share of the groups seen since
    the change. Raises `NotYet` while too few labels have come since the change, `StepFailed` where columns
    are missing.
    """
    lines = _lines(events, features, since_us)
    if not with_past:
        lines = lines.only(lines.recent)
    lines = lines.only(np.arange(min(len(lines.group), config.max_lines)))
    recent = lines.only(lines.recent)
    _require_volume(recent, config)
    held = _held_out_groups(recent, seed, config)
    is_held = np.isin(lines.group, held)
    holdout, training = lines.only(is_held & lines.recent), lines.only(~is_held)
    _require_classes("training", training.only(training.recent), config)
    _require_classes("hold-out", holdout, config)
    training = _past_weighs_no_more(training)
    held_out = holdout.training_set(model, features)
    told = (
        f"{recent.weight.sum():,.0f} labelled rows of {len(recent.groups()):,} groups since the change, "
        f"{lines.weight[~lines.recent].sum():,.0f} rows before it; {len(held):,} groups held out"
    )
    return Split(
        training=training.training_set(model, features, reference=training.recent, held_out=held_out),
        holdout=held_out,
        told=told,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """One line per distinct (features, label, segments, before or since the change), newest first. `matrix` [n, k];
    `segments` [n, s] texts; the others [n]: `group` numbers equal feature rows, `weight` is the number of events,
    `newest_us` the time of the last one."""

    matrix: Floats
    segments: pd.DataFrame
    group: Integers
    label: Integers
    recent: Flags
    weight: Floats
    newest_us: Integers

    def only(self, chosen: Flags | Integers) -> "_Lines":
        """The chosen lines."""
        return _Lines(
            matrix=self.matrix[chosen],
            segments=self.segments.loc[chosen].reset_index(drop=True),
            group=self.group[chosen],
            label=self.label[chosen],
            recent=self.recent[chosen],
            weight=self.weight[chosen],
            newest_us=self.newest_us[chosen],
        )

    def groups(self, label: int | None = None) -> Integers:
        """The distinct groups (with a line of this label), sorted."""
        return np.unique(self.group if label is None else self.group[self.label == label])

    def training_set(
        self,
        model: str,
        features: tuple[str, ...],
        *,
        reference: Flags | None = None,
        held_out: TrainingSet | None = None,
    ) -> TrainingSet:
        """The lines as a trainer takes them."""
        return TrainingSet(
            model=model,
            features=pd.DataFrame(self.matrix, columns=list(features)),
            labels=pd.Series(self.label),
            groups=pd.Series(self.group),
            weights=pd.Series(self.weight),
            segments=self.segments,
            reference_rows=None if reference is None else pd.Series(reference),
            held_out=held_out,
        )


def _lines(events: pd.DataFrame, features: tuple[str, ...], since_us: int) -> _Lines:
    missing = [name for name in features if f"{_PREFIX}{name}" not in events.columns]
    if missing or not features:
        raise StepFailed(f"the archive lacks the features {missing or 'of the model: none are registered'}")
    events = _one_per_request(events, [f"{_PREFIX}{name}" for name in features])
    label = events["label"].to_numpy(dtype=np.float64, na_value=np.nan)
    known = ~np.isnan(label)
    columns = [
        events[f"{_PREFIX}{name}"].to_numpy(dtype=np.float64, na_value=np.nan)[known] for name in features
    ]
    matrix = np.column_stack(columns)
    time_us = events["time_us"].to_numpy(dtype=np.int64)[known]
    group = _row_numbers(matrix)
    recent = time_us >= since_us
    label = label[known].astype(np.int64)
    segments, codes = _segments(events.loc[known])
    keys = np.column_stack([group, label, recent, *codes])
    _, first, line, weight = np.unique(
        keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    newest_us = np.zeros(len(first), dtype=np.int64)
    np.maximum.at(newest_us, line.reshape(-1), time_us)
    lines = _Lines(
        matrix=matrix[first],
        segments=segments.loc[first].reset_index(drop=True),
        group=group[first],
        label=label[first],
        recent=recent[first],
        weight=weight.astype(np.float64),
        newest_us=newest_us,
    )
    return lines.only(np.lexsort((lines.label, lines.group, -newest_us)))


def _one_per_request(events: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A request that several versions scored is one row: that of the version that took most of the features."""
    missing = events.loc[:, columns].isna().sum(axis=1).to_numpy()
    order = np.argsort(missing, kind="stable")
    first = np.sort(order[~events["id"].iloc[order].duplicated().to_numpy()])
    return events.iloc[first]


def _segments(events: pd.DataFrame) -> tuple[pd.DataFrame, list[Integers]]:
    """The segments of each row by their columns' names, and for each column numbers that are equal for equal texts."""
    named = [str(name) for name in events.columns if str(name).startswith(_SEGMENT_PREFIX)]
    found = events.loc[:, named].reset_index(drop=True).astype(object)
    found.columns = [name.removeprefix(_SEGMENT_PREFIX) for name in named]
    found = found.where(found.notna(), None)
    return found, [pd.factorize(found[name], sort=True)[0].astype(np.int64) for name in found.columns]


def _row_numbers(matrix: Floats) -> Integers:
    """A number per distinct row, equal for equal rows; every NaN is the same NaN, and -0.0 is 0.0."""
    if not len(matrix):
        return np.empty(0, dtype=np.int64)
    canonical = np.ascontiguousarray(np.where(np.isnan(matrix), np.nan, matrix + 0.0))
    rows = canonical.view(np.dtype((np.void, canonical.dtype.itemsize * canonical.shape[1]))).reshape(-1)
    return np.unique(rows, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _past_weighs_no_more(lines: _Lines) -> _Lines:
    past, now = lines.weight[~lines.recent].sum(), lines.weight[lines.recent].sum()
    if past <= now:
        return lines
    return dataclasses.replace(
        lines, weight=np.where(lines.recent, lines.weight, lines.weight * (now / past))
    )


def _require_volume(recent: _Lines, config: RetrainingConfig) -> None:
    rows, groups = int(recent.weight.sum()), len(recent.groups())
    if rows < config.min_rows or groups < config.min_groups:
        raise NotYet(
            f"{rows} labelled rows of {groups} groups since the change; "
            f"a retraining needs {config.min_rows} rows of {config.min_groups} groups"
        )


def _require_classes(part: str, lines: _Lines, config: RetrainingConfig) -> None:
    groups = [len(lines.groups(label)) for label in (0, 1)]
    if min(groups) < config.min_groups_per_class:
        raise NotYet(
            f"{part}: {groups[0]} groups of class 0 and {groups[1]} of class 1 since the change; "
            f"{config.min_groups_per_class} of each are needed"
        )


def _held_out_groups(recent: _Lines, seed: int, config: RetrainingConfig) -> Integers:
    """A share of the recent groups, drawn per class, so that a rare class stands on both sides."""
    generator = np.random.default_rng(seed)
    positive = recent.groups(1)
    sides = (np.setdiff1d(recent.groups(), positive), positive)
    return np.concatenate(
        [generator.permutation(side)[: round(config.holdout_share * len(side))] for side in sides]
    )
