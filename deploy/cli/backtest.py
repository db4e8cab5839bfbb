"""Commands over files: what would have alarmed, a first monitor, and what a budget costs in delay."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deploy.cli.files import AsJson, MonitorPath, checked, monitor_file
from deploy.cli.printing import progress, show_table

if TYPE_CHECKING:
    from streams.replay.backtest_result import Backtest


_CELLS_TOLD = 5
OWN_PROCESS: Final = object()
"""The context's object where the process is there for the command alone."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(backtest)
    app.command()(init)
    app.command()(tune)
    app.command()(slices)


def backtest(
    context: typer.Context,
    data: Annotated[
        Path, typer.Argument(help="CSV, CSV.gz, Parquet, or a folder of Parquet, in order of time.")
    ],
    monitor: MonitorPath,
    labels: Annotated[
        Path | None, typer.Option(help="Labels in a file of their own, joined on the id column.")
    ] = None,
    as_json: AsJson = False,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page with drawings of the measures and the incidents to this file."),
    ] = None,
) -> None:
    """What would have alarmed on this file, and when. Nothing is published. Exit 3 when an alert fires at the end.

    Example: `homeostat backtest analysis.csv.gz --monitor car-loan.yaml --labels targets.csv.gz --json`
    """
    if context.obj is OWN_PROCESS:
        from streams.replay.process import prepare

        prepare()
    from streams.replay.backtest import backtest as run

    with progress() as bar:
        task = bar.add_task("reading", total=1.0)
        found = checked(
            lambda: run(
                data,
                monitor_file(monitor),
                labels,
                keep_points=html is not None,
                tell=lambda at: bar.update(
                    task, completed=at.share, description=f"{at.rows:,} rows, {at.rows_per_s:,.0f} a second"
                ),
            )
        )
    if html is not None:
        _write_page(found, data, html)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _show_backtest(found)
    account = found.accounting
    if found.rows and (account is None or not account.profiled):
        typer.echo("Not one row could be measured.", err=True)
        raise typer.Exit(1)
    raise typer.Exit(3 if found.firing else 0)


