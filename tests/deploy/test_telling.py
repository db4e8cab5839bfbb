"""Channels as settings and policy describe them: what is missing is named, and a test message arrives."""

from pathlib import Path

import pytest
from fastapi.responses import PlainTextResponse
from typer.testing import CliRunner

from db.engine import connect
from db.journal import SqlJournal
from db.migrate import upgrade
from deploy import telling
from deploy.cli import app
from deploy.errors import UserError
from deploy.settings import Settings
from remediation.clock import SystemClock
from remediation.errors import PolicyInvalid
from remediation.policy import read_policy
from tests.api.conftest import _served
from tests.api.peers import Peer

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
    upgrade(f"sqlite:///{tmp_path / 'homeostat.db'}")
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


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{name: a, kind: fax}", "there are: email, webhook, teams, pagerduty"),
        ("{name: a, kind: teams, url: https://x}", "a secret is named by its environment variable"),
        ("{name: a, kind: email, to: [nobody]}", "channels"),
        ("{name: a, kind: teams, url_env: X, send: [{events: [resolved]}]}", "there are: approval_requested"),
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
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    assert [each.name for each in read_policy(path).channels] == ["ops-mail", "erp", "teams", "pager"]
    for variable in ("SLACK_TOKEN", "SLACK_CHANNEL", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"):
        assert f"HOMEOSTAT_{variable}" in page
