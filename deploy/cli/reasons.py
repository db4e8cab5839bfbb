"""Reasons that people give on the command line: each has to say something."""

import typer

from remediation.errors import ReasonMissing
from remediation.reasons import stated


def why(reason: str | None) -> str | None:
    """The reason as it goes on record, or None where none was given. Raises `BadParameter` for an empty one."""
    if reason is None:
        return None
    try:
        return stated(reason)
    except ReasonMissing as error:
        raise typer.BadParameter(str(error)) from error