def init(
    file: Annotated[
        Path, typer.Argument(help="A table of good times (CSV, CSV.gz, Parquet): it becomes the reference.")
    ],
    model: Annotated[str | None, typer.Option(help="Its name. Default: that of the file.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write. Default: MODEL.yaml, here.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column of what turned out to be true.")] = None,
    prediction: Annotated[str | None, typer.Option(help="The column of what the model said.")] = None,
    score: Annotated[
        str | None, typer.Option(help="The column of the probability of the positive class.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="The column by which labels are joined to predictions.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a first monitor, with a guess at what each column is and why, from values and names. You read it before it
    counts; what you name is not guessed.

    Example: `homeostat init reference.csv.gz --model car-loan --label repaid`
    """
    import os

    from deploy.errors import UserError
    from streams.control.monitor_build import doubts
    from streams.files.guess import described, guess
    from streams.files.monitor_draft import draft
    from streams.files.tables import TableFile

    name = model or file.name.split(".")[0]
    target = output or Path(f"{name}.yaml")
    if target.exists() and not force:
        raise UserError(
            f"{target} is there already; `--force` writes over it, `--output` names another file."
        )
    told = {"label": label, "prediction": prediction, "score": score, "id": id_column}
    said_so = {role: column for role, column in told.items() if column is not None}
    found = checked(lambda: guess(TableFile(file), said_so))
    place = os.path.relpath(file.resolve(), target.resolve().parent)
    target.write_text(draft(found, name, place), encoding="utf-8")
    written = monitor_file(target)
    doubt = checked(lambda: doubts(written))
    if as_json:
        told = {"monitor": str(target), "columns": described(found), "note": doubt}
        typer.echo(json.dumps(told, indent=2))
        return
    show_table(described(found), ["column", "role", "why"])
    if doubt is not None:
        typer.echo(f"Is this a good reference? {doubt[0].upper()}{doubt[1:]}.", err=True)
    typer.echo(
        f"{target} is written. Read it, then try it: homeostat backtest DATA --monitor {target}", err=True
    )


def tune(
    data: Annotated[Path, typer.Argument(help="History: CSV, CSV.gz, Parquet, or a folder of Parquet.")],
    monitor: MonitorPath,
    labels: Annotated[
        Path | None, typer.Option(help="Labels in a file of their own, joined on the id column.")
    ] = None,
    budgets: Annotated[
        list[str] | None, typer.Option("--budget", help="One to try, again for each. Default: five of them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a budget of false incidents costs in delay: incidents on this history, and how many windows it takes to
    tell changes of known size, made in single columns of the reference.

    Example: `homeostat tune history.csv.gz --monitor car-loan.yaml --budget "1 per 90d" --budget "1 per 1d"`
    """
    from streams.replay.tuning import BUDGETS
    from streams.replay.tuning import tune as run

    with progress() as bar:
        task = bar.add_task("trying budgets", total=1.0)
        trials = checked(
            lambda: run(
                data,
                monitor_file(monitor),
                labels,
                tuple(budgets or BUDGETS),
                lambda at: bar.update(task, completed=at.share),
            )
        )
    told = [one.as_dict() for one in trials]
    if as_json:
        typer.echo(json.dumps({"trials": told}, indent=2))
        return
    changes = list(dict.fromkeys(each["change"] for one in told for each in one["delays"]))
    rows = [
        one | {each["change"]: _delay_in_words(each["windows"]) for each in one["delays"]} for one in told
    ]
    show_table(rows, ["budget", "windows", "expected_false", "incidents", *changes])
    typer.echo("Under each change: windows until it is told (median), of at most 40.", err=True)


def slices(
    data: Annotated[
        Path, typer.Argument(help="CSV, CSV.gz, Parquet, or a folder of Parquet, with predictions.")
    ],
    monitor: MonitorPath,
    labels: Annotated[
        Path | None, typer.Option(help="Labels in a file of their own, joined on the id column.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Where the model errs most: slices of one condition or two, told only where they are beyond what searching finds
    by chance; and the gaps between the values of the monitor's segments.

    Example: `homeostat slices analysis.csv.gz --monitor car-loan.yaml --labels targets.csv.gz`
    """
    from streams.replay.slices import slices as run

    found = checked(lambda: run(data, monitor_file(monitor), labels))
    told = found.as_dict()
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    for name in found.texts:
        typer.echo(
            f"{name} holds text here and numbers in the reference: its texts are looked at as categories.",
            err=True,
        )
    if found.unreadable:
        typer.echo(f"{found.unreadable:,} rows were left out: text where a number belongs.", err=True)
    typer.echo(f"{found.labelled:,} labelled rows, {told['candidates']:,} slices looked at; {found.loss}:")
    rows = [
        {
            "slice": " and ".join(one.conditions),
            "rows": f"{one.rows:,}",
            "here": f"{one.loss:.3g}",
            "elsewhere": f"{one.rest:.3g}",
            "more_by": f"{one.low:.3g} to {one.high:.3g}",
            "by_chance": f"{one.chance:.1g}",
        }
        for one in found.searched.slices
    ]
    columns = ["slice", "rows", "here", "elsewhere", "more_by", "by_chance"]
    show_table(rows, columns, "No slice is worse than the others beyond chance.")
    for name, each in found.gaps.items():
        for one in each:
            words = (
                one.undefined
                or f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g}): {one.highest} over {one.lowest}"
            )
            typer.echo(f"Gap of {one.measure.replace('_', ' ')} by {name}: {words}")


def _cells(found: "Backtest") -> str:
    told = [one.told for one in found.unreadable[:_CELLS_TOLD]]
    more = len(found.unreadable) - len(told)
    return "; ".join(told) + (f"; and {more:,} more" if more else "")


def _delay_in_words(windows: float | None) -> str:
    return "not in 40" if windows is None else f"{windows:g}"


def _write_page(found: "Backtest", data: Path, html: Path) -> None:
    from reporting.backtest_page import backtest_page
    from streams.replay.backtest_lines import lines_of

    html.write_text(backtest_page(found.as_dict(), lines_of(found), data.name), encoding="utf-8")
    typer.echo(f"The page is {html}.", err=True)


def _show_backtest(found: "Backtest") -> None:
    from reporting.words import count

    data = found.as_dict()
    typer.echo(
        f"{data['model']}: {count(data['rows'], 'row')}, {count(data['labels'], 'label')}, "
        f"{count(data['windows'], 'window')}, {data['label_windows']:,} of labels "
        f"({data['rows_per_s']:,} rows a second)."
    )
    for one in data["reference"]:
        if one["note"]:
            typer.echo(f"The reference of version {one['version']}: {one['note']}.", err=True)
    for name, left_out in data["skipped"].items():
        rows = f"{count(left_out, 'row')} {'was' if left_out == 1 else 'were'}"
        if left_out and name == "number":
            typer.echo(f"{rows} left out: text where a number belongs, {_cells(found)}.", err=True)
        elif left_out:
            typer.echo(f"{rows} left out: no usable {name}.", err=True)
    if found.ahead:
        typer.echo(
            f"{found.ahead:,} rows are dated later than now. They are measured here; live those more than max_ahead_s "
            "ahead of their arrival would be dead letters.",
            err=True,
        )
    if found.unlike:
        typer.echo(
            f"In {found.unlike:,} rows the class scores do not add up to 1: these are no probabilities of classes, and "
            "are taken for missing. What rests on them is undefined.",
            err=True,
        )
    if not found.listened:
        typer.echo(
            "Times are told by the hour or the day, many rows each: silence between them is not looked for.",
            err=True,
        )
    account = found.accounting
    if account is not None and account.late:
        typer.echo(f"{account.late:,} rows came later than the lateness: sort the file by time.", err=True)
    if account is not None and account.duplicates:
        typer.echo(
            f"{account.duplicates:,} rows have an id that came before: of each id the first row counts.",
            err=True,
        )
    if account is not None and account.deadlettered:
        typer.echo(
            f"{account.deadlettered:,} rows cannot be read by the schema that the reference implies; "
            "the warning above names the columns.",
            err=True,
        )
    if not data["labels"] and found.labels_without_outputs:
        typer.echo(
            "Labels were left out: without a prediction or a score there is nothing to hold them against.",
            err=True,
        )
    if account is not None and account.orphaned:
        typer.echo(
            f"{account.orphaned:,} labels belong to no prediction, or came later than the label_horizon "
            f"of {found.monitor.label_horizon_s / 86_400:g} days: no measure rests on them.",
            err=True,
        )
    if not data["windows"] and not data["label_windows"]:
        typer.echo("No window was full, so nothing could have alarmed.")
        return
    rows = [
        {
            "kind": one["kind"],
            "since_row": one["change_row"],
            "opened_row": one["opened_row"],
            "closed_row": "open" if one["closed_row"] is None else one["closed_row"],
            "segment": one["segment"],
            "summary": one["summary"],
        }
        for one in data["incidents"]
    ]
    if rows:
        show_table(rows, ["kind", "since_row", "opened_row", "closed_row", "segment", "summary"])
    else:
        typer.echo("Nothing would have alarmed.")
