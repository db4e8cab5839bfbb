"""Commands over playbooks: which incident is treated how."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy import pieces
from deploy.cli.printing import show_table
from deploy.errors import UserError
from deploy.settings import Settings

if TYPE_CHECKING:
    from deploy.dry_run import DryRun
    from remediation.playbooks.planner import Consideration
    from remediation.playbooks.values import Playbooks
    from remediation.values import Incident

playbooks = typer.Typer(
    no_args_is_help=True,
    help="Which incident is treated how: a file of playbooks checked, tried on paper, and held against the past. "
    "How to write one: docs/playbooks.md.",
    rich_markup_mode="markdown",
)
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="Playbooks to try (default: those of HOMEOSTAT_PLAYBOOKS)."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(playbooks, name="playbooks")


@playbooks.command("schema")
def playbooks_schema() -> None:
    """The JSON Schema of a file of playbooks, for editors and pipelines.

    Example: `homeostat playbooks schema > playbooks.schema.json`
    """
    from remediation.playbooks.files import schema

    typer.echo(json.dumps(schema(), indent=2, sort_keys=True))


@playbooks.command("show")
def playbooks_show(file: File = None, as_json: AsJson = False) -> None:
    """What is in force, in the order in which it is asked, with the playbooks that come with Homeostat, as a file.

    Example: `homeostat playbooks show > mine.yaml`
    """
    import msgspec

    from remediation.playbooks.files import in_force

    known = _read(file)
    whole = msgspec.structs.replace(known, playbooks=in_force(known), built_in=False)
    told = msgspec.json.format(msgspec.json.encode(whole)) if as_json else msgspec.yaml.encode(whole)
    typer.echo(told.decode().rstrip())


@playbooks.command("lint")
def playbooks_lint(
    file: Annotated[Path, typer.Argument(help="The file of playbooks (YAML).")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a file: its schema, playbooks that are never asked, steps that never run, consent that nobody in the policy
    can give; and, where a stack runs, models that nobody knows. Exit 1 when there is an error.

    Example: `homeostat playbooks lint playbooks.yaml --strict`
    """
    from remediation.config import is_set
    from remediation.playbooks.lint import lint
    from reporting.words import count

    settings = Settings()
    known, models = _read(file), _models(settings)
    found = lint(known, policy=pieces.policy(settings), models=models, configured=is_set)
    wrong = [each for each in found if each.level == "error" or strict]
    if as_json:
        rows = [{"level": each.level, "place": each.place, "text": each.text} for each in found]
        typer.echo(json.dumps({"ok": not wrong, "findings": rows}, indent=2))
    else:
        for each in found:
            typer.echo(f"{each.level}: {each.place}: {each.text}")
        if models is None:
            typer.echo("No stack answers, so the names of models were not checked.", err=True)
        told = count(len(found), "finding") if found else "nothing is wrong"
        typer.echo(f"{file}: {count(len(known.playbooks), 'playbook')}, {told}.")
    raise typer.Exit(1 if wrong else 0)


@playbooks.command("plan")
def playbooks_plan(incident_id: str, file: File = None, as_json: AsJson = False) -> None:
    """What would be done about an incident next, and why; of one that is over, what would have been done first. Nothing
    is done.

    Example: `homeostat playbooks plan inc-3f2a --file playbooks.yaml`
    """
    incident, found, held_up = _dry_run(file).one(incident_id)
    if as_json:
        typer.echo(json.dumps({**_plan_as_json(incident, found), "held_up": held_up}, indent=2))
        return
    _tell_plan(incident, found)
    if held_up is not None:
        typer.echo(f"Held up now: {held_up}.")


