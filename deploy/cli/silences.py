"""Commands over silences and maintenance windows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from deploy.cli.client import ApiClient, whoami
from deploy.cli.printing import moment, show_table
from deploy.cli.reasons import why
from deploy.settings import Settings

silences = typer.Typer(
    no_args_is_help=True,
    help="Alerts that nobody wants to be woken by, for a while and for a reason.",
    rich_markup_mode="markdown",
)
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
By = Annotated[str | None, typer.Option(help="Who says so (default: your login name).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(silences, name="silences")


def _duration(text: str, option: str) -> float:
    from streams.files.monitor import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


@silences.command("set")
def silences_set(
    matchers: Annotated[
        list[str],
        typer.Argument(
            help="What is covered; all have to fit. `model=churn`, `feature=age*`, `kind!=performance`."
        ),
    ],
    last: Annotated[str, typer.Option("--for", help="How long, such as `2h` or `7d`.")],
    reason: Annotated[str, typer.Option(callback=why, help="Why, for whoever reads it at night.")],
    schedule: Annotated[
        str | None,
        typer.Option(help="A maintenance window that comes again: five fields of crontab, UTC. With --each."),
    ] = None,
    each: Annotated[str | None, typer.Option(help="How long each window of --schedule lasts.")] = None,
    by: By = None,
) -> None:
    """Keep alerts from becoming incidents; when it is over, those that still fire do.

    A silence that covers the same already is extended instead of set again.

    Example: `homeostat silences set model=churn kind=data_drift --for 2h --reason "campaign"`

    Example: `homeostat silences set 'model=*' --for 90d --schedule "0 2 * * 0" --each 2h --reason "nightly batch"`
    """
    ends_at = datetime.now(UTC) + timedelta(seconds=_duration(last, "--for"))
    body: dict[str, object] = {
        "matchers": matchers,
        "ends_at": ends_at.isoformat(),
        "schedule": schedule,
        "lasts_s": None if each is None else _duration(each, "--each"),
        "by": by or whoami(),
        "reason": reason,
    }
    silence = ApiClient(Settings()).post("/silences", body)
    already = {
        "known": f"{silence['id']} of {silence['author']} covers all of this already. It",
        "extended": f"{silence['id']} of {silence['author']} covers the same; it is extended. It",
    }
    typer.echo(
        f"{already.get(silence['outcome'], silence['id'])} is {silence['state']}, and over at "
        f"{moment(silence['ends_at'])}. End it before: homeostat silences end {silence['id']}"
    )


@silences.command("list")
def silences_list(
    over: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """List silences, newest first.

    Example: `homeostat silences list --all`
    """
    answer = ApiClient(Settings()).get("/silences", over="true" if over else None, limit=500)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    for each in answer["items"]:
        each["covers"] = " and ".join(each["matchers"])
    titles = {
        "id": "id",
        "state": "state",
        "covers": "covers",
        "until": "ends_at",
        "holds": "holds",
        "by": "author",
        "why": "reason",
    }
    show_table(answer["items"], titles)


@silences.command("end")
def silences_end(silence_id: str, by: By = None) -> None:
    """End a silence now; what it held and still fires becomes an incident.

    Example: `homeostat silences end sil-3f2a91c2`
    """
    silence = ApiClient(Settings()).post(f"/silences/{silence_id}/end", {"by": by or whoami()})
    typer.echo(f"{silence['id']} is over (ended by {silence['ended_by']}).")
