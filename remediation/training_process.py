"""A training in a process of its own: it leaves the agent free, and ends at once when nobody wants its result any more.

The agent writes the rows to the process's standard input and keeps that open; its end is what the process knows the
agent's death by. The answer comes back on standard output. Both are pickles between a parent and its own child.
"""

import asyncio
import os
import pickle
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO, cast

import structlog

from remediation.errors import RemediationError, StepFailed
from remediation.training_values import TrainedModel, TrainingSet

log = structlog.get_logger()

_GRACE_S = 2.0
_LENGTH_BYTES = 8
ORPHANED = 3
"""The status of a process whose parent is gone."""

_COMMAND = (sys.executable, "-m", "remediation.training_process")

_Answer = TrainedModel | str
"""What was trained, or why nothing can be."""


class SubprocessTrainer:
    """`remediation.training.SklearnTrainer` in a process of its own. Cancelled, it terminates the process, and kills
    one that has not ended `grace_s` seconds later.

    command: what is started; it must speak as `main` does.
    """

    def __init__(self, command: Sequence[str] = _COMMAND, *, grace_s: float = _GRACE_S) -> None:
        self._command = tuple(command)
        self._grace_s = grace_s

    async def train(self, data: TrainingSet, *, seed: int) -> TrainedModel:
        """See `remediation.ports.Trainer`. Raises `StepFailed` for rows that cannot be trained on, `RemediationError`
        for a process that died."""
        asked = await asyncio.to_thread(pickle.dumps, (data, seed))
        child = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            told = await _told(child, asked)
        finally:
            await self._end(child, data.model)
        answer = cast("_Answer", await asyncio.to_thread(pickle.loads, told))
        if isinstance(answer, str):
            raise StepFailed(f"train: {answer}")
        return answer

    async def _end(self, child: asyncio.subprocess.Process, model: str) -> None:
        if child.returncode is not None:
            return
        log.info("A training is broken off.", model=model, process=child.pid)
        try:
            child.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._grace_s):
                    await child.wait()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()


async def _told(child: asyncio.subprocess.Process, asked: bytes) -> bytes:
    if child.stdin is None or child.stdout is None:
        raise RemediationError("the training process has no pipes")
    # A process that dies while it is written to says more by its status.
    with suppress(ConnectionError):
        child.stdin.write(len(asked).to_bytes(_LENGTH_BYTES, "big") + asked)
        await child.stdin.drain()
    told = await child.stdout.read()
    status = await child.wait()
    if status != 0:
        raise RemediationError(f"the training process ended with status {status}; its log says why")
    return told


def main() -> None:
    """Train what standard input asks for; the answer is all that is written to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _own_output()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    length = int.from_bytes(sys.stdin.buffer.read(_LENGTH_BYTES), "big")
    asked = sys.stdin.buffer.read(length)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    with answers:
        pickle.dump(_answered(asked), answers)


def _answered(asked: bytes) -> _Answer:
    # The libraries that train take seconds and memory which the agent, whose module this is, too, need not spend.
    from remediation.training import SklearnTrainer, TrainingError

    data, seed = cast("tuple[TrainingSet, int]", pickle.loads(asked))
    try:
        return SklearnTrainer().train(data, seed=seed)
    except TrainingError as error:
        return str(error)


def _own_output() -> BinaryIO:
    """Standard output for the answer alone: what libraries print goes to the log."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
