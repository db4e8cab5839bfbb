"""Mail, webhook, Teams and PagerDuty: what each peer gets, against servers that speak and fail like them."""

import asyncio
import email
import email.policy
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, Envelope
from fastapi.responses import PlainTextResponse

from deploy.stack.ports import pick_free_port
from remediation.channels import PagerDutyChannel, Sending
from remediation.notices import Notice
from remediation.reminders import Reminder
from reporting.errors import MailError
from reporting.mail import deliver
from serving.channels import bulletin as bulletins
from serving.channels import teams
from serving.channels.email import Email
from serving.channels.pagerduty import PagerDuty, doing
from serving.channels.teams import Teams
from serving.channels.teller import NotDelivered
from serving.channels.webhook import Webhook, sign
from tests.api.api_world import World
from tests.api.channel_world import CONSOLE, SECRET, Told, make
from tests.api.conftest import Serve
from tests.api.peers import Peer, too_many

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def told(ill: World, serve: Serve) -> Any:
    """By a webhook; the other kinds are made of the same parts."""
    peer = Peer(usual=PlainTextResponse("ok"))
    with serve(peer.app()) as url:
        yield make(ill, peer, Webhook("erp", f"{url}/hook", SECRET, ill.clock))


async def test_a_webhook_is_signed_and_says_everything(told: Told) -> None:
    assert await told.ask()
    ((headers, body),) = told.peer.taken
    timestamp = headers["homeostat-timestamp"]
    assert timestamp == "1795000000"
    assert headers["homeostat-signature"] == sign(SECRET, timestamp, told.peer.bodies[0])
    assert headers["homeostat-signature"] != sign("other", timestamp, told.peer.bodies[0])
    assert (body["schema"], body["event"], body["severity"]) == (
        "homeostat.bulletin/1",
        "approval_requested",
        "critical",
    )
    assert body["title"] == "A decision is needed: Roll back credit-risk from version 2 to 1"
    assert {"title": "How it is undone", "lines": [told.read()[1].undo]} in body["facts"]
    assert (body["plan_hash"], body["approval_id"]) == (told.read()[1].hash, "apr-1-1")
    assert {"title": "Incident", "url": f"{CONSOLE}/incidents/inc-1"} in body["links"]
    assert "approve" not in json.dumps(body["links"]), "no link decides"


async def test_a_second_attempt_has_the_same_key_and_another_message_another_one(told: Told) -> None:
    await told.ask()
    await told.ask()
    told.approve()
    assert await told.teller.approval_decided(*told.read())
    keys = [headers["idempotency-key"] for headers, _ in told.peer.taken]
    assert keys[0] == keys[1] != keys[2]
    assert told.peer.taken[2][1]["text"] == "Approved by mira (console): seen."


