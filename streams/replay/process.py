"""What the process of a command over files does once."""

import gc
from importlib import import_module

_YOUNG_OBJECTS = 50_000
"""Points and snapshots make many objects and few cycles: the collector looks that seldom."""


_AT_HAND_BYTES = 32 * 1024 * 1024
_NOT_WANTED = ("pandas", "scipy", "scipy.linalg", "coverage", "cffi", "rich")
"""pyarrow looks for the first, numba for the next four, the log for colours."""


def prepare() -> None:
    """Load what a backtest takes, without libraries that would only be loaded because they are there (see
    `streams.broker.memory.without`), and never look for garbage among the modules: together a sixth of its time."""
    gc.disable()
    from streams.broker import memory

    memory.keep_freed()
    with memory.without(*_NOT_WANTED):
        import_module("streams.replay.backtest")
        import numpy as np
        import pyarrow as pa

        from detectors.at_hand import LATELY
        from detectors.distances import ks

        pa.array([0.0])
        nothing = np.zeros(1, dtype=np.int64)
        ks(nothing, nothing)
        LATELY.most_bytes = _AT_HAND_BYTES
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
    gc.enable()
