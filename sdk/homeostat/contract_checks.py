"""What the rows of a batch must keep to, checked for a whole column at a time.

Every function raises `ContractError` and changes nothing.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homeostat.batches import LabelBatch, PredictionBatch
from homeostat.contract_dense import ID, KEY, TIME
from homeostat.contract_layout import Layout
from homeostat.contract_views import FeatureArray, vectors_of
from homeostat.errors import ContractError
from homeostat.keys import key_of

# A probability computed in float32 can end a few units in the last place outside [0, 1].
SCORE_TOLERANCE = 1e-6

MAX_TIME_US = 253_402_300_800_000_000  # the year 10000
_MAX_WRITTEN_OUT_BYTES = 64 * 2**20
_STATUS = 6


def check_rows(batch: PredictionBatch | LabelBatch) -> None:
    """Ids, keys and times are there in every row and can be what they say."""
    columns, seen = batch.columns, vars(batch)
    for name, place, known in (("id", ID, "id_ends"), ("key", KEY, "keys"), ("time", TIME, "times_us")):
        if known not in seen and columns.column(place).null_count:
            raise _nulls(name, columns.column(place).null_count)
    ends = batch.id_ends
    if not (ends[1:] > ends[:-1]).all():
        raise ContractError("column id", "an empty id", "an id in every row")
    first_us, last_us = batch.span_us
    if first_us < 0 or last_us >= MAX_TIME_US:
        outside = first_us if first_us < 0 else last_us
        raise ContractError("column time", f"{outside} us", "a time from 1970 to 9999")
    first_id, first_key = columns.column(ID)[0].as_py(), int(batch.keys[0])
    if key_of(first_id) != first_key:
        raise ContractError("column key", str(first_key), f"xxh3_64 of the id {first_id!r}")


def check_written_out(columns: pa.RecordBatch, layout: Layout) -> None:
    """A dictionary names a long text in many rows with few bytes; written out, it must still fit."""
    total = 0
    for index in layout.codes:
        column = columns.column(index)
        texts = column.dictionary
        if len(column) * sum(buffer.size for buffer in texts.buffers()[2:] if buffer) < 2**16:
            continue
        lengths = pc.call_function("binary_length", [texts]).take(column.indices)
        total += pc.call_function("sum", [lengths]).as_py() or 0
        if total > _MAX_WRITTEN_OUT_BYTES:
            name = columns.schema.names[index]
            expected = f"at most {_MAX_WRITTEN_OUT_BYTES} in all columns"
            raise ContractError(f"column {name}", f"texts of {total} bytes when written out", expected)


def check_outcomes(batch: PredictionBatch | LabelBatch, layout: Layout, *, may_lack: bool) -> None:
    """A finite number or a name in every row. `may_lack`: null will do where there is a status."""
    name, columns = layout.outcome.name, batch.columns
    values = vars(batch).get("outcomes")
    if values is None:
        column = columns.column(layout.outcome.place)
        nulls = column.null_count
        if nulls and not may_lack:
            raise _nulls(name, nulls)
        if nulls:
            lacking = column.is_null().to_numpy(zero_copy_only=False)
            if columns.column(_STATUS).is_null().to_numpy(zero_copy_only=False)[lacking].any():
                raise ContractError(f"column {name}", "null", "a prediction or a status in every row")
            column = column.drop_null()
        if layout.outcome.kind.is_text:
            return
        values = column.to_numpy()
    if not np.isfinite(values).all():
        raise ContractError(f"column {name}", "NaN or infinity", "a finite number, or null with a status")


def _nulls(name: str, nulls: int) -> ContractError:
    return ContractError(f"column {name}", f"{nulls} nulls", "a value in every row")


def check_scores(batch: PredictionBatch, layout: Layout) -> None:
    """Scores are probabilities, or missing."""
    _check_probabilities("score", batch.scores)
    if layout.scores is not None:
        vectors = vectors_of(batch.columns.column(layout.scores.place), layout.scores.size)
        _check_probabilities(layout.scores.name, vectors)


def _check_probabilities(name: str, values: FeatureArray) -> None:
    lowest, highest = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if lowest < -SCORE_TOLERANCE or highest > 1 + SCORE_TOLERANCE:
        outside = lowest if lowest < -SCORE_TOLERANCE else highest
        raise ContractError(f"column {name}", str(outside), "a probability from 0 to 1, or null")
