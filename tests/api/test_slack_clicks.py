"""Clicks in Slack: who may send them, what they decide, and what the person hears."""

import asyncio
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from db.clicks import SqlClicks
from db.errors import Unavailable
from remediation.approvals import Decision, Result
from remediation.outbox import Outbox
from remediation.policy import Person, Policy, Rule
from remediation.values import Approval
from serving.slack.api import SlackConfig, SlackVerifier
from serving.slack.blocks import APPROVE, DETAILS, REJECT, SNOOZE
from serving.slack.clicks import Clicks
from serving.slack.notifier import SlackNotifier
from serving.slack.parts import Post
from serving.slack.route import interactions
from tests.api.api_world import SECOND_US, World
from tests.api.conftest import Serve
from tests.api.slack_server import SECRET, TOKEN, SlackServer, buttons, seen, signed
from tests.api.slack_world import NOW_S, PATH, Clicking, make_clicks, until
from tests.patience import PATIENCE_S


async def test_from_the_question_to_the_outcome(clicking: Clicking) -> None:
    await clicking.deliver()
    payload = clicking.slack.press(APPROVE)
    answer = clicking.send(payload)
    assert (answer.status_code, answer.content) == (200, b"")
    assert clicking.whispered(1) == ["Approval apr-1-1 was approved by ann (U2CERLKJA) (slack)."]
    approval = clicking.approval()
    found = (approval.state, approval.decided_by, approval.channel)
    assert found == ("approved", "ann (U2CERLKJA)", "slack")
    clicking.world.sequence()
    with clicking.world.journal.reading() as unit:
        (entry,) = unit.audit_entries(action="approval.approved")
    assert entry.detail["request_id"] == answer.headers["x-request-id"]
    again = clicking.send({**payload, "user": {"id": "U7", "name": "noor"}})
    assert again.status_code == 200
    assert clicking.whispered(2)[1].startswith("Nothing changed. Approval apr-1-1 was approved by ann")
    assert clicking.approval() == approval
    await clicking.deliver()
    (message,) = clicking.slack.messages.values()
    assert buttons(message) == []
    assert "*Approved* by ann (U2CERLKJA) (slack)" in seen(message)


async def test_rejecting_asks_for_the_reason(clicking: Clicking) -> None:
    await clicking.deliver()
    assert clicking.press(REJECT).content == b""
    assert "Roll back credit-risk from version 2 to 1" in seen(clicking.window())
    assert clicking.approval().state == "pending", "the window alone decides nothing"
    said = clicking.send(clicking.slack.submit("  \n "))
    assert said.json() == {"response_action": "errors", "errors": {"reason": "Say in a few words why."}}
    assert clicking.send(clicking.slack.submit(None)).json()["response_action"] == "errors"
    assert clicking.approval().state == "pending"
    assert clicking.send(clicking.slack.submit("a campaign\nthat we know of")).content == b""
    assert clicking.whispered(1) == [
        "Approval apr-1-1 was rejected by ann (U2CERLKJA) (slack): a campaign that we know of."
    ]
    approval = clicking.approval()
    assert (approval.state, approval.reason) == ("rejected", "a campaign that we know of")


async def test_a_window_that_came_too_late_is_told(clicking: Clicking) -> None:
    await clicking.deliver()
    clicking.send({**clicking.slack.press(REJECT), "trigger_id": "old"})
    assert "Nothing was decided. Click again." in clicking.whispered(1)[0]
    clicking.send({**clicking.slack.press(DETAILS), "trigger_id": "old"})
    clicking.whispered(2)
    assert "Causes considered" in seen(clicking.slack.whispered[1]), "the details come as a message then"


async def test_details_show_the_evidence_and_the_record(clicking: Clicking) -> None:
    await clicking.deliver()
    clicking.press(DETAILS)
    text = seen(clicking.window())
    for told in (
        "*Bad release* (93%): the drop began 8 s after the release",
        "*Population shift* (5%): no input drifted",
        "inputs &lt;b&gt;did not&lt;/b&gt; drift",
        "A decision is needed",
        clicking.approval().plan_hash,
        "<https://watch.example/audit|Audit log>",
    ):
        assert told in text, told
    assert clicking.approval().state == "pending"


