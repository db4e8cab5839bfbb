"""Commands over the change feed."""

import json
from typing import Annotated

import typer

from deploy.cli.client import ApiClient, whoami
from deploy.cli.printing import moment, show_table
from deploy.settings import Settings

changes = typer.Typer(
    no_args_is_help=True,
    help="What happens around the models: releases, pipelines, campaigns, holidays.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(changes, name="changes")


@changes.command("add")
def changes_add(
    kind: Annotated[str, typer.Argument(help="release, pipeline, schema, campaign, holiday or other.")],
    title: Annotated[str, typer.Argument(help="What it is, in a few words.")],
    models: Annotated[str, typer.Option(help="Which models it can touch; a shell pattern.")] = "*",
    starts: Annotated[
        str | None, typer.Option(help="RFC 3339, such as 2026-11-24T00:00:00Z (default: now).")
    ] = None,
    ends: Annotated[str | None, typer.Option(help="For what lasts.")] = None,
    link: Annotated[str, typer.Option(help="Where to read more.")] = "",
    by: Annotated[str | None, typer.Option(help="Whose change it is (default: your login name).")] = None,
    name: Annotated[
        str | None, typer.Option("--id", help="An id of your own: the same again is the same change.")
    ] = None,
) -> None:
    """Record a change; a diagnosis names it when an illness begins near it.

    Example: `homeostat changes add pipeline "income now comes in thousands" --models 'churn*' --id deploy-4711`
    """
    body: dict[str, object] = {
        "id": name,
        "kind": kind,
        "title": title,
        "models": models,
        "starts_at": starts,
        "ends_at": ends,
        "link": link,
        "by": by or whoami(),
    }
    change = ApiClient(Settings()).post("/changes", body)
    typer.echo(
        f"{change['id']} is recorded: {change['kind']} {change['title']!r} from {moment(change['starts_at'])}."
    )


@changes.command("list")
def changes_list(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """List changes, newest first.

    Example: `homeostat changes list`
    """
    answer = ApiClient(Settings()).get("/changes", limit=limit)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    titles = {
        "id": "id",
        "kind": "kind",
        "title": "title",
        "models": "models",
        "from": "starts_at",
        "to": "ends_at",
        "by": "by",
    }
    show_table(answer["items"], titles)
