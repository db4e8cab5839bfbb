"""All rows of a report as CSV: what the pages cut off is here."""

import csv
import io
from collections.abc import Iterable, Sequence

from reporting import words
from reporting.values import ReportData

Cell = str | int | float | bool | None


def csv_tables(data: ReportData) -> dict[str, bytes]:
    """The files by name: points, incidents, actions, accounting. UTF-8 with a header line; times in UTC."""
    return {
        "points.csv": _csv(_POINTS, _points(data)),
        "incidents.csv": _csv(_INCIDENTS, _incidents(data)),
        "actions.csv": _csv(_ACTIONS, _actions(data)),
        "accounting.csv": _csv(("model", "equation", "count", "events"), _accounting(data)),
    }


_POINTS = (
    *("model", "version", "segment", "axis", "window", "start_utc", "end_utc", "rows", "measure", "feature"),
    *(
        "value",
        "low",
        "high",
        "naive",
        "previous",
        "reference",
        "threshold",
        "verdict",
        "undefined",
        "detail",
        "monitor_revision",
        "reference_revision",
        "revision",
    ),
)
_INCIDENTS = (
    *("id", "model", "version", "state", "cause", "confidence", "change_utc", "opened_utc", "closed_utc"),
    *("detect_s", "approve_s", "act_s", "recover_s", "decision", "decided_by", "channel", "reason"),
    *("accuracy_before", "accuracy_during", "accuracy_after", "summary", "outcome"),
)
_ACTIONS = (
    *("id", "incident_id", "plan_id", "kind", "model", "to_version", "to_digest", "state"),
    *("started_utc", "finished_utc", "steps", "outcome"),
)


def _points(data: ReportData) -> Iterable[Sequence[Cell]]:
    for one in data.points:
        times = _time(one.start_us), _time(one.end_us)
        where = one.model, one.version, one.segment, one.axis, one.window, *times, one.rows
        interval, others = (one.low, one.high), (one.naive, one.previous, one.reference, one.threshold)
        what = one.measure, one.feature, one.value, *interval, *others
        yield (
            *where,
            *what,
            one.verdict,
            one.undefined,
            one.detail,
            one.monitor_revision,
            one.reference_revision,
            one.revision,
        )


def _incidents(data: ReportData) -> Iterable[Sequence[Cell]]:
    for story in data.incidents:
        one, ticket = story.incident, story.approval
        decision = (ticket.state, ticket.decided_by, ticket.channel, ticket.reason) if ticket else (None,) * 4
        phases = [phase.accuracy if phase else None for phase in (story.before, story.during, story.after)]
        yield (
            *(one.id, one.model, one.version, one.state, one.cause, one.confidence),
            *(_time(one.change_us), _time(one.opened_us), _time(one.closed_us)),
            *(story.detect_s, story.approve_s, story.act_s, story.recover_s),
            *decision,
            *phases,
            *(one.summary, one.outcome),
        )


def _actions(data: ReportData) -> Iterable[Sequence[Cell]]:
    for one in data.actions:
        steps = "; ".join(f"{step.name}: {step.state}" for step in one.steps)
        times = _time(one.started_us), _time(one.finished_us)
        what = (
            one.id,
            one.incident_id,
            one.plan_id,
            one.kind,
            one.model,
            one.to_version,
            one.to_digest,
            one.state,
        )
        yield *what, *times, steps, one.outcome


def _accounting(data: ReportData) -> Iterable[Sequence[Cell]]:
    for accounts in (*(model.accounts for model in data.models), data.unnamed):
        if accounts is data.unnamed and not accounts.events:
            continue
        for equation, counts in (("predictions", accounts.predictions), ("labels", accounts.labels)):
            for name, many in counts.items():
                yield accounts.model, equation, name, many


def _csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _safe(cell: Cell) -> Cell:
    """A text that a spreadsheet would take for a formula is marked as text (OWASP, CSV injection)."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + cell
    return cell


def _time(time_us: int | None) -> str | None:
    return (
        None
        if time_us is None
        else words.at(time_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