async def test_a_peer_that_wants_no_requests_is_left_alone(told: Told) -> None:
    told.peer.answers.append(too_many("7"))
    assert not await told.ask()
    told.elapsed_s = 6.9
    assert not await told.ask()
    assert told.peer.asked == 1
    told.elapsed_s = 7.0
    assert await told.ask()


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500, 502])
async def test_what_is_not_taken_is_told_and_tried_again(
    told: Told, status: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told.peer.answers.append(PlainTextResponse("no", status, {"Location": "http://127.0.0.1:9/"}))
    assert not await told.ask()
    written = capsys.readouterr().out
    assert f"answered {status}" in written
    assert ("secret_env" in written) is (status in (400, 401, 404))
    logged = " ".join(each.getMessage() for each in caplog.records if each.name != "uvicorn.access")
    assert SECRET not in written + logged
    assert "/hook" not in written + logged, "an address can be a secret"
    assert await told.ask()


async def test_nobody_listens(ill: World) -> None:
    url = f"http://127.0.0.1:{pick_free_port()}/"
    for transport in (Webhook("a", url, SECRET, ill.clock), Teams("b", url), PagerDuty("c", url, KEY)):
        assert not await make(ill, Peer(), transport).ask()


async def test_pagerduty_calls_acknowledges_and_calls_off_one_alert(ill: World, serve: Serve) -> None:
    peer = Peer()
    with serve(peer.app()) as url:
        told = make(ill, peer, PagerDuty("pager", f"{url}/v2/enqueue", KEY))
        incident, plan, approval = told.read()
        reminder = Reminder(name="escalation-0", kind="escalation", waited_s=1_800)
        assert await told.teller.approval_reminded(incident, plan, approval, reminder)
        told.approve()
        assert await told.teller.approval_decided(*told.read())
        over = msgspec.structs.replace(incident, state="resolved", outcome="accuracy is back")
        assert await told.teller.incident_closed(over)
    events = [event for _, event in peer.taken]
    assert [each["event_action"] for each in events] == ["trigger", "acknowledge", "resolve"]
    assert {each["dedup_key"] for each in events} == {"homeostat/inc-1"}
    assert {each["routing_key"] for each in events} == {KEY}
    payload = events[0]["payload"]
    assert payload["summary"].startswith("Still undecided after 30 min: Roll back credit-risk")
    assert (payload["severity"], payload["source"], payload["class"]) == (
        "critical",
        "credit-risk",
        "bad_release",
    )
    assert events[0]["client_url"] == f"{CONSOLE}/incidents/inc-1"


ENDS = [
    ("incident_resolved", "", "resolved", "resolve"),
    ("incident_ended", "", "rejected", "resolve"),
    ("incident_ended", "", "expired", None),
    ("incident_escalated", "", "escalated", "trigger"),
    ("approval_decided", "approved", "executing", "acknowledge"),
    ("approval_decided", "rejected", "rejected", "acknowledge"),
    ("approval_decided", "expired", "expired", None),
    ("approval_decided", "void", "diagnosed", None),
    ("overdue", "", "executing", "trigger"),
]


@pytest.mark.parametrize(("event", "approval", "incident", "expected"), ENDS)
def test_what_pagerduty_has_to_do(event: Any, approval: str, incident: str, expected: str | None) -> None:
    made = bulletins.trying("pager", 0, None)
    made = msgspec.structs.replace(made, event=event, approval_state=approval, incident_state=incident)
    assert doing(made) == expected


def test_who_is_paged_by_default_is_called_off_always() -> None:
    usual = PagerDutyChannel(name="pager", key_env="KEY")
    assert usual.wants("escalation", "warning", "churn")
    assert not usual.wants("approval_requested", "critical", "churn")
    critical = PagerDutyChannel(
        name="pager",
        key_env="KEY",
        send=(Sending(events=("approval_requested",), severities=("critical",), models="credit-*"),),
    )
    assert critical.wants("approval_requested", "critical", "credit-risk")
    assert not critical.wants("approval_requested", "warning", "credit-risk")
    assert not critical.wants("approval_requested", "critical", "churn")
    assert critical.wants("incident_resolved", "warning", "churn")


async def test_a_card_in_teams(ill: World, serve: Serve) -> None:
    peer = Peer(usual=PlainTextResponse("", 202))
    with serve(peer.app()) as url:
        told = make(ill, peer, Teams("ops", f"{url}/workflows/secret"))
        peer.usual = PlainTextResponse("Webhook message delivery failed with error: HTTP error 429")
        assert not await told.ask(), "the older connectors say it in words"
        told.elapsed_s = 31
        peer.usual = PlainTextResponse("", 202)
        assert await told.ask()
    message = peer.taken[-1][1]
    (attachment,) = message["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    texts = [run["text"] for block in card["body"] for run in block["inlines"]]
    assert texts[:2] == ["■ Critical", "A decision is needed: Roll back credit-risk from version 2 to 1"]
    assert "• inputs <b>did not</b> drift, so the world is as it was" in texts
    assert {each["type"] for each in card["actions"]} == {"Action.OpenUrl"}, "no button decides"


def test_the_largest_card_fits(ill: World) -> None:
    told = make(ill, Peer(), Teams("ops", "http://nowhere"))
    incident, plan, approval = told.read()
    plan = msgspec.structs.replace(plan, evidence=("[click](http://evil) ü" * 400,) * 60, undo="u" * 4_000)
    card = teams.message(bulletins.asking(incident, plan, approval, [], CONSOLE))
    assert len(card) <= 28_000
    assert b"More is in the console." in card


@dataclass
class Inbox:
    """What the mail server took; `refuse` is its answer instead. With `lose` it takes one, and nobody hears of it."""

    envelopes: list[Envelope] = field(default_factory=list)
    refuse: str | None = None
    lose: bool = False
    port: int = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if self.refuse is not None:
            return self.refuse
        self.envelopes.append(envelope)
        if self.lose:
            self.lose = False
            server.transport.abort()
        return "250 taken"

    def mails(self) -> list[EmailMessage]:
        found = [
            email.message_from_bytes(each.content or b"", policy=email.policy.default)
            for each in self.envelopes
        ]  # type: ignore[arg-type]
        assert all(isinstance(each, EmailMessage) for each in found)
        return found  # type: ignore[return-value]


@asynccontextmanager
async def smtp() -> AsyncGenerator[Inbox]:
    """A real server on a free port of the loopback."""
    inbox = Inbox()
    server = await asyncio.get_running_loop().create_server(
        partial(SMTP, inbox, hostname="localhost"), "127.0.0.1", 0
    )
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        server.close()
        await server.wait_closed()


def mail_channel(port: int) -> Email:
    async def hand_over(mail: EmailMessage) -> None:
        try:
            await deliver(mail, f"smtp://127.0.0.1:{port}", timeout_s=5)
        except MailError as error:
            raise NotDelivered(str(error)) from error

    people: Callable[[str], str | None] = {"mira": "mira@example.org"}.get
    return Email(
        "ops", ["ops@example.org"], sender="homeostat@example.org", deliver=hand_over, address=people
    )


async def test_a_mail_shows_everything_and_decides_nothing(ill: World) -> None:
    async with smtp() as inbox:
        told = make(ill, Peer(), mail_channel(inbox.port))
        inbox.refuse = "451 later"
        assert not await told.ask()
        inbox.refuse = None
        assert await told.ask()
        reminder = Reminder(name="escalation-0", kind="escalation", waited_s=1_800, people=("mira", "otto"))
        assert await told.teller.approval_reminded(*told.read(), reminder)
    asked, reminded = inbox.mails()
    assert (
        asked["Subject"].strip()
        == "[Homeostat] A decision is needed: Roll back credit-risk from version 2 to 1"
    )
    assert inbox.envelopes[1].rcpt_tos == ["ops@example.org", "mira@example.org"]
    assert asked["In-Reply-To"] == reminded["In-Reply-To"], "one conversation for each incident"
    assert asked["Message-ID"] != reminded["Message-ID"]
    text, page = asked.get_body(("plain",)), asked.get_body(("html",))
    assert text is not None
    assert page is not None
    for part in (text.get_content(), page.get_content()):
        assert f"{CONSOLE}/incidents/inc-1" in part
        assert "Promote version 2 again" in part
        assert "This mail decides nothing" in part
        assert "/approve" not in part
    assert "inputs &lt;b&gt;did not&lt;/b&gt; drift" in page.get_content()
    assert 'alt="Accuracy of credit-risk, 10 windows' in page.get_content()
    (picture,) = [each for each in asked.walk() if each.get_content_type() == "image/png"]
    assert picture.get_content().startswith(b"\x89PNG")
    assert f"cid:{picture['Content-ID'].strip('<>')}" in page.get_content()


async def test_a_mail_whose_answer_was_lost_is_sent_again_as_the_same_mail(ill: World) -> None:
    async with smtp() as inbox:
        told = make(ill, Peer(), mail_channel(inbox.port))
        inbox.lose = True
        assert not await told.ask()
        assert await told.ask()
    first, second = inbox.mails()
    assert first["Message-ID"] == second["Message-ID"]


async def test_a_title_cannot_add_headers(ill: World) -> None:
    async with smtp() as inbox:
        told = make(ill, Peer(), mail_channel(inbox.port))
        notice = Notice(id="n1", kind="overdue", text="x\r\nBcc: eve@example.org\r\n\r\ny", at_us=0)
        assert await told.teller.noticed(notice, None)
    (mail,) = inbox.mails()
    assert mail["Bcc"] is None
    assert inbox.envelopes[0].rcpt_tos == ["ops@example.org"]


async def test_every_kind_of_message_has_a_form(told: Told) -> None:
    incident, plan, approval = told.read()
    teller = told.teller
    assert await teller.approval_changed(incident, plan, approval), "only where people decide"
    assert await teller.approval_reminded(
        incident, plan, approval, Reminder(name="reminder-1", kind="reminder", waited_s=600)
    )
    for state in ("resolved", "escalated", "expired"):
        assert await teller.incident_closed(msgspec.structs.replace(incident, state=state))
    notice = Notice(id="n1", kind="grown", text="It grew. Look.", at_us=0, model=incident.model)
    assert await teller.noticed(notice, incident)
    assert await teller.noticed(notice, None)
    events = [body["event"] for _, body in told.peer.taken]
    assert events == [
        "reminder",
        "incident_resolved",
        "incident_escalated",
        "incident_ended",
        "notice",
        "notice",
    ]
