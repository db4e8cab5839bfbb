"""Answers that nobody heard, agents that died, an hour without Slack: nothing is lost, and nobody is asked twice."""

from typing import Any

import pytest
from fastapi.responses import PlainTextResponse

from remediation.outbox import Outbox
from remediation.policy import Policy
from remediation.reminders import Reminder
from tests.api.api_world import SECOND_US, World
from tests.api.slack_server import (
    CHANNEL_ID,
    SlackServer,
    buttons,
    refuse,
    seen,
    too_many,
)
from tests.api.slack_world import Told, make


async def test_a_deleted_message_is_posted_anew(told: Told, slack: SlackServer) -> None:
    await told.ask()
    before = told.read()[2].slack_ts
    told.decide()
    slack.messages.clear()
    slack.messages["1.000000"] = {"blocks": []}
    assert await told.tell()
    assert "*Approved*" in seen(list(slack.messages.values())[-1])
    assert told.read()[2].slack_ts != before


async def test_a_message_that_could_not_be_put_on_record_is_not_posted_twice(
    told: Told, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(told.world.journal, "transaction", _away)
        with pytest.raises(ConnectionError):
            await told.ask()
    told.decide()
    assert await told.tell()
    ((ts, message),) = slack.messages.items()
    assert "*Approved*" in seen(message)
    assert (told.read()[2].slack_ts or "").startswith(f"{CHANNEL_ID}:{ts}")


def _away() -> Any:
    raise ConnectionError("the database is away")


@pytest.mark.parametrize(
    "unheard", [PlainTextResponse("", 502), refuse("internal_error")], ids=["502", "error"]
)
async def test_a_question_whose_answer_was_lost_is_not_asked_twice(
    ill: World, slack: SlackServer, unheard: Any
) -> None:
    told = make(ill, f"{slack.url}/api/", channel=CHANNEL_ID)
    slack.after.append(unheard)
    assert not await told.ask()
    assert len(slack.messages) == 1, "it was posted, and nobody heard of it"
    assert await told.ask()
    ((ts, _),) = slack.messages.items()
    assert told.read()[2].slack_ts == f"{CHANNEL_ID}:{ts}"


async def test_a_question_of_an_agent_that_died_is_found(ill: World, slack: SlackServer) -> None:
    dead = make(ill, f"{slack.url}/api/", channel=CHANNEL_ID)
    dead.notifier._remember = lambda *_: None  # type: ignore[method-assign]
    assert await dead.ask()
    later = make(ill, f"{slack.url}/api/", channel=CHANNEL_ID)
    later.decide()
    assert await later.tell()
    (message,) = slack.messages.values()
    assert buttons(message) == [], "the same message, edited"


async def test_without_the_scope_to_look_it_is_asked_again(ill: World, slack: SlackServer) -> None:
    slack.scopes = set()
    told = make(ill, f"{slack.url}/api/", channel=CHANNEL_ID)
    slack.after.append(PlainTextResponse("", 502))
    assert not await told.ask()
    assert await told.ask()
    assert len(slack.messages) == 2


async def test_one_channel_that_wants_fewer_messages_holds_no_other_back(
    told: Told, slack: SlackServer
) -> None:
    await told.ask()
    slack.answers.append(too_many("60"))
    reminder = Reminder(name="escalation-0", kind="escalation", waited_s=2_400, to="#homeostat")
    assert not await told.notifier.approval_reminded(*told.read(), reminder)
    quiet = Reminder(name="reminder-1", kind="reminder", waited_s=1_200)
    assert await told.notifier.approval_reminded(*told.read(), quiet), (
        "the thread is in the channel with the id"
    )
    told.decide()
    assert await told.tell(), "editing is counted by itself"


async def test_after_an_hour_without_slack_everything_is_told_in_order(
    told: Told, slack: SlackServer, ill: World
) -> None:
    """One ticket was decided meanwhile, one still waits; of its reminders the latest is sent."""
    slack.scopes = set()
    slack.down = PlainTextResponse("down for an hour", 503)
    ill.fall_ill(2)
    policy = Policy(remind_every_min=10)
    outbox = Outbox(ill.journal, told.notifier, ill.clock, policy)
    for minute in range(3, 57, 3):
        ill.clock.at_us += 180 * SECOND_US
        told.elapsed_s += 180
        if minute == 21:
            told.decide("reject", reason="a known campaign")
        outbox.collect()
        await outbox.deliver()
    assert slack.messages == {}
    assert len(slack.asked) < 200, "a Slack that is down is not asked without end"
    slack.down = None
    told.elapsed_s += 60
    ill.clock.at_us += 60 * SECOND_US
    while outbox.waiting:
        ill.clock.at_us += SECOND_US // 10
        await outbox.deliver()
    told_in_order = [message["text"].split(":")[0] for message in slack.messages.values()]
    about = [text for text in told_in_order if "Roll back" in text or "decision" in text]
    assert any("A decision is needed" in text for text in about), "the second ticket still waits"
    texts = [message["text"] for message in slack.messages.values()]
    assert any("*Rejected* by mira" in text and "a known campaign" in text for text in texts)
    assert not [text for text in texts if "A decision is needed" in text][1:], (
        "nobody is asked about what is decided"
    )
    ill.sequence()
    sent = len(slack.messages)
    again = Outbox(ill.journal, make(ill, f"{slack.url}/api/").notifier, ill.clock, policy)
    again.collect()
    await again.deliver()
    assert len(slack.messages) == sent, "a later agent repeats nothing"
