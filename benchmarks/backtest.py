"""How fast a backtest is, and what memory it takes: a million rows of 13 features with scores and labels.

    uv run python -m benchmarks.backtest --json

Each run is a process of its own on one core with one thread. Seconds are of the processor, without the start of Python;
the peer reads the same file with pandas and tests each window of 1,000 rows against the reference with SciPy's KS test
and a PSI of ten bins, which is two of the measures, without labels, budget or memory of what was before.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as parquet

from benchmarks.report import Scenario, parser, say, show

Floats = npt.NDArray[np.float64]
FEATURES = 13
REFERENCE = 20_000
WINDOW = 1_000
CHUNK = 100_000


def main() -> int:
    """Run and print."""
    options = parser(__doc__ or "")
    options.add_argument(
        "--rows", type=int, default=1_000_000, help="rows of the large file (default: 1,000,000)"
    )
    options.add_argument("--child", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.child:
        print(json.dumps(_child(chosen.child, chosen.folder)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _write(place / "good.parquet", REFERENCE, chosen.seed)
        _write(place / "large.parquet", chosen.rows, chosen.seed + 1)
        _write(place / "small.parquet", chosen.rows // 10, chosen.seed + 1)
        found = {name: _run(name, place) for name in ("small", "large", "peer")}
    for name, one in found.items():
        say(f"{name}: {one}")
    large, peer = found["large"], found["peer"]
    grown = large["peak_mib"] - found["small"]["peak_mib"]
    million = 1e6 / chosen.rows
    return show(
        [
            Scenario(
                id="backtest.million_rows",
                value=large["cpu_s"] * million,
                unit="CPU seconds per million rows",
                higher_is_better=False,
                target=5.0,
                peers={"pandas, SciPy KS and PSI": peer["cpu_s"] * million},
            ),
            Scenario(
                id="backtest.memory_growth",
                value=grown,
                unit="MiB more for ten times the rows",
                higher_is_better=False,
                target=64.0,
                peers={"pandas, whole peak in MiB": peer["peak_mib"]},
            ),
        ],
        as_json=chosen.json,
    )


def _run(name: str, folder: Path) -> dict[str, float]:
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "benchmarks.backtest", "--child", name, "--folder", str(folder)]
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _child(name: str, folder: Path) -> dict[str, float]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    work = _peer if name == "peer" else _backtest
    began = time.process_time()
    windows = work(folder, name)
    spent_s = time.process_time() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_s": spent_s, "peak_mib": peak_mib, "windows": float(windows)}


def _backtest(folder: Path, name: str) -> int:
    from streams.replay.process import prepare

    prepare()
    from streams.files.monitor import MonitorFile
    from streams.replay.backtest import backtest

    columns = {"id": "id", "prediction": "said", "score": "score", "label": "truth"}
    fields = {"model": "m", "columns": columns, "reference": {"file": folder / "good.parquet"}}
    file = MonitorFile.model_validate(fields | {"window": {"rows": WINDOW}, "label_window": {"rows": WINDOW}})
    return backtest(folder / f"{name}.parquet", file).results.windows["event"]


def _peer(folder: Path, _: str) -> int:
    import pandas as pd
    from scipy.stats import ks_2samp  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    good, data = pd.read_parquet(folder / "good.parquet"), pd.read_parquet(folder / "large.parquet")
    names = [f"f{number}" for number in range(FEATURES)]
    edges = {name: np.quantile(good[name], np.arange(1, 10) / 10) for name in names}
    shares = {name: _shares(good[name].to_numpy(), edges[name]) for name in names}
    windows = 0
    for start in range(0, len(data) - WINDOW + 1, WINDOW):
        part = data.iloc[start : start + WINDOW]
        for name in names:
            ks_2samp(good[name], part[name], method="asymp")
            now = _shares(part[name].to_numpy(), edges[name])
            float(((now - shares[name]) * np.log(now / shares[name])).sum())
        windows += 1
    return windows


def _shares(values: Floats, edges: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) + 0.5
    return counts / counts.sum()


def _write(path: Path, rows: int, seed: int) -> None:
    """Standard normal features, a score from two of them, and labels that are as likely as the score says."""
    rng = np.random.default_rng(seed)
    writer: parquet.ParquetWriter | None = None
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        matrix = rng.normal(size=(FEATURES, count))
        score = 1 / (1 + np.exp(-matrix[0] - matrix[1]))
        columns: dict[str, object] = {"id": [f"r{start + n:09d}" for n in range(count)]}
        columns |= {f"f{number}": matrix[number] for number in range(FEATURES)}
        columns |= {"score": score, "said": (score >= 0.5).astype(int)}
        columns["truth"] = (rng.random(count) < score).astype(int)
        table = pa.table(columns)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    sys.exit(main())
