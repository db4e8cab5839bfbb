"""What is posted in Slack and edited there, against a server that speaks Slack's API."""

import json
from typing import Any

import msgspec
import pytest
from fastapi.responses import PlainTextResponse

from deploy.stack.ports import pick_free_port
from remediation.outbox import Outbox
from remediation.ports import Notifier
from remediation.reminders import Reminder
from serving.slack.blocks import APPROVE, DETAILS, REJECT, SNOOZE
from serving.slack.modals import RejectionOf, rejecting
from tests.api.api_world import MODEL, SECOND_US, World
from tests.api.slack_server import (
    CHANNEL_ID,
    TOKEN,
    SlackServer,
    buttons,
    images,
    refuse,
    seen,
    too_many,
    wrong_with,
)
from tests.api.slack_world import Told, make


async def test_the_question_says_all_that_is_needed_to_decide(told: Told, slack: SlackServer) -> None:
    assert await told.ask()
    ((ts, message),) = slack.messages.items()
    text = seen(message)
    assert message["text"].startswith(f"A decision is needed: Roll back {MODEL} from version 2 to 1.")
    assert f"Roll back {MODEL} from version 2 to 1?" in text
    assert "Accuracy *69.4 %* (threshold 85.0 %, reference 90.5 %, n = 500, " in text
    assert "Probable cause: *Bad release* (93%)" in text
    assert "inputs &lt;b&gt;did not&lt;/b&gt; drift" in text
    assert "comes from version 1 instead of 2" in text
    assert "Promote version 2 again" in text
    assert "Expires <!date^1795003600^{date_short_pretty} {time_secs}|2026-11-18 12:06 UTC>" in text
    assert "<https://watch.example/incidents/inc-1|Incident>" in text
    plan_hash = told.read()[1].hash
    assert [each["action_id"] for each in buttons(message)] == [APPROVE, REJECT, SNOOZE, DETAILS]
    for button in buttons(message):
        if button["type"] == "button":
            assert json.loads(button["value"]) == {"approval": "apr-1-1", "plan_hash": plan_hash}
    (file,) = images(message)
    assert slack.files[file].startswith(b"\x89PNG")
    assert "It went from 90.5 % (version 1) to 70.2 % (version 2), between 69.4 % and 91.7 %." in text
    assert told.read()[2].slack_ts == f"{CHANNEL_ID}:{ts}:{file}"


async def test_a_question_about_an_action_has_answers_of_its_own(told: Told, slack: SlackServer) -> None:
    incident, plan, approval = told.read()
    asks = msgspec.structs.replace(plan, parameters={"undoes": "act-1"})
    assert await told.notifier.approval_requested(incident, asks, approval)
    (message,) = slack.messages.values()
    labels = [each["text"]["text"] for each in buttons(message) if each["type"] == "button"]
    assert labels == ["Undo it", "Keep it …", "Details"]
    window = json.dumps(rejecting(RejectionOf(approval=approval.id, plan_hash=asks.hash), asks))
    assert "What was done stays as it is" in window
    assert "ends without an action" not in window


async def test_a_reminder_stands_in_the_thread_and_an_escalation_where_it_is_sent(
    told: Told, slack: SlackServer
) -> None:
    await told.ask()
    asked = next(iter(slack.messages))
    reminder = Reminder(name="reminder-1", kind="reminder", waited_s=1_200, people=("mira", "<!here>"))
    assert await told.notifier.approval_reminded(*told.read(), reminder)
    further = Reminder(name="escalation-0", kind="escalation", waited_s=2_400, to="#platform")
    assert await told.notifier.approval_reminded(*told.read(), further)
    _, first, second = slack.messages.values()
    assert (first["thread_ts"], first["reply_broadcast"]) == (asked, True)
    assert first["text"].startswith(
        f"<@U0123ABCD> &lt;!here&gt; *Roll back {MODEL} from version 2 to 1* waits"
    )
    assert "since 20 min" in first["text"]
    assert (second["channel"], "thread_ts" in second) == ("#homeostat", False), "no #platform here"


async def test_what_is_decided_elsewhere_replaces_the_buttons(told: Told, slack: SlackServer) -> None:
    await told.ask()
    told.decide("reject", reason="a known campaign")
    assert await told.tell()
    (message,) = slack.messages.values()
    assert buttons(message) == []
    assert "*Rejected* by mira (console), <!date^1795000000" in seen(message)
    assert ": a known campaign" in seen(message)
    assert "comes from version 1 instead of 2" in seen(message)


async def test_an_expired_ticket_is_told_in_place(told: Told, slack: SlackServer) -> None:
    await told.ask()
    told.world.clock.at_us += 3_601 * SECOND_US
    told.decide()
    assert await told.tell()
    (message,) = slack.messages.values()
    assert buttons(message) == []
    assert "*Expired*" in seen(message)
    assert "nobody decided in time" in seen(message)


async def test_where_nobody_was_asked_the_outcome_is_posted(told: Told, slack: SlackServer) -> None:
    told.decide()
    assert await told.tell()
    (message,) = slack.messages.values()
    assert buttons(message) == []
    assert "*Approved* by mira" in seen(message)
    assert told.read()[2].slack_ts is not None


@pytest.mark.parametrize(("state", "loud"), [("resolved", False), ("escalated", True)])
async def test_the_end_stands_in_the_thread(told: Told, slack: SlackServer, state: Any, loud: bool) -> None:
    await told.ask()
    question = next(iter(slack.messages))
    incident = msgspec.structs.replace(told.read()[0], state=state, outcome="accuracy is back <at> 0.91")
    assert await told.notifier.incident_closed(incident)
    end = list(slack.messages.values())[1]
    assert (end["thread_ts"], end["reply_broadcast"], end["channel"]) == (question, loud, CHANNEL_ID)
    assert "accuracy is back &lt;at&gt; 0.91" in seen(end)


