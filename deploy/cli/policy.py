"""Commands over the policy: who decides about what."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.settings import Settings

policy = typer.Typer(
    no_args_is_help=True,
    help="Who may decide about what, how many it takes, and when nothing may be changed. How to write it: "
    "docs/approvals.md.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(policy, name="policy")


@policy.command("lint")
def policy_lint(
    file: Annotated[
        Path | None, typer.Argument(help="The policy (YAML). Default: that of HOMEOSTAT_POLICY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Check a policy: its fields, rules that nobody could fulfil, roles that nobody has. Exit 1 when anything is wrong.

    Example: `homeostat policy lint policy.yaml`
    """
    from remediation.errors import PolicyInvalid
    from remediation.policy_file import read_policy
    from reporting.words import count

    named = file or Settings().policy
    if named is None:
        raise typer.BadParameter("name a file: HOMEOSTAT_POLICY is not set", param_hint="FILE")
    mistakes: list[str] = []
    told = ""
    try:
        found = read_policy(named)
        people, rules = count(len(found.people), "person", "people"), count(len(found.rules), "rule")
        told = f"{named}: {people}, {rules}: nothing is wrong."
    except PolicyInvalid as error:
        mistakes = str(error).splitlines()
    if as_json:
        typer.echo(json.dumps({"ok": not mistakes, "mistakes": mistakes}, indent=2))
    else:
        typer.echo(told or "\n".join(mistakes))
    raise typer.Exit(1 if mistakes else 0)
