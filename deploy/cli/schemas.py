"""Commands over schemas: what the events of a model version look like, and what a change would break."""

import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from deploy.cli.acting import By, operator, recorded
from deploy.cli.broker import on_broker
from deploy.cli.printing import show_table
from deploy.errors import UserError

if TYPE_CHECKING:
    from detectors.values import Task
    from streams.control.bus import ControlBus
    from streams.control.evolution import Change
    from streams.control.schema_publish import Catalogue, Known, Registration

_TIMEOUT_S = 60.0
_NONE = "None. `homeostat schemas register FILE` makes one known, and so does the reference of a monitor."
_Result = TypeVar("_Result")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Names = Annotated[str, typer.Option(help="Names with commas between them, in the order of their indices.")]

schemas = typer.Typer(
    no_args_is_help=True,
    help="What the events of each model version look like. Rules and file format: docs/schemas.md.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(schemas, name="schemas")


_ENDINGS = {"refused": "schema.register_refused", "unchanged": "schema.unchanged"}
"""What the audit log calls a registration that published nothing."""


@schemas.command("register")
def schemas_register(
    file: Annotated[Path, typer.Argument(help="The schema file, YAML or JSON.")],
    force: Annotated[bool, typer.Option("--force", help="Register it although it breaks events.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Register the schema of a model version, and show first what it changes.

    It is compared with that of the same version, else with the newest of the model. A change by which events that
    are sent today would be refused or mean something else is not registered without `--force` (exit 1).

    Examples: `homeostat schemas register pets.yaml --dry-run` · `homeostat schemas register pets.yaml`
    """
    from streams.control.schema_file import read_schema_file
    from streams.control.schema_publish import register_schema

    who = operator(by)
    schema = _checked(lambda: read_schema_file(file))
    verbs, subject = ("schema.register", "schema.registered"), f"schema/{schema.model}/{schema.version}"
    with ExitStack() as record:
        told: dict[str, object] = {}
        if not dry_run:
            told = record.enter_context(recorded(who, subject, verbs, {"force": force}, loud=False))
        found = _with_bus(lambda bus: register_schema(bus, schema, force=force, dry_run=dry_run))
        told |= {"revision": schema.revision, "outcome": found.outcome}
        if found.outcome in _ENDINGS:
            told["action"] = _ENDINGS[found.outcome]
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _show_registration(found)
    raise typer.Exit(1 if found.outcome == "refused" else 0)


@schemas.command("list")
def schemas_list(
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None, as_json: AsJson = False
) -> None:
    """The schema in force for each version: registered by a person, or implied by the version's reference.

    Example: `homeostat schemas list --json`
    """
    found = _catalogue()
    rows = [known.row() for known in (found.schemas if model is None else found.of(model))]
    rows.sort(key=lambda row: row["model"])
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        show_table(
            rows, ["model", "version", "origin", "task", "features", "revision"], "None." if model else _NONE
        )


@schemas.command("show")
def schemas_show(
    model: str,
    version: Annotated[str | None, typer.Option(help="Default: the one that was made known last.")] = None,
    as_json: AsJson = False,
) -> None:
    """One schema as a schema file, to read, or to change and register.

    Examples: `homeostat schemas show pets --version 2` · `homeostat schemas show pets > pets.yaml`
    """
    from streams.control.schema_file import schema_yaml

    known = _find(_catalogue(), model, version)
    if as_json:
        typer.echo(json.dumps(known.as_dict(), indent=2))
        return
    origin = (
        "registered by a person" if known.origin == "registered" else "implied by the version's reference"
    )
    typer.echo(schema_yaml(known.schema, (f"revision {known.schema.revision}, {origin}",)), nl=False)


@schemas.command("diff")
def schemas_diff(
    model: str,
    old: Annotated[str, typer.Argument(metavar="V1", help="The version that events follow today.")],
    new: Annotated[str, typer.Argument(metavar="V2", help="The version that they would meet.")],
    as_json: AsJson = False,
) -> None:
    """What is different between the schemas of two versions. Exit 1 when events that follow V1 break under V2.

    Example: `homeostat schemas diff pets 1 2`
    """
    from streams.control.evolution import compare
    from streams.control.schema_publish import changes_as_data

    found = _catalogue()
    before, after = _find(found, model, old), _find(found, model, new)
    changes = compare(before.schema, after.schema)
    breaks = any(change.breaks for change in changes)
    if as_json:
        data = {"model": model, "old": old, "new": new, "breaks": breaks, "changes": changes_as_data(changes)}
        typer.echo(json.dumps(data, indent=2))
    elif changes:
        _show_changes(changes)
    else:
        typer.echo("No difference.")
    raise typer.Exit(1 if breaks else 0)


@schemas.command("infer")
def schemas_infer(
    file: Annotated[Path, typer.Argument(help="CSV, CSV.gz, Parquet, or a folder of Parquet.")],
    model: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str, typer.Option(help="The version's name.")],
    task: Annotated[str, typer.Option(help="binary, multiclass or regression.")] = "binary",
    classes: Names = "",
    segment: Annotated[list[str] | None, typer.Option(help="A column that is a segment; repeatable.")] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A column that is no feature; repeatable.")
    ] = None,
) -> None:
    """Write a first draft of a schema file to stdout, from the columns of a file. Registers nothing.

    Example: `homeostat schemas infer loans.csv --model loan --version 2 --leave-out repaid > loan.yaml`
    """
    from streams.control.schema_file import schema_yaml
    from streams.control.schema_infer import infer_schema
    from streams.files.tables import TableFile

    if task == "multiclass" and not classes:
        reason = "a multiclass task needs the names of its classes, such as cat,dog,owl"
        raise typer.BadParameter(reason, param_hint="--classes")
    found = _checked(
        lambda: infer_schema(
            TableFile(file),
            model,
            version,
            task=_task(task),
            classes=[name.strip() for name in classes.split(",") if name.strip()],
            segments=segment or (),
            leave_out=leave_out or (),
        )
    )
    notes = (f"a draft from {file.name!r}: read it, then `homeostat schemas register`", *found.notes)
    typer.echo(schema_yaml(found.schema, notes), nl=False)


def _task(text: str) -> "Task":
    from typing import get_args

    from detectors.values import Task

    found: Task | None = next((task for task in get_args(Task) if task == text), None)
    if found is None:
        reason = f"{text!r} must be one of {', '.join(get_args(Task))}"
        raise typer.BadParameter(reason, param_hint="--task")
    return found


def _find(found: "Catalogue", model: str, version: str | None) -> "Known":
    known = found.find(model, version)
    if known is None:
        versions = ", ".join(one.schema.version for one in found.of(model))
        if versions:
            raise UserError(
                f"There is no schema of {model!r} version {version!r}; there are those of {versions}."
            )
        raise UserError(
            f"There is no schema of {model!r}. `homeostat schemas list` shows those that are there."
        )
    return known


def _catalogue() -> "Catalogue":
    from streams.control.schema_publish import published_schemas

    found = _with_bus(published_schemas)
    for key, why in found.unreadable.items():
        typer.echo(f"A record of the control topic is left out: {key}: {why}", err=True)
    return found


def _show_registration(found: "Registration") -> None:
    from streams.control.schema_words import counted

    schema, before = found.schema, found.before
    name = f"{schema.model} version {schema.version}"
    if found.outcome == "unchanged":
        typer.echo(f"{name}: unchanged, for revision {schema.revision} is registered already.")
        return
    if before is None:
        typer.echo(f"{schema.model} has no schema yet.")
    else:
        origin = "registered" if before.origin == "registered" else "implied by its reference"
        told = counted(len(found.changes), "difference")
        typer.echo(f"Compared with version {before.schema.version} ({origin}): {told}.")
        _show_changes(found.changes)
    if found.outcome == "refused":
        fields = ", ".join(change.field for change in found.breaking)
        raise UserError(
            f"{name} is not registered: {counted(len(found.breaking), 'change')} ({fields}) would break events that "
            f"look as version {before.schema.version if before else '?'} says. Change the file, or register it all the "
            "same with --force once the producers send the new form."
        )
    breaking = ", although it breaks events" if found.breaking else ""
    verb = "registered" if found.outcome == "registered" else "would be registered"
    typer.echo(f"{name}: {verb}{breaking}, revision {schema.revision}.")


def _show_changes(changes: "Sequence[Change]") -> None:
    from streams.control.schema_words import consequence

    for change in sorted(changes, key=lambda change: not change.breaks):
        values = f"{change.old or 'none'} -> {change.new or 'none'}"
        typer.echo(f"  {'BREAKS' if change.breaks else 'fits  '}  {change.field}: {change.rule} ({values})")
        typer.echo(f"          {consequence(change)}")


def _checked(work: Callable[[], _Result]) -> _Result:
    """What is wrong with a file of the person's is told in its own words."""
    from streams.control.schema_file import SchemaFileInvalid
    from streams.control.schemas import SchemaInvalid
    from streams.files.tables import FileInvalid

    try:
        return work()
    except (FileInvalid, SchemaFileInvalid, SchemaInvalid) as error:
        raise UserError(str(error)) from error


def _with_bus(work: "Callable[[ControlBus], Coroutine[Any, Any, _Result]]") -> _Result:
    async def run(broker: str) -> _Result:
        from streams.bus import KafkaBus

        async with KafkaBus(broker, "homeostat-schemas") as bus:
            return await work(bus)

    return on_broker(run, _TIMEOUT_S)
