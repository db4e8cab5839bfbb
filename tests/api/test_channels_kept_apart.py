"""Each channel has its own progress, and one that is down holds back nothing but itself."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fastapi.responses import PlainTextResponse

from deploy.stack.ports import pick_free_port
from remediation.outbox import Outbox
from remediation.policy import Policy
from remediation.ports import Notifier
from serving.channels.teller import Teller
from serving.channels.webhook import Webhook
from serving.notifier import LogNotifier
from tests.api.api_world import SECOND_US, World
from tests.api.channel_world import SECRET, Told, make
from tests.api.conftest import Serve
from tests.api.peers import Peer


@pytest.fixture
def told(ill: World, serve: Serve) -> Iterator[Told]:
    """By a webhook."""
    peer = Peer(usual=PlainTextResponse("ok"))
    with serve(peer.app()) as url:
        yield make(ill, peer, Webhook("erp", f"{url}/hook", SECRET, ill.clock))


async def test_one_channel_that_is_down_or_slow_blocks_no_other(told: Told, serve: Serve) -> None:
    """Progress is kept per channel: what is told by one is not told again by it, and the other catches up."""
    world = told.world
    slow = Slow(told.teller)
    channels: dict[str, Notifier] = {"erp": told.teller, "slow": slow}

    def outbox() -> Outbox:
        return Outbox(world.journal, LogNotifier(), world.clock, Policy(), channels)

    first = outbox()
    first.collect()
    told.peer.answers.append(PlainTextResponse("no", 500))
    await first.deliver()
    assert (first.waiting, told.peer.asked) == (2, 1), "the log is told, the other two are not"
    world.clock.at_us += 3 * SECOND_US
    await first.deliver()
    assert (first.waiting, len(told.peer.taken)) == (1, 1), "the slow one blocks nobody"
    world.sequence()
    later = outbox()
    later.collect()
    assert later.waiting == 1, "a new agent knows that the webhook was told"
    slow.free.set()
    while first.waiting:
        await first.deliver()
    world.sequence()
    last = outbox()
    last.collect()
    assert last.waiting == 0
    with world.journal.reading() as unit:
        marks = unit.audit_entries(action="notification.sent", subject="apr-1-1")
    assert sorted(str(each.detail.get("channel")) for each in marks) == ["None", "erp", "slow"]


class Slow:
    """A channel whose peer hangs until it is freed."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self.free = asyncio.Event()

    async def approval_requested(self, *_: Any) -> bool:
        await self.free.wait()
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._teller, name)


async def test_after_a_day_a_message_is_given_up_and_the_record_says_so(ill: World) -> None:
    refusing = make(ill, Peer(), Webhook("erp", f"http://127.0.0.1:{pick_free_port()}/", SECRET, ill.clock))
    outbox = Outbox(ill.journal, LogNotifier(), ill.clock, Policy(), {"erp": refusing.teller})
    outbox.collect()
    await outbox.deliver()
    assert outbox.waiting == 1
    ill.clock.at_us += 86_500 * SECOND_US
    with ill.journal.transaction() as unit:
        ticket = unit.approval("apr-1-1")
        assert ticket is not None
        later = msgspec.structs.replace(ticket, expires_us=ill.clock.at_us * 2)
        assert unit.save_approval(later, expected="pending", actor="test")
    await outbox.deliver()
    assert outbox.waiting == 0
    ill.sequence()
    with ill.journal.reading() as unit:
        (given_up,) = unit.audit_entries(action="notification.given_up")
    assert given_up.detail["channel"] == "erp"


async def test_a_message_is_not_sent_again_because_the_database_was_away(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(told.world.journal, LogNotifier(), told.world.clock, Policy(), {"erp": told.teller})
    outbox.collect()
    with monkeypatch.context() as broken:
        broken.setattr(told.world.journal, "transaction", _away)
        with pytest.raises(ConnectionError):
            await outbox.deliver()
    assert (outbox.waiting, len(told.peer.taken)) == (2, 1)
    await outbox.deliver()
    assert (outbox.waiting, len(told.peer.taken)) == (0, 1)


def _away() -> Any:
    raise ConnectionError("the database is away")
