"""What a worker process keeps in memory before the first event."""

import subprocess
import sys

import pytest

_RESIDENT = """
from pathlib import Path
def resident_mb(kind):
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 1024
"""


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_stage_s_process_does_without_pandas_and_linear_algebra_until_somebody_asks_for_them() -> None:
    _run(
        "import sys\nfrom streams.app import prepare\nprepare()\n"
        "assert not {'pandas', 'scipy.linalg'} & sys.modules.keys()\n"
        "import pandas as pd, pyarrow as pa, scipy.linalg\n"
        "assert pa.array(list(pd.Series([1.0]))).to_pylist() == [1.0]"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="it is looked up in /proc")
def test_the_code_of_the_compiler_is_given_back_and_works_when_it_is_needed_again() -> None:
    _run(
        _RESIDENT
        + "import numba\nfrom streams.app import prepare\nfrom streams.broker.memory import settle\n"
        "prepare()\n"
        "before_mb, own_mb = resident_mb('Rss'), resident_mb('Anonymous')\n"
        "settle()\n"
        "assert resident_mb('Rss') < before_mb - 60, (before_mb, resident_mb('Rss'))\n"
        "assert abs(resident_mb('Anonymous') - own_mb) < 10\n"
        "assert numba.njit(lambda number: number + 1)(1) == 2"
    )
