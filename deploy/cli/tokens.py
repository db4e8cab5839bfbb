"""Commands over personal tokens. They work on the database itself: the first token cannot come over the API."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.acting import By, operator
from deploy.cli.printing import moment, rfc_3339, show_table
from deploy.errors import UserError
from deploy.settings import Settings

if TYPE_CHECKING:
    from db.journal import SqlJournal

tokens = typer.Typer(
    no_args_is_help=True,
    help="Who somebody is to the API, what they may do there, and until when.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(tokens, name="tokens")


@contextmanager
def _journal() -> "Generator[SqlJournal]":
    from db.journal import SqlJournal
    from deploy.pieces import database
    from remediation.clock import SystemClock
    from remediation.errors import TokenRefused

    engine = database(Settings())
    try:
        yield SqlJournal(engine, SystemClock())
    except TokenRefused as error:
        raise UserError(str(error)) from error
    finally:
        engine.dispose()


@tokens.command("create")
def tokens_create(
    person: Annotated[
        str, typer.Argument(help="Whose token it is; the name of HOMEOSTAT_POLICY where that is set.")
    ],
    scope: Annotated[list[str], typer.Option(help="decide, operate or ingest; may be given several times.")],
    days: Annotated[float, typer.Option(help="How long it lives.")] = 90.0,
    by: By = None,
) -> None:
    """Make a token and print it once: only a digest is kept. With the first one, changes over the API need a token.

    Example: `homeostat tokens create mira --scope decide --scope operate --days 30`
    """
    from remediation.clock import SystemClock
    from remediation.tokens import create_token

    who = operator(by)
    with _journal() as journal:
        token, text = create_token(
            journal, SystemClock(), person=person, scopes=tuple(scope), days=days, by=who
        )
    until = moment(rfc_3339(token.expires_us))
    typer.echo(
        f"Token {token.id} of {person} may {', '.join(token.scopes)} until {until}. It is shown once:",
        err=True,
    )
    typer.echo(text)


@tokens.command("list")
def tokens_list(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """List tokens, newest first; never their secrets.

    Example: `homeostat tokens list`
    """
    from remediation.clock import SystemClock

    with _journal() as journal, journal.reading() as unit:
        now_us = SystemClock().now_us()
        items = [
            {
                "id": each.id,
                "person": each.person,
                "scopes": ", ".join(each.scopes),
                "state": each.state(now_us),
                "expires": rfc_3339(each.expires_us),
                "made by": each.created_by,
            }
            for each in unit.tokens()
        ]
    if as_json:
        typer.echo(json.dumps({"items": items}, indent=2))
        return
    show_table(items, {name: name for name in ("id", "person", "scopes", "state", "expires", "made by")})


@tokens.command("revoke")
def tokens_revoke(token_id: str, by: By = None) -> None:
    """End a token now.

    Example: `homeostat tokens revoke 3f2a91c2d4e5`
    """
    from remediation.clock import SystemClock
    from remediation.tokens import revoke_token

    who = operator(by)
    with _journal() as journal:
        token = revoke_token(journal, SystemClock(), token_id=token_id, by=who)
    typer.echo(f"Token {token.id} of {token.person} is revoked.")
