"""The scores of another monitoring tool for `benchmarks.equal_power`, run by the Python of an environment of its own:
`PYTHON equal_power_tool.py TOOL CASE SEED SEEDS REFERENCES`, from the root of the project; it takes msgspec besides.

On stdout: one JSON object, by method the scores of the windows of each changed stream, and of each clean one. The
greater a score, the more speaks for a change. A threshold per column is what the tool's own are: so many standard
deviations above the mean of the reference's chunks (NannyML), or one number for all columns (Evidently, alibi-detect).
"""

import json
import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
# Not this script's folder, whose profile.py would hide the library's module of that name.
sys.path.pop(0)
sys.path.insert(0, os.getcwd())

import numpy as np

from benchmarks.equal_power_data import CASES, WINDOW_ROWS

Scores = dict[str, list[float]]
_FEW = 1_000
"""Rows of the reference that a test on pairs of rows is given."""
_SHUFFLED = 2
"""Permutations: of a test only its distance is read, and not its p-value."""


def _nannyml(reference: Any, windows: list[Any]) -> Scores:
    import nannyml
    import pandas as pd

    frame = pd.concat([pd.DataFrame(one) for one in windows], ignore_index=True)
    names, known = list(frame), pd.DataFrame(reference)
    words = [name for name in names if frame[name].dtype == object]
    found: Scores = {}
    numeric = ["kolmogorov_smirnov", "jensen_shannon", "hellinger", "wasserstein"]
    categorical = ["jensen_shannon", "l_infinity", "hellinger", "chi2"]
    one = nannyml.UnivariateDriftCalculator(
        column_names=names,
        treat_as_categorical=words,
        continuous_methods=numeric,
        categorical_methods=categorical,
        chunk_size=WINDOW_ROWS,
    )
    told = one.fit(known).calculate(frame).to_df(multilevel=True)
    period = told[("chunk", "chunk", "period")] == "analysis"
    for method, other in zip(numeric, categorical, strict=True):
        far, values = [], []
        for name in names:
            value = told[(name, other if name in words else method, "value")].to_numpy(dtype=float)
            before, after = value[~period], value[period]
            far.append((after - before.mean()) / max(before.std(), 1e-9))
            values.append(after)
        found[f"NannyML {method}"] = np.max(far, axis=0).tolist()
        if not words:
            found[f"NannyML {method}, one threshold"] = np.max(values, axis=0).tolist()
    many = nannyml.DataReconstructionDriftCalculator(column_names=names, chunk_size=WINDOW_ROWS)
    told = many.fit(known).calculate(frame).to_df(multilevel=True)
    period = told[("chunk", "period")] == "analysis"
    error = told[("reconstruction_error", "value")].to_numpy(dtype=float)
    found["NannyML PCA reconstruction"] = np.abs(error[period] - error[~period].mean()).tolist()
    return found


def _evidently(reference: Any, windows: list[Any]) -> Scores:
    import evidently.legacy.calculations.stattests as known
    import pandas as pd
    from evidently.legacy.core import ColumnType

    numeric = {
        "wasserstein": (known.wasserstein_stat_test, 1),
        "t-test": (known.t_test, -1),
        "PSI": (known.psi_stat_test, 1),
        "Jensen-Shannon": (known.jensenshannon_stat_test, 1),
        "Cramer-von-Mises": (known.cramer_von_mises, -1),
        "Epps-Singleton": (known.epps_singleton_test, -1),
    }
    other = {-1: (known.chi_stat_test, -1), 1: (known.jensenshannon_stat_test, 1)}
    found: defaultdict[str, list[float]] = defaultdict(list)
    before = {name: pd.Series(column) for name, column in reference.items()}
    words = [name for name in before if before[name].dtype == object]
    for window in windows:
        for method, (test, sign) in numeric.items():
            scores = []
            for name, column in window.items():
                if name in words and method != "Jensen-Shannon" and sign > 0:
                    continue
                mine, grows = other[sign] if name in words else (test, sign)
                kind = ColumnType.Categorical if name in words else ColumnType.Numerical
                value = float(mine.func(before[name], pd.Series(column), kind, 0.1)[0])
                scores.append(value if grows > 0 else -float(np.log(max(value, 1e-300))))
            found[f"Evidently {method}"].append(max(scores))
    return dict(found)


def _matrix(table: Any, words: dict[str, Any]) -> Any:
    """Numbers as they are; of a text one column for each word of the reference, and one for all others."""
    columns = []
    for name, column in table.items():
        if name in words:
            columns += [column == word for word in words[name]]
            columns.append(~np.isin(column.astype(str), words[name].astype(str)))
        else:
            columns.append(column)
    return np.stack(columns, axis=1).astype(np.float32)


def _alibi(reference: Any, windows: list[Any]) -> Scores:
    import torch
    from alibi_detect.cd import LSDDDrift, MMDDrift

    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    words = {name: np.unique(column) for name, column in reference.items() if column.dtype == object}
    known = _matrix({name: column[:_FEW] for name, column in reference.items()}, words)
    tests = {
        "alibi-detect MMD": MMDDrift(known, backend="pytorch", n_permutations=_SHUFFLED),
        "alibi-detect LSDD": LSDDDrift(known, backend="pytorch", n_permutations=_SHUFFLED),
    }
    found: defaultdict[str, list[float]] = defaultdict(list)
    for window in windows:
        rows = _matrix(window, words)
        for name, test in tests.items():
            found[name].append(float(test.predict(rows)["data"]["distance"]))
    return dict(found)


TOOLS: dict[str, Callable[[Any, list[Any]], Scores]] = {
    "nannyml": _nannyml,
    "evidently": _evidently,
    "alibi": _alibi,
}


def _all(tool: str, streams: Iterable[tuple[Any, Iterable[Any]]], most: int) -> dict[str, list[list[float]]]:
    found: defaultdict[str, list[list[float]]] = defaultdict(list)
    for reference, windows in streams:
        for method, scores in TOOLS[tool](reference, list(islice(windows, most))).items():
            found[method].append(scores)
    return dict(found)


def main() -> None:
    """Draw, ask, print."""
    warnings.simplefilter("ignore")
    tool, case = sys.argv[1], CASES[sys.argv[2]]
    seed, seeds, references, most = (int(one) for one in sys.argv[3:7])
    changed = _all(tool, (case.changed(seed, number) for number in range(seeds)), case.within)
    clean = _all(tool, (case.clean(seed, number) for number in range(references)), most)
    print(json.dumps({"changed": changed, "clean": clean}))


if __name__ == "__main__":
    main()
