"""Commands that write the database, keys, the archive or Kafka themselves, with no API in between: who may give them,
and what the audit log tells of it."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.client import whoami
from deploy.errors import UserError
from deploy.settings import Settings

if TYPE_CHECKING:
    from remediation.policy import Policy

By = Annotated[str | None, typer.Option(help="Who does it (default: your login name).")]


def operator(by: str | None) -> str:
    """The name of who gives the command, which takes one of the policy's `operators`. Raises `UserError`."""
    return _asked(by, lambda policy: policy.operators)


def releaser(by: str | None, model: str) -> str:
    """The same for what brings a version of a model to where it can be promoted: one who may promote it."""
    return _asked(by, lambda policy: policy.rule_of(model, "promote").roles)


@contextmanager
def recorded(
    by: str, subject: str, verbs: tuple[str, str], detail: Mapping[str, object], *, loud: bool = True
) -> Generator[dict[str, object]]:
    """Tell the audit log of what the block does: before it, and of its outcome, so that a process that dies in between
    leaves a record. `verbs`: `("model.register", "model.registered")` makes `model.register_intended` with `detail`,
    and then `model.registered` with what the block has put in too (under `subject` another subject, under `action`
    another ending), or `model.register_failed` with the reason. Where there is no database nothing is told, and with
    `loud` the person hears of it."""
    imperative, done = verbs
    write = _writer(by, loud)
    write(f"{imperative}_intended", subject, detail)
    outcome: dict[str, object] = dict(detail)
    try:
        yield outcome
    except Exception as error:
        write(f"{imperative}_failed", subject, {**detail, "why": str(error)})
        raise
    write(str(outcome.pop("action", done)), str(outcome.pop("subject", subject)), outcome)


def _asked(by: str | None, roles: "Callable[[Policy], tuple[str, ...]]") -> str:
    from deploy.pieces import policy
    from remediation.entitlement import entitled
    from remediation.errors import NotEntitled

    known, name = policy(Settings()), by or whoami()
    try:
        return entitled(known, name, "cli", roles(known))
    except NotEntitled as error:
        told = "" if by else " Without --by it is your login name."
        raise UserError(f"{error}{told}") from error


def _writer(by: str, loud: bool) -> Callable[[str, str, Mapping[str, object]], None]:
    from deploy.pieces import existing_database, has_database

    settings = Settings()
    if not has_database(settings):
        if loud:
            typer.echo(f"There is no database in {settings.home}, so no audit log tells of this.", err=True)
        return lambda action, subject, detail: None
    from db.audit.leaves import append
    from db.engine import writing

    engine = existing_database(settings)

    def write(action: str, subject: str, detail: Mapping[str, object]) -> None:
        with writing(engine) as connection:
            append(
                connection,
                at_us=time.time_ns() // 1_000,
                actor=by,
                action=action,
                subject=subject,
                detail=detail,
            )
        engine.dispose()

    return write
