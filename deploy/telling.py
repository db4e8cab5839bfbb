"""How people are told, and how they answer in Slack: what the settings and the policy say, put together."""

import asyncio
import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from deploy.errors import UserError
from deploy.pieces import console_url, policy
from deploy.settings import Settings

if TYPE_CHECKING:
    # What a role does not need it does not import: ten processes start at once on a small machine.
    from collections.abc import AsyncGenerator, Mapping
    from email.message import EmailMessage

    from fastapi import FastAPI
    from sqlalchemy import Engine

    from db.journal import SqlJournal
    from remediation.channels import AnyChannel, EmailChannel
    from remediation.ports import Clock, Notifier
    from serving.api import ApiServices
    from serving.channels.email import Email
    from serving.channels.teller import Transport
    from serving.slack.api import SlackConfig
    from serving.slack.clicks import Clicks

SLACK = "slack"
"""The name of the channel in which people decide, for `homeostat notify`."""


def notifier(settings: Settings, journal: "SqlJournal") -> "Notifier":
    """Slack where it is set up, else the log."""
    config = slack_config(settings)
    if config is None:
        from serving.notifier import LogNotifier

        return LogNotifier()
    from serving.slack.notifier import SlackNotifier

    return SlackNotifier(config, journal, policy=policy(settings), console_url=partial(console_url, settings))


def slack_config(settings: Settings) -> "SlackConfig | None":
    """The app's access to Slack, where there is one."""
    if not settings.slack_token:
        return None
    from serving.slack.api import SlackConfig

    return SlackConfig(
        token=settings.slack_token.get_secret_value(),
        channel=settings.slack_channel,
        api_url=settings.slack_api_url,
        environment=settings.environment,
    )


def slack_clicks(settings: Settings, engine: "Engine", services: "ApiServices") -> "Clicks":
    """What clicks in Slack do."""
    from db.clicks import SqlClicks
    from serving.slack.api import SlackApi, answer_click
    from serving.slack.clicks import Clicks

    config = slack_config(settings)
    return Clicks(
        inbox=SqlClicks(engine, services.clock),
        journal=services.journal,
        decide=services.decide,
        snooze=services.snooze,
        respond=answer_click,
        open_view=None if config is None else SlackApi(config).open_view,
        console_url=partial(console_url, settings),
    )


@contextlib.asynccontextmanager
async def hearing_clicks(
    settings: Settings, engine: "Engine", services: "ApiServices", app: "FastAPI"
) -> "AsyncGenerator[None]":
    """Clicks in Slack, over HTTP where there is a signing secret, over a socket where there is a token for one, for as
    long as the block lasts."""
    secret, token = settings.slack_signing_secret, settings.slack_app_token
    if secret is None and token is None:
        yield
        return
    clicks = slack_clicks(settings, engine, services)
    forever = [clicks.keep()]
    if secret is not None:
        from serving.slack.api import SlackVerifier
        from serving.slack.route import interactions

        app.include_router(interactions(SlackVerifier(secret.get_secret_value()), clicks))
    if token is not None:
        from serving.slack.socket import SlackSocket

        forever.append(SlackSocket(token.get_secret_value(), clicks, api_url=settings.slack_api_url).run())
    tasks = [asyncio.create_task(each) for each in forever]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def channels(settings: Settings, journal: "SqlJournal", clock: "Clock") -> "Mapping[str, Notifier]":
    """The policy's channels by name. Raises `UserError` for one that lacks its secret."""
    from serving.channels.teller import Teller

    url = partial(console_url, settings)
    return {
        each.name: Teller(
            _transport(settings, each, clock),
            journal,
            clock,
            console_url=url,
            environment=settings.environment,
        )
        for each in policy(settings).channels
    }


def check(settings: Settings) -> list[str]:
    """The names of the policy's channels, each of which has what it needs. Raises `UserError`."""
    from remediation.clock import SystemClock

    found = policy(settings).channels
    for each in found:
        _transport(settings, each, SystemClock())
    return [each.name for each in found]


