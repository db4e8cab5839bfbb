"""Commands over the database."""

import typer

from deploy.settings import Settings

database = typer.Typer(no_args_is_help=True, help="The database's schema.", rich_markup_mode="markdown")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(database, name="db")


@database.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's schema to the version of this program.

    Example: `HOMEOSTAT_DATABASE_URL=postgresql+psycopg://... homeostat db upgrade`
    """
    from db.migrate import current, upgrade

    url = Settings().database
    upgrade(url)
    typer.echo(f"The schema is at {current(url)}.")
