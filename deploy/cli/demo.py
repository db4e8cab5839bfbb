"""`homeostat demo`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(demo)


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder with the UCI Heart Disease files (processed.*.data).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the training and the stream.")] = 7,
    faults: Annotated[
        bool,
        typer.Option(
            "--faults/--no-faults", help="Without faults nothing falls ill, and no incident must open."
        ),
    ] = True,
    approve: Annotated[
        bool,
        typer.Option("--approve", help="You approve (console, command line or Slack); else the demo does."),
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running at the end.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the summary as JSON to this file.")
    ] = None,
) -> None:
    """Watch a model fall ill and get well again: real Kafka, real registry, real drift, real approval, real report.

    Takes two to three minutes, in a folder of its own; nothing else on this machine is touched.

    Examples: `homeostat demo` · `homeostat demo --approve --keep` · `homeostat demo --no-faults --seed 3`
    """
    import asyncio

    from deploy.demo.options import DemoOptions
    from deploy.demo.run import run_demo
    from deploy.logs import configure_logging
    from deploy.settings import Settings
    from deploy.stack.stopping import until_stopped

    configure_logging("WARNING")
    options = DemoOptions(
        data=data, seed=seed, faults=faults, approve=approve, keep=keep, json_path=json_path
    )
    code = asyncio.run(until_stopped(run_demo(options, Settings())))
    if code > 128:
        typer.echo("homeostat: stopped.", err=True)
    raise typer.Exit(code)
