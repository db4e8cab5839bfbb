"""The watch beside the agent, in the API's process: a dead agent tells nobody that it is dead."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import structlog

from deploy import actuation, pieces, telling
from deploy.settings import Settings

if TYPE_CHECKING:
    # What a role does not need it does not import: ten processes start at once on a small machine.
    from db.journal import SqlJournal
    from remediation.config import AgentConfig
    from remediation.ports import Clock
    from remediation.watchdog import SecondEyes, Tell

log = structlog.get_logger()

_LOOK_S = 10.0


def agent_config(settings: Settings) -> "AgentConfig":
    """What the agent's own configuration says about how long each step may take."""
    from remediation.config import AgentConfig
    from streams import topics

    reaches = actuation.reaches(settings)
    return AgentConfig(
        alerts_topic=topics.ALERTS,
        acknowledgements_topic=topics.ACKNOWLEDGEMENTS,
        desired_topic=topics.DESIRED,
        agent_id=f"agent-{settings.instance}",
        approval_ttl_s=settings.approval_ttl_s,
        policy=pieces.policy(settings),
        playbooks=pieces.playbooks(settings),
        actuator=reaches.name_for,
        patience_s={each.name: each.patience_s for each in reaches.elsewhere},
    )


@contextlib.asynccontextmanager
async def watching(settings: Settings, journal: "SqlJournal", clock: "Clock") -> AsyncGenerator[None]:
    """Look after the agent for as long as the block lasts."""
    from remediation.watchdog import SecondEyes

    tell: dict[str | None, Tell] = {None: telling.notifier(settings, journal).noticed}
    wanted = {each.name: each for each in pieces.policy(settings).channels}
    for name, channel in telling.channels(settings, journal, clock).items():
        if wanted[name].wants("overdue", "critical", ""):
            tell[name] = channel.noticed
    eyes = SecondEyes(journal, clock, agent_config(settings), tell)
    task = asyncio.create_task(_look(eyes), name="second eyes")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _look(eyes: "SecondEyes") -> None:
    while True:
        try:
            await eyes.look()
        except Exception:
            log.exception("Whether the agent works could not be seen and will be looked at again")
        await asyncio.sleep(_LOOK_S)
