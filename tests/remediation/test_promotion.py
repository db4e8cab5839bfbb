"""Promotion, and making it known."""

import asyncio
from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from remediation.errors import PromotionRefused
from remediation.promotion import promote
from remediation.values import Desired
from tests.remediation.world import MODEL, World


async def test_a_promotion_is_decided_published_and_audited() -> None:
    world = World()
    world.registry.add(MODEL, "1", "good")
    world.registry.add(MODEL, "2", "good")
    await world.deploy("1")
    desired = await world.deploy("2")
    assert (desired.epoch, desired.previous_version) == (2, "1")
    assert msgspec.json.decode(world.bus.topics["desired"][-1].value or b"", type=Desired) == desired
    assert world.bus.topics["desired"][-1].key == b"cancer"
    assert world.registry.champion(MODEL) == "2"
    entry = next(each for each in reversed(world.journal.state.audit) if each.action == "model.promoted")
    assert (entry.actor, entry.subject) == ("release-manager", "cancer/2")
    assert entry.detail["replaces"] == "1"


async def test_promoting_what_serves_already_only_makes_it_known_again() -> None:
    world = World()
    world.registry.add(MODEL, "1", "good")
    first = await world.deploy("1")
    assert await world.deploy("1") == first
    assert len(world.journal.state.deployments) == 1
    assert len(world.bus.topics["desired"]) == 2


async def test_unknown_versions_and_old_epochs_are_refused() -> None:
    world = World()
    world.registry.add(MODEL, "1", "good")
    with pytest.raises(PromotionRefused, match="no version 9 with a digest; registered are: 1"):
        await world.deploy("9")
    with pytest.raises(PromotionRefused, match="at epoch 0, not 4"):
        await promote(
            cast(Any, world.journal),
            world.registry,
            world.publisher,
            world.clock,
            model=MODEL,
            version="1",
            by="ada",
            reason="r",
            expected_epoch=4,
        )


async def test_a_registry_that_is_away_does_not_stop_the_traffic() -> None:
    world = World()
    world.registry.add(MODEL, "1", "good")

    def away(model: str, version: str) -> None:
        raise ConnectionError("no route to the registry")

    alias = world.registry.set_champion
    world.registry.set_champion = away  # type: ignore[method-assign]
    with capture_logs() as logs:
        await world.deploy("1")
    assert world.serves() == "1"
    assert logs[0]["event"] == "The registry's alias could not be moved; it will be set later"
    world.registry.set_champion = alias  # type: ignore[method-assign]
    await world.agent.reconcile()
    assert world.registry.champion(MODEL) == "1"


async def test_a_decision_in_the_middle_of_a_round_is_not_put_back() -> None:
    world = World()
    world.registry.add(MODEL, "1", "good")
    world.registry.add(MODEL, "2", "good")
    await world.deploy("1")
    loop, look = asyncio.get_running_loop(), world.registry.champion
    decided: list[Desired] = []

    def decide_first(model: str) -> str | None:
        if not decided:
            decided.append(asyncio.run_coroutine_threadsafe(world.deploy("2"), loop).result())
        return look(model)

    world.registry.champion = decide_first  # type: ignore[method-assign]
    await world.agent.reconcile()
    assert decided[0].epoch == 2
    assert look(MODEL) == "2"
