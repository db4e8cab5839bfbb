"""Vectors of profiles that were packed lately, for whoever unpacks one of them in the same process."""

from typing import Final

from detectors.columns import Integers
from detectors.kernels_rows import Bytes

Vectors = tuple[Integers, Bytes]

_START: Final = 32
"""Bytes by which packed profiles are found: their checksum is among them, and to hash all of them takes as long as to
unpack some."""


class AtHand:
    """Copies of the vectors of packed profiles, each to be taken once, with all of the packed bytes.

    In a worker the one that packs and the one that unpacks are different processes, so there is no room by default. A
    backtest packs each pane to unpack it a moment later: copying and giving back takes a third of the time of it.
    `most_bytes`: memory of the copies; the oldest go first.
    """

    def __init__(self, most_bytes: int = 0) -> None:
        self.most_bytes = most_bytes
        self._kept: dict[bytes, tuple[bytes, Vectors]] = {}
        self._bytes = 0

    def keep(self, packed: bytes, counters: Integers, registers: Bytes) -> None:
        """The vectors that were packed so."""
        size = counters.nbytes + registers.nbytes
        if size > self.most_bytes or packed[:_START] in self._kept:
            return
        self._kept[packed[:_START]] = packed, (counters.copy(), registers.copy())
        self._bytes += size
        while self._bytes > self.most_bytes:
            self.take(next(iter(self._kept.values()))[0])

    def take(self, packed: bytes) -> Vectors | None:
        """The vectors, which are the caller's from now on; None where they are not kept."""
        start = packed[:_START]
        known, found = self._kept.get(start, (None, None))
        if found is None or known != packed:
            return None
        del self._kept[start]
        self._bytes -= found[0].nbytes + found[1].nbytes
        return found


LATELY: Final = AtHand()
"""Of this process."""
