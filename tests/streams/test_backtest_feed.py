"""The records that a backtest makes of a file: those that need not be decoded say what their bytes would."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from homeostat.contract import PredictionBatch, decode, encode_labels, encode_predictions, headers_of
from streams.control.monitor_build import open_table
from streams.files.columns import Roles
from streams.files.monitor import MonitorFile
from streams.replay.backtest_feed import Feed, RowIndex
from streams.replay.inprocess import Handed
from streams.stages import InputRecord

pytestmark = pytest.mark.filterwarnings("error")

ROWS = 30_000


def test_what_is_handed_on_is_what_would_be_sent(tmp_path: Path) -> None:
    records = _records(tmp_path)
    handed = [record for record in records if isinstance(record, Handed)]
    assert len(handed) == len(records) - 2, (
        "the first predictions and the first labels show what all are like"
    )
    for record in handed:
        batch, predicted = record.batch, isinstance(record.batch, PredictionBatch)
        value = encode_predictions(batch) if isinstance(batch, PredictionBatch) else encode_labels(batch)
        read = decode(value, headers_of(batch))
        names = ["rows", "keys", "times_us", "span_us", "outcomes", "ids"]
        names += ["scores", "feature_matrix", "feature_names", "silent"] if predicted else []
        for name in names:
            np.testing.assert_array_equal(getattr(batch, name), getattr(read, name), err_msg=name)
        assert record.headers == tuple(headers_of(read))
    assert sum(record.batch.rows for record in handed) > ROWS


@pytest.mark.parametrize("version", ["", "v" * 300])
def test_only_what_could_be_read_is_handed_on(tmp_path: Path, version: str) -> None:
    records = _records(tmp_path, version)
    predictions = [record for record in records if b"label" not in dict(record.headers)["kind"]]
    assert any(isinstance(record, Handed) for record in predictions) == (not version)


def _records(folder: Path, version: str = "") -> list[InputRecord]:
    rng = np.random.default_rng(5)
    columns: dict[str, object] = {f"f{place}": rng.normal(size=ROWS) for place in range(3)}
    score = rng.random(ROWS)
    columns["f1"] = np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(size=ROWS))
    columns["score"] = np.where(rng.random(ROWS) < 0.1, np.nan, score)
    columns |= {
        "id": [f"order {row}" for row in range(ROWS)],
        "truth": (rng.random(ROWS) < score).astype(int),
    }
    columns |= {"said": (score > 0.5).astype(int), "version": [version] * ROWS}
    parquet.write_table(pa.table(columns), folder / "data.parquet")
    named = {"id": "id", "prediction": "said", "score": "score", "label": "truth", "version": "version"}
    fields = {"model": "m", "reference": {"rows": 100}, "columns": named | {"features": ["f0", "f1", "f2"]}}
    file = MonitorFile.model_validate(fields)
    table = open_table(folder / "data.parquet", file)
    roles = Roles.of(file, table)
    feed = Feed("m", "1", roles, None, 1_000, RowIndex(1_000_000), 8_000_000, 8_000_000)
    return [record for batch in table.batches(roles.needed) for record in feed.records(batch)] + list(
        feed.rest()
    )
