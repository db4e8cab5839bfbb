"""Commands over the records: incidents, approvals, actions, models."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli import reasons
from deploy.cli.printing import moment, show_table
from deploy.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Limit = Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")]
By = Annotated[str | None, typer.Option(help="Who decides (default: your login name).")]


def _group(text: str) -> typer.Typer:
    return typer.Typer(no_args_is_help=True, help=text, rich_markup_mode="markdown")


incidents = _group("What was wrong with which model, and how it ended.")
approvals = _group("What waits for a person's decision.")
actions = _group("What was done.")
models = _group("The versions of each model, and which one serves.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for name, group in (
        ("incidents", incidents),
        ("approvals", approvals),
        ("actions", actions),
        ("models", models),
    ):
        app.add_typer(group, name=name)


def _show(answer: dict[str, Any], as_json: bool, columns: dict[str, str], cut: str | None = None) -> None:
    """Print `items` of an answer as JSON, or as a table with `columns` {title: key}; `cut` as `show_table` has it."""
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    show_table(answer["items"], columns, cut=cut)
    if answer.get("next_cursor"):
        typer.echo("There are more: raise --limit.", err=True)


def _client() -> Any:
    from deploy.cli.client import ApiClient

    return ApiClient(Settings())


@incidents.command("list")
def incidents_list(
    state: Annotated[str | None, typer.Option(help="Only this state, such as `awaiting_approval`.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List incidents, newest first. A summary is cut where the terminal ends; a pipe and `--json` have all of it.

    Example: `homeostat incidents list --state awaiting_approval`
    """
    answer = _client().get("/incidents", state=state, model=model, limit=limit)
    columns = {
        "id": "id",
        "model": "model",
        "state": "state",
        "cause": "cause",
        "opened": "opened_at",
        "summary": "summary",
    }
    _show(answer, as_json, columns, cut="summary")


@incidents.command("show")
def incidents_show(incident_id: str) -> None:
    """Everything about one incident, as JSON.

    Example: `homeostat incidents show inc-3f2a`
    """
    typer.echo(json.dumps(_client().get(f"/incidents/{incident_id}"), indent=2))


