"""What the process of a backtest loads."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        ("import homeostat", {"aiokafka"}),
        (
            "from streams.replay.process import prepare\nprepare()",
            {"aiokafka", "prometheus_client", "pandas", "scipy", "cffi", "rich"},
        ),
    ],
)
def test_what_nobody_uses_is_not_loaded(code: str, unused: set[str]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = {name.partition(".")[0] for name in found.stdout.split()}
    assert not unused & loaded


def test_what_was_not_loaded_is_there_when_somebody_asks_for_it() -> None:
    code = (
        "from streams.replay.process import prepare\nprepare()\n"
        "import pandas, rich.console, scipy.stats, numba, numpy as np\n"
        "assert scipy.stats.norm.cdf(0) == 0.5\n"
        "assert numba.njit(lambda numbers: numbers.sum())(np.ones(3)) == 3"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
