"""A first monitor as text: what was guessed of a file, with comments that say what else could be said."""

import json
import re
from pathlib import Path

from streams.files.guess import Guessed

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[ .-][A-Za-z0-9_]+)*")
_WORDS = frozenset({"yes", "no", "true", "false", "on", "off", "null", "y", "n"})
_ROLES = ("time", "id", "version", "prediction", "score", "label", "label_time")
_WHAT = {
    "time": "when the model was asked",
    "id": "joins labels to predictions",
    "version": "version of the model",
    "prediction": "what the model said",
    "score": "probability of the positive class",
    "label": "what turned out to be true",
    "label_time": "when the label became known; without it: at once",
}
_MISSING = {
    "id": "none found; without one the number of the row is the id, and labels cannot come from a file of their own",
    "prediction": "none found; default: score >= 0.5, or none",
    "score": "none found: the probability of the positive class, if the model tells one",
    "label": "none found: without labels performance is not measured",
    "time": "none found; without one, windows are of rows",
}


def draft(found: Guessed, model: str, reference: str, version: str = "1") -> str:
    """The YAML of a monitor. reference: the path of the file that was looked at, as the monitor shall name it."""
    rows = f"the first {found.rows:,} rows" if found.more else f"{found.rows:,} rows"
    lines = [
        f"# Guessed from {rows} of {Path(reference).name}. Every field that is not here has a default that works:",
        "# docs/monitor.md. Try it first: homeostat backtest DATA --monitor THIS_FILE",
        f"model: {_text(model)}",
        f"task: {found.task}" + _padded("binary | multiclass | regression"),
    ]
    if found.classes:
        lines.append(f"classes: [{', '.join(map(_text, found.classes))}]" + _padded("in their order"))
    lines += [*_columns(found), f"reference: {{file: {_text(reference)}, version: {json.dumps(version)}}}"]
    lines += _windows(found)
    return "\n".join(lines) + "\n"


def _columns(found: Guessed) -> list[str]:
    lines = ["columns:"]
    for role in _ROLES:
        name = found.of(role)  # pyright: ignore[reportArgumentType]
        if name is not None:
            why = "; ".join(each for each in (found.guesses[name].why, found.guesses[name].hint) if each)
            lines.append(f"  {role}: {_text(name)}" + _padded(f"{_WHAT[role]}; guessed: {why}"))
        elif role in _MISSING:
            lines.append(f"  # {role}: {_MISSING[role]}")
    if found.class_scores:
        names, why = (
            ", ".join(map(_text, found.class_scores)),
            "named after the classes, and they add up to 1",
        )
        lines.append(f"  class_scores: [{names}]" + _padded(f"in the order of classes; guessed: {why}"))
    if found.positive is not None:
        lines.append(f"  positive: {json.dumps(found.positive)}" + _padded("the text that means 1"))
    lines.append("  features:")
    for one in found.guesses.values():
        if one.role == "feature":
            lines.append(
                f"    - {_text(one.column)}" + _padded(one.why + (f"; {one.hint}" if one.hint else ""))
            )
        elif one.role == "left out":
            lines.append(f"    # - {_text(one.column)}" + _padded(f"left out: {one.why}"))
    if found.segments:
        names = ", ".join(map(_text, found.segments))
        lines.append(
            f"  # segments: [{names}]" + _padded("each value is judged by itself, besides all together")
        )
    return lines


def _windows(found: Guessed) -> list[str]:
    rows = 1_000 if found.more or found.rows >= 5_000 else max(100, found.rows // 1_000 * 200)
    timed = found.of("time") is not None
    return [
        f"window: {{rows: {rows}}}"
        + _padded("smaller ones tell sooner" + (", or by time: {every: 1h}" if timed else "")),
        f"label_window: {{rows: {max(100, rows // 2)}}}"
        + _padded("windows of label arrival, for performance"),
        "alarms: {budget: 1 per 1000 windows}"
        + _padded("false incidents you can live with; `homeostat tune` shows what it costs"),
        "autonomy: suggest" + _padded("observe | suggest | act"),
    ]


def _padded(comment: str) -> str:
    return f"  # {comment}"


def _text(name: str) -> str:
    """As YAML reads it back."""
    plain = _PLAIN.fullmatch(name) is not None and name.lower() not in _WORDS
    return name if plain else json.dumps(name, ensure_ascii=False)
