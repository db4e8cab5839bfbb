"""Where a model does worst in a file, and how its groups differ."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from detectors.columns import Floats
from detectors.slices.fairness import Gap, gaps
from detectors.slices.search import Searched, worst_slices
from streams.control.monitor_build import open_table
from streams.files.columns import Roles
from streams.files.id_keys import keys_of_column
from streams.files.labels import LabelFile
from streams.files.monitor import MonitorFile
from streams.files.tables import FileInvalid


@dataclass(frozen=True)
class Sliced:
    """What was found. `loss`: what is averaged. `gaps` by the segment column of the monitor (binary models only).
    `texts`: columns of texts that hold numbers in the monitor's reference; `unreadable`: rows that were left out for a
    text where a number belongs."""

    rows: int
    labelled: int
    loss: str
    searched: Searched
    gaps: dict[str, list[Gap]]
    texts: tuple[str, ...] = ()
    unreadable: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rows": self.rows,
            "labelled": self.labelled,
            "loss": self.loss,
            "candidates": self.searched.candidates,
            "slices": [one._asdict() | {"conditions": list(one.conditions)} for one in self.searched.slices],
            "gaps": {name: [one._asdict() for one in found] for name, found in self.gaps.items()},
            "texts": list(self.texts),
            "unreadable": self.unreadable,
        }


def slices(data: Path, file: MonitorFile, labels: Path | None = None) -> Sliced:
    """Read the file (at most 5 million rows, in memory), join the labels, and search.

    The loss is 1 for a wrong answer, of a regression the absolute error. Raises `FileInvalid`, also where the file has
    no predictions or no labels.
    """
    table = open_table(data, file)
    roles = Roles.of(file, table)
    if not roles.has_outputs:
        raise FileInvalid(
            f"{data}: to find where the model errs, the monitor must name columns.prediction or score"
        )
    (batch,) = table.table(roles.needed).combine_chunks().to_batches()
    rows = roles.rows(batch, 0, 1)
    truth = rows.labels if labels is None else _joined(LabelFile(labels, file), rows.ids)
    known = int(np.isfinite(truth).sum())
    if not known:
        raise FileInvalid(f"{data}: no row has a label; name columns.label, or a file with `--labels`")
    apart = np.abs(rows.predictions - truth)
    regression = file.task == "regression"
    losses = apart if regression else np.where(np.isfinite(apart), (apart > 0).astype(np.float64), np.nan)
    columns: dict[str, Any] = dict(rows.features)
    columns |= {name: np.array(texts, dtype=object) for name, texts in rows.segments.items()}
    return Sliced(
        rows=len(rows.ids),
        labelled=known,
        loss="absolute error" if regression else "share of wrong answers",
        searched=worst_slices(columns, losses),
        gaps={
            name: gaps(texts, rows.predictions, truth)
            for name, texts in rows.segments.items()
            if file.task == "binary"
        },
        texts=_texts(file, roles),
        unreadable=len(table.unreadable),
    )


def _texts(file: MonitorFile, roles: Roles) -> tuple[str, ...]:
    """The features that are texts here and numbers in the file of the reference, as far as that can be read."""
    source = file.reference.file
    if source is None or not source.exists():
        return ()
    schema = open_table(source, file).schema
    here = [one.name for one in roles.features if one.kind == "categorical" and one.name in schema.names]
    return tuple(name for name in here if _is_number(schema, name))


def _is_number(schema: pa.Schema, name: str) -> bool:
    kind = schema.field(name).type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _joined(labels: LabelFile, ids: pa.Array) -> Floats:
    """The last label of each id; NaN where there is none."""
    found = np.full(len(ids), np.nan)
    places, values, _ = labels.of(keys_of_column(ids))
    found[places] = values
    return found
