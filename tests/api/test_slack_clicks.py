"""Clicks in Slack: who may send them, what they decide, and what the person hears."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediation.approvals import Decision, Result, decide
from remediation.outbox import Outbox
from remediation.values import Approval
from serving.api.services import Decide
from serving.slack import SlackConfig, SlackNotifier, SlackVerifier
from serving.slack_blocks import APPROVE, REJECT
from serving.slack_clicks import interactions
from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.api.slack_server import SECRET, TOKEN, SlackServer, buttons, seen, signature, signed

NOW_S = 1_531_420_618
"""The time of Slack's published example."""
EXAMPLE = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
    b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
EXAMPLE_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
PATH = "/slack/interactions"


@dataclass
class Clicking:
    """The API with Slack's route, a Slack, and the agent's outbox between them."""

    world: World
    slack: SlackServer
    client: httpx.Client
    outbox: Outbox

    def press(self, action_id: str, *, user: str = "ann") -> httpx.Response:
        return self.send(self.slack.press(action_id, user=user))

    def send(self, payload: Any, *, now_s: int = NOW_S, secret: str = SECRET) -> httpx.Response:
        body, headers = signed(payload, now_s=now_s, secret=secret)
        return self.client.post(PATH, content=body, headers=headers)

    def whispered(self, count: int) -> list[str]:
        """What people were told in private, as soon as there are `count` sentences."""
        deadline_s = time.monotonic() + 20
        while len(self.slack.whispered) < count:
            assert time.monotonic() < deadline_s, self.slack.whispered
            time.sleep(0.01)
        assert all(each["response_type"] == "ephemeral" for each in self.slack.whispered)
        assert not any(each["replace_original"] for each in self.slack.whispered)
        return [each["text"] for each in self.slack.whispered]

    async def deliver(self) -> None:
        self.outbox.collect()
        await self.outbox.deliver()

    def approval(self) -> Approval:
        with self.world.journal.reading() as unit:
            found = unit.approval("apr-1-1")
        assert found is not None
        return found


