"""How commands show rows and times, and that they are at work."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.text import Text


_LONG_CHARS = 32
"""Longer texts go on in the next line, by words; what is shorter (names, numbers, addresses) is never cut in two."""
_GAP_CHARS = 2
_WHOLE = 10_000
"""Numbers from here on are told without what stands behind the point."""
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def moment(time: str) -> str:
    """A time as `--json` has it (RFC 3339, UTC) as people read it in every command: 2026-11-21 12:05:09 UTC."""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def rfc_3339(time_us: int) -> str:
    """Microseconds since the epoch as `--json` tells a time."""
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def show_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | Mapping[str, str],
    empty: str = "None.",
    *,
    cut: str | None = None,
) -> None:
    """Print `columns` of rows as a table, or `empty` where there is no row.

    `columns` are keys, which are the titles too (`_` becomes a space), or titles with their keys. A missing value is
    an empty cell; a `rich.text.Text` keeps its colours; a float has four digits; a time of RFC 3339 is told as `moment`
    does. In a pipe each row is one line, however long; in a terminal it is where `cut` names the column whose texts end
    with … where the line does.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    keys = columns if isinstance(columns, Mapping) else {name.replace("_", " "): name for name in columns}
    console = Console()
    shown = [
        [one if isinstance(one, Text) else Text(_cell(one, console.is_terminal)) for one in found]
        for found in ([row.get(key) for key in keys.values()] for row in rows)
    ]
    if not shown:
        typer.echo(empty)
        return
    table = Table(box=None, pad_edge=False, padding=(0, _GAP_CHARS, 0, 0), header_style="bold")
    widths = [max(map(_width, (title, *cells))) for title, cells in zip(keys, _columns(shown), strict=True)]
    if cut is not None and console.is_terminal:
        place = list(keys).index(cut)
        rest = sum(widths) - widths[place] + _GAP_CHARS * len(widths)
        widths[place] = min(widths[place], max(console.width - rest, _LONG_CHARS))
        for row in shown:
            row[place].truncate(widths[place], overflow="ellipsis")
    for title, width in zip(keys, widths, strict=True):
        table.add_column(title, overflow="fold", no_wrap=width <= _LONG_CHARS)
    for row in shown:
        table.add_row(*row)
    if not console.is_terminal:
        console.width = sum(widths) + _GAP_CHARS * len(widths)
    else:
        least = sum(min(width, _LONG_CHARS) for width in widths) + _GAP_CHARS * len(widths)
        console.width = max(console.width, least)
    console.print(table)


def _cell(value: object, lines: bool) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < _WHOLE - 0.5 else f"{value:,.0f}"
    text = "" if value is None else str(value)
    if _RFC_3339.fullmatch(text):
        return moment(text)
    return text if lines else text.replace("\n", "; ")


def _width(text: "Text | str") -> int:
    return max(map(len, str(text).splitlines()), default=0)


def _columns(rows: "Sequence[Sequence[Text]]") -> "Iterable[tuple[Text, ...]]":
    return zip(*rows, strict=True)


def progress() -> "Progress":
    """A bar on stderr for work that takes long, gone when it is done; nothing where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