async def test_the_end_without_a_question_goes_to_the_channel(told: Told, slack: SlackServer) -> None:
    incident = msgspec.structs.replace(told.read()[0], state="escalated", outcome="no version is safe")
    assert await told.notifier.incident_closed(incident)
    (end,) = slack.messages.values()
    assert "thread_ts" not in end
    assert "*Escalated: a person must look*" in seen(end)


async def test_a_later_agent_neither_asks_twice_nor_loses_the_message(
    told: Told, slack: SlackServer, ill: World
) -> None:
    await told.ask()
    later = make(ill, f"{slack.url}/api/")
    assert await later.ask()
    assert len(slack.messages) == 1
    later.decide()
    assert await later.tell()
    (message,) = slack.messages.values()
    assert "*Approved*" in seen(message)


async def test_slack_is_not_asked_while_it_wants_no_requests(told: Told, slack: SlackServer) -> None:
    slack.answers.append(too_many("7"))
    assert not await told.ask()
    told.elapsed_s = 6.9
    assert not await told.ask()
    assert slack.asked == ["chat.postMessage"]
    told.elapsed_s = 7.0
    assert await told.ask()
    assert len(slack.messages) == 1


@pytest.mark.parametrize("retry_after", ["soon", "-1", "", "9999999"])
async def test_a_strange_retry_after_means_half_a_minute(
    told: Told, slack: SlackServer, retry_after: str
) -> None:
    slack.answers.append(too_many(retry_after))
    assert not await told.ask()
    told.elapsed_s = 29.9
    assert not await told.ask()
    told.elapsed_s = 30.0
    assert await told.ask()


@pytest.mark.parametrize(
    "answer",
    [
        refuse("internal_error"),
        PlainTextResponse("Bad gateway", 502),
        PlainTextResponse("", 200),
        PlainTextResponse(b"\xff\xfe{}", 200),
        PlainTextResponse("{", 200),
    ],
    ids=["error", "502", "empty", "binary", "cut"],
)
async def test_a_broken_answer_is_false_and_later_it_works(
    told: Told, slack: SlackServer, answer: Any
) -> None:
    slack.answers.append(answer)
    assert not await told.ask()
    assert await told.ask()
    told.decide()
    slack.answers.append(answer)
    assert not await told.tell()
    assert await told.tell()
    assert len(slack.messages) == 1


async def test_nobody_listens(ill: World) -> None:
    told = make(ill, f"http://127.0.0.1:{pick_free_port()}/api/")
    assert not await told.ask()
    assert not await told.tell()
    assert not await told.notifier.incident_closed(told.read()[0])


@pytest.mark.parametrize(
    ("token", "channel", "advice"),
    [("xoxb-other", "#homeostat", "HOMEOSTAT_SLACK_TOKEN"), (TOKEN, "#nowhere", "HOMEOSTAT_SLACK_CHANNEL")],
)
async def test_a_wrong_setting_is_named_in_the_log(
    ill: World, slack: SlackServer, token: str, channel: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = make(ill, f"{slack.url}/api/", token=token, channel=channel)
    assert not await told.ask()
    written = capsys.readouterr().out
    assert advice in written
    assert token not in written


async def test_the_largest_plan_fits_and_cannot_mention_anybody(told: Told, slack: SlackServer) -> None:
    incident, plan, approval = told.read()
    hostile = "<!channel> & <https://evil.example|click> " * 200
    incident = msgspec.structs.replace(incident, summary=hostile)
    plan = msgspec.structs.replace(
        plan, model="m" * 300, evidence=(hostile,) * 60, blast_radius=hostile, undo="&" * 2_899
    )
    assert await told.notifier.approval_requested(incident, plan, approval)
    (message,) = slack.messages.values()
    assert wrong_with(message) == []
    assert "<!channel>" not in seen(message) + message["text"]
    assert "<https://evil" not in seen(message) + message["text"]


async def test_the_outbox_carries_a_decision_to_slack_in_order(told: Told, slack: SlackServer) -> None:
    notifier: Notifier = told.notifier
    outbox = Outbox(told.world.journal, notifier, told.world.clock)
    slack.answers.append(too_many("1"))
    outbox.collect()
    await outbox.deliver()
    assert (outbox.waiting, slack.messages) == (1, {})
    told.elapsed_s = 1.0
    told.world.clock.at_us += 2 * SECOND_US
    await outbox.deliver()
    assert len(slack.messages) == 1
    told.decide()
    outbox.collect()
    await outbox.deliver()
    (message,) = slack.messages.values()
    assert buttons(message) == []
    assert outbox.waiting == 0


async def test_a_chart_never_holds_a_question_back(told: Told, slack: SlackServer, ill: World) -> None:
    slack.scopes = set()
    assert await told.ask()
    (message,) = slack.messages.values()
    assert images(message) == []
    slack.messages.clear()
    slack.scopes = {"files:write"}
    ill.fall_ill(2)
    slack.not_ready = True
    later = make(ill, f"{slack.url}/api/")
    assert await later.notifier.approval_requested(*later.read("apr-2-1"))
    (message,) = slack.messages.values()
    assert images(message) == [], "a file that Slack has not finished with cannot be shown"
    assert "Roll back" in seen(message)


async def test_the_chart_stays_when_the_message_is_edited(told: Told, slack: SlackServer, ill: World) -> None:
    await told.ask()
    (before,) = slack.messages.values()
    later = make(ill, f"{slack.url}/api/")
    later.decide()
    assert await later.tell()
    (after,) = slack.messages.values()
    assert images(after) == images(before) != []
