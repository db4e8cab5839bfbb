"""What schemas and their differences mean, for people: in a terminal, in a dead letter, in the log."""

import shlex
from collections.abc import Iterator, Sequence

from homeostat.contract import ContractError
from streams.control.evolution import Change, Evolution
from streams.control.schemas import TYPES, Schema

_MAX_NAMES = 8
_RULES = {
    "task changed": "predictions, scores and labels that come as before would mean something else",
    "classes added at the end": "batches with `scores` for the old classes only are refused; the rest stays as it is",
    "classes renamed, moved or removed": "classes and `scores` that come by their old index would count as another "
    'class; a name that is gone counts as "other"',
    "new feature": "events that lack it count as missing there",
    "dropped feature": "events that still carry it are accepted",
    "type of a number": "numbers of any width are read",
    "measured otherwise": "they are accepted; how it is measured is for the reference to say",
    "new segment": "events that lack it belong to none",
    "dropped segment": "events that still carry it are accepted",
}


def consequence(change: Change) -> str:
    """What becomes of events that still look as the old schema says."""
    if change.rule in _RULES:
        return _RULES[change.rule]
    if change.rule == "embedding size changed":
        return f"batches whose {change.field} has {change.old} numbers are refused"
    if change.rule == "optional changed":
        return "events may lack it without a word" if change.new == "true" else "events that lack it are told"
    if change.breaks:
        return f"batches that carry {change.field} as {_carried(change)} are refused"
    return "text and numbers are both read"


def counted(count: int, noun: str) -> str:
    """ "1 change", "2 changes"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def refusal(schema: Schema, refused: ContractError, rows: int) -> str:
    """Why a batch is a dead letter, and what can be done."""
    command = f"homeostat schemas show {shlex.quote(schema.model)} --version {shlex.quote(schema.version)}"
    return (
        f"{refused}. So says the schema of version {schema.version} (revision {schema.revision}), therefore all of "
        f"the batch is set aside ({counted(rows, 'row')}). Either the producer sends what the schema says "
        f"(`{command}`), or the schema is changed to what "
        "is sent (`homeostat schemas register`); then `homeostat deadletters replay`"
    )


def differences(evolution: Evolution) -> Iterator[str]:
    """What is different about a batch, and what becomes of it: a sentence for each kind of difference, and for
    each class."""
    if evolution.refused is not None:
        refused = evolution.refused
        yield f"{refused.field}: expected {refused.expected}; batches in which it is otherwise become dead letters"
    if evolution.new:
        names = _names("f.", evolution.new)
        yield f"not in the schema, so accepted, and measured only where the reference has it: {names}"
    if evolution.dropped:
        yield f"in the schema but not sent, so counted as missing: {_names('f.', evolution.dropped)}"
    if evolution.new_segments:
        names = _names("s.", evolution.new_segments)
        yield f"segments that the schema does not name, watched where the monitor names them: {names}"
    if evolution.dropped_segments:
        yield f"segments that are not sent, so the events belong to none: {_names('s.', evolution.dropped_segments)}"
    for name in evolution.unknown_classes:
        yield f'class {name!r} is not in the schema, so it counts as "other"'
    if evolution.believed is not None:
        yield f"a producer works by revision {evolution.believed} of the schema, which is not the registered one"


def _names(prefix: str, names: Sequence[str]) -> str:
    shown = ", ".join(prefix + name for name in names[:_MAX_NAMES])
    return shown if len(names) <= _MAX_NAMES else f"{shown} and {len(names) - _MAX_NAMES:,} more"


def _carried(change: Change) -> str:
    """What the old type allowed and the new one does not."""
    if change.old == "any":
        return (
            "a number"
            if change.new == "text"
            else "text"
            if change.new in TYPES["numeric"]
            else "text or a number"
        )
    if change.old == "vector":
        return "an embedding"
    return "text" if change.old == "text" else "a number"
