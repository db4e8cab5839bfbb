"""The `homeostat` command. Data goes to stdout, progress to stderr.

Exit codes: 0 ok, 1 error, 2 wrong usage, 3 the monitor alarmed, 4 timed out.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli import (
    agent,
    archive,
    audit,
    backtest,
    changes,
    database,
    deadletters,
    demo,
    measure,
    notify,
    playbooks,
    policy,
    records,
    reports,
    schemas,
    signing,
    silences,
    stack,
    tokens,
)

app = typer.Typer(
    name="homeostat",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="Keeps machine-learning models healthy: measures, decides, asks, acts, proves.\n\n"
    "Start with `homeostat demo`; it brings everything it needs.",
)


@app.callback()
def options(
    home: Annotated[
        Path | None,
        typer.Option(help="Folder of the local stack (data, logs, reports).", envvar="HOMEOSTAT_HOME"),
    ] = None,
) -> None:
    """Options of every command."""
    if home is not None:
        # The environment is what every part of the stack reads, so one place serves commands and parts alike.
        os.environ["HOMEOSTAT_HOME"] = str(home.expanduser().resolve())


stack.register(app)
demo.register(app)
records.register(app)
reports.register(app)
database.register(app)
signing.register(app)
audit.register(app)
archive.register(app)
deadletters.register(app)
backtest.register(app)
measure.register(app)
schemas.register(app)
silences.register(app)
changes.register(app)
notify.register(app)
playbooks.register(app)
policy.register(app)
agent.register(app)
tokens.register(app)


def main() -> None:
    """Run the command; what a person can put right is told in a sentence, without a stack trace."""
    import structlog

    # structlog's own default is stdout, where a warning would be in the middle of JSON.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    try:
        app(obj=backtest.OWN_PROCESS)
    except KeyboardInterrupt:
        typer.echo("homeostat: stopped.", err=True)
        sys.exit(130)
    except Exception as error:
        code, lines = _told(error)
        if not lines:
            raise
        for line in lines:
            typer.echo(f"homeostat: {line}", err=True)
        sys.exit(code)


def _told(error: Exception) -> tuple[int, list[str]]:
    """The exit code and what a person is told; nothing where only a stack trace helps.

    The errors of the rooms are imported here, because a command that goes well should not wait for a database library.
    """
    from pydantic import ValidationError

    from db.errors import StoreError
    from deploy.errors import UserError
    from deploy.stack.errors import StackError, StartTimedOut
    from streams.store import StorageInvalid

    if isinstance(error, (UserError, StackError, StoreError, StorageInvalid)):
        return (4 if isinstance(error, StartTimedOut) else 1), [str(error)]
    if isinstance(error, OSError):
        # Files and addresses that the person has named; `filename` is empty for connections.
        place = f" ({error.filename})" if error.filename else ""
        return 1, [f"{error.strerror or error}{place}"]
    if isinstance(error, ValidationError):
        return 2, [
            f"HOMEOSTAT_{str(wrong['loc'][0]).upper()} is {wrong['input']!r}: {wrong['msg']}"
            for wrong in error.errors()
        ]
    return 1, []
