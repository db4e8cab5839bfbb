"""Commands of the archive: status, check, files, export, compact, retention, erase."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.acting import By, operator, recorded
from deploy.cli.printing import progress, show_table
from deploy.settings import Settings

if TYPE_CHECKING:
    from streams.store import Store

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Model = Annotated[str | None, typer.Option(help="Only this model.")]

archive = typer.Typer(
    no_args_is_help=True,
    help="The Parquet archive of all events: what it holds, whether it is sound, tidying, and erasing a person's rows.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(archive, name="archive")


@archive.command("status")
def archive_status(model: Model = None, as_json: AsJson = False) -> None:
    """Files, rows and bytes per model and kind; oldest and newest day; how many files are small.

    Examples: `homeostat archive status` · `homeostat archive status --model car-loan --json`
    """
    from streams.archive.status import status_of

    store = _store()
    found = status_of(store, model)
    rows = [each.to_data() for each in found]
    if as_json:
        typer.echo(json.dumps({"archive": store.location, "models": rows}, indent=2))
        return
    columns = ["model", "kind", "files", "small", "rows", "bytes", "days", "oldest", "newest"]
    shown = {name: "small_files" if name == "small" else name for name in columns}
    show_table(rows, shown, _nothing(store, model))
    damaged = [path for row in rows for path in row["damaged"]]
    if damaged:
        typer.echo(f"Damaged, and not counted in rows: {len(damaged)} files.", err=True)
        typer.echo("\n".join(f"  {store.location}/{path}" for path in damaged), err=True)


@archive.command("check")
def archive_check(model: Model = None, as_json: AsJson = False) -> None:
    """Read every row of every file, and list the files that are damaged. Changes nothing. Exit 1 when there are some.

    Examples: `homeostat archive check` · `homeostat archive check --model car-loan --json`
    """
    from streams.archive.status import check

    store = _store()
    with progress() as bar:
        task = bar.add_task("reading", total=None)
        files, damaged = check(
            store,
            model,
            lambda done, of: bar.update(task, completed=done, total=of, description=f"{done} of {of} files"),
        )
    if as_json:
        reasons = {error.path: str(error) for error in damaged}
        typer.echo(
            json.dumps({"archive": store.location, "sound_files": files, "damaged": reasons}, indent=2)
        )
    else:
        typer.echo(
            f"{files} files are sound, {len(damaged)} are damaged."
            if files or damaged
            else _nothing(store, model)
        )
        typer.echo("".join(f"{error}\n" for error in damaged), nl=False)
    raise typer.Exit(1 if damaged else 0)


@archive.command("files")
def archive_files(
    model: Annotated[str, typer.Option(help="Of which model.")],
    kind: Annotated[str, typer.Option(help="predictions or labels.")] = "predictions",
    as_json: AsJson = False,
) -> None:
    """List the files that count at this moment: an exact set, also while files are being compacted.

    Example: `homeostat archive files --model car-loan --kind labels`
    """
    from streams.archive.layout import KINDS, Kind
    from streams.archive.read import ArchiveReader

    store = _store()
    chosen: Kind | None = next((one for one in KINDS if one == kind), None)
    if chosen is None:
        raise typer.BadParameter(f"{kind!r} is neither of {', '.join(KINDS)}", param_hint="--kind")
    paths = [f"{store.location}/{path}" for path in ArchiveReader(store).files(model, chosen)]
    if as_json:
        typer.echo(json.dumps(paths, indent=2))
    elif paths:
        typer.echo("\n".join(paths))
    else:
        typer.echo(_nothing(store, model), err=True)


@archive.command("export")
def archive_export(
    output: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    model: Annotated[str, typer.Option(help="Of which model.")],
    since: Annotated[
        str | None, typer.Option("--from", help="Event time (2026-11-21T10:00, UTC), or how long ago (30d).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same.")] = None,
    version: Annotated[str | None, typer.Option(help="Only of this version.")] = None,
) -> None:
    """Write a stretch as one table, labels joined: as the reference of a monitor, or as history for a backtest.

    Example: `homeostat archive export good.parquet --model car-loan --version 7 --from 30d`
    """
    import pyarrow.parquet as parquet

    from deploy.cli.files import moment_us
    from deploy.errors import UserError
    from streams.archive.export import NothingArchived, history
    from streams.archive.read import ArchiveReader

    stretch = moment_us(since, "--from"), moment_us(until, "--to")
    try:
        found = history(
            ArchiveReader(_store()), model, since_us=stretch[0], until_us=stretch[1], version=version
        )
    except NothingArchived as error:
        raise UserError(f"{error}; `homeostat archive status` shows what there is") from error
    parquet.write_table(found, output)
    labelled = found.num_rows - found.column("label").null_count
    typer.echo(f"{output}: {found.num_rows:,} events, {labelled:,} with a label.", err=True)


@archive.command("compact")
def archive_compact(
    closed: Annotated[
        bool, typer.Option("--all", help="Every day, also today and days for which events have just come.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count files, and change nothing.")] = False,
    by: By = None,
) -> None:
    """Make few large files of many small ones, remove files that are replaced, and days past their retention.

    The archive role does the same every minute. Safe at any moment, also beside it.

    Examples: `homeostat archive compact` · `homeostat archive compact --all`
    """
    from deploy.errors import UserError
    from deploy.pieces import archive_upkeep
    from streams.archive.upkeep import Upkeep

    who, upkeep = operator(by), Upkeep(_store(), archive_upkeep(Settings()))
    if dry_run:
        due = upkeep.due(time.time(), closed=closed)
        typer.echo(
            f"{due.merged} files would be merged into {due.into}, {due.swept} left-over and {due.retired} retired "
            "files deleted."
        )
        return
    verbs = ("archive.compact", "archive.compacted")
    with recorded(who, "archive", verbs, {"all_days": closed}, loud=False) as outcome:
        report = upkeep.run(time.time(), closed=closed)
        if report.busy:
            raise UserError("Somebody else compacts this archive at the moment; try again in a minute.")
        outcome |= {name: getattr(report, name) for name in ("merged", "into", "swept", "retired")}
        outcome["damaged"] = len(report.damaged)
    if report.merged or report.swept or report.retired:
        typer.echo(
            f"{report.merged} files merged into {report.into}, {report.swept} left-over and {report.retired} retired "
            "files deleted."
        )
    else:
        typer.echo(f"Nothing to do: {report.files} files, {report.bytes:,} bytes.")
    if report.damaged:
        typer.echo(f"{len(report.damaged)} files are damaged and were left alone:", err=True)
        typer.echo("\n".join(f"  {path}" for path in report.damaged), err=True)


@archive.command("retention")
def archive_retention(as_json: AsJson = False) -> None:
    """Show which files are past their retention (HOMEOSTAT_ARCHIVE_RETENTION_DAYS, ..._RETENTION_OF). Deletes nothing:
    `homeostat archive compact` and the archive role do.

    Example: `HOMEOSTAT_ARCHIVE_RETENTION_DAYS=365 homeostat archive retention`
    """
    from deploy.pieces import archive_upkeep
    from streams.archive.upkeep import Upkeep

    found = Upkeep(_store(), archive_upkeep(Settings())).retired(time.time())
    paths = [file.path for file in found]
    if as_json:
        typer.echo(json.dumps({"files": paths, "bytes": sum(file.size for file in found)}, indent=2))
    else:
        typer.echo("\n".join(paths) if paths else "None.")


@archive.command("erase")
def archive_erase(
    model: Annotated[str, typer.Option(help="Of which model.")],
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="An event id; give it as often as needed.")
    ] = None,
    ids_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A file with one event id per line.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Count what would be erased, and change nothing.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Erase all rows with these event ids, for good: predictions and labels, in files and in rows still to come.

    Rewrites the files that hold them, reads all files again, and prints a receipt without the ids. The erasure goes
    into the audit log where this installation has a database. Kafka's own records end with the topic's retention.

    Examples: `homeostat archive erase --model car-loan --id req-81 --dry-run` ·
    `homeostat archive erase --model car-loan --ids-file ids.txt --json`
    """
    import msgspec

    from deploy.pieces import has_database
    from streams.archive.erasure import erase, receipt_lines

    wanted = [*(ids or []), *(_lines(ids_file) if ids_file else [])]
    if not wanted:
        raise typer.BadParameter("give at least one id", param_hint="--id / --ids-file")
    who, now_us = operator(by), time.time_ns() // 1_000
    if dry_run:
        receipt, audited = erase(_store(), model, wanted, by=who, now_us=now_us, dry_run=True), False
    else:
        audited, verbs = has_database(Settings()), ("archive.erase", "archive.erased")
        with recorded(who, f"model/{model}", verbs, {"ids": len(wanted), "made_us": now_us}) as outcome:
            receipt = erase(_store(), model, wanted, by=who, now_us=now_us)
            outcome |= msgspec.to_builtins(receipt)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(receipt) | {"audited": audited}, indent=2))
        return
    typer.echo("\n".join(receipt_lines(receipt)))
    if not dry_run and not audited:
        typer.echo("There is no database here: keep this receipt, it is in no audit log.", err=True)


def _nothing(store: "Store", model: str | None) -> str:
    from streams.archive.read import ArchiveReader

    known = ArchiveReader(store).models()
    if not known:
        return (
            f"The archive {store.location} is empty. HOMEOSTAT_HOME or HOMEOSTAT_ARCHIVE names another one."
        )
    return f"The archive {store.location} has nothing of {model!r} here. It knows {', '.join(known)}."


def _store() -> "Store":
    from streams.store import open_store

    return open_store(Settings().archive_location)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line]
