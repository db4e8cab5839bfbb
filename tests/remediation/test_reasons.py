"""Where a reason is needed, it has to say something, whoever asks."""

from typing import Any, cast

import pytest

from remediation.cancellation import cancel
from remediation.errors import AlreadyPaused, ReasonMissing
from remediation.policy import Policy
from remediation.promotion import promote
from remediation.reasons import stated
from remediation.switches import PAUSE
from remediation.turning import turn
from tests.remediation.world import MODEL, World

CLI: Any = {"policy": Policy(), "channel": "cli"}


async def test_what_needs_a_reason_refuses_one_that_says_nothing() -> None:
    world = World()
    journal = cast(Any, world.journal)
    missing = "reason must say why, for whoever reads it at night"
    with pytest.raises(ReasonMissing, match=missing):
        turn(journal, world.clock, PAUSE, **CLI, on=True, by="ada", reason=" ")
    with pytest.raises(ReasonMissing, match=missing):
        cancel(journal, world.clock, "act-1", by="ada", reason="\t", channel="rest", policy=Policy())
    with pytest.raises(ReasonMissing, match=missing):
        await promote(
            journal,
            world.registry,
            world.publisher,
            world.clock,
            model=MODEL,
            version="1",
            by="ada",
            reason="\n ",
        )
    assert not world.journal.state.audit
    assert stated(" a move ") == "a move"


def test_a_second_pause_is_told_whose_the_first_is() -> None:
    world = World()
    journal = cast(Any, world.journal)
    first = turn(journal, world.clock, PAUSE, **CLI, on=True, by="ada", reason="a move")
    assert turn(journal, world.clock, PAUSE, **CLI, on=True, by="ada", reason=" a move ") == first
    with pytest.raises(
        AlreadyPaused, match=r"already paused by ada since .* UTC: a move; your reason was not"
    ):
        turn(
            journal,
            world.clock,
            PAUSE,
            policy=Policy(),
            channel="cli",
            on=True,
            by="otto",
            reason="an upgrade",
        )
    assert len(world.journal.state.audit) == 1
