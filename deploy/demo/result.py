"""What a run of the demo found out, as data and as a summary for the terminal."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from remediation.vocabulary import CAUSES


@dataclass(slots=True, kw_only=True)
class IncidentResult:
    """One incident as measured from outside. Durations in seconds: from the fault to the incident, from the
    question to the decision, from there to serving's acknowledgement, from there to the proven recovery."""

    id: str
    fault: str
    cause: str
    outcome: str
    outcome_text: str
    action: str | None = None
    detected_s: float | None = None
    approved_s: float | None = None
    acted_s: float | None = None
    recovered_s: float | None = None
    accuracy_before: float | None = None
    accuracy_during: float | None = None
    accuracy_after: float | None = None
    rows_before: int = 0
    rows_during: int = 0
    rows_after: int = 0
    balanced_accuracy: dict[str, float] = field(default_factory=dict[str, float])
    """Only where the world moved: champion, retrained, and a model trained with all data, each scored on subjects that
    none of them has seen, each counted once; `constant` is what a constant answer gets."""


@dataclass(slots=True, kw_only=True)
class DemoResult:
    """The whole run. Written as JSON by `--json`."""

    seed: int
    data: str
    faults: bool
    incidents: list[IncidentResult] = field(default_factory=list[IncidentResult])
    passed: list[str] = field(default_factory=list[str])
    """Incidents that were over by themselves: a busy machine answers late for a moment."""
    predictions: int = 0
    requests: int = 0
    failed_requests: int = 0
    audit_verified: bool = False
    audit_entries: int = 0
    accounting: dict[str, Any] = field(default_factory=dict[str, Any])
    report: str | None = None
    report_message: str | None = None
    console: str = ""
    home: str = ""
    duration_s: float = 0.0
    peak_memory_mib: int = 0
    problems: list[str] = field(default_factory=list[str])

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def print_summary(result: DemoResult, console: Console, *, kept: bool) -> None:
    """The last thing the person sees."""
    console.print()
    console.rule("[bold]What happened")
    if result.incidents:
        console.print(_incident_table(result.incidents))
    else:
        console.print(
            "No incident was opened." if not result.faults else "[red]No incident was opened.[/red]"
        )
    for incident in result.incidents:
        console.print(f"  [bold]{_cause(incident)}[/bold]: {escape(incident.outcome_text)}", highlight=False)
        if incident.balanced_accuracy:
            scores = ", ".join(f"{name} {value:.3f}" for name, value in incident.balanced_accuracy.items())
            console.print(f"  [dim]balanced accuracy on what no model has seen: {scores}[/dim]")
    console.print()
    console.print(_checks(result))
    _print_report(result, console)
    _print_next(result, console, kept)


def _cause(incident: IncidentResult) -> str:
    return next((told for cause, told in CAUSES.items() if cause == incident.cause), incident.cause)


def _incident_table(incidents: list[IncidentResult]) -> Table:
    """One column for each incident, so that it fits a narrow terminal without a word cut off."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for title in ("", *(each.fault for each in incidents)):
        table.add_column(title, overflow="fold")
    table.add_row("cause", *map(_cause, incidents))
    spans: tuple[tuple[str, Callable[[IncidentResult], float | None]], ...] = (
        ("detected after", lambda each: each.detected_s),
        ("approved after", lambda each: each.approved_s),
        ("acted after", lambda each: each.acted_s),
        ("recovered after", lambda each: each.recovered_s),
    )
    for title, span in spans:
        table.add_row(title, *(_or_dash(span(each), "{:.1f} s") for each in incidents))
    rates: tuple[tuple[str, Callable[[IncidentResult], float | None]], ...] = (
        ("accuracy before", lambda each: each.accuracy_before),
        ("during", lambda each: each.accuracy_during),
        ("after", lambda each: each.accuracy_after),
    )
    for title, rate in rates:
        table.add_row(title, *(_or_dash(rate(each), "{:.1%}") for each in incidents))
    outcomes = [(each.outcome, "green" if each.outcome == "resolved" else "yellow") for each in incidents]
    table.add_row("outcome", *(f"[{colour}]{outcome}[/{colour}]" for outcome, colour in outcomes))
    return table


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _checks(result: DemoResult) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    closes = bool(result.accounting.get("closes"))
    rows = (
        ("failed requests", f"{result.failed_requests} of {result.requests:,}", result.failed_requests == 0),
        ("every event accounted for", "yes" if closes else f"no: {result.accounting}", closes),
        (
            "audit log verified",
            f"{result.audit_entries} entries" if result.audit_verified else "NO",
            result.audit_verified,
        ),
    )
    for title, text, good in rows:
        table.add_row(title, f"[{'green' if good else 'red'}]{text}[/]")
    table.add_row(
        "predictions",
        f"{result.predictions:,} in {result.duration_s:.0f} s, {result.peak_memory_mib:,} MiB at most",
    )
    return table


def _print_report(result: DemoResult, console: Console) -> None:
    # Not wrapped: a path that is broken into lines cannot be copied.
    report = escape(result.report) if result.report else "[yellow]not written[/yellow]"
    console.print(f"report                     {report}", soft_wrap=True)
    if result.report_message:
        console.print(f"[yellow]{escape(result.report_message)}[/yellow]")


def _print_next(result: DemoResult, console: Console, kept: bool) -> None:
    for problem in result.problems:
        console.print(f"[red]{escape(problem)}[/red]")
    console.print()
    console.print("[bold]What to try next[/bold]")
    if kept:
        home = Path(result.home)
        console.print(f"  the console                {result.console}")
        console.print(
            f"  who did what               uv run homeostat --home {home} audit list", soft_wrap=True
        )
        console.print(f"  stop it                    uv run homeostat --home {home} down", soft_wrap=True)
    else:
        console.print("  look around                uv run homeostat demo --keep")
        console.print("  decide yourself            uv run homeostat demo --approve")
    console.print("  nothing is wrong           uv run homeostat demo --no-faults")
    console.print("  your own model             the README's three lines")
