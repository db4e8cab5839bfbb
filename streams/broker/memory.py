"""How a worker process keeps its memory: buffers of fetches come and go by the megabyte, a thousand times a minute.

glibc gives each large block back to the system when it is freed and asks for it again a moment later; the system then
clears its pages. Measured on a consumer of 165 kB records: half of its CPU time. Keeping some freed memory costs at
most `_KEPT_BYTES` per arena and halves the cost of reading.
"""

import ctypes
import gc
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""malloc.h of glibc."""
_KEPT_BYTES = 64 * 1024 * 1024
_LARGEST_KEPT_BLOCK_BYTES = 32 * 1024 * 1024


def settle() -> None:
    """Call once, when a worker has imported what it needs: keep freed memory at hand, and never look again for garbage
    among the modules. Where the C library is not glibc only the second is done."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        mallopt = getattr(library, "mallopt", None)
        if mallopt is not None and hasattr(library, "gnu_get_libc_version"):
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    gc.collect()
    gc.freeze()


class _NoPandas(MetaPathFinder):
    """Says that there is no pandas."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not wanted in this process", name=fullname)
        return None


def without_pandas() -> None:
    """Call before the first array: pyarrow imports pandas at that moment, 35 MB and a second of which a stage has no
    use. From then on pyarrow does without, and so `to_pandas` does not work in this process."""
    refusal = _NoPandas()
    sys.meta_path.insert(0, refusal)
    try:
        pa.array([0.0])
    finally:
        sys.meta_path.remove(refusal)
