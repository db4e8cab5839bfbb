"""How much memory everything together takes."""

import asyncio
from pathlib import Path

import psutil

from deploy.stack.lifecycle import status


class MemoryMeter:
    """The highest sum of proportional set sizes of this process and the stack's, sampled every `interval_s`."""

    def __init__(self, home: Path, interval_s: float = 3.0) -> None:
        self.peak_mib = 0
        self._home = home
        self._interval_s = interval_s

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.peak_mib = max(self.peak_mib, await asyncio.to_thread(self._sample))
            await asyncio.sleep(self._interval_s)

    def _sample(self) -> int:
        state = status(self._home).state
        roots = [psutil.Process()]
        if state is not None:
            own = [state.supervisor, *(part.process for part in state.parts if part.process)]
            roots += [process for each in own if (process := each.process()) is not None]
        processes = {p.pid: p for root in roots for p in [root, *_children(root)]}
        return sum(_pss_bytes(process) for process in processes.values()) // 2**20


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _pss_bytes(process: psutil.Process) -> int:
    """Shared pages count in proportion, where the system tells (Linux); resident pages elsewhere."""
    try:
        full = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(full, "pss", full.rss))
