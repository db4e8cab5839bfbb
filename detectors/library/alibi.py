"""Measures of alibi-detect on the samples of rows that reference and window keep, where the extra `alibi` is installed.

They see any change of the joint distribution of the numeric columns, at the price of a sample (see `detectors.drawn`)
and of milliseconds to seconds a window. Each draws its random numbers from the same seed, so that a window says the
same whenever it is asked.
"""

import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final, cast

import numpy as np

from detectors.columns import Singles
from detectors.library.measure import Found, Measure, absent
from detectors.library.samples import RowsSample

EXTRA: Final = "alibi"
PERMUTATIONS: Final = 100
LEAST_ROWS: Final = 60
"""Rows of a sample: half of them, or a third, are learned from."""
_SEED: Final = 0
_EPOCHS: Final = 5
_HIDDEN: Final = 16

Test = Callable[[Singles, Singles], dict[str, Any]]


def is_installed() -> bool:
    """Whether alibi-detect and torch can be imported."""
    return find_spec("alibi_detect") is not None and find_spec("torch") is not None


def _measure(name: str, test: Test, greatest: float = float("inf")) -> Measure:
    def rows(before: RowsSample, now: RowsSample) -> Found:
        if before.drawn is None or now.drawn is None:
            return absent(
                "no sample of rows is kept: the reference was built before the monitor asked for this measure"
            )
        few = min(len(before.drawn), len(now.drawn))
        if few < LEAST_ROWS:
            return absent(f"the sample has {few} different rows; it takes {LEAST_ROWS}")
        if not is_installed():
            return absent(f"alibi-detect is not installed where the judge runs: it is in the extra {EXTRA!r}")
        varying = (before.drawn.std(axis=0) > 0) | (now.drawn.std(axis=0) > 0)
        if not varying.any():
            return absent("all columns are constant")
        with _seeded():
            told = test(*(one[:, varying].astype(np.float32) for one in (before.drawn, now.drawn)))
        value, chance = float(np.squeeze(told["distance"])), float(np.squeeze(told["p_val"]))
        return Found(min(max(value, 0.0), greatest), detail=f"p-value {chance:.3f}")

    return Measure(name=name, rows=rows, greatest=greatest, of_shares=False)


@contextmanager
def _seeded() -> Generator[None]:
    """Its random numbers come from NumPy's and torch's own generators: they are set, and put back."""
    torch = importlib.import_module("torch")
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        np.random.seed(_SEED)
        try:
            yield
        finally:
            np.random.set_state(before)


def _detectors() -> Any:
    return importlib.import_module("alibi_detect.cd")


def _told(detector: Any, rows: Singles) -> dict[str, Any]:
    return cast(dict[str, Any], detector.predict(rows)["data"])


def _mmd(before: Singles, now: Singles) -> dict[str, Any]:
    return _told(
        _detectors().MMDDrift(before, backend="pytorch", n_permutations=PERMUTATIONS, device="cpu"), now
    )


def _lsdd(before: Singles, now: Singles) -> dict[str, Any]:
    return _told(
        _detectors().LSDDDrift(before, backend="pytorch", n_permutations=PERMUTATIONS, device="cpu"), now
    )


def _layers(columns: int, last: int) -> Any:
    nn = importlib.import_module("torch").nn
    return nn.Sequential(nn.Linear(columns, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, last))


def _learned_kernel(before: Singles, now: Singles) -> dict[str, Any]:
    kernels = importlib.import_module("alibi_detect.utils.pytorch.kernels")
    kernel = kernels.DeepKernel(_layers(before.shape[1], _HIDDEN))
    detector = _detectors().LearnedKernelDrift(
        before,
        kernel,
        backend="pytorch",
        n_permutations=PERMUTATIONS,
        epochs=_EPOCHS,
        verbose=0,
        device="cpu",
    )
    return _told(detector, now)


def _classifier(before: Singles, now: Singles) -> dict[str, Any]:
    detector = _detectors().ClassifierDrift(
        before,
        _layers(before.shape[1], 2),
        backend="pytorch",
        preds_type="logits",
        n_folds=3,
        seed=_SEED,
        epochs=_EPOCHS,
        verbose=0,
        device="cpu",
    )
    return _told(detector, now)


SAMPLED: Final = (
    _measure("alibi_mmd", _mmd),
    _measure("alibi_lsdd", _lsdd),
    _measure("alibi_learned_kernel", _learned_kernel),
    _measure("alibi_classifier", _classifier, greatest=1.0),
)
NAMES: Final = frozenset(one.name for one in SAMPLED)
"""Measures that take a sample of the rows."""
