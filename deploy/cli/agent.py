"""Commands over the agent as a whole: the pause and the breakers."""

import json
from typing import Annotated, Any

import typer

from deploy.cli.client import ApiClient, whoami
from deploy.cli.printing import moment
from deploy.cli.reasons import why
from deploy.errors import UserError
from deploy.settings import Settings

agent = typer.Typer(
    no_args_is_help=True,
    help="What the agent may do: pause all actions, let them go on, reset a breaker.",
    rich_markup_mode="markdown",
)
Why = Annotated[str, typer.Option(callback=why, help="Why, for the record and for whoever wonders.")]
By = Annotated[str | None, typer.Option(help="Who says so (default: your login name).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(agent, name="agent")


def told(found: dict[str, Any]) -> list[str]:
    """Whether actions start, and which kinds do not."""
    if found["paused"]:
        first = f"Actions are paused since {moment(found['since'])} by {found['by']}: {found['reason']}"
    else:
        first = (
            f"Actions may start; {found['running']} of at most {found['limits']['at_once']:g} are under way."
        )
    return [first, *(f"Not {each['kind']}: {each['reason']}." for each in found["breakers"])]


def told_limits(found: dict[str, Any]) -> list[str]:
    """How much may be done, and whether a breaker is open."""
    limits = found["limits"]
    lines = [
        f"Limits: {limits['actions_per_day']:g} actions of a model in 24 hours, {limits['at_once']:g} of all models at "
        f"once; {limits['retrainings']:g} retrainings of a model in {limits['retraining_days']:g} days.",
        f"A breaker opens after {limits['failures']:g} failed actions of one kind in a row",
    ]
    kinds = ", ".join(each["kind"] for each in found["breakers"])
    lines[1] += f"; open: {kinds}." if kinds else "; none is open."
    return lines


def told_pause() -> str | None:
    """Who has paused all actions; None when nobody has, or the API does not say."""
    try:
        found = ApiClient(Settings()).get("/agent")
    except UserError:
        return None
    return told(found)[0] if found["paused"] else None


@agent.command("status")
def agent_status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Say whether actions may start, which kinds of action may not, and how much may be done.

    Example: `homeostat agent status`
    """
    found = ApiClient(Settings()).get("/agent")
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join([*told(found), *told_limits(found)]))


@agent.command("pause")
def agent_pause(reason: Why, by: By = None) -> None:
    """Start no action of any model until `homeostat agent resume`; what is under way is finished.

    Example: `homeostat agent pause --reason "the data centre moves tonight"`
    """
    _turn("/agent/pause", reason, by)


@agent.command("resume")
def agent_resume(reason: Why, by: By = None) -> None:
    """Let actions start again.

    Example: `homeostat agent resume --reason "the move is over"`
    """
    _turn("/agent/resume", reason, by)


@agent.command("reset-breaker")
def agent_reset_breaker(
    kind: Annotated[str, typer.Argument(help="The kind of action, such as `retrain`.")],
    reason: Why,
    by: By = None,
) -> None:
    """Allow a kind of action again after several of them have failed.

    Example: `homeostat agent reset-breaker retrain --reason "the archive is back"`
    """
    _turn(f"/agent/breakers/{kind}/reset", reason, by)


def _turn(path: str, reason: str, by: str | None) -> None:
    found = ApiClient(Settings()).post(path, {"by": by or whoami(), "reason": reason, "channel": "cli"})
    typer.echo("\n".join(told(found)))