@pytest.mark.parametrize(("choice", "minutes"), [("15", 15), ("60", 60), ("morning", None)])
async def test_snoozing(clicking: Clicking, choice: str, minutes: int | None) -> None:
    await clicking.deliver()
    clicking.press(SNOOZE, choice=choice)
    assert clicking.whispered(1) == ["Approval apr-1-1 is snoozed by ann (U2CERLKJA)."]
    snoozed = clicking.approval()
    assert (snoozed.state, snoozed.snoozed_by) == ("pending", "ann (U2CERLKJA)")
    slept_s = ((snoozed.snoozed_until_us or 0) - clicking.world.clock.now_us()) / SECOND_US
    assert slept_s == 60 * minutes if minutes else 0 < slept_s <= 86_400
    await clicking.deliver()
    (message,) = clicking.slack.messages.values()
    assert "Snoozed by ann (U2CERLKJA) until" in seen(message)
    assert len(buttons(message)) == 4, "who has snoozed can still decide"


async def test_a_quorum_is_shown_as_it_grows(world: World, serve: Serve) -> None:
    world.policy = Policy(
        people={name: Person(slack=each) for name, each in (("ann", "U2CERLKJA"), ("noor", "U7NOOR7"))},
        rules=(Rule(quorum=2),),
    )
    world.fall_ill(policy=world.policy)
    slack = SlackServer(scopes=set())
    with serve(slack.app()) as slack.url:
        clicks = make_clicks(world, slack)
        config = SlackConfig(token=TOKEN, channel="#homeostat", api_url=f"{slack.url}/api/")
        outbox = Outbox(world.journal, SlackNotifier(config, world.journal), world.clock)
        outbox.collect()
        await outbox.deliver()
        _take(clicks, slack.press(APPROVE), "1")
        outbox.collect()
        await outbox.deliver()
        (message,) = slack.messages.values()
        assert "*1 of 2 have approved*: ann" in seen(message)
        pressed = slack.press(APPROVE)
        stranger = {**pressed, "user": {"id": "U9", "name": "eve"}}
        _take(clicks, stranger, "2")
        assert "nobody whom the policy knows" in slack.whispered[-1]["text"]
        _take(clicks, {**pressed, "user": {"id": "U7NOOR7", "name": "noor"}}, "3")
        outbox.collect()
        await outbox.deliver()
        (message,) = slack.messages.values()
        assert buttons(message) == []
        assert "*Approved* by ann and noor (slack)" in seen(message)


def _take(clicks: Clicks, payload: dict[str, Any], click_id: str) -> None:
    taken = clicks.take(json.dumps(payload).encode(), click_id)
    assert taken.later is not None
    taken.later()


async def test_a_copy_of_the_question_loses_its_buttons_too(clicking: Clicking) -> None:
    await clicking.deliver()
    payload = clicking.slack.press(APPROVE)
    payload["container"]["message_ts"] = "1700000000.000001"
    clicking.send(payload)
    until(lambda: len(clicking.slack.whispered) == 2)
    assert clicking.slack.whispered[1]["replace_original"] is True
    assert "*Approved* by ann" in clicking.slack.whispered[1]["text"]


async def test_a_replay_is_recorded_once_and_does_nothing(clicking: Clicking) -> None:
    await clicking.deliver()
    body, headers = signed(clicking.slack.press(SNOOZE), now_s=NOW_S)
    for _ in range(5):
        assert clicking.client.post(PATH, content=body, headers=headers).status_code == 200
    clicking.whispered(1)
    before = clicking.approval()
    clicking.world.clock.at_us += 60 * SECOND_US
    assert clicking.client.post(PATH, content=body, headers=headers).status_code == 200
    assert clicking.approval() == before, "a replayed snooze does not last longer"
    with clicking.world.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM slack_clicks").scalar() == 1
    clicking.world.sequence()
    with clicking.world.journal.reading() as unit:
        assert len(unit.audit_entries(action="approval.snoozed")) == 1


async def test_a_button_of_another_plan_decides_nothing(clicking: Clicking) -> None:
    await clicking.deliver()
    payload = clicking.slack.press(APPROVE)
    payload["actions"][0]["value"] = '{"approval": "apr-1-1", "plan_hash": "0000"}'
    assert clicking.send(payload).status_code == 200
    assert "look at it again" in clicking.whispered(1)[0]
    assert clicking.approval().state == "pending"


