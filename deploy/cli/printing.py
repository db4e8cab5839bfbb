"""How commands show rows, and that they are at work."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.text import Text


_LONG_CHARS = 32
"""Longer texts go on in the next line, by words; what is shorter (names, numbers, addresses) is never cut in two."""
_GAP_CHARS = 2


def show_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | Mapping[str, str],
    empty: str = "None.",
    *,
    cut: str | None = None,
) -> None:
    """Print `columns` of rows as a table, or `empty` where there is no row.

    `columns` are keys, which are the titles too (`_` becomes a space), or titles with their keys. A missing value is
    an empty cell; a `rich.text.Text` keeps its colours. In a pipe each row is one line, however long; in a terminal it
    is where `cut` names the column whose texts end with … where the line does.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    keys = columns if isinstance(columns, Mapping) else {name.replace("_", " "): name for name in columns}
    found = [[row.get(key) for key in keys.values()] for row in rows]
    shown = [
        [one if isinstance(one, Text) else Text("" if one is None else str(one)) for one in row]
        for row in found
    ]
    if not shown:
        typer.echo(empty)
        return
    table = Table(box=None, pad_edge=False, padding=(0, _GAP_CHARS, 0, 0), header_style="bold")
    widths = [max(map(len, (title, *cells))) for title, cells in zip(keys, _columns(shown), strict=True)]
    console = Console()
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


def _columns(rows: "Sequence[Sequence[Text]]") -> "Iterable[tuple[Text, ...]]":
    return zip(*rows, strict=True)


def progress() -> "Progress":
    """A bar on stderr for work that takes long, gone when it is done; nothing where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