@playbooks.command("backtest")
def playbooks_backtest(
    since: Annotated[
        str | None,
        typer.Option(help="Incidents opened from then on: a time, or how long ago, such as `90d`."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="And before then.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """What playbooks would have done about the incidents on record, beside what was done. Whether it would have helped
    nobody can know: only the first step is compared.

    Example: `homeostat playbooks backtest --since 90d --file playbooks.yaml`
    """
    import msgspec

    from deploy.cli.files import moment_us

    found = _dry_run(file).all(
        model=model, since_us=moment_us(since, "--since"), until_us=moment_us(until, "--until")
    )
    counts = {
        "incidents": len(found),
        "same": sum(each.same for each in found),
        "other": sum(not each.same for each in found),
        "told": sum(each.action is None for each in found),
        "by_action": dict(Counter(each.action or "none" for each in found)),
        "by_playbook": dict(Counter(each.playbook or "none" for each in found)),
    }
    rows: list[dict[str, Any]] = [msgspec.to_builtins(each) for each in found]
    if as_json:
        typer.echo(json.dumps({"counts": counts, "items": rows}, indent=2))
        return
    for row, each in zip(rows, found, strict=True):
        row["would"] = each.action or "tell people"
        row["same"] = "" if each.same else "other"
    titles = {
        "incident": "incident_id",
        "model": "model",
        "cause": "cause",
        "playbook": "playbook",
        "would": "would",
        "by": "by",
        "did": "did",
        "ended": "outcome",
        "": "same",
    }
    show_table(rows, titles, empty="No diagnosed incident is on record in this time.")
    if found:
        typer.echo(
            f"{counts['incidents']} incidents: {counts['same']} as it was done, {counts['other']} otherwise; "
            f"people would have been told at once in {counts['told']}."
        )


def _tell_plan(incident: "Incident", found: "Consideration") -> None:
    from remediation.playbooks.proposal import Proposal
    from remediation.playbooks.recall import consent_told
    from serving.words import headline

    typer.echo(
        f"{incident.id}: {incident.model} version {incident.version}, {incident.cause}, {incident.state}"
    )
    for name, why in found.others.items():
        typer.echo(f"  not {name}: {why}")
    typer.echo(f"Playbook: {found.playbook or 'none is for it'}")
    for each in found.steps:
        why = f": {each.why}" if each.why else ""
        typer.echo(f"  step {each.step + 1}, {each.action}: {each.standing}{why}")
    if found.proposal is None:
        typer.echo("Nothing would be proposed.")
    else:
        plan = found.proposal.plan
        typer.echo(f"{headline(plan)}.")
        typer.echo(f"  {plan.blast_radius}")
        typer.echo(f"  Undo: {plan.undo}")
        typer.echo(f"  Consent: {consent_told(found)}.")
    if not isinstance(found.answer, Proposal):
        typer.echo(found.answer.outcome)


def _plan_as_json(incident: "Incident", found: "Consideration") -> dict[str, Any]:
    import msgspec

    from remediation.playbooks.proposal import Proposal
    from remediation.playbooks.recall import consent_told

    proposal = found.proposal
    return {
        "incident_id": incident.id,
        "state": incident.state,
        "cause": incident.cause,
        "playbook": found.playbook,
        "others": found.others,
        "steps": msgspec.to_builtins(found.steps),
        "plan": msgspec.to_builtins(proposal.plan) if proposal else None,
        "approval_needed": proposal.approval_needed if proposal else None,
        "consent": consent_told(found),
        "why_not": None if isinstance(found.answer, Proposal) else found.answer.outcome,
    }


def _dry_run(file: Path | None) -> "DryRun":
    from deploy.dry_run import DryRun, registry

    settings = Settings()
    known = registry(settings)
    if known is None:
        typer.echo(
            "No registry is known: versions are taken from what served, and nothing is known of their features.",
            err=True,
        )
    return DryRun(settings, _read(file), known)


def _read(file: Path | None) -> "Playbooks":
    from remediation.errors import PlaybooksInvalid
    from remediation.playbooks.files import read_playbooks

    if file is None:
        return pieces.playbooks(Settings())
    try:
        return read_playbooks(file)
    except PlaybooksInvalid as error:
        raise UserError(str(error)) from error


def _models(settings: Settings) -> list[str] | None:
    """The names of models that a running stack knows; None where none answers."""
    from deploy.cli.client import ApiClient

    try:
        return [each["model"] for each in ApiClient(settings).get("/models")["items"]]
    except UserError:
        return None
