"""The running agent on a real database: topics in, a healed model out."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from db.engine import connect
from db.journal import SqlJournal
from db.points import SqlRecordStore
from detectors.values import MetricPoint
from remediation.config import AgentConfig
from remediation.incidents import TRANSITIONS, move
from remediation.values import Incident
from tests.databases import migrate
from tests.patience import PATIENCE_S
from tests.remediation.fakes import FakeArchive, ManualClock
from tests.remediation.world import MODEL, World, alert


class SqlWorld(World):
    """The same world over SQLite."""

    def __init__(self, folder: Path) -> None:
        clock = ManualClock()
        url = f"sqlite:///{folder / 'homeostat.db'}"
        migrate(url)
        self.engine = connect(url)
        self.store = SqlRecordStore(self.engine)
        super().__init__(
            {"sweep_s": 0.01, "reconcile_s": 0.05}, journal=SqlJournal(self.engine, clock), clock=clock
        )

    def record(self, measured: MetricPoint) -> None:
        self.store.upsert_points([measured])

    async def live(self) -> None:
        """Half a second of the world, while the agent runs on its own."""
        self.pass_time(1)
        heard = len(self.bus.topics.get("acknowledgements", []))
        for said in self.serving.acknowledgements[heard:]:
            await self.bus.publish("acknowledgements", key=b"", value=msgspec.json.encode(said))
        if self.verdict is not None:
            self.click(self.verdict)
        await asyncio.sleep(0.03)


@asynccontextmanager
async def _running(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.agent.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)


async def _until_closed(world: SqlWorld) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not world.all_closed():
        assert time.monotonic() < deadline, world.incidents()
        await world.live()


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = SqlWorld(tmp_path)
    yield made
    made.engine.dispose()


async def test_alerts_from_the_topic_end_in_a_rollback(world: SqlWorld) -> None:
    opening = await world.bad_release()
    with capture_logs() as logs:
        async with _running(world):
            await world.bus.publish("alerts", key=b"", value=b"{not json")
            await world.bus.publish("alerts", key=b"", value=None)
            await world.bus.publish("alerts", key=b"", value=msgspec.json.encode(opening))
            await _until_closed(world)
    (incident,) = world.incidents()
    assert (incident.state, incident.cause, world.serves()) == ("resolved", "bad_release", "1")
    assert any(entry["event"] == "A record could not be read and was left out" for entry in logs)
    assert not [
        entry for entry in logs if entry["log_level"] == "error" and "could not be read" not in entry["event"]
    ]


async def test_a_retraining_survives_the_end_of_the_process(world: SqlWorld) -> None:
    opening = await world.shifted_world()
    async with _running(world):
        await world.bus.publish("alerts", key=b"", value=msgspec.json.encode(opening))
        while not world.trainer.sets:
            await world.live()
    world.clock.advance(60)
    world.agent = world.new_agent()
    async with _running(world):
        await _until_closed(world)
    (incident,) = world.incidents()
    assert (incident.state, incident.cause, world.serves()) == ("resolved", "population_shift", "2")
    assert len(world.registry.versions(MODEL)) == 2


async def test_a_journal_that_is_away_is_ridden_out(tmp_path: Path) -> None:
    world = World({"sweep_s": 0.01})
    opening = await world.bad_release()
    away, transaction = True, world.journal.transaction

    def guarded() -> Any:
        if away:
            raise ConnectionError("the database is away")
        return transaction()

    world.journal.transaction = world.journal.reading = guarded
    with capture_logs() as logs:
        async with _running(world):
            await world.bus.publish("alerts", key=b"", value=msgspec.json.encode(opening))
            await _until(lambda: any("could not be recorded" in entry["event"] for entry in logs))
            away = False
            await _until(lambda: bool(world.incidents()))
    assert len(world.incidents()) == 1


async def test_a_registry_that_stays_away_leaves_the_incident_to_people() -> None:
    world = World({"plan_s": 20.0})
    await world.agent.receive(await world.bad_release())

    def away(model: str) -> Any:
        raise ConnectionError("no route to the registry")

    world.registry.versions = away
    with capture_logs():
        await world.run()
    (incident,) = world.incidents()
    assert incident.state == "escalated"
    assert "No plan could be made in 20 s: ConnectionError: no route to the registry" in incident.outcome


async def test_an_archive_that_stays_away_ends_the_action() -> None:
    world = World()
    opening = await world.shifted_world()

    def away(*_: Any, **__: Any) -> Any:
        raise OSError("the archive is away")

    world.archive.labelled = away
    await world.agent.receive(opening)
    with capture_logs():
        await world.run()
    (incident,) = world.incidents()
    assert incident.outcome == "retrain of cancer failed: OSError: the archive is away"


async def test_a_version_that_vanished_after_the_approval_is_not_served() -> None:
    world = World()
    opening = await world.bad_release()
    await world.agent.receive(opening)
    await world.run(until=lambda: world.incidents()[0].state == "executing")
    del world.registry.entries[MODEL, "1"]
    await world.run()
    assert "version 1 of cancer is not in the registry any more" in world.incidents()[0].outcome
    assert world.serves() == "2"


async def test_a_release_during_a_retraining_makes_the_agent_look_again() -> None:
    world = World()
    await world.agent.receive(await world.shifted_world())
    await world.run(until=lambda: bool(world.trainer.sets))
    world.registry.add(MODEL, "9", "good")
    await world.deploy("9", by="grace")
    await world.run()
    (incident,) = world.incidents()
    (action,) = world.journal.state.actions.values()
    assert (incident.state, action.state, world.serves()) == ("resolved", "failed", "9")
    assert "the world moved" in action.outcome


async def test_a_release_during_the_verification_supersedes_the_action() -> None:
    world = World()
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: world.incidents()[0].state == "verifying")
    world.registry.add(MODEL, "3", "good")
    await world.deploy("3", by="grace")
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == "escalated"
    assert "superseded: grace made 3 serve" in incident.outcome
    assert world.serves() == "3"


async def test_a_concept_that_changed_is_learned_from_the_present_only() -> None:
    world = World()
    drift = await world.shifted_world()
    drop = alert(version="1", at_us=drift.end_us, change_us=drift.change_us)
    world.archive = FakeArchive(drift.change_us)
    await world.agent.receive(drop)
    await world.run()
    (data,) = world.trainer.sets
    assert data.reference_rows is not None
    assert data.reference_rows.all()
    assert world.incidents()[0].cause == "concept_shift"


def test_no_state_can_be_skipped() -> None:
    incident = Incident(id="i", model=MODEL, version="1", change_us=0, opened_us=0)
    unit: Any = None
    with pytest.raises(ValueError, match="open may not become executing"):
        move(unit, incident, to="executing", why="")
    reachable = {"open"}
    for _ in TRANSITIONS:
        reachable |= {after for before in reachable for after in TRANSITIONS.get(before, ())}
    assert set(TRANSITIONS) <= reachable


def test_the_defaults_ask_a_person() -> None:
    config = AgentConfig(alerts_topic="a", acknowledgements_topic="b", desired_topic="c")
    assert config.autonomy("any") == "suggest"
    assert ":" in config.agent_id


async def test_a_registry_without_tags_does_not_get_the_same_bytes_twice() -> None:
    world = World()
    opening = await world.shifted_world()
    register = world.registry.register

    def slow(trained: Any, *, tags: Any) -> Any:
        register(trained, tags={})
        world.registry.register = register
        raise TimeoutError("the answer was lost")

    world.registry.register = slow
    await world.agent.receive(opening)
    with capture_logs():
        await world.run()
    assert world.incidents()[0].state == "resolved"
    assert [each.version for each in world.registry.versions(MODEL)] == ["1", "2"]
