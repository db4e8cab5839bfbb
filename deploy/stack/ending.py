"""Ending processes so that none is left: those of a part, and those that a killed supervisor has left behind.

Every process of a stack carries the stack's home in its environment and hands it down to its own children. So
even a grandchild that has left its group, or whose parents are gone, is found and is surely one of this
stack's.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from deploy.stack.state import StackState

STACK_VARIABLE = "HOMEOSTAT_STACK_HOME"
"""The mark in the environment of every process of a stack: the resolved path of its home."""

PART_VARIABLE = "HOMEOSTAT_STACK_PART"
"""The part that the process belongs to."""

_SWEEPS = 3
"""A process that is being ended may still start a child: look again, but not for ever."""


def marked_processes(home: Path, part: str | None = None) -> list[psutil.Process]:
    """Living processes of the stack in `home` but the caller; of `part` where given."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            environment = process.environ()
            if environment.get(STACK_VARIABLE) != str(home.resolve()):
                continue
            if part is None or environment.get(PART_VARIABLE) == part:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def recorded_processes(state: StackState | None) -> list[psutil.Process]:
    """Living processes that the state file names, checked by their start time."""
    parts = state.parts if state else []
    processes = [part.process.process() for part in parts if part.process]
    return [process for process in processes if process]


def end_processes(processes: Iterable[psutil.Process], patience_s: float) -> list[str]:
    """SIGTERM, then SIGKILL for those alive after `patience_s`. Returns them as `name (process N)`."""
    targets = list({process.pid: process for process in processes}.values())
    told = [_describe(process) for process in targets]
    for process in targets:
        _send(process.terminate)
    _, alive = psutil.wait_procs(targets, timeout=patience_s)
    for process in alive:
        _send(process.kill)
    psutil.wait_procs(alive, timeout=5)
    return told


def end_orphans(home: Path, state: StackState | None, patience_s: float = 10.0) -> list[str]:
    """End everything that a stack in `home` has left running; only for a home whose supervisor is gone."""
    ended: list[str] = []
    remaining = [*recorded_processes(state), *marked_processes(home)]
    for _ in range(_SWEEPS):
        if not remaining:
            break
        ended += end_processes(remaining, patience_s)
        remaining = marked_processes(home)
    return ended


def _describe(process: psutil.Process) -> str:
    try:
        part = process.environ().get(PART_VARIABLE)
        return f"{part or process.name()} (process {process.pid})"
    except (psutil.Error, OSError):
        return f"process {process.pid}"


def _send(action: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        action()
