"""What happened around a model that nobody measures: releases, pipelines, campaigns, holidays.

A diagnosis may name a change that began near the estimated onset of an illness. A change alone is no cause: it only
strengthens an explanation that has evidence of its own.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

from detectors.values import Value
from remediation.clock import US_PER_S, seconds
from remediation.errors import ChangeRefused
from remediation.ports import Clock, Journal

ChangeKind = Literal["release", "pipeline", "schema", "campaign", "holiday", "other"]
UPSTREAM: frozenset[ChangeKind] = frozenset({"pipeline", "schema", "release"})
"""Kinds that can break what arrives."""
POPULATION: frozenset[ChangeKind] = frozenset({"campaign", "holiday"})
"""Kinds that bring other people, or the same people with other habits."""
NEAR_S = 3_600.0
"""So long before the onset of an illness a change can have begun that has to do with it, unless a configuration says
otherwise."""
_FUTURE_S = 366 * 86_400.0


class Change(Value, frozen=True, kw_only=True):
    """Something that began at `starts_us`, and where it lasts ended at `ends_us`. `models` is a shell pattern."""

    id: str
    kind: ChangeKind
    title: str
    models: str = "*"
    starts_us: int
    ends_us: int | None = None
    by: str
    link: str = ""
    recorded_us: int

    def told(self, onset_us: int) -> str:
        """A sentence part: what, by whom, and when beside the onset of an illness."""
        before_s = (onset_us - self.starts_us) / US_PER_S
        return f"{self.kind} {self.title!r} ({self.by}) began {_ago(before_s)}"


def near(changes: Iterable[Change], model: str, onset_us: int, within_s: float) -> tuple[Change, ...]:
    """Changes that can have to do with an illness of `model` that began about `onset_us`: those that began at most
    `within_s` before it (or a tenth of that after, for an onset is an estimate), and those that last while it
    begins. The nearest first."""
    early_us, late_us = onset_us - seconds(within_s), onset_us + seconds(within_s / 10)
    found = [
        each
        for each in changes
        if fnmatchcase(model, each.models)
        and each.starts_us <= late_us
        and (each.starts_us >= early_us or (each.ends_us is not None and each.ends_us >= onset_us))
    ]
    return tuple(sorted(found, key=lambda each: (abs(each.starts_us - onset_us), each.id)))


def record_change(journal: Journal, clock: Clock, change: Change) -> Change:
    """Keep a change; the same id again is the same change and is kept once. Raises `ChangeRefused`."""
    now_us = clock.now_us()
    if change.ends_us is not None and change.ends_us < change.starts_us:
        raise ChangeRefused(f"change {change.id!r} ends before it begins")
    if change.starts_us > now_us + seconds(_FUTURE_S):
        raise ChangeRefused(
            f"change {change.id!r} begins more than 366 days from now; times are RFC 3339 in UTC"
        )
    with journal.transaction() as unit:
        if unit.add_change(change):
            return change
        known = unit.change(change.id)
    if known is None:
        raise ChangeRefused(f"change {change.id!r} was taken away while it was recorded; try again")
    if (known.kind, known.title, known.models, known.starts_us) != (
        change.kind,
        change.title,
        change.models,
        change.starts_us,
    ):
        raise ChangeRefused(
            f"change {change.id!r} is known as {known.kind} {known.title!r}; another change needs another id"
        )
    return known


def _ago(before_s: float) -> str:
    if abs(before_s) < 1:
        return "just when it began"
    amount = abs(before_s)
    units = ((7_200, 3_600, "h"), (120, 60, "min"), (0, 1, "s"))
    size, name = next((size, name) for least, size, name in units if amount >= least)
    return f"{amount / size:.3g} {name} {'before' if before_s > 0 else 'after the estimated onset'}"
