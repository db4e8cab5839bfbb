"""What the person at the terminal sees while the demo runs."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.padding import Padding
from rich.status import Status
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 120


class Screen:
    """Timed steps above one live status line; plain lines where the output is no terminal. Everything on stderr."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self.console = Console(stderr=True, highlight=False, width=None if self._live else _PLAIN_WIDTH)
        self._started_s = time.monotonic()
        self._status = Status("", console=self.console, spinner="dots")

    def __enter__(self) -> "Screen":
        if self._live:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._status.stop()

    def chapter(self, text: str) -> None:
        """A headline."""
        self.console.print()
        self.console.print(f"[bold]{text}[/bold]")

    def step(self, text: str, mark: str = "[green]✓[/green]") -> None:
        """One thing that has happened, with the time since the start."""
        elapsed_s = time.monotonic() - self._started_s
        line = Table.grid(padding=(0, 1))
        for _ in range(3):
            line.add_column(overflow="fold")
        line.add_row(f"[dim]{elapsed_s:6.1f} s[/dim]", mark, text)
        self.console.print(line)

    def note(self, text: str) -> None:
        """More about the step before."""
        self.console.print(Padding(Text(text, style="dim"), (0, 0, 0, 12)))

    def command(self, text: str) -> None:
        """A command to copy: on a line of its own, which is not broken."""
        self.console.print(Text(f"  {text}"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something that went wrong and was dealt with, or that the person should know."""
        self.step(text, "[yellow]![/yellow]")

    def waiting(self, text: str) -> None:
        """What is going on now; replaced by the next call."""
        if self._live:
            self._status.update(f"[dim]{text}[/dim]")
