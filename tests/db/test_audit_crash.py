"""Killed at any moment, the journal and its audit log stay whole and go on."""

import random
import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine

from db.audit import Sequencer, Witness, verify
from db.journal import SqlJournal
from tests.db.values import TickingClock
from tests.patience import PATIENCE_S

WORK = """
import sys
from pathlib import Path
from db.audit import Sequencer, Witness
from db.engine import connect
from db.journal import SqlJournal
from tests.db.values import TickingClock, incident

engine = connect(sys.argv[1])
folder = Path(sys.argv[2])
journal = SqlJournal(engine, TickingClock())
parts = Sequencer(engine, folder), Witness(engine, folder)
print("ready", flush=True)
for number in range(int(sys.argv[3]), 1_000_000):
    with journal.transaction() as unit:
        unit.add_incident(incident(number), actor="agent")
    print(number, flush=True)
    for part in parts:
        part.run_once()
"""


def test_kill_9_at_any_moment(engine: Engine, url: str, tmp_path: Path) -> None:
    """What was acknowledged is there, with its entry; nothing looks tampered with."""
    rng = random.Random(7)
    folder, acknowledged = tmp_path / "audit", set[int]()
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WORK, url, str(folder), str(1 + round_ * 100_000)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(rng.randint(2, 40))]
        process.kill()
        rest, _ = process.communicate(timeout=PATIENCE_S)
        out = "".join([*seen, rest])
        acknowledged |= {int(line) for line in out.splitlines() if line.isdecimal()}
        report = verify(engine, folder)
        assert report.problems == []
    Sequencer(engine, folder).run_once()
    Witness(engine, folder).run_once()
    with SqlJournal(engine, TickingClock()).reading() as reader:
        kept = {int(one.id.removeprefix("i")) for one in reader.incidents(limit=10_000)}
    assert acknowledged
    assert acknowledged <= kept
    report = verify(engine, folder)
    assert (report.problems, report.entries, report.pending) == ([], len(kept), 0)
