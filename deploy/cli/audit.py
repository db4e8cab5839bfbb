"""Commands over the audit log: read it, prove it, hand it out, and keep it."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from deploy.cli.acting import By, operator
from deploy.cli.broker import broker_address, on_broker
from deploy.cli.printing import show_table
from deploy.errors import UserError
from deploy.settings import Settings

if TYPE_CHECKING:
    from db.audit.acts import Rotation
    from db.audit.keeping import Keeper
    from db.audit.proofs import Proofs

T = TypeVar("T")

_TOPIC_S = 60.0

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Why = Annotated[str, typer.Option(help="Why, for the record.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would come of it, and change nothing.")]
Topic = Annotated[
    bool | None,
    typer.Option("--topic/--no-topic", help="Look at the Kafka topic, too (default: if a broker is known)."),
]

audit = typer.Typer(
    no_args_is_help=True,
    help="Who did what, and the proof that nobody changed the record. How it works: docs/audit.md.",
    rich_markup_mode="markdown",
)


class Form(StrEnum):
    """The forms of an export."""

    JSONL = "jsonl"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(audit, name="audit")


@audit.command("list")
def audit_list(
    subject: Annotated[
        str | None, typer.Option(help="Only this subject, such as `incident/inc-3f2a`.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only this person or part.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List audit entries, newest first.

    Example: `homeostat audit list --actor mira --limit 5`
    """
    from deploy.cli.client import ApiClient

    answer = ApiClient(Settings()).get("/audit", subject=subject, actor=actor, limit=limit)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    columns = {"#": "index", "at": "at", "actor": "actor", "action": "action", "subject": "subject"}
    show_table(answer["items"], columns)
    if answer.get("next_cursor"):
        typer.echo("There are more: raise --limit.", err=True)


