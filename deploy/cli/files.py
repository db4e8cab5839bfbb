"""What commands over files of a person's have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from streams.files.monitor import MonitorFile

_Result = TypeVar("_Result")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
MonitorPath = Annotated[
    Path, typer.Option("--monitor", "-m", help="The monitor file (YAML), see docs/monitor.md.")
]


def monitor_file(path: Path) -> "MonitorFile":
    """The monitor in a file. Raises `UserError` with a line for each thing that is wrong."""
    from streams.files.monitor import read_monitor_file

    return checked(lambda: read_monitor_file(path))


def checked(work: Callable[[], _Result]) -> _Result:
    """What is wrong with a file of the person's is told in its own words."""
    from deploy.errors import UserError
    from detectors.errors import DetectorError
    from streams.files.monitor import MonitorFileInvalid
    from streams.files.tables import FileInvalid

    try:
        return work()
    except (FileInvalid, MonitorFileInvalid, DetectorError) as error:
        raise UserError(str(error)) from error


def moment_us(text: str | None, option: str) -> int | None:
    """A time of day in UTC, or so long ago."""
    import time
    from datetime import UTC, datetime

    from streams.files.monitor import seconds

    if text is None:
        return None
    try:
        return int((time.time() - seconds(text)) * 1e6)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        reason = f"{text!r} must be a time such as 2026-11-21T10:00, or how long ago: 90m"
        raise typer.BadParameter(reason, param_hint=option) from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1e6)