@incidents.command("feedback")
def incidents_feedback(
    incident_id: str,
    false_alarm: Annotated[
        bool,
        typer.Option("--false-alarm", help="Nothing was wrong: end it, and be more careful from now on."),
    ] = False,
    expected: Annotated[
        bool, typer.Option("--expected", help="It was known and will pass: be silent until it has.")
    ] = False,
    new_normal: Annotated[
        bool, typer.Option("--new-normal", help="This is how it is from now on: compare with it.")
    ] = False,
    cause: Annotated[
        str | None,
        typer.Option(help="What the cause really was, such as label_problem: kept for incidents like it."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was said last.")] = False,
    why: Annotated[str | None, typer.Option(callback=reasons.why, help="Why, for the record.")] = None,
    by: By = None,
) -> None:
    """Say what an incident was; the judge takes it before its next window.

    Example: `homeostat incidents feedback inc-3f2a --expected --why "the campaign of this week"`

    Example: `homeostat incidents feedback inc-3f2a --cause label_problem --why "the export had the classes swapped"`
    """
    from deploy.cli.client import whoami

    given = {"false alarm": false_alarm, "expected": expected, "new normal": new_normal, "taken back": undo}
    chosen = [said for said, is_said in given.items() if is_said]
    if len(chosen) + (cause is not None) != 1:
        raise typer.BadParameter(
            "say exactly one of --false-alarm, --expected, --new-normal, --cause and --undo"
        )
    if cause is not None:
        verdict = {"cause": cause, "by": by or whoami(), "why": why}
        _client().post(f"/incidents/{incident_id}/cause", verdict)
        typer.echo(f"{incident_id}: the cause was {cause}. It counts where an incident shows the same again.")
        return
    body: dict[str, object] = {"said": chosen[0], "by": by or whoami(), "why": why}
    for one in _client().post_list(f"/incidents/{incident_id}/feedback", body):
        segment = "" if one["segment"] == "all" else f", {one['segment']}"
        typer.echo(
            f"{one['model']} version {one['version']}{segment}, {one['kind']}: {one['said']}. "
            "It takes effect with the next window."
        )


@incidents.command("postmortem")
def incidents_postmortem(
    incident_id: str,
    pdf: Annotated[Path | None, typer.Option(help="Write a PDF here instead.")] = None,
) -> None:
    """What happened, since when, why, who decided what, what it cost, and how long each phase took, as Markdown.

    Example: `homeostat incidents postmortem inc-3f2a > inc-3f2a.md`

    Example: `homeostat incidents postmortem inc-3f2a --pdf inc-3f2a.pdf`
    """
    text = _client().text(f"/incidents/{incident_id}/postmortem")
    if pdf is None:
        typer.echo(text)
        return
    from reporting.document import write_document

    message = write_document(text, f"Post-mortem of {incident_id}", pdf)
    typer.echo(message or str(pdf), err=message is not None)
    raise typer.Exit(1 if message else 0)


@approvals.command("list")
def approvals_list(
    state: Annotated[str | None, typer.Option(help="pending, approved, rejected, expired or void.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List approval tickets, newest first, and what an approved plan waits for, where it does. What is asked is cut
    where the terminal ends, not in a pipe or `--json`.

    Example: `homeostat approvals list --state pending`
    """
    answer = _client().get("/approvals", state=state, limit=limit)
    columns = {
        "id": "id",
        "state": "state",
        "asked": "requested_at",
        "expires": "expires_at",
        "decided by": "decided_by",
        **({"waits for": "waits_for"} if any(each["waits_for"] for each in answer["items"]) else {}),
        "what is asked": "asks",
    }
    _show(answer, as_json, columns, cut="what is asked")


@approvals.command("show")
def approvals_show(approval_id: str) -> None:
    """One ticket with its plan and incident, as JSON.

    Example: `homeostat approvals show apr-91c2`
    """
    typer.echo(json.dumps(_client().get(f"/approvals/{approval_id}"), indent=2))


@approvals.command("approve")
def approvals_approve(
    approval_id: str,
    by: By = None,
    reason: Annotated[str | None, typer.Option(callback=reasons.why, help="Why.")] = None,
    break_glass: Annotated[
        bool,
        typer.Option(help="Act alone and in a freeze. Needs --reason and a role for it; the record says so."),
    ] = False,
) -> None:
    """Approve the plan of a ticket; it is executed as soon as everybody has approved who must.

    Example: `homeostat approvals approve apr-91c2 --reason "agreed with the release team"`
    """
    _decide(approval_id, "approve", by, reason, break_glass=break_glass)


@approvals.command("reject")
def approvals_reject(
    approval_id: str,
    reason: Annotated[str, typer.Option(callback=reasons.why, help="Why not.")],
    by: By = None,
) -> None:
    """Reject the plan of a ticket.

    Example: `homeostat approvals reject apr-91c2 --reason "known campaign, ends tonight"`
    """
    _decide(approval_id, "reject", by, reason)


@approvals.command("snooze")
def approvals_snooze(
    approval_id: str,
    last: Annotated[str, typer.Option("--for", help="How long, such as `30m`; a day at most.")] = "30m",
    by: By = None,
) -> None:
    """Be silent about a ticket for a while: no reminder, no escalation. It expires as it would have.

    Example: `homeostat approvals snooze apr-91c2 --for 1h`
    """
    from deploy.cli.client import whoami
    from streams.files.monitor import seconds

    try:
        minutes = seconds(last) / 60
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error
    body: dict[str, object] = {"by": by or whoami(), "minutes": minutes, "channel": "cli"}
    ticket = _client().post(f"/approvals/{approval_id}/snooze", body)
    typer.echo(f"{ticket['id']} is snoozed until {moment(ticket['snoozed_until_at'])}.")


def _decide(
    approval_id: str, verb: str, by: str | None, reason: str | None, *, break_glass: bool = False
) -> None:
    from deploy.cli.client import whoami

    client = _client()
    shown = client.get(f"/approvals/{approval_id}")
    body: dict[str, object] = {"by": by or whoami(), "reason": reason, "channel": "cli"}
    body["plan_hash"] = shown["plan_hash"]
    body["break_glass"] = break_glass
    ticket = client.post(f"/approvals/{approval_id}/{verb}", body)
    if ticket["state"] == "pending":
        typer.echo(f"{ticket['id']}: {len(ticket['votes'])} of {ticket['quorum']} have approved.")
    else:
        typer.echo(f"{ticket['id']} is {ticket['state']} (by {ticket['decided_by']}).")
    if ticket.get("waits_for"):
        typer.echo(f"It waits: {ticket['waits_for']}.")
    typer.echo(f"{'Not to be done: ' if verb == 'reject' else ''}{shown['asks']}", err=True)


@actions.command("cancel")
def actions_cancel(
    action_id: str,
    reason: Annotated[str, typer.Option(callback=reasons.why, help="Why it shall go no further.")],
    by: By = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be taken back, and change nothing.")
    ] = False,
) -> None:
    """Stop an action under way: what it decided is taken back, and its incident is left to people.

    Example: `homeostat actions cancel act-7c1d0a52b3f4e6a8 --reason "the campaign explains it"`
    """
    from deploy.cli.client import whoami

    body: dict[str, object] = {"by": by or whoami(), "reason": reason, "dry_run": dry_run}
    answer = _client().post(f"/actions/{action_id}/cancel", body)
    if dry_run:
        typer.echo(told_of_cancelling(answer))
        return
    typer.echo(f"{answer['id']} goes no further: what it decided is taken back, and people go on from there.")
    typer.echo(f"How it ends: homeostat incidents show {answer['incident_id']}", err=True)


def told_of_cancelling(action: dict[str, Any]) -> str:
    """What would come of stopping the action now."""
    from remediation.actions import CANCEL

    steps = action["steps"]
    what = f"{action['id']} ({action['kind']} of {action['model']})"
    if any(each["name"] == CANCEL for each in steps):
        return f"{what} is stopped already; nothing more would come of it."
    under_way = [each["name"] for each in steps if each["state"] == "intended"]
    further = f"than the step {under_way[0]}" if under_way else "than it is"
    begun = {each["name"] for each in steps}
    if "call" in begun:
        back = "what it called for would be taken back where its plan says how"
    else:
        back = "what it decided would be taken back" if "decide" in begun else "it has decided nothing yet"
    return f"{what} would go no further {further}; {back}."


@actions.command("list")
def actions_list(
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List executed plans, newest first.

    Example: `homeostat actions list --model churn --json`
    """
    answer = _client().get("/actions", model=model, limit=limit)
    columns = {
        "id": "id",
        "model": "model",
        "kind": "kind",
        "state": "state",
        "to": "to_version",
        "outcome": "outcome",
    }
    _show(answer, as_json, columns)


@models.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List models, the version that serves, and registered versions that never served.

    Example: `homeostat models list`
    """
    answer = _client().get("/models")
    if not as_json:
        for each in answer["items"]:
            each["never_served"] = ", ".join(each["never_served"] or ())
    columns = {
        "model": "model",
        "serves": "version",
        "epoch": "epoch",
        "served so far": "versions",
        "never served": "never_served",
        "not measured, because": "undefined",
    }
    _show(answer, as_json, columns)
    if answer["registry"] != "ok":
        typer.echo(
            f"Versions that never served are not known: {answer['registry'].removesuffix('.')}.", err=True
        )


@models.command("show")
def models_show(model: str) -> None:
    """Versions, deployments and the desired state of one model, as JSON.

    Example: `homeostat models show churn`
    """
    typer.echo(json.dumps(_client().get(f"/models/{model}"), indent=2))


@models.command("trends")
def models_trends(
    model: str,
    version: Annotated[str | None, typer.Option(help="Default: the one that serves.")] = None,
    as_json: AsJson = False,
) -> None:
    """Where each measure is heading over its last windows: improving, stable or degrading.

    Example: `homeostat models trends churn`
    """
    answer = _client().get(f"/models/{model}/trends", version=version)
    titles = ("measure", "feature", "axis", "trend", "windows", "start", "now", "undefined")
    _show(answer, as_json, {title: title for title in titles})


@models.command("promote")
def models_promote(
    model: str,
    version: str,
    reason: Annotated[str, typer.Option(callback=reasons.why, help="Why this version shall serve.")],
    by: By = None,
    break_glass: Annotated[
        bool, typer.Option(help="Act alone and in a freeze. Needs a role for it; the record says so.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, say what would be decided, and change nothing."),
    ] = False,
) -> None:
    """Make a registered version serve.

    Example: `homeostat models promote churn 7 --reason "spring release"`
    """
    from deploy.cli.client import whoami

    body: dict[str, object] = {"version": version, "by": by or whoami(), "reason": reason}
    body |= {"break_glass": break_glass, "dry_run": dry_run}
    answer = _client().post(f"/models/{model}/promote", body)
    shall = "would serve" if dry_run else "shall serve"
    typer.echo(f"{model} {shall} version {answer['version']} (epoch {answer['epoch']}).")
