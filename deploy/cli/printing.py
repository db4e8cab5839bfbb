"""How commands show rows, and that they are at work."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress


def show_table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | Mapping[str, str], empty: str = "None."
) -> None:
    """Print `columns` of rows as a table, or `empty` where there is no row.

    `columns` are keys, which are the titles too (`_` becomes a space), or titles with their keys. A missing value is
    an empty cell. A terminal's width is kept; what is too long goes on in the next line.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = list(rows)
    if not shown:
        typer.echo(empty)
        return
    keys = columns if isinstance(columns, Mapping) else {name.replace("_", " "): name for name in columns}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in keys:
        table.add_column(title, overflow="fold")
    for row in shown:
        table.add_row(*("" if row.get(key) is None else escape(str(row[key])) for key in keys.values()))
    Console().print(table)


def progress() -> "Progress":
    """A bar on stderr for work that takes long, gone when it is done; nothing where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
