"""A rollback is killed, and sees a time-out, at every boundary, over a real PostgreSQL; the audit log is whole then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from db.audit.sequencer import Sequencer
from db.audit.verify import verify
from db.engine import connect
from db.journal import SqlJournal
from tests.databases import migrate
from tests.remediation.counted import Threads
from tests.remediation.fake_journal import State
from tests.remediation.fakes import Faults, Killed, ManualClock
from tests.remediation.kinds import INCIDENT, MODEL, Clinic, ended_well


class CountedJournal:
    """The real journal, with a boundary before and after every commit."""

    def __init__(self, engine: Engine, folder: Path, clock: ManualClock, faults: Faults) -> None:
        self.faults = faults
        self.engine, self.folder = engine, folder
        self._journal = SqlJournal(engine, clock)
        self.sequencer = Sequencer(engine, folder)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with self._journal.transaction() as unit:
            yield unit
            self.faults("before commit")
        self.faults("after commit")

    def reading(self) -> Any:
        return self._journal.reading()

    @property
    def state(self) -> State:
        """What the database holds."""
        self.sequencer.run_once()
        with self._journal.reading() as unit:
            desired = unit.desired(MODEL)
            audit = unit.audit_entries(limit=1_000, newest_first=False)
            return State(
                incidents={each.id: each for each in unit.incidents()},
                plans={each.id: each for each in unit.plans(INCIDENT)},
                approvals={each.id: each for each in unit.approvals()},
                actions={each.id: each for each in unit.actions()},
                desired={MODEL: desired} if desired else {},
                deployments=unit.deployments(MODEL),
                audit=[msgspec.structs.replace(each, subject=each.subject.split("/")[-1]) for each in audit],
            )


@pytest.fixture
def begin(
    postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Faults], Clinic]]:
    monkeypatch.setattr("asyncio.to_thread", Threads().to_thread)
    engines: list[Engine] = []

    def fresh(faults: Faults) -> Clinic:
        url = postgres()
        migrate(url)
        engines.append(connect(url))
        folder = tmp_path / str(len(engines))
        clinic = Clinic(
            "rollback", remembers=lambda clock, none: CountedJournal(engines[-1], folder, clock, none)
        )
        clinic.use(monkeypatch)
        clinic.arm(faults)
        return clinic

    yield fresh
    for engine in engines:
        engine.dispose()


def _proven(clinic: Clinic) -> None:
    ended_well(clinic)
    report = verify(clinic.journal.engine, clinic.journal.folder)
    assert (report.ok, report.problems) == (True, [])
    clinic.journal.engine.dispose()


@pytest.mark.soak
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("fault", ["kill_at", "raise_at"])
async def test_at_every_boundary(begin: Callable[[Faults], Clinic], fault: str) -> None:
    undisturbed = begin(Faults())
    await undisturbed.run()
    _proven(undisturbed)
    boundaries = undisturbed.faults.passed
    assert {"before commit", "after commit", "before apply", "after apply"} <= set(boundaries)
    for position in range(len(boundaries)):
        clinic = begin(Faults(**{fault: position}))
        with capture_logs():
            try:
                await clinic.run()
            except Killed:
                clinic.agent = clinic.new_agent()
        clinic.arm(Faults())
        await clinic.run()
        _proven(clinic)
