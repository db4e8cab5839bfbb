"""Commands of the dead letters: list, show, replay."""

import json
import re
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from deploy.cli.acting import By, operator, recorded
from deploy.cli.broker import on_broker
from deploy.cli.printing import rfc_3339, show_table
from deploy.errors import UserError

if TYPE_CHECKING:
    from streams.deadletters import DeadLetter, Wanted

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Model = Annotated[str | None, typer.Option(help="Only this model; `_unknown` for what names none.")]
Reason = Annotated[str | None, typer.Option(help="Only where this stands in the reason or the field.")]
Since = Annotated[
    str | None, typer.Option(help="Only those written since then: `30m`, `2h`, `7d`, or a time in RFC 3339.")
]
_SPANS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

deadletters = typer.Typer(
    no_args_is_help=True,
    help="Rows that could not be accepted: why, where they stood, what they were; and sending them again.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(deadletters, name="deadletters")


@deadletters.command("list")
def deadletters_list(
    model: Model = None,
    reason: Reason = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first.

    Examples: `homeostat deadletters list --model churn --since 2h` · `homeostat deadletters list --reason score --json`
    """
    from streams.deadletters_read import list_deadletters

    wanted = _wanted(model, reason, since)
    letters = _run(lambda broker: list_deadletters(broker, limit, wanted=wanted))
    if as_json:
        typer.echo(json.dumps({"items": [_data(letter) for letter in letters]}, indent=2))
        return
    show_table([_row(letter) for letter in letters], ["number", "written", "model", "stood at", "reason"])
    if any(_first(letter.reason) != letter.reason for letter in letters):
        typer.echo("`homeostat deadletters show NUMBER` says what can be done, and prints the original.")


@deadletters.command("show")
def deadletters_show(number: int) -> None:
    """One dead letter with its original, as JSON.

    Example: `homeostat deadletters show 4711`
    """
    from streams.deadletters import Wanted
    from streams.deadletters_read import list_deadletters

    wanted = Wanted(numbers=frozenset((number,)))
    found = _run(lambda broker: list_deadletters(broker, 1, wanted=wanted))
    if not found:
        raise UserError(f"There is no dead letter {number}. `homeostat deadletters list` shows the newest.")
    typer.echo(json.dumps(_data(found[0]), indent=2))


@deadletters.command("replay")
def deadletters_replay(
    numbers: Annotated[list[int] | None, typer.Argument(help="Only these letters.")] = None,
    model: Model = None,
    reason: Reason = None,
    since: Since = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Every letter there is.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters again, to the topic they came from.

    A letter that was sent is not sent a second time; what fails again becomes a new letter that names the old one.

    Examples: `homeostat deadletters replay --model churn --dry-run` · `homeostat deadletters replay 4711 4712`
    """
    from streams.deadletters_replay import replay_deadletters

    if not (numbers or model or reason or since or all_of_them):
        raise typer.BadParameter("say which letters to send: numbers, --model, --reason, --since, or --all")
    who, wanted = operator(by), _wanted(model, reason, since, numbers)
    if dry_run:
        result = _run(lambda broker: replay_deadletters(broker, wanted, dry_run=True))
    else:
        asked = {"numbers": numbers, "model": model, "refused_for": reason, "since": since}
        told = {name: value for name, value in asked.items() if value is not None}
        verbs = ("deadletters.replay", "deadletters.replayed")
        with recorded(who, "deadletters", verbs, told, loud=False) as outcome:
            result = _run(lambda broker: replay_deadletters(broker, wanted))
            outcome |= {name: len(getattr(result, name)) for name in ("sent", "before", "refused")}
    if as_json:
        typer.echo(
            json.dumps(
                {"dry_run": dry_run, "sent": result.sent, "before": result.before}
                | {"refused": {str(number): why for number, why in result.refused.items()}},
                indent=2,
            )
        )
    else:
        verb = "would be sent" if dry_run else "sent"
        typer.echo(f"{len(result.sent)} {verb}, {len(result.before)} were sent before.")
        for number, why in result.refused.items():
            typer.echo(f"{number} cannot be sent again: {why}.")
    missing = sorted({*(numbers or ())} - {*result.sent, *result.before, *result.refused})
    for number in missing:
        typer.echo(f"There is no dead letter {number} to which all that you say applies.", err=True)
    raise typer.Exit(1 if result.refused or missing else 0)


def _wanted(
    model: str | None, reason: str | None, since: str | None, numbers: list[int] | None = None
) -> "Wanted":
    from streams.deadletters import Wanted

    since_ms = None if since is None else _since_ms(since)
    chosen = frozenset(numbers) if numbers else None
    return Wanted(model=model, reason=reason, since_ms=since_ms, numbers=chosen)


def _since_ms(text: str) -> int:
    span = re.fullmatch(r"(\d+)([smhd])", text)
    if span:
        return int((time.time() - int(span[1]) * _SPANS_S[span[2]]) * 1_000)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        reason = f"{text!r} must be such as 30m, 2h, 7d or 2026-11-21T10:00:00Z"
        raise typer.BadParameter(reason, param_hint="--since") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)


def _data(letter: "DeadLetter") -> dict[str, Any]:
    """A letter as people read it: the original as text where it is text."""
    import base64

    try:
        original: dict[str, str] = {"original": letter.original.decode()}
    except UnicodeDecodeError:
        original = {"original_base64": base64.b64encode(letter.original).decode()}
    return {
        "number": letter.number,
        "written": _written(letter),
        "model": letter.model,
        "stage": letter.stage,
        "reason": letter.reason,
        "field": letter.field,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "row": letter.row,
        "replay_of": letter.replay_of,
        "truncated": letter.truncated,
        "headers": {name: value.decode(errors="replace") for name, value in letter.headers},
        **original,
    }


def _row(letter: "DeadLetter") -> dict[str, Any]:
    """A letter as a line of the list."""
    row = "" if letter.row is None else f"#{letter.row}"
    topic = letter.topic.removeprefix("homeostat.")
    reason = _first(letter.reason)
    return {
        "number": letter.number,
        "written": _written(letter),
        "model": letter.model,
        "stood at": f"{topic}/{letter.partition}@{letter.offset}{row}",
        "reason": reason if letter.field in reason else f"{letter.field}: {reason}",
    }


def _first(reason: str) -> str:
    """The first sentence: what is wrong. The others, what to do, stand in `show`."""
    return reason.split(". ", 1)[0]


def _written(letter: "DeadLetter") -> str:
    return rfc_3339(letter.written_ms * 1_000)


def _run(work: Callable[[str], Coroutine[Any, Any, T]]) -> T:
    from streams.deadletters_replay import ReplayOvertaken

    try:
        return on_broker(work)
    except ReplayOvertaken as error:
        raise UserError(f"Stopped: {error}.") from error