@audit.command("verify")
def audit_verify(
    file: Annotated[
        Path | None,
        typer.Option("--export", exists=True, dir_okay=False, help="Check this export, and nothing else."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="With --export: a key of the log that you have from elsewhere.")
    ] = None,
    topic: Topic = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the whole log and compare it with every signed checkpoint; exit 1 when anything differs.

    Reads the database, the key folder and the Kafka topic itself, so that it does not have to trust the API. With
    `--export` it reads that file only: it needs no database, no broker and no network.

    Examples: `homeostat audit verify` · `homeostat audit verify --export audit.jsonl --key "$(head -1 log.pub)"`
    """
    if file is not None:
        _verify_export(file, key, as_json)
    from deploy.pieces import verify_audit

    report = verify_audit(Settings(), _topic_notes(topic))
    if as_json:
        found = {"ok": report.ok, "entries": report.entries, "checkpoints": report.checkpoints}
        found |= {"problems": report.problems, "notices": report.notices}
        typer.echo(json.dumps(found, indent=2))
    else:
        if report.ok:
            typer.echo(f"The audit log is intact: {report.entries} entries, every checkpoint agrees.")
        else:
            typer.echo("\n".join(["The audit log was changed:", *_indented(report.problems)]))
        for notice in report.notices:
            typer.echo(notice)
    raise typer.Exit(0 if report.ok else 1)


@audit.command("export")
def audit_export(
    out: Annotated[Path, typer.Option(help="The file to write.")],
    form: Annotated[
        Form | None, typer.Option("--format", help="Default: by the file's name, else jsonl.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only what concerns this model.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only what this person or part did.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="From then on (UTC).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Before then (UTC).")
    ] = None,
) -> None:
    """Write entries with their proofs to a file that can be checked without us.

    The whole log proves that nothing is missing; a part proves that each of its entries is in the log.

    Examples: `homeostat audit export --out audit.jsonl` ·
    `homeostat audit export --out churn.csv --model churn --since 2026-10-01`
    """
    from db.audit.export import Filter, export

    proofs = _proofs()
    wanted = Filter(model=model, actor=actor, since_us=_us(since), until_us=_us(until))
    chosen = form or (Form.CSV if out.suffix == ".csv" else Form.JSONL)
    count = -1 if chosen is Form.JSONL else -2
    lines = export(proofs, wanted, chosen.value)
    # The first line is made before the file is opened: where nothing can be proven, an older export stays.
    first = next(lines)
    with out.open("w", encoding="utf-8", newline="") as target:
        for line in chain([first], lines):
            target.write(f"{line}\n")
            count += 1
    typer.echo(f"{count} entries in {out}. Check it: homeostat audit verify --export {out}")


@audit.command("prove")
def audit_prove(
    entry: Annotated[str, typer.Argument(help="The entry's index (the # of `audit list`), or its id.")],
) -> None:
    """Print an entry and the proof that it is in the log, as `audit verify --export` takes it.

    Example: `homeostat audit prove 17 > entry-17.jsonl`
    """
    from db.audit.export import lines

    statement, proven = _proofs().inclusion(int(entry) if re.fullmatch(r"\d{1,16}", entry) else entry)
    for line in lines(statement, [proven], "jsonl"):
        typer.echo(line)


@audit.command("redact")
def audit_redact(
    entry: Annotated[int, typer.Argument(min=0, help="The entry's index (the # of `audit list`).")],
    reason: Why,
    fields: Annotated[
        list[str] | None, typer.Option("--field", help="Such as `actor` or `detail.reason`; may be repeated.")
    ] = None,
    dry_run: DryRun = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Remove personal data from an entry for good. The log keeps a salted hash, so that every proof stays valid.

    The redaction is an entry of its own. Rows of the database that the entry wrote lose the same words. Where they
    still stand, and what no command reaches, is told.

    Example: `homeostat audit redact 17 --field actor --field detail.reason --reason "request 2026-81"`
    """
    from deploy.redaction import remaining

    done = _keeper(
        lambda keeper, at_us, who: keeper.redact(
            entry, fields or [], at_us=at_us, actor=who, reason=reason, dry_run=dry_run
        ),
        by,
    )
    removed, left = [each for each in done.told.fields if each in (fields or [])], list(remaining(done))
    if as_json:
        told = {"dry_run": dry_run, "entry": done.told.entry, "removed": removed, "remaining": left}
        typer.echo(json.dumps(told, indent=2))
    else:
        verb = "would be removed" if dry_run else "is removed"
        typer.echo("\n".join([f"Entry {done.told.entry}: {', '.join(removed)} {verb}.", *_indented(left)]))


@audit.command("rotate")
def audit_rotate(
    reason: Why,
    witness: Annotated[bool, typer.Option("--witness", help="The witness's key, not the log's.")] = False,
    dry_run: DryRun = False,
    by: By = None,
) -> None:
    """Sign with a new key from now on. What the old key signed stays valid; its private half is deleted.

    Examples: `homeostat audit rotate --reason "yearly"` · `homeostat audit rotate --witness --reason "yearly"`
    """

    if dry_run:
        used = _keeper(lambda keeper, *_: keeper.in_use(witness=witness, reason=reason), by)
        typer.echo(f"This key would be replaced:\n{used}")
        return

    def rotate(keeper: "Keeper", at_us: int, who: str) -> "Rotation":
        change = keeper.rotate_witness if witness else keeper.rotate
        return change(at_us=at_us, actor=who, reason=reason)

    told = _keeper(rotate, by)
    typer.echo(f"From now on this key signs; give it to your auditors:\n{told.new}")


@audit.command("restored")
def audit_restored(reason: Why, dry_run: DryRun = False, by: By = None, topic: Topic = None) -> None:
    """Tell that the database was restored from a backup: a signed entry that names what is lost.

    Until then nothing is signed and `audit verify` fails, for a restored backup looks like a log that was cut off.

    Example: `homeostat audit restored --reason "disk failure on db-2, backup of 03:00"`
    """
    operator(by)
    notes = _topic_notes(topic, catch_up=not dry_run)
    told = _keeper(
        lambda keeper, at_us, who: keeper.restored(
            at_us=at_us, actor=who, reason=reason, topic=notes, dry_run=dry_run
        ),
        by,
    )
    verb = "would go on" if dry_run else "goes on"
    typer.echo(
        f"The log {verb} after {told.entries} entries. Lost are the entries {told.entries} to {told.lost_until - 1}."
    )


def _verify_export(file: Path, key: str | None, as_json: bool) -> None:
    import msgspec

    from db.audit.offline import verify_export

    report = verify_export(file, key)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(report), indent=2))
        raise typer.Exit(0 if report.ok else 1)
    if not report.ok:
        typer.echo("\n".join(["The export was changed:", *_indented(report.problems)]))
        raise typer.Exit(1)
    share = "all" if report.complete else f"{report.entries} of"
    typer.echo(f"The export is intact: {share} {report.size} entries, signed by {report.key}.")
    if report.witness:
        typer.echo(f"A witness cosigned: {report.witness}.")
    if not report.pinned:
        typer.echo("The key is the file's own word: compare it with one that you have from elsewhere.")
    raise typer.Exit(0)


def _topic_notes(wanted: bool | None, *, catch_up: bool = False) -> list[str] | None:
    """The notes in the Kafka topic; None when it shall not, or cannot, be looked at. `catch_up`: first publish what
    the agent has not."""
    from db.audit.feed import Feed
    from streams.bus import KafkaBus
    from streams.topics import AUDIT_CHECKPOINTS

    if wanted is False:
        return None
    if wanted is None:
        try:
            broker_address(Settings())
        except UserError:
            return None

    async def read(broker: str) -> list[str]:
        async with KafkaBus(broker, "homeostat-audit") as bus:
            if catch_up:
                await Feed(bus, AUDIT_CHECKPOINTS, Settings().audit_path).run_once()
            found = await bus.read_all(AUDIT_CHECKPOINTS)
        return [message.value.decode(errors="replace") for message in found if message.value is not None]

    return on_broker(read, _TOPIC_S)


def _keeper(work: "Callable[[Keeper, int, str], T]", by: str | None) -> T:
    from db.audit.keeping import Keeper
    from deploy.pieces import existing_database

    settings, who = Settings(), operator(by)
    try:
        keeper = Keeper(existing_database(settings), settings.audit_path)
        return work(keeper, time.time_ns() // 1_000, who)
    except ValueError as error:
        raise UserError(str(error)) from error


def _proofs() -> "Proofs":
    from db.audit.proofs import Proofs
    from deploy.pieces import existing_database

    settings = Settings()
    return Proofs(existing_database(settings), settings.audit_path)


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1e6)


def _indented(sentences: list[Any]) -> list[str]:
    return [f"  {sentence}" for sentence in sentences]
