"""What is done once beside a stack that is up, so that the next start is a better one; nothing waits for it."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from deploy.stack.ending import PART_VARIABLE, STACK_VARIABLE, end_processes, marked_processes
from deploy.stack.part import Part

_PATIENCE_S = 2.0
_LOWEST_PRIORITY = 19


class Chores:
    """The chores of a stack's parts."""

    def __init__(self, home: Path, parts: Sequence[Part]) -> None:
        self._home = home
        self._parts = [part for part in parts if part.chore]
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Begin them all, at the lowest priority, each with its output in the log of its part."""
        for part in self._parts:
            marks = {STACK_VARIABLE: str(self._home.resolve()), PART_VARIABLE: _name(part)}
            with part.log.open("ab") as output:
                try:
                    process = subprocess.Popen(
                        part.chore,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        env={**(os.environ if part.env is None else part.env), **marks},
                        start_new_session=True,
                    )
                except OSError as error:
                    output.write(f"The chore of {part.name} could not be started: {error}\n".encode())
                else:
                    psutil.Process(process.pid).nice(_LOWEST_PRIORITY)
                    self._running.append(process)
                    # Whoever waits for a process lets it leave the table of processes when it has ended.
                    threading.Thread(target=process.wait, name=_name(part), daemon=True).start()

    def stop(self) -> None:
        """End those that still run, with all that they have started."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
        for part in self._parts if self._running else ():
            end_processes(marked_processes(self._home, _name(part)), _PATIENCE_S)
        for process in self._running:
            process.wait()
        self._running.clear()


def _name(part: Part) -> str:
    return f"{part.name}-chore"
