"""Nothing but Slack is heard, nothing breaks, and no secret is logged."""

import asyncio
import json
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.slack.api import SlackVerifier
from serving.slack.blocks import APPROVE, REJECT, SNOOZE
from serving.slack.payloads import NoClick, read_payload
from serving.slack.route import interactions
from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.api.slack_server import SECRET, TOKEN, TRIGGER, SlackServer, signature, signed
from tests.api.slack_world import NOW_S, PATH, Clicking, make_clicks
from tests.patience import PATIENCE_S

EXAMPLE = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
    b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
EXAMPLE_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
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


def test_no_secret_is_logged(
    clicking: Clicking, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "matplotlib")
    clicking.outbox.collect()
    asyncio.run(clicking.outbox.deliver())
    body, headers = signed(clicking.slack.press(APPROVE), now_s=NOW_S)
    for tried in (headers, {**headers, "X-Slack-Signature": "v0=" + "0" * 64}):
        clicking.client.post(PATH, content=body, headers=tried)
    clicking.press(REJECT)
    clicking.window()
    clicking.whispered(1)
    told = capsys.readouterr()
    for secret in (TOKEN, SECRET, headers["X-Slack-Signature"], headers["X-Slack-Signature"][3:], TRIGGER):
        for place in (caplog.text, told.out, told.err):
            assert secret not in place, secret


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


class Refusing:
    """No database, and no click may reach it."""

    def record(self, *_: Any) -> bool:
        raise AssertionError("an unsigned click was kept")


@pytest.fixture
def fuzzed(ill: World, serve: Serve) -> Iterator[httpx.Client]:
    app = ill.app()
    clicks = make_clicks(ill, SlackServer(), inbox=Refusing())
    app.include_router(interactions(SlackVerifier(SECRET, now_s=lambda: NOW_S), clicks))
    with serve(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


SENT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80)
"""What an HTTP client can put into a header."""
FORGED = st.fixed_dictionaries(
    {},
    optional={
        "X-Slack-Request-Timestamp": st.sampled_from([SIGNED_S, str(NOW_S - 301), "1e9", "-1", "٣", ""])
        | SENT,
        "X-Slack-Signature": st.from_regex(r"v[01]=[0-9a-f]{64}", fullmatch=True) | SENT,
    },
)


def test_no_forged_request_passes_or_shows_a_trace(
    fuzzed: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(body=st.binary(max_size=200) | st.just(b"payload=" + b"[" * 9_000), headers=FORGED)
    def check(body: bytes, headers: dict[str, str]) -> None:
        sent = {key: each.encode("latin-1", "ignore") for key, each in headers.items()}
        answer = fuzzed.post(PATH, content=body, headers=sent)
        assert answer.status_code in (400, 401), answer.text
        assert "Traceback" not in answer.text
        if answer.status_code == 400:
            assert "application/problem+json" not in answer.headers["content-type"], "uvicorn's own refusal"
        else:
            assert answer.json()["status"] == 401

    check()
    assert "Traceback" not in capsys.readouterr().out


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(0, 3)
        | st.text(max_size=5)
        | st.sampled_from([APPROVE, SNOOZE]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "user", "id", "actions", "action_id", "value", "view", "container"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_no_signed_payload_does_more_than_be_refused(payload: Any) -> None:
    try:
        found = read_payload(json.dumps(payload).encode())
    except NoClick:
        return
    assert found is None
