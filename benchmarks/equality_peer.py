"""Evidently's distances of pairs of columns, run by the Python of an environment of its own.

`PYTHON equality_peer.py FILE`: FILE is an .npz with arrays before_N and now_N (numbers), and groups_before_N and
groups_now_N (the group of each row). On stdout: one JSON object, a list of values for each distance.
"""

import json
import sys

import evidently.legacy.calculations.stattests as known
import numpy as np
import pandas as pd
from evidently.legacy.core import ColumnType


def main() -> None:
    """Read, compare, print."""
    found = {"wasserstein": [], "psi": [], "jensen_shannon": []}
    with np.load(sys.argv[1]) as file:
        for n in range(len(file.files) // 4):
            before, now = pd.Series(file[f"before_{n}"]), pd.Series(file[f"now_{n}"])
            groups = [pd.Series(file[f"groups_{side}_{n}"]) for side in ("before", "now")]
            told = known.wasserstein_stat_test.func(before, now, ColumnType.Numerical, 0.1)
            found["wasserstein"].append(float(told[0]))
            for name, test in (
                ("psi", known.psi_stat_test),
                ("jensen_shannon", known.jensenshannon_stat_test),
            ):
                found[name].append(float(test.func(*groups, ColumnType.Categorical, 0.1)[0]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
