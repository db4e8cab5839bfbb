"""Commands of the local stack: up, down, status, doctor; and `worker`, one role for one container."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli.agent import told_pause
from deploy.cli.printing import show_table
from deploy.settings import Settings
from deploy.stack.state import EventKind, Health, StackEvent

_COLOURS = {
    EventKind.HEALTHY: "green",
    EventKind.STARTING: "dim",
    EventKind.DIED: "red",
    EventKind.UNHEALTHY: "red",
    EventKind.SLOW: "yellow",
}
_MARKS = {Health.HEALTHY: "[green]● healthy[/green]", Health.DOWN: "[red]✗ down[/red]"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (up, down, status, doctor, worker):
        app.command()(command)
    app.command(hidden=True)(supervise)


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything is healthy.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for health with --detach; exit 4 after them.")
    ] = 180.0,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Profile workers (HOMEOSTAT_PROFILE_WORKERS).")
    ] = None,
) -> None:
    """Start the local stack: Kafka, MLflow, database, workers, inference server, API and console.

    Without `--detach` it stays in the foreground and Ctrl-C stops everything. A second `up` finds the first.

    Examples: `homeostat up` · `homeostat up --detach --workers 2` · `HOMEOSTAT_BROKER=kafka:9092 homeostat up`
    """
    from deploy.local import stack_parts
    from deploy.preflight import refuse_wrong_files
    from deploy.stack.lifecycle import up_attached, up_detached
    from deploy.stack.ownership import is_owned

    if workers is not None:
        os.environ["HOMEOSTAT_PROFILE_WORKERS"] = str(workers)  # the supervisor is another process
    settings = Settings()
    if not is_owned(settings.home):
        refuse_wrong_files(settings)
    tell = _teller()
    if detach:
        result = up_detached(settings.home, tell, timeout_s=timeout)
    else:
        typer.echo(f"Starting Homeostat in {settings.home}. Ctrl-C stops it.", err=True)
        result = up_attached(settings.home, lambda: stack_parts(settings), tell)
    if not result.started:
        typer.echo(f"Homeostat already runs in {settings.home}.", err=True)
    if detach or not result.started:
        _print_status(result.status)


def down() -> None:
    """Stop the local stack and every process that it started.

    Example: `homeostat down`
    """
    from deploy.stack.lifecycle import down as stop

    settings = Settings()
    stopped = stop(settings.home)
    if stopped:
        typer.echo("Stopped: " + ", ".join(stopped), err=True)
    else:
        typer.echo(f"Nothing was running in {settings.home}.", err=True)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    timeout: Annotated[
        float, typer.Option(help="Wait so many seconds for health; exit 4 when it does not come.")
    ] = 0.0,
) -> None:
    """Show each part's health. Exit 0 when everything is healthy, else 1 (4 after `--timeout`).

    Example: `homeostat status --timeout 60`
    """
    import time

    from deploy.stack.lifecycle import status as read

    home = Settings().home
    deadline = time.monotonic() + timeout
    found = read(home)
    while not found.healthy and time.monotonic() < deadline:
        time.sleep(0.5)
        found = read(home)
    if as_json:
        typer.echo(json.dumps(_status_as_data(found), indent=2))
    else:
        _print_status(found)
        paused = told_pause() if found.healthy else None
        if paused is not None:
            typer.echo(paused)
    if not found.healthy:
        raise typer.Exit(4 if timeout else 1)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Check this installation: Java, the broker's jars, Pango, ports, services that the environment names.

    Example: `homeostat doctor`
    """
    import dataclasses

    from rich.text import Text

    from deploy.doctor import run_checks

    checks = run_checks(Settings())
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=2, default=str))
    else:
        marks = {"ok": Text("ok", "green"), "warn": Text("warn", "yellow"), "fail": Text("FAIL", "red")}
        rows = [dataclasses.asdict(check) | {"mark": marks[str(check.level)]} for check in checks]
        show_table(rows, {"": "mark", "check": "name", "found": "found", "what to do": "advice"})
    raise typer.Exit(1 if any(str(check.level) == "fail" for check in checks) else 0)


def worker(
    role: Annotated[str, typer.Argument(help="gate, profile, judge, archive, record, agent, serving or api")],
    instance: Annotated[
        str | None, typer.Option(help="Name among the workers of this role (HOMEOSTAT_INSTANCE; default 0).")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Answer Prometheus here; 0: a free port (HOMEOSTAT_METRICS_PORT).")
    ] = None,
) -> None:
    """Run one role of the system in this process, for one container.

    Needs HOMEOSTAT_BROKER, and where the role uses them HOMEOSTAT_DATABASE_URL and MLFLOW_TRACKING_URI. Several workers
    of a role share its partitions; each needs a name of its own, which it keeps over restarts.

    Example: `HOMEOSTAT_BROKER=kafka:9092 homeostat worker profile --instance 1 --metrics-port 9100`
    """
    from deploy.wiring import ROLES, run_role

    if role not in ROLES:
        raise typer.BadParameter(
            f"there is no role {role!r}; the roles are {', '.join(ROLES)}", param_hint="ROLE"
        )
    if instance is not None:
        os.environ["HOMEOSTAT_INSTANCE"] = instance
    if metrics_port is not None:
        os.environ["HOMEOSTAT_METRICS_PORT"] = str(metrics_port)
    run_role(role, Settings())


def supervise(home: Annotated[Path, typer.Option(help="The home to own.")]) -> None:
    """Be the supervisor of a home (started by `up --detach`)."""
    os.environ["HOMEOSTAT_HOME"] = str(home)
    from deploy.local import stack_parts
    from deploy.stack.lifecycle import supervise as run

    settings = Settings()
    run(settings.home, lambda: stack_parts(settings))


def _teller() -> Any:
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)

    def tell(event: StackEvent) -> None:
        colour = _COLOURS.get(event.kind, "default")
        console.print(
            f"[dim]{event.at.astimezone():%H:%M:%S}[/dim] "
            f"[{colour}]{event.part or 'stack':8}[/{colour}]  {escape(event.message)}"
        )

    return tell


def _status_as_data(found: Any) -> dict[str, Any]:
    import msgspec

    state = msgspec.to_builtins(found.state) if found.state else None
    return {"running": found.running, "healthy": found.healthy, "orphans": found.orphans, "state": state}


def _print_status(found: Any) -> None:
    from rich.console import Console
    from rich.text import Text

    if not found.running:
        console = Console()
        console.print("Homeostat is not running. Start it with `homeostat up`.")
        for orphan in found.orphans:
            console.print(f"[yellow]Left over: {orphan}. `homeostat down` ends it.[/yellow]")
        return
    rows = [
        {
            "part": part.name,
            "health": Text.from_markup(_MARKS.get(part.health, f"[yellow]○ {part.health}[/yellow]")),
            "process": part.process.pid if part.process else None,
            "restarts": part.restarts,
            "address": part.url or ", ".join(f"{name} {port}" for name, port in part.ports.items()),
            "version": part.version,
            "log": Path(part.log).name,
        }
        for part in found.state.parts
    ]
    show_table(rows, ["part", "health", "process", "restarts", "address", "version", "log"])
    folders = sorted({str(Path(part.log).parent) for part in found.state.parts})
    typer.echo(f"Logs are in {', '.join(folders)}.")
