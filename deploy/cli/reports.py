"""Commands over reports for people who read on paper."""

from typing import Annotated

import typer

from deploy.settings import Settings

reports = typer.Typer(
    no_args_is_help=True, help="Reports for people who read on paper.", rich_markup_mode="markdown"
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(reports, name="reports")


@reports.command("make")
def reports_make(
    hours: Annotated[float, typer.Option(min=0.01, max=100_000, help="The period that ends now.")] = 24.0,
    mail: Annotated[
        bool, typer.Option(help="Send it as well (HOMEOSTAT_SMTP_URL, HOMEOSTAT_MAIL_TO).")
    ] = False,
) -> None:
    """Write a report (PDF, or HTML without Pango) and say where it is.

    Example: `homeostat reports make --hours 168 --mail`
    """
    import asyncio

    from deploy.reports import make_report

    files = asyncio.run(make_report(Settings(), period_s=hours * 3_600, mail=mail))
    if files.message:
        typer.echo(files.message, err=True)
    typer.echo(str(files.pdf or files.html))
    raise typer.Exit(1 if files.mailed is False else 0)
