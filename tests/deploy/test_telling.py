"""Channels as settings and policy describe them: what is missing is named, and a test message arrives."""

import time
from pathlib import Path
from textwrap import dedent

import httpx
import msgspec
import pytest
from fastapi.responses import PlainTextResponse
from pydantic import SecretStr
from typer.testing import CliRunner

from db.engine import connect
from db.journal import SqlJournal
from deploy import doctor, telling
from deploy.cli import app
from deploy.errors import UserError
from deploy.settings import Settings
from remediation.clock import SystemClock
from remediation.errors import PolicyInvalid
from remediation.policy_file import read_policy
from serving.slack.blocks import APPROVE
from tests.api.api_world import World
from tests.api.conftest import _served
from tests.api.peers import Peer
from tests.api.slack_server import SECRET, signed
from tests.databases import migrate
from tests.patience import PATIENCE_S

POLICY = """
channels:
  - {name: erp, kind: webhook, url: "URL/hook", secret_env: ERP_SECRET, send: [{models: "credit-*"}]}
  - {name: pager, kind: pagerduty, url: "URL/v2/enqueue", key_env: PAGER_KEY}
  - {name: ops, kind: teams, url_env: TEAMS_URL}
  - {name: post, kind: email, to: [ops@example.org]}
"""


def settings(folder: Path, url: str = "http://127.0.0.1:9", **more: object) -> Settings:
    path = folder / "policy.yaml"
    path.write_text(POLICY.replace("URL/", f"{url}/"))
    return Settings(home=folder, policy=path, **more)  # type: ignore[arg-type]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(f"sqlite:///{tmp_path / 'homeostat.db'}")
    engine = connect(f"sqlite:///{tmp_path / 'homeostat.db'}")
    clock = SystemClock()

    def made() -> list[str]:
        found = settings(tmp_path, smtp_url="smtp://localhost:25" if "SMTP" in known else None)
        return list(telling.channels(found, SqlJournal(engine, clock), clock))

    known: set[str] = set()
    for variable, told in (
        ("ERP_SECRET", "the channel erp needs the secret that requests are signed with"),
        ("PAGER_KEY", "the channel pager needs the integration key"),
        ("TEAMS_URL", "the channel ops needs the address of the workflow"),
        ("SMTP", "the channel post sends mail, and HOMEOSTAT_SMTP_URL is not set"),
    ):
        with pytest.raises(UserError, match=told):
            made()
        known.add(variable)
        monkeypatch.setenv(variable, "http://127.0.0.1:9/x")
    assert made() == ["erp", "pager", "ops", "post"]
    engine.dispose()


def test_doctor_tells_which_secret_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(tmp_path, smtp_url="smtp://localhost:25")
    assert doctor._channels(found).level is doctor.Level.FAIL
    assert "ERP_SECRET" in doctor._channels(found).found
    for variable in ("ERP_SECRET", "PAGER_KEY", "TEAMS_URL"):
        monkeypatch.setenv(variable, "s3cret")
    told = doctor._channels(found)
    assert told.level is doctor.Level.OK
    assert "erp, pager, ops, post" in told.found
    assert "s3cret" not in told.found
    assert "none beside Slack" in doctor._channels(Settings(home=tmp_path)).found


async def test_clicks_are_heard_where_slack_is_set_up(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'homeostat.db'}")
    engine = connect(f"sqlite:///{tmp_path / 'homeostat.db'}")
    world = World(engine, tmp_path / "audit")
    plan = world.fall_ill()
    value = msgspec.json.encode({"approval": "apr-1-1", "plan_hash": plan.hash}).decode()
    click = {
        "type": "block_actions",
        "user": {"id": "U1", "name": "ann"},
        "actions": [{"action_id": APPROVE, "value": value}],
    }
    body, headers = signed(click, now_s=round(time.time()))
    made = world.app()
    found = Settings(home=tmp_path, slack_signing_secret=SecretStr(SECRET))
    async with telling.hearing_clicks(found, engine, world.services(), made):
        with _served(made) as url:
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
                assert (await client.post("/slack/interactions", content=body)).status_code == 401
                taken = await client.post("/slack/interactions", content=body, headers=headers)
                assert taken.status_code == 200
    with world.journal.reading() as unit:
        ticket = unit.approval("apr-1-1")
    assert ticket is not None
    assert (ticket.state, ticket.decided_by) == ("approved", "ann (U1)")
    engine.dispose()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{name: a, kind: fax}", "there are: email, webhook, teams, pagerduty"),
        ("{name: a, kind: teams, url: https://x}", "a secret is named by its environment variable"),
        ("{name: a, kind: email, to: [nobody]}", "channels"),
        (
            "{name: a, kind: teams, url_env: X, send: [{events: [resolved]}]}",
            "there are: approval_decided",
        ),
        ("{name: a, kind: teams, url_env: X}, {name: a, kind: email, to: [b@c]}", "two have the name 'a'"),
    ],
)
def test_a_channel_that_makes_no_sense_is_refused(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(f"channels: [{line}]")
    with pytest.raises(PolicyInvalid, match=told):
        read_policy(path)


def test_a_test_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERP_SECRET", "s")
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    monkeypatch.setenv("HOMEOSTAT_POLICY", str(tmp_path / "policy.yaml"))
    peer, runner = Peer(usual=PlainTextResponse("ok")), CliRunner()
    with _served(peer.app()) as url:
        settings(tmp_path, url)
        done = runner.invoke(app, ["notify", "test", "erp"])
        assert (done.exit_code, done.stdout) == (0, "erp has taken a test message.\n")
        peer.answers.append(PlainTextResponse("who are you", 401))
        refused = runner.invoke(app, ["notify", "test", "erp"])
    assert "answered 401: who are you. Look at `url`" in str(refused.exception)
    ((_, body),) = peer.taken
    assert body["title"] == "A test of Homeostat"
    unknown = runner.invoke(app, ["notify", "test", "fax"])
    assert "know slack, erp, pager, ops, post" in str(unknown.exception)
    shown = runner.invoke(app, ["notify", "channels", "--json"])
    assert '"what": "everything of credit-*"' in shown.stdout
    assert "escalation, incident_escalated, overdue" in shown.stdout


def test_the_example_of_the_documentation_is_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
    path = tmp_path / "policy.yaml"
    manifest, policy = (each.split("```")[0] for each in page.split("```yaml\n")[1:])
    assert set(msgspec.yaml.decode(dedent(manifest))["oauth_config"]["scopes"]["bot"]) == {
        "chat:write",
        "files:write",
        "channels:history",
    }, "of the methods that serving.slack calls"
    path.write_text(policy)
    assert [each.name for each in read_policy(path).channels] == ["ops-mail", "erp", "teams", "pager"]
    for variable in ("SLACK_TOKEN", "SLACK_CHANNEL", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"):
        assert f"HOMEOSTAT_{variable}" in page
