"""The five roles of the stream as processes of their own, to be killed, stopped and started again."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from db.engine import connect, reading
from db.migrate import upgrade
from db.points import SqlRecordStore
from db.tables import AccountingRow, AlertRow, PointRow
from tests.patience import PATIENCE_S, patient_s

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
STAGES = ("profile", "judge")
ROLES = (*STAGES, "gate", "archive", "record")
OWNED: dict[str, int] = {role: PARTITIONS * (2 if role in ("gate", "record") else 1) for role in ROLES}
"""How many partitions there are for a role: gate and record read two topics."""
Scrape = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Metrics by name and labels."""
READY_S = 180.0
"""Generous: the machine may be busy with ten times as much."""

PROGRAM = """
import json, sys
from pathlib import Path
role, options = sys.argv[1], json.loads(sys.argv[2])
folder, ready = Path(options.pop("folder")), Path(options.pop("ready"))
from deploy.logs import configure_logging
configure_logging("INFO")
from streams.telemetry import Telemetry
telemetry = Telemetry(role)
ready.with_suffix(".port").write_text(str(telemetry.serve(0)))
shared = {"broker": options["broker"], "instance": options["instance"], "ready_callback": ready.touch,
          "telemetry": telemetry}
if role in ("profile", "judge"):
    from streams.app import StreamsConfig, run_judge, run_profile
    config = StreamsConfig(data_dir=folder, partitions=options["partitions"], checkpoint_interval_s=0.25,
                           cleaning_interval_s=5.0, **shared)
    {"profile": run_profile, "judge": run_judge}[role](config)
elif role == "gate":
    from streams.gate.worker import run_gate
    from streams.gate.config import GateConfig
    run_gate(GateConfig(**shared))
elif role == "archive":
    from streams.archive.worker import ArchiveConfig, run_archive
    run_archive(ArchiveConfig(location=str(folder / "archive"), flush_s=0.5, upkeep_every_s=5.0, **shared))
else:
    from streams.record import RecordConfig, run_record
    from tests.streams.fault_roles import Database
    run_record(RecordConfig(**shared), Database(folder / "record.db"))
"""


class Database(SqlRecordStore):
    """Where the record role writes in these tests: the product's own tables, in a file."""

    def __init__(self, path: Path) -> None:
        url = f"sqlite:///{path}"
        if not path.exists():
            upgrade(url)
        self._opened = connect(url)
        super().__init__(self._opened)

    def rows(self, table: type[PointRow | AlertRow | AccountingRow], kind: type[T]) -> list[T]:
        """Everything in a table."""
        with reading(self._opened) as connection:
            return [msgspec.convert(value, kind) for value in connection.scalars(select(table.value))]


class Process:
    """One worker of a role."""

    def __init__(self, role: str, instance: str, broker: str, folder: Path) -> None:
        self.role = role
        self._ready = folder / f"{role}-{instance}.ready"
        self._log = folder / f"{role}-{instance}.log"
        options = {
            "broker": broker,
            "folder": str(folder),
            "ready": str(self._ready),
            "instance": f"{role}-{instance}",
            "partitions": PARTITIONS,
        }
        self._argv = [sys.executable, "-c", PROGRAM, role, json.dumps(options)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert not self.alive, f"{self.role} runs already"
        self._ready.unlink(missing_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._argv, cwd=ROOT, stdout=output, stderr=output)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self, timeout_s: float = READY_S) -> int:
        """Wait for its end; the exit code."""
        process = self._process
        assert process is not None
        await until(f"{self.role} ends", lambda: process.poll() is not None, timeout_s)
        assert process.returncode is not None
        return process.returncode

    async def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def ready(self) -> None:
        """Until it works. One that gave up because its broker was away is started again, as a supervisor would."""
        deadline_s = time.monotonic() + READY_S
        while not self._ready.exists():
            self.revive()
            assert time.monotonic() < deadline_s, f"{self.role} is not ready:\n{self.tail()}"
            await asyncio.sleep(0.1)

    def revive(self) -> bool:
        """Start it again if it has ended; whether it had."""
        if self._process is None or self._process.poll() is None:
            return False
        self.start()
        return True

    async def metrics(self) -> Scrape:
        """What it tells Prometheus, by name and labels; nothing where it does not answer."""
        return await asyncio.to_thread(self._scrape)

    def _scrape(self) -> Scrape:
        try:
            port = int(self._ready.with_suffix(".port").read_text())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def partitions(self) -> int:
        """How many it owns by its own word."""
        return int(
            next((v for (name, _), v in (await self.metrics()).items() if name == "homeostat_partitions"), 0)
        )

    @property
    def peak_bytes(self) -> int:
        """The most memory that this process has held."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1_024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def tail(self) -> str:
        return self._log.read_text(errors="replace")[-3_000:] if self._log.exists() else ""


async def until(
    what: str, condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = READY_S
) -> None:
    """Poll until `condition()` holds, or what it gives does when it is awaited."""
    deadline_s = time.monotonic() + patient_s(timeout_s)
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        assert time.monotonic() < deadline_s, f"not in {timeout_s:g} s: {what}"
        await asyncio.sleep(0.1)
