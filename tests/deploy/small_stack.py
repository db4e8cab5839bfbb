"""A stack of small scripts for the supervisor's tests: `SCENARIO=... python small_stack.py HOME`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.kafka import KafkaBroker, KafkaConfig
from deploy.stack.lifecycle import supervise
from deploy.stack.part import Part
from deploy.stack.parts import kafka_part, log_file, mlflow_part, ready_file
from deploy.stack.ports import PortBook
from deploy.stack.probe import HeartbeatProbe

BEATING = """
import os, pathlib, sys, time
ready = pathlib.Path(sys.argv[1])
ready.parent.mkdir(parents=True, exist_ok=True)
while True:
    ready.touch()
    time.sleep(.05)
"""
"""A worker that shows that it is alive."""

WITH_CHILD = (
    """
import subprocess, sys
subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
"""
    + BEATING
)
"""A worker with a child that has left its process group."""

DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BEATING
"""A worker that does not hear SIGTERM."""

SLOW = "import time\ntime.sleep(600)"

FAILING = "print('the database has gone fishing')\nraise SystemExit(3)"


def script_part(
    home: Path, name: str, script: str, depends_on: Sequence[str] = (), stop_timeout_s: float = 60.0
) -> Part:
    """A part that runs `script` with the path of its ready file as its argument."""
    ready = ready_file(home, name)
    return Part(
        name=name,
        argv=[sys.executable, "-S", "-c", script, str(ready)],
        log=log_file(home, name),
        ready=HeartbeatProbe(ready, max_age_s=60.0),
        prepare=lambda: ready.unlink(missing_ok=True),
        depends_on=depends_on,
        stop_timeout_s=stop_timeout_s,
    )


def parts_of(home: Path, scenario: str) -> list[Part]:
    """The parts of a scenario."""
    first = script_part(home, "first", WITH_CHILD)
    second = script_part(home, "second", BEATING, depends_on=["first"])
    if scenario == "services":
        broker = KafkaBroker(KafkaConfig(home / "kafka"))
        mlflow_port = PortBook(home / "ports.json").choose("mlflow")
        return [kafka_part(home, broker), mlflow_part(home, mlflow_port)]
    if scenario == "refused":
        raise StackError("Port 1234 (from HOMEOSTAT_API_PORT) is already used by a teapot.")
    if scenario == "failing":
        return [first, script_part(home, "third", FAILING, depends_on=["first"])]
    if scenario == "slow":
        return [first, script_part(home, "third", SLOW)]
    if scenario == "deaf":
        return [first, script_part(home, "third", DEAF, stop_timeout_s=0.5)]
    return [first, second]


if __name__ == "__main__":
    home_given = Path(sys.argv[1])
    try:
        supervise(home_given, lambda: parts_of(home_given, os.environ.get("SCENARIO", "healthy")))
    except StackError as error:
        sys.exit(str(error))
