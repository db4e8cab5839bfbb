"""The file of what waits to serve: read before anybody is asked, now and then while they think, and not once more
after."""

from typing import Any

import msgspec
import pytest

from remediation.values import Approval
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, World


class Read:
    """Counts the files that are read, and can be away."""

    def __init__(self, world: World) -> None:
        self.files, self.away = 0, False
        self._world, self._onnx = world, world.registry.onnx
        world.registry.onnx = self  # type: ignore[method-assign]

    def __call__(self, model: str, version: str) -> bytes:
        self.files += 1
        if self.away:
            raise OSError("the registry is away")
        return self._onnx(model, version)


async def asked() -> tuple[World, Read]:
    """A rollback to version 1 waits for somebody; version 0 was good once, too."""
    world = World()
    world.verdict = None
    world.registry.add(MODEL, "0", "good:0")
    await world.deploy("0")
    world.pass_time(20)
    read = Read(world)
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(tickets(world)))
    return world, read


def tickets(world: World) -> list[Approval]:
    return list(world.journal.state.approvals.values())


async def for_seconds(world: World, seconds: int) -> None:
    world.clock.advance(seconds - 1)
    await world.round()


async def test_an_approval_waits_for_no_file_that_was_whole_a_moment_ago() -> None:
    world, read = await asked()
    files = read.files
    assert files >= 1
    world.verdict = "approve"
    await world.run()
    assert (world.serves(), world.incidents()[0].state) == ("1", "resolved")
    assert read.files == files


async def test_while_people_think_the_file_is_looked_at_again() -> None:
    world, read = await asked()
    files = read.files
    for _ in range(8):
        await for_seconds(world, 100)
    assert read.files == files + 4
    world.verdict = "approve"
    await world.run()
    assert (world.serves(), read.files) == ("1", files + 4)


async def test_nobody_approves_a_version_whose_file_is_lost_while_the_ticket_waits() -> None:
    world, _ = await asked()
    (ticket,) = tickets(world)
    world.registry.artifacts[MODEL, "1"] = b"other bytes"
    await for_seconds(world, 200)
    await world.run(until=lambda: len(tickets(world)) == 2)
    void = world.journal.state.approvals[ticket.id]
    assert void.state == "void"
    assert "version 1 cannot be made to serve: its file has the digest" in (void.reason or "")
    world.verdict = "approve"
    await world.run()
    assert world.serves() == "0"


async def test_a_registry_that_is_away_meanwhile_voids_nothing() -> None:
    world, read = await asked()
    read.away = True
    await for_seconds(world, 200)
    assert [each.state for each in tickets(world)] == ["pending"]
    world.verdict = "approve"
    await world.run(until=lambda: world.serves() == "1")


@pytest.mark.parametrize("later", [10, 4_000])
async def test_an_agent_that_is_begun_anew_looks_before_anything_serves(later: Any) -> None:
    world, read = await asked()
    world.agent = world.new_agent()
    waiting = world.journal.state.approvals
    (ticket,) = waiting.values()
    waiting[ticket.id] = msgspec.structs.replace(ticket, expires_us=ticket.expires_us + 100_000 * S)
    files = read.files
    world.click("approve")
    world.clock.advance(later)
    await world.run(until=lambda: world.serves() == "1")
    assert read.files > files