@pytest.fixture
def clicking(ill: World, serve: Serve) -> Iterator[Clicking]:
    slack, app = SlackServer(), ill.app(token="api-token")
    verifier = SlackVerifier(SECRET, now_s=lambda: NOW_S)
    app.include_router(interactions(verifier, partial(decide, ill.journal, ill.clock)))
    with (
        serve(slack.app()) as slack.url,
        serve(app) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        config = SlackConfig(token=TOKEN, channel="#homeostat", api_url=f"{slack.url}/api/")
        notifier = SlackNotifier(config, ill.journal)
        yield Clicking(ill, slack, client, Outbox(ill.journal, notifier, ill.clock))


async def test_from_the_question_to_the_outcome(clicking: Clicking) -> None:
    await clicking.deliver()
    answer = clicking.press(APPROVE)
    assert (answer.status_code, answer.content) == (200, b"")
    assert clicking.whispered(1) == ["Approval apr-1-1 was approved by ann (U2CERLKJA) (slack)."]
    approval = clicking.approval()
    found = (approval.state, approval.decided_by, approval.channel)
    assert found == ("approved", "ann (U2CERLKJA)", "slack")
    again = clicking.press(REJECT, user="noor")
    assert again.status_code == 200
    assert clicking.whispered(2)[1].startswith("Nothing changed. Approval apr-1-1 was approved by ann")
    assert clicking.approval() == approval
    await clicking.deliver()
    (message,) = clicking.slack.messages.values()
    assert buttons(message) == []
    assert "*Approved* by ann (U2CERLKJA) (slack)" in seen(message)


async def test_rejecting_gives_a_reason(clicking: Clicking) -> None:
    await clicking.deliver()
    clicking.press(REJECT)
    clicking.whispered(1)
    approval = clicking.approval()
    assert (approval.state, approval.reason) == ("rejected", "rejected in Slack")


async def test_a_button_of_another_plan_decides_nothing(clicking: Clicking) -> None:
    await clicking.deliver()
    payload = clicking.slack.press(APPROVE)
    payload["actions"][0]["value"] = '{"approval": "apr-1-1", "plan_hash": "0000"}'
    assert clicking.send(payload).status_code == 200
    assert "look at it again" in clicking.whispered(1)[0]
    assert clicking.approval().state == "pending"


async def test_clicks_at_the_same_time_decide_once(clicking: Clicking) -> None:
    await clicking.deliver()
    payloads = [clicking.slack.press(APPROVE if n % 2 else REJECT, user=f"u{n}") for n in range(6)]
    threads = [threading.Thread(target=clicking.send, args=(payload,)) for payload in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
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


NO_CLICKS = {
    "empty": "",
    "cut": "{",
    "list": "[]",
    "null": "null",
    "nobody": '{"type": "block_actions"}',
    "no-value": '{"type": "block_actions", "user": {"id": "U"}, "actions": [{"action_id": "homeostat_approve"}]}',
    "number": '{"type": "block_actions", "user": {"id": 5}, "actions": []}',
    "deep": '{"type": "block_actions", "user": ' + "[" * 100_000,
}


def test_a_signed_body_that_is_no_click_is_told(clicking: Clicking) -> None:
    for name, payload in NO_CLICKS.items():
        answer = clicking.send(payload)
        assert answer.status_code == 400, name
        assert answer.headers["content-type"] == "application/problem+json"
        assert "not an interaction" in answer.json()["detail"]


def test_old_signatures_and_other_secrets_are_refused(clicking: Clicking) -> None:
    payload = {"type": "x", "user": {"id": "U1"}}
    for late_s in (-301, 301):
        assert clicking.send(payload, now_s=NOW_S + late_s).status_code == 401
    assert clicking.send(payload, secret="other").status_code == 401


SIGNED_S = str(NOW_S)
BROKEN: dict[str, Any] = {
    "none": {},
    "no-time": {"X-Slack-Signature": EXAMPLE_SIGNATURE},
    "no-signature": {"X-Slack-Request-Timestamp": SIGNED_S},
    "word": {"X-Slack-Request-Timestamp": "now", "X-Slack-Signature": EXAMPLE_SIGNATURE},
    "float": {"X-Slack-Request-Timestamp": f"{NOW_S}.0", "X-Slack-Signature": EXAMPLE_SIGNATURE},
    "huge": {"X-Slack-Request-Timestamp": "9" * 5_000, "X-Slack-Signature": EXAMPLE_SIGNATURE},
    "empty": {"X-Slack-Request-Timestamp": "", "X-Slack-Signature": ""},
    "short": {"X-Slack-Request-Timestamp": SIGNED_S, "X-Slack-Signature": "v0=ab"},
    "v1": {"X-Slack-Request-Timestamp": SIGNED_S, "X-Slack-Signature": "v1=" + EXAMPLE_SIGNATURE[3:]},
    "latin": {"X-Slack-Request-Timestamp": SIGNED_S, "X-Slack-Signature": b"v0=" + b"\xe9" * 64},
}


def test_a_broken_signature_is_refused_without_a_trace(
    clicking: Clicking, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, headers in BROKEN.items():
        answer = clicking.client.post(PATH, content=EXAMPLE, headers=headers)
        assert answer.status_code == 401, name
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Slack's signature" in answer.json()["detail"]
    assert "Traceback" not in capsys.readouterr().out


def test_a_body_that_is_no_text_is_refused(clicking: Clicking) -> None:
    body = b"payload=\xff\xfe"
    answer = clicking.client.post(PATH, content=body, headers=signature(body, now_s=NOW_S))
    assert answer.status_code == 401


def test_a_body_without_end_is_not_read(clicking: Clicking) -> None:
    answer = clicking.client.post(PATH, content=b"x" * 1_100_000)
    assert answer.status_code == 413
    assert "1,048,576 bytes" in answer.json()["detail"]


@dataclass
class Heard:
    """What a person was told."""

    sentences: list[str] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)

    def answer(self, _: str, sentence: str) -> None:
        self.sentences.append(sentence)
        self.told.set()


@contextmanager
def _clicked(world: World, serve: Serve, decide: Decide, heard: Heard) -> Generator[httpx.Response]:
    app = world.app()
    verifier = SlackVerifier(SECRET, now_s=lambda: NOW_S)
    app.include_router(interactions(verifier, decide, answer=heard.answer))
    pressed = {"action_id": APPROVE, "value": '{"approval": "apr-1-1", "plan_hash": "00"}'}
    payload = {"type": "block_actions", "user": {"id": "U1"}, "actions": [pressed], "response_url": "x"}
    body, headers = signed(payload, now_s=NOW_S)
    with serve(app) as url:
        yield httpx.post(url + PATH, content=body, headers=headers, timeout=3)


def test_the_click_is_acknowledged_before_the_database_answers(ill: World, serve: Serve) -> None:
    free, heard = threading.Event(), Heard()

    def slow(*_: Any, **__: Any) -> Decision:
        assert free.wait(20)
        return Decision(result=Result.DONE, sentence="done")

    with _clicked(ill, serve, slow, heard) as answer:
        assert answer.status_code == 200
        assert not heard.sentences
        free.set()
        assert heard.told.wait(20)
    assert heard.sentences == ["done"]


def test_a_click_that_could_not_be_recorded_is_told(ill: World, serve: Serve) -> None:
    heard = Heard()

    def away(*_: Any, **__: Any) -> Decision:
        raise ConnectionError("the database is away")

    with _clicked(ill, serve, away, heard) as answer:
        assert answer.status_code == 200
        assert heard.told.wait(20)
    assert "could not be recorded" in heard.sentences[0]


def test_slacks_published_example() -> None:
    verifier = SlackVerifier(SECRET, now_s=lambda: NOW_S)
    assert verifier.accepts(EXAMPLE, timestamp=SIGNED_S, signature=EXAMPLE_SIGNATURE)
    assert not verifier.accepts(EXAMPLE + b" ", timestamp=SIGNED_S, signature=EXAMPLE_SIGNATURE)
    assert not verifier.accepts(EXAMPLE, timestamp=str(NOW_S + 1), signature=EXAMPLE_SIGNATURE)
    for now_s, accepted in ((NOW_S + 300, True), (NOW_S + 301, False), (NOW_S - 300, True)):
        later = SlackVerifier(SECRET, now_s=partial(int, now_s))
        assert later.accepts(EXAMPLE, timestamp=SIGNED_S, signature=EXAMPLE_SIGNATURE) is accepted


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    body=st.binary(max_size=60),
    timestamp=st.none() | st.text(max_size=14) | st.integers().map(str) | st.just(SIGNED_S),
    given_signature=st.none()
    | st.text(max_size=70)
    | st.from_regex(r"v0=[0-9a-fé]{64}", fullmatch=True)
    | st.just(EXAMPLE_SIGNATURE),
)
def test_nothing_but_slack_is_accepted_and_nothing_raises(
    body: bytes, timestamp: str | None, given_signature: str | None
) -> None:
    verifier = SlackVerifier(SECRET, now_s=lambda: NOW_S)
    assert not verifier.accepts(body, timestamp=timestamp, signature=given_signature)
