"""The ill world with people in Slack: what they are told, and what they click."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from db.clicks import SqlClicks
from remediation.approvals import decide, snooze
from remediation.outbox import Outbox
from remediation.policy import Person, Policy
from remediation.values import Approval, Incident, Plan
from serving.slack.api import SlackApi, SlackConfig, answer_click
from serving.slack.clicks import Clicks
from serving.slack.notifier import SlackNotifier
from tests.api.api_world import World
from tests.api.slack_server import SECRET, TOKEN, SlackServer, signed
from tests.patience import PATIENCE_S

NOW_S = 1_531_420_618
"""The time of Slack's published example."""
PATH = "/slack/interactions"


@dataclass
class Clicking:
    """The API with Slack's route, a Slack, and the agent's outbox between them."""

    world: World
    slack: SlackServer
    client: httpx.Client
    outbox: Outbox

    def press(self, action_id: str, *, user: str = "ann", choice: str = "15") -> httpx.Response:
        return self.send(self.slack.press(action_id, user=user, choice=choice))

    def window(self, count: int = 1) -> dict[str, Any]:
        """The newest window, as soon as there are `count`."""
        until(lambda: len(self.slack.views) >= count)
        return self.slack.views[-1]

    def send(self, payload: Any, *, now_s: int = NOW_S, secret: str = SECRET) -> httpx.Response:
        body, headers = signed(payload, now_s=now_s, secret=secret)
        return self.client.post(PATH, content=body, headers=headers)

    def whispered(self, count: int) -> list[str]:
        """What people were told in private, as soon as there are `count` sentences."""
        until(lambda: len(self.slack.whispered) >= count)
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


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.01)


def make_clicks(world: World, slack: SlackServer, **more: Any) -> Clicks:
    api = SlackApi(SlackConfig(token=TOKEN, channel="#homeostat", api_url=f"{slack.url}/api/"))
    parts: dict[str, Any] = {
        "inbox": SqlClicks(world.engine, world.clock),
        "journal": world.journal,
        "decide": partial(decide, world.journal, world.clock, policy=world.policy),
        "snooze": partial(snooze, world.journal, world.clock, policy=world.policy),
        "respond": answer_click,
        "open_view": api.open_view,
        "console_url": lambda: "https://watch.example",
    }
    return Clicks(**(parts | more))


@dataclass
class Told:
    """The ill world, a notifier, and what it is told about."""

    world: World
    notifier: SlackNotifier
    elapsed_s: float = 0.0

    def read(self, ticket: str = "apr-1-1") -> tuple[Incident, Plan, Approval]:
        with self.world.journal.reading() as unit:
            approval = unit.approval(ticket)
            assert approval is not None
            incident, plan = unit.incident(approval.incident_id), unit.plan(approval.plan_id)
        assert incident is not None
        assert plan is not None
        return incident, plan, approval

    def decide(self, verdict: Any = "approve", *, by: str = "mira", reason: str | None = None) -> None:
        journal, clock = self.world.journal, self.world.clock
        plan_hash = self.read()[2].plan_hash
        decide(
            journal,
            clock,
            "apr-1-1",
            verdict,
            by=by,
            reason=reason,
            channel="console",
            plan_hash=plan_hash,
        )

    async def ask(self) -> bool:
        return await self.notifier.approval_requested(*self.read())

    async def tell(self) -> bool:
        return await self.notifier.approval_decided(*self.read())


def make(world: World, api_url: str, *, token: str = TOKEN, channel: str = "#homeostat") -> Told:
    def elapsed_s() -> float:
        return found.elapsed_s

    config = SlackConfig(token=token, channel=channel, api_url=api_url, timeout_s=20)
    notifier = SlackNotifier(
        config,
        world.journal,
        policy=Policy(people={"mira": Person(slack="U0123ABCD"), "<!here>": Person()}),
        console_url=lambda: "https://watch.example/",
        elapsed_s=elapsed_s,
    )
    found = Told(world, notifier)
    return found