def listed(settings: Settings) -> list[dict[str, str]]:
    """Every channel with its kind and what goes there, for people."""
    slack = settings.slack_channel if settings.slack_token else "not set up: the agent's log"
    rows = [{"name": SLACK, "kind": "slack", "what": f"everything ({slack})"}]
    for each in policy(settings).channels:
        what = "; ".join(sending.told for sending in each.sends)
        rows.append({"name": each.name, "kind": each.kind, "what": what})
    return rows


async def send_test(settings: Settings, name: str) -> None:
    """Send a message that says that it is a test. Raises `UserError` with what the peer said."""
    from remediation.clock import SystemClock
    from serving.channels.bulletin import trying
    from serving.channels.teller import NotDelivered

    clock = SystemClock()
    bulletin = msgspec.structs.replace(
        trying(name, clock.now_us(), console_url(settings)), environment=settings.environment
    )
    if name == SLACK:
        await asyncio.to_thread(_test_slack, settings, bulletin.text)
        return
    known = {each.name: each for each in policy(settings).channels}
    if name not in known:
        there = ", ".join([SLACK, *known])
        raise UserError(f"There is no channel {name!r}; the policy and the settings know {there}.")
    try:
        await _transport(settings, known[name], clock).send(bulletin, None)
    except NotDelivered as error:
        raise UserError(f"The channel {name} did not take it: {error}") from error


def _test_slack(settings: Settings, text: str) -> None:
    config = slack_config(settings)
    if config is None:
        raise UserError("HOMEOSTAT_SLACK_TOKEN is not set: the bot token of the app (xoxb-...).")
    from serving.slack.api import SlackApi, advice
    from serving.slack.parts import Post

    answer = SlackApi(config).post(config.channel, Post(text=text))
    if answer.error is not None:
        raise UserError(f"Slack did not take it: {answer.error}. {advice(answer.error)}".strip())


def _transport(settings: Settings, asked: "AnyChannel", clock: "Clock") -> "Transport":
    from remediation import channels as kinds
    from serving.channels.pagerduty import PagerDuty
    from serving.channels.teams import Teams
    from serving.channels.webhook import Webhook

    name = asked.name
    match asked:
        case kinds.EmailChannel():
            return _email(settings, asked)
        case kinds.TeamsChannel():
            return Teams(name, _secret(name, asked.url_env, "the address of the workflow"))
        case kinds.PagerDutyChannel():
            return PagerDuty(name, asked.url, _secret(name, asked.key_env, "the integration key"))
        case kinds.WebhookChannel():
            secret = _secret(name, asked.secret_env, "the secret that requests are signed with")
            return Webhook(name, asked.url, secret, clock)


def _secret(channel: str, variable: str, what: str) -> str:
    found = os.environ.get(variable, "").strip()
    if not found:
        raise UserError(
            f"HOMEOSTAT_POLICY: the channel {channel} needs {what} in the environment variable {variable}, "
            "which is not set."
        )
    return found


def _email(settings: Settings, asked: "EmailChannel") -> "Email":
    from serving.channels.email import Email

    if settings.smtp_url is None:
        raise UserError(
            f"HOMEOSTAT_POLICY: the channel {asked.name} sends mail, and HOMEOSTAT_SMTP_URL is not set: "
            "smtp+starttls://user:password@host:587, for example."
        )
    url, people = settings.smtp_url.get_secret_value(), policy(settings).people

    async def deliver(mail: "EmailMessage") -> None:
        from reporting.errors import MailError
        from reporting.mail import deliver
        from serving.channels.teller import NotDelivered

        try:
            await deliver(mail, url)
        except MailError as error:
            raise NotDelivered(str(error)) from error

    def address(name: str) -> str | None:
        return people[name].email if name in people else None

    return Email(asked.name, asked.to, sender=settings.mail_from, deliver=deliver, address=address)
