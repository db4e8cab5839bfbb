"""Commands over measuring: replay the stream, and the monitors."""

import json
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from deploy.cli.acting import By, operator, recorded
from deploy.cli.broker import on_broker
from deploy.cli.files import AsJson, checked, moment_us, monitor_file
from deploy.cli.printing import progress, show_table
from deploy.settings import Settings

if TYPE_CHECKING:
    from detectors.values import Budget
    from streams.control.bus import ControlBus
    from streams.replay.replay import Replayed
    from streams.replay.replay_check import Check

_TIMEOUT_S = 60.0
_Result = TypeVar("_Result")

monitors = typer.Typer(
    no_args_is_help=True,
    help="How each model is watched: files of yours, published to the workers.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(replay)
    app.add_typer(monitors, name="monitors")


def replay(
    since: Annotated[
        str | None, typer.Option("--from", help="Event time (2026-11-21T10:00, UTC), or how long ago (2h).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    read_from: Annotated[
        str | None,
        typer.Option(help="Read events from this time of the broker on (default: all that are still there)."),
    ] = None,
    archive: Annotated[
        bool,
        typer.Option(
            "--archive", help="Read events from the archive, where the topic's retention has passed."
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option("--check", help="Compare with what the live run has written; exit 1 where it differs."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a stretch of the stream again, from the topics or from the archive. Nothing is published.

    Windows are those that were logged; what is compared, and what cannot be, is in docs/backtest.md.

    Example: `homeostat replay --from 2h --to 30m --model car-loan --check`
    """
    from streams.replay.replay import Stretch
    from streams.replay.replay_check import check

    settings = Settings()
    stretch = Stretch(
        from_us=moment_us(since, "--from") or 0,
        to_us=moment_us(until, "--to") or 2**62,
        model=model,
        read_from_us=moment_us(read_from, "--read-from"),
    )
    if stretch.from_us >= stretch.to_us:
        reason = f"{until!r} must be later than --from, which is {since!r}"
        raise typer.BadParameter(reason, param_hint="--to")
    with progress() as bar:
        task = bar.add_task("reading", total=None)

        def tell(records: int, rows: int) -> None:
            bar.update(task, description=f"{records:,} batches, {rows:,} rows")

        found = on_broker(lambda broker: _replay(broker, settings, stretch, archive, tell))
    compared = check(found) if compare else None
    if as_json:
        typer.echo(json.dumps(_replay_as_data(found, compared), indent=2))
    else:
        _show_replay(found, compared)
        if not found.rows:
            told = f" of {model!r}" if model else ""
            typer.echo(f"There are no events{told} in this stretch.", err=True)
    raise typer.Exit(1 if compared is not None and not compared.holds else 0)


def _fleet() -> "Budget | None":
    """The budget of all models together, where one is set."""
    from streams.control.fleet import fleet_budget

    text = Settings().budget
    return None if text is None else checked(lambda: fleet_budget(text))


@monitors.command("apply")
def monitors_apply(
    file: Annotated[Path, typer.Argument(help="The monitor file.")],
    effective_in: Annotated[
        str, typer.Option(help="From when on it counts: so long from now, in event time.")
    ] = "10s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be published; publish nothing.")
    ] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Publish a monitor as the next revision, with the reference built from the file that it names.

    A file that says what is already in force publishes nothing.

    Example: `homeostat monitors apply car-loan.yaml`
    """
    from deploy.cli.archived import archived
    from streams.control.monitor_publish import apply_monitor

    who, fleet = operator(by), _fleet()
    described = monitor_file(file)
    delay_s = _seconds(effective_in, "--effective-in")
    verbs, subject = ("monitor.apply", "monitor.applied"), f"monitor/{described.model}"
    with archived(described, Settings()) as source, ExitStack() as record:
        told: dict[str, object] = {}
        if not dry_run:
            told = record.enter_context(recorded(who, subject, verbs, {}, loud=False))
        outcome = _with_bus(
            lambda bus: apply_monitor(bus, described, delay_s, source, fleet=fleet, dry_run=dry_run)
        )
        told |= {"revision": outcome.monitor.revision, "published": outcome.published}
        told |= {"reference": outcome.reference.revision if outcome.reference else ""}
        if not outcome.published:
            told["action"] = "monitor.unchanged"
    if as_json:
        typer.echo(json.dumps({**outcome.as_dict(), "dry_run": dry_run}, indent=2))
    elif outcome.published:
        would = " would be published" if dry_run else ""
        typer.echo(f"{outcome.monitor.model}: revision {outcome.monitor.revision}{would}, {outcome.told}.")
    else:
        typer.echo(
            f"{outcome.monitor.model}: unchanged, for revision {outcome.monitor.revision} says this already."
        )


@monitors.command("list")
def monitors_list(as_json: AsJson = False) -> None:
    """The monitors in force, with the versions that have a reference.

    Example: `homeostat monitors list --json`
    """
    from streams.control.fleet import fleet_words
    from streams.control.monitor_publish import published_monitors

    fleet, found = _fleet(), _with_bus(published_monitors)
    if as_json:
        typer.echo(json.dumps([each.as_dict() for each in found], indent=2))
        return
    rows = [each.row() for each in found]
    columns = ["model", "revision", "windows", "pane", "features", "segments", "budget", "references"]
    show_table(
        rows, columns, "None. `homeostat monitors apply FILE` publishes one; docs/monitor.md shows a file."
    )
    if fleet is not None:
        typer.echo(fleet_words(fleet, [each.monitors[-1] for each in found if each.monitors]), err=True)


@monitors.command("show")
def monitors_show(model: str) -> None:
    """Every revision of a model's monitor, and its references, as JSON.

    Example: `homeostat monitors show car-loan`
    """
    from deploy.errors import UserError
    from streams.control.monitor_publish import published_monitors

    found = next((each for each in _with_bus(published_monitors) if each.model == model), None)
    if found is None:
        raise UserError(
            f"There is no monitor of {model!r}. `homeostat monitors list` shows those that are there."
        )
    typer.echo(json.dumps(found.as_dict(), indent=2))


@monitors.command("schema")
def monitors_schema() -> None:
    """The JSON Schema of a monitor file: an editor that knows it completes and checks while you write.

    Example: `homeostat monitors schema > homeostat-monitor.schema.json`
    """
    from streams.files.monitor import schema_json

    typer.echo(schema_json())


def _with_bus(work: "Callable[[ControlBus], Coroutine[Any, Any, _Result]]") -> _Result:
    async def run(broker: str) -> _Result:
        from streams.bus import KafkaBus

        async with KafkaBus(broker, "homeostat-monitors") as bus:
            return await work(bus)

    return checked(lambda: on_broker(run, _TIMEOUT_S))


async def _replay(broker: str, settings: Settings, stretch: Any, archive: bool, tell: Any) -> "Replayed":
    from streams.replay.replay import replay as run
    from streams.replay.replay_archive import replay_archive

    if archive:
        return await replay_archive(broker, settings.archive_location, stretch, tell)
    return await run(broker, stretch, tell)


def _seconds(text: str, option: str) -> float:
    from streams.files.monitor import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _replay_as_data(found: "Replayed", compared: "Check | None") -> dict[str, Any]:
    import msgspec

    return {
        "records": found.records,
        "rows": found.rows,
        "windows": len(found.results.seals),
        "points": len(found.results.points),
        "alerts": [msgspec.to_builtins(alert) for alert in found.results.alerts],
        "unmeasured_rows": found.unmeasured_rows,
        "unreadable": found.unreadable,
        "set_aside_live": found.set_aside_rows,
        "complete_from_us": found.complete_from_us,
        "check": compared.as_dict() if compared else None,
    }


def _show_replay(found: "Replayed", compared: "Check | None") -> None:
    from reporting.words import count

    typer.echo(
        f"{count(found.rows, 'row')} in {count(found.records, 'batch', 'batches')}: "
        f"{count(len(found.results.seals), 'window')}, {count(len(found.results.points), 'point')}, "
        f"{count(len(found.results.alerts), 'alert')}."
    )
    for alert in found.results.alerts:
        typer.echo(
            f"  {alert.state:8} {alert.kind}: {alert.model} {alert.version} {alert.segment}: {alert.reason}"
        )
    if found.unmeasured_rows:
        typer.echo(
            f"{found.unmeasured_rows:,} rows are in panes that began before the reference of their version was known: "
            "no measure rests on them, live and here.",
            err=True,
        )
    if found.set_aside_rows:
        typer.echo(
            f"{found.set_aside_rows:,} rows of these models were refused live (dead letters). Those of them that were "
            "dated into the future are measured here: the archive does not keep when a row came.",
            err=True,
        )
    if found.unreadable:
        typer.echo(f"{found.unreadable:,} batches cannot be read; they are in no window.", err=True)
    if compared is None:
        return
    for what, number in compared.left_out.items():
        typer.echo(f"Not compared: {number:,} {what}.", err=True)
    told = "the same as live" if compared.holds else count(len(compared.differences), "difference")
    typer.echo(
        f"{count(compared.points, 'point')}, {count(compared.alerts, 'alert')}, {count(compared.windows, 'window')} "
        f"compared: {told}."
    )
    for one in compared.differences[:20]:
        typer.echo(f"  {one.kind} {one.what}: live {one.live}, replayed {one.replayed}")
