"""A training in a process of its own: the same model, and an end when nobody waits for it any more."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from remediation.errors import RemediationError, StepFailed
from remediation.training import SklearnTrainer
from remediation.training_process import ORPHANED, SubprocessTrainer
from remediation.training_values import TrainingSet
from tests.patience import PATIENCE_S

STUBBORN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(600)
"""
REFUSES = """
import pickle, sys
sys.stdin.buffer.read(8)
pickle.dump("column 'age' is empty", sys.stdout.buffer)
"""


def _rows(count: int = 80) -> TrainingSet:
    generator = np.random.default_rng(3)
    age = pd.Series(generator.normal(size=count))
    labels = (age + generator.normal(scale=0.2, size=count) > 0).astype(int)
    return TrainingSet(
        model="m", features=pd.DataFrame({"age": age}), labels=labels, groups=pd.Series(np.arange(count))
    )


def _child(program: str, *arguments: str) -> SubprocessTrainer:
    return SubprocessTrainer([sys.executable, "-c", program, *arguments], grace_s=0.1)


async def test_it_makes_the_same_model_as_in_this_process(capfd: pytest.CaptureFixture[str]) -> None:
    trained = await SubprocessTrainer().train(_rows(), seed=4)
    here = SklearnTrainer().train(_rows(), seed=4)
    assert (trained.digest, trained.metrics) == (here.digest, here.metrics)
    assert trained.reference.revision == here.reference.revision
    assert "A model is trained." in capfd.readouterr().err


async def test_what_cannot_be_trained_on_is_not_tried_again() -> None:
    with pytest.raises(StepFailed, match="column 'age' is empty"):
        await _child(REFUSES).train(_rows(), seed=0)


async def test_a_process_that_dies_says_with_which_status() -> None:
    with pytest.raises(RemediationError, match="status 7"):
        await _child("import sys; sys.exit(7)").train(_rows(), seed=0)


async def test_cancelled_it_ends_the_process_also_one_that_does_not_listen(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    training = asyncio.create_task(_child(STUBBORN, str(told)).train(_rows(), seed=0))
    deadline_s = time.monotonic() + PATIENCE_S
    while not told.exists() or not (pid := told.read_text()):
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_the_process_ends_with_its_parent() -> None:
    asked = (4).to_bytes(8, "big") + b"rows"
    child = [sys.executable, "-m", "remediation.training_process"]
    ended = subprocess.run(child, input=asked, capture_output=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == ORPHANED
