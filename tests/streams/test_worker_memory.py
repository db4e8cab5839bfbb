"""What a worker process keeps in memory before the first event."""

import subprocess
import sys


def test_a_stage_s_process_does_without_pandas() -> None:
    code = (
        "import sys\nfrom streams.app import prepare\nprepare()\nassert 'pandas' not in sys.modules\n"
        "import pandas as pd, pyarrow as pa\nassert pa.array(list(pd.Series([1.0]))).to_pylist() == [1.0]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
