"""An installation that has a name says it wherever people read of it; one that has none says nothing of it."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import msgspec
import pytest
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from deploy.settings import Settings
from deploy.telling import slack_config
from serving.api import create_api
from serving.channels import pagerduty, teams
from serving.channels.bulletin import Bulletin, asking
from serving.channels.email import compose
from serving.channels.teller import Teller
from serving.channels.webhook import Webhook
from serving.console import add_console
from serving.postmortem import postmortem
from serving.slack.api import SlackApi
from serving.slack.parts import LONGEST_SECTION, Post, header, placed, section
from tests.api.api_world import World
from tests.api.channel_world import SECRET, make
from tests.api.conftest import Serve
from tests.api.peers import Peer
from tests.api.slack_server import TOKEN, SlackServer
from tests.patience import PATIENCE_S

NAME = "production"


@pytest.fixture
def question(ill: World) -> Bulletin:
    with ill.journal.reading() as unit:
        incident, approval = unit.incident("inc-1"), unit.approval("apr-1-1")
        plan = unit.plans("inc-1")[0]
    assert incident is not None
    assert approval is not None
    return msgspec.structs.replace(asking(incident, plan, approval, (), None), environment=NAME)


@pytest.fixture
def named_console(ill: World, serve: Serve) -> Iterator[httpx.Client]:
    services = replace(ill.services(), environment=NAME)
    app = create_api(services)
    add_console(app, services)
    with serve(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


def test_slack_says_it_first_in_what_is_read_and_in_what_is_seen(
    slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_ENVIRONMENT", NAME)
    monkeypatch.setenv("HOMEOSTAT_SLACK_TOKEN", TOKEN)
    monkeypatch.setenv("HOMEOSTAT_SLACK_API_URL", f"{slack.url}/api/")
    config = slack_config(Settings())
    assert config is not None
    api = SlackApi(config)
    posted = api.post("#homeostat", Post(text="Roll back?", blocks=[header("Roll back?")]))
    channel, ts = posted.place.split(":")
    api.update(channel, ts, Post(text="Done", blocks=[section("*Done*"), section("why")]))
    first, second = (body for _, body in slack.requests)
    assert first["text"] == first["blocks"][0]["text"]["text"] == f"[{NAME}] Roll back?"
    assert [each["text"]["text"] for each in second["blocks"]] == [f"[{NAME}] *Done*", "why"]


def test_a_name_makes_no_message_too_long_and_no_name_changes_nothing() -> None:
    long = Post(text="x" * LONGEST_SECTION, blocks=[section("y" * LONGEST_SECTION)])
    said = placed(long, NAME)
    assert max(len(said.text), len(said.blocks[0]["text"]["text"])) == LONGEST_SECTION
    assert len(placed(Post(text="", blocks=[header("z" * 200)]), NAME).blocks[0]["text"]["text"]) <= 150
    assert placed(long, "") is long


async def test_a_channel_says_it_and_two_installations_are_two_senders(ill: World, serve: Serve) -> None:
    peer = Peer(usual=JSONResponse({}))
    with serve(peer.app()) as url:
        told = make(ill, peer, Webhook("erp", f"{url}/hook", SECRET, ill.clock))
        await told.ask()
        for name in (NAME, "staging"):
            transport = Webhook("erp", f"{url}/hook", SECRET, ill.clock)
            told.teller = Teller(transport, ill.journal, ill.clock, environment=name)
            await told.ask()
    assert [body["environment"] for _, body in peer.taken] == ["", NAME, "staging"]
    assert len({headers["idempotency-key"] for headers, _ in peer.taken}) == 3


def test_a_mail_and_a_card_say_it(question: Bulletin) -> None:
    mail, unnamed = (
        compose(each, None, channel="mail", sender="a@x", to=["b@x"])
        for each in (question, msgspec.structs.replace(question, environment=""))
    )
    assert mail["Subject"].startswith(f"[Homeostat {NAME}] A decision is needed")
    assert unnamed["Subject"].startswith("[Homeostat] A decision is needed")
    assert mail["Message-ID"] != unnamed["Message-ID"]
    bodies = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    assert len(bodies) == 2
    assert all(f"[{NAME}] A decision" in body for body in bodies)
    assert teams.message(question).decode().count(f"[{NAME}] A decision") == 2


async def test_pagerduty_says_it_and_keeps_the_alerts_of_two_installations_apart(
    question: Bulletin, serve: Serve
) -> None:
    peer = Peer(usual=JSONResponse({"status": "success"}, status_code=202))
    with serve(peer.app()) as url:
        pager = pagerduty.PagerDuty("pager", f"{url}/v2/enqueue", "k" * 32)
        await pager.send(question, None)
        await pager.send(msgspec.structs.replace(question, environment=""), None)
    named, unnamed = (body for _, body in peer.taken)
    assert named["payload"]["summary"].startswith(f"[{NAME}] ")
    assert named["payload"]["custom_details"]["Environment"] == NAME
    assert (named["dedup_key"], unnamed["dedup_key"]) == (f"homeostat/{NAME}/inc-1", "homeostat/inc-1")


@pytest.mark.parametrize("page", ["/", "/incidents", "/incidents/inc-1", "/silences", "/audit"])
def test_every_page_of_the_console_says_it(named_console: httpx.Client, page: str) -> None:
    text = named_console.get(page).text
    assert f"<title>[{NAME}] Homeostat" in text
    assert f'<span class="installation">{NAME}</span>' in text


def test_a_post_mortem_says_it(ill: World, named_console: httpx.Client) -> None:
    assert f"inc-1 · {NAME} · " in named_console.get("/api/v1/incidents/inc-1/postmortem").text
    assert NAME not in str(postmortem(ill.journal, "inc-1"))


@pytest.mark.parametrize("wrong", ["a\nBcc: x@y", "<b>", "x" * 41])
def test_a_name_that_could_be_markup_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_ENVIRONMENT", wrong)
    with pytest.raises(ValidationError, match="environment"):
        Settings()


@pytest.mark.parametrize("right", ["", "eu-west 1", "prod_2.b"])
def test_names_of_installations(right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_ENVIRONMENT", right)
    assert Settings().environment == right


@pytest.mark.parametrize(("given", "name"), [(" ", ""), ("\t", ""), (" production ", "production")])
def test_a_name_has_no_space_around_it_and_space_is_none(given: str, name: str) -> None:
    assert Settings(environment=given).environment == name
