"""`homeostat demo --data DIR --approve`: other data, an upstream break, and people who decide.

A second whole run of what test_demo.py shows, so it runs with the soak tests. In every run its parts are tested by
themselves: the data in test_demo_data.py, who decides in test_demo_watching.py, approvals over REST and from the
command line in test_agent_api.py, the diagnosis and what follows from it in the room of remediation."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deploy.stack.lifecycle import status
from tests.e2e.conftest import assert_nothing_runs, homeostat

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)]

SIZES = {"cleveland": 300, "hungarian": 120, "switzerland": 120, "va": 160}
BROKEN = ("switzerland", "va")


@pytest.fixture
def hospitals(tmp_path: Path) -> Path:
    """Four made-up hospitals in the published format; two of them never measure chol, ca and thal."""
    generator = np.random.default_rng(5)
    for name, size in SIZES.items():
        lines = [_patient(generator, broken=name in BROKEN) for _ in range(size)]
        (tmp_path / f"processed.{name}.data").write_text("\n".join(lines) + "\n")
    return tmp_path


def _patient(generator: np.random.Generator, *, broken: bool) -> str:
    sick = int(generator.random() < 0.45)
    ca, thal = (sick * generator.integers(0, 4), 7.0 if sick else 3.0)
    values = [
        *(
            round(generator.normal(54 + 3 * sick, 9)),
            generator.integers(0, 2),
            4 if sick else generator.integers(1, 4),
        ),
        *(round(generator.normal(131, 17)), 0 if broken else round(generator.normal(246, 50))),
        *(generator.integers(0, 2), generator.integers(0, 3), round(generator.normal(158 - 20 * sick, 20))),
        *(int(generator.random() < 0.15 + 0.4 * sick), round(abs(generator.normal(0.6 + sick, 1)), 1)),
        *(generator.integers(1, 4), "?" if broken else float(ca), "?" if broken else thal, sick),
    ]
    return ",".join(str(value) for value in values)


class Approver(threading.Thread):
    """Decides the first ticket by the command line, the next ones over REST, as people would."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self.home = home
        self.stop = threading.Event()
        self.decided: list[str] = []
        self.channels: dict[str, str] = {}

    def run(self) -> None:
        """Until stopped."""
        while not self.stop.wait(0.3):
            part = status(self.home).part("api")
            if part is None or part.url is None:
                continue
            try:
                for ticket in self._pending(part.url):
                    self._decide(part.url, ticket)
            except httpx.TransportError:
                continue

    def _pending(self, url: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{url}/api/v1/approvals", params={"state": "pending"}, timeout=20)
        return [each for each in answer.json().get("items", []) if each["id"] not in self.decided]

    def _decide(self, url: str, ticket: dict[str, Any]) -> None:
        if not self.decided:
            done = homeostat(self.home, "approvals", "approve", ticket["id"], "--by", "mira")
            assert "approved" in done.out, done.err
        else:
            body = {"by": "noor", "plan_hash": ticket["plan_hash"]}
            httpx.post(f"{url}/api/v1/approvals/{ticket['id']}/approve", json=body, timeout=20)
        self.decided.append(ticket["id"])
        self.channels[ticket["id"]] = httpx.get(f"{url}/api/v1/approvals/{ticket['id']}", timeout=20).json()[
            "channel"
        ]


@pytest.fixture
def run(
    hospitals: Path, tmp_path: Path
) -> Iterator[tuple[subprocess.CompletedProcess[str], dict[str, Any], Approver]]:
    """The demo on these hospitals, decided by people."""
    folder = tmp_path / "home"
    approver = Approver(folder / "demo")
    approver.start()
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")}
    command = [sys.executable, "-m", "deploy.cli", "--home", str(folder), "demo", "--approve"]
    options = ["--data", str(hospitals), "--json", str(tmp_path / "demo.json")]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=500, check=False, env=settings
    )
    approver.stop.set()
    approver.join(30)
    try:
        yield done, json.loads((tmp_path / "demo.json").read_text()), approver
    finally:
        homeostat(folder / "demo", "down")
        assert_nothing_runs(folder / "demo")


def test_an_upstream_break_is_named_and_people_decide(
    run: tuple[subprocess.CompletedProcess[str], dict[str, Any], Approver],
) -> None:
    done, data, approver = run
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    release, shift = data["incidents"]
    assert (release["cause"], release["outcome"]) == ("bad_release", "resolved")
    assert shift["cause"] == "upstream_data_break"
    assert shift["outcome"] in ("resolved", "escalated")
    assert data["accounting"]["closes"]
    assert data["audit_verified"]
    assert list(approver.channels.values())[:2] == ["cli", "rest"]
