"""How a worker process keeps its memory: buffers of fetches come and go by the megabyte, a thousand times a minute.

glibc gives each large block back to the system when it is freed and asks for it again a moment later; the system then
clears its pages. Measured on a consumer of 165 kB records: half of its CPU time. Keeping some freed memory costs at
most `_KEPT_BYTES` per arena and halves the cost of reading.
"""

import ctypes
import gc
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""malloc.h of glibc."""
_KEPT_BYTES = 64 * 1024 * 1024
_LARGEST_KEPT_BLOCK_BYTES = 32 * 1024 * 1024
_MADV_DONTNEED = 4
"""sys/mman.h of Linux."""
_PLACE = re.compile(r"^(?=[0-9a-f]+-[0-9a-f]+ )", re.MULTILINE)
_OF_A_FILE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-[x-]p [0-9a-f]+ \S+ [1-9]")
"""Read-only and private, and with the number of a file."""
_OWN_PAGES = re.compile(r"^(?:Anonymous|Swap): +[1-9]", re.MULTILINE)
"""Such as addresses that the loader has filled in: not as the file has them."""


def settle() -> None:
    """Call once, when a worker has imported what it needs: keep freed memory at hand, give back what only the start has
    needed of libraries, and never look again for garbage among the modules. The last is all that is done where the
    system is not Linux; only a C library that is glibc is told what to keep."""
    keep_freed()
    if sys.platform == "linux":
        _untouch(ctypes.CDLL(None))
    gc.collect()
    gc.freeze()


def keep_freed() -> None:
    """Keep freed memory at hand, where the C library is glibc."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(library, "mallopt", None)
    if mallopt is not None and hasattr(library, "gnu_get_libc_version"):
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


class _Refusal(MetaPathFinder):
    """Says that some modules are not there."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is not wanted in this process now", name=fullname)
        return None


@contextmanager
def without(*names: str) -> Generator[None]:
    """Inside, modules of these names cannot be imported, where that has not happened already. Libraries that would use
    one if it is there do without it from then on: pyarrow imports pandas at its first array, 35 MB and a second, and
    numba SciPy's linear algebra at its first kernel, 15 MB and a pool of threads. So in this process `to_pandas` does
    not work, and numba compiles no products of matrices."""
    refusal = _Refusal(names)
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


def _untouch(library: ctypes.CDLL) -> None:
    """Give back the pages of libraries that only the start has needed, such as the compiler's, 110 MB in all: they are
    as their files have them, and each comes back when it is next used."""
    for block in _PLACE.split(Path("/proc/self/smaps").read_text()):
        place, is_own = _OF_A_FILE.match(block), _OWN_PAGES.search(block)
        if place is not None and is_own is None:
            start, end = (int(part, 16) for part in place.groups())
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)