async def test_clicks_at_the_same_time_decide_once(clicking: Clicking) -> None:
    await clicking.deliver()
    payloads = [clicking.slack.press(APPROVE, user=f"u{n}") for n in range(6)]
    threads = [threading.Thread(target=clicking.send, args=(payload,)) for payload in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    told = clicking.whispered(6)
    assert sum(not text.startswith("Nothing changed.") for text in told) == 1
    with clicking.world.journal.reading() as unit:
        assert unit.approvals(state="pending") == []


def test_what_is_not_a_press_of_our_buttons_is_acknowledged(clicking: Clicking) -> None:
    user = {"id": "U1"}
    other = {"action_id": "somebody_else", "value": "x"}
    assert clicking.send({"type": "view_submission", "user": user}).status_code == 200
    assert clicking.send({"type": "block_actions", "user": user, "actions": [other]}).status_code == 200
    assert clicking.approval().state == "pending"


@dataclass
class Heard:
    """What a person was told."""

    sentences: list[str] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)

    def respond(self, _: str, post: Post, *, replace: bool = False) -> None:
        assert not replace
        self.sentences.append(post.text)
        self.told.set()


@contextmanager
def _clicked(
    clicks: Clicks, world: World, serve: Serve, patience_s: float = PATIENCE_S
) -> Generator[httpx.Response]:
    app = world.app()
    verifier = SlackVerifier(SECRET, now_s=lambda: NOW_S)
    app.include_router(interactions(verifier, clicks, patience_s=patience_s))
    with serve(app) as url:
        body, headers = signed(PRESSED, now_s=NOW_S)
        yield httpx.post(url + PATH, content=body, headers=headers, timeout=PATIENCE_S / 2)


PRESSED = {
    "type": "block_actions",
    "user": {"id": "U1"},
    "actions": [{"action_id": APPROVE, "value": '{"approval": "apr-1-1", "plan_hash": "00"}'}],
    "response_url": "x",
}


def test_the_click_is_acknowledged_before_the_database_decides(ill: World, serve: Serve) -> None:
    free, heard = threading.Event(), Heard()

    def slow(*_: Any, **__: Any) -> Decision:
        assert free.wait(PATIENCE_S)
        return Decision(result=Result.DONE, sentence="done")

    clicks = make_clicks(ill, SlackServer(), decide=slow, respond=heard.respond)
    with _clicked(clicks, ill, serve) as answer:
        assert answer.status_code == 200
        assert not heard.sentences
        free.set()
        assert heard.told.wait(PATIENCE_S)
    assert heard.sentences == ["done"]


def _away(*_: Any, **__: Any) -> Any:
    raise Unavailable("the database is away")


def test_a_click_that_cannot_be_carried_out_now_is_carried_out_later(ill: World, serve: Serve) -> None:
    heard = Heard()
    with _clicked(make_clicks(ill, SlackServer(), decide=_away, respond=heard.respond), ill, serve) as answer:
        assert answer.status_code == 200
        assert heard.told.wait(PATIENCE_S)
    assert heard.sentences == [
        "Your click is on record and is carried out as soon as possible. Another one does no harm."
    ]
    assert len(SqlClicks(ill.engine, ill.clock).open(older_than_s=0)) == 1


async def test_a_click_of_a_process_that_died_is_carried_out_by_the_next(ill: World) -> None:
    slack = SlackServer()
    plan_hash = _ticket(ill).plan_hash
    value = json.dumps({"approval": "apr-1-1", "plan_hash": plan_hash})
    payload = {**PRESSED, "actions": [{"action_id": APPROVE, "value": value}]}
    taken = make_clicks(ill, slack).take(json.dumps(payload).encode(), "c1")
    assert taken.later is not None, "the process dies here: it is never called"
    heard = Heard()
    ill.clock.at_us += 11 * SECOND_US
    keeping = asyncio.create_task(make_clicks(ill, slack, respond=heard.respond).keep(interval_s=0.01))
    while not await asyncio.to_thread(heard.told.wait, 0.05):
        assert not keeping.done()
    keeping.cancel()
    await asyncio.wait([keeping])
    assert _ticket(ill).state == "approved"
    assert SqlClicks(ill.engine, ill.clock).open(older_than_s=0) == []


def _ticket(world: World) -> Approval:
    with world.journal.reading() as unit:
        found = unit.approval("apr-1-1")
    assert found is not None
    return found


@dataclass
class SlowInbox:
    """A database that does not answer in time, or not at all."""

    record: Callable[..., bool]


def test_what_is_not_written_down_is_not_acknowledged(ill: World, serve: Serve) -> None:
    free = threading.Event()
    for inbox in (SlowInbox(lambda *_: free.wait(5)), SlowInbox(_away)):
        with _clicked(make_clicks(ill, SlackServer(), inbox=inbox), ill, serve, patience_s=0.3) as answer:
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            free.set()
