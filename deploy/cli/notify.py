"""Commands over the channels in which people are told."""

import asyncio
import json
from typing import Annotated

import typer

from deploy.cli.printing import show_table
from deploy.settings import Settings

notify = typer.Typer(
    no_args_is_help=True,
    help="The channels in which people are told: Slack, and those of the policy.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(notify, name="notify")


@notify.command("test")
def notify_test(
    channel: Annotated[str, typer.Argument(help="`slack`, or the name of a channel in the policy.")],
) -> None:
    """Send a message that says that it is a test; exit 1, with what the peer said, when it was not taken.

    Example: `homeostat notify test pager`
    """
    from deploy.telling import send_test

    asyncio.run(send_test(Settings(), channel))
    typer.echo(f"{channel} has taken a test message.")


@notify.command("channels")
def notify_channels(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """List the channels and what goes to each. Secrets are not shown.

    Example: `homeostat notify channels`
    """
    from deploy.telling import listed

    rows = listed(Settings())
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    show_table(rows, {"name": "name", "kind": "kind", "what": "what"})
