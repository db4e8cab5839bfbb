"""The parts of a local stack: how each is started, and how it shows that it works."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from deploy.stack.jars import KAFKA_VERSION, kafka_jars
from deploy.stack.kafka import KafkaBroker
from deploy.stack.part import Part
from deploy.stack.ports import LOOPBACK
from deploy.stack.probe import HeartbeatProbe, HttpProbe
from deploy.stack.startup_cache import making

_FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}
"""glibc keeps a pool of freed memory per thread: too much for ten processes on a small machine."""


def kafka_part(home: Path, broker: KafkaBroker) -> Part:
    """The embedded broker. Its jars are fetched now if need be, so a missing network is told at once."""
    kafka_jars(broker.config.cache, broker.config.repository)
    return Part(
        name="kafka",
        argv=broker.argv(),
        env=broker.env(),
        log=log_file(home, "kafka"),
        ready=broker.probe,
        prepare=broker.prepare,
        stop_timeout_s=15.0,
        ports={"broker": broker.port, "controller": broker.controller_port},
        url=broker.bootstrap,
        version=KAFKA_VERSION,
        chore=making(broker.startup_cache),
    )


def mlflow_part(home: Path, port: int, env: Mapping[str, str] | None = None) -> Part:
    """An MLflow server on SQLite, models and runs in `home/mlflow`; healthy when `/health` answers. `env` is added to
    this process's environment."""
    url = f"http://{LOOPBACK}:{port}"
    return Part(
        name="mlflow",
        argv=[
            *(sys.executable, "-m", "deploy.stack.mlflow_server"),
            *("--folder", str(home / "mlflow"), "--host", LOOPBACK, "--port", str(port)),
        ],
        env={**os.environ, **_FEW_ARENAS, **(env or {})},
        log=log_file(home, "mlflow"),
        ready=HttpProbe(f"{url}/health"),
        start_timeout_s=90.0,
        ports={"mlflow": port},
        url=url,
        version=version("mlflow"),
    )


def worker_part(
    role: str,
    home: Path,
    env: Mapping[str, str],
    *,
    port: int | None = None,
    metrics_port: int | None = None,
    instance: str = "0",
    depends_on: Sequence[str] = (),
    start_timeout_s: float = 120.0,
) -> Part:
    """One role of the system: `homeostat worker ROLE` with `env` added to this process's environment.

    A role that serves HTTP is given its `port` and is healthy when `/healthz` answers 200; any other role
    keeps touching `ready_file(home, name)`. `instance` tells several workers of one role apart; `metrics_port` is
    where it answers Prometheus.
    """
    name = part_name(role, instance)
    own = {"HOMEOSTAT_INSTANCE": instance}
    if metrics_port is not None:
        own["HOMEOSTAT_METRICS_PORT"] = str(metrics_port)
    ports = {key: number for key, number in ((role, port), ("metrics", metrics_port)) if number is not None}
    ready_path = ready_file(home, name)
    url = f"http://{LOOPBACK}:{port}" if port is not None else None

    def forget_last_run() -> None:
        ready_path.parent.mkdir(parents=True, exist_ok=True)
        ready_path.unlink(missing_ok=True)

    return Part(
        name=name,
        argv=[sys.executable, "-m", "deploy.cli", "worker", role],
        env={**os.environ, **_FEW_ARENAS, **env, **own},
        log=log_file(home, name),
        ready=HttpProbe(f"{url}/healthz") if url else HeartbeatProbe(ready_path),
        prepare=forget_last_run,
        depends_on=depends_on,
        start_timeout_s=start_timeout_s,
        ports=ports,
        url=url,
    )


def part_name(role: str, instance: str) -> str:
    """What a worker is called: the first of a role has the role's name."""
    return role if instance == "0" else f"{role}-{instance}"


def log_file(home: Path, part: str) -> Path:
    """Where a part of the stack in `home` logs."""
    return home / "logs" / f"{part}.log"


def ready_file(home: Path, part: str) -> Path:
    """The file whose modification time says that a worker without HTTP is alive; younger than 5 s counts."""
    return home / "run" / f"{part}.ready"
