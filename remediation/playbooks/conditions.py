"""What a step asks of the world before it is proposed, and how much of the world an illness touches. Pure."""

from collections.abc import Callable, Iterator

from detectors.values import Value
from remediation.clock import US_PER_S
from remediation.evidence import Facts
from remediation.playbooks.steps import Conditions
from remediation.policy import Policy

_ALL = "all"
_MINUTE_S = 60.0
_NAMED = 4


class Reach(Value, frozen=True, kw_only=True):
    """How much an illness touches: the `share` of the requests that the ill version answers, the `segments` in which
    alerts fire, `whole` where one fires over all its traffic, and its requests per minute in the newest window that
    tells (None where none does)."""

    segments: tuple[str, ...]
    whole: bool
    per_minute: float | None
    share: float = 1.0

    @property
    def told(self) -> str:
        """In words; empty where nothing is known."""
        parts = [f"{self.share:.0%} of the requests"] if self.share < 1 else []
        if self.per_minute is not None:
            parts.append(f"about {self.per_minute:,.0f} requests per minute")
        if self.segments:
            shown = ", ".join(self.segments[:_NAMED]) + (", …" if len(self.segments) > _NAMED else "")
            parts.append(f"{'the whole traffic, most of all' if self.whole else 'only'} the segments {shown}")
        return f"The illness touches {', '.join(parts)}." if parts else ""


def reach(facts: Facts) -> Reach:
    """Of the alerts that fire, and of the windows of the ill version."""
    firing = facts.firing()
    segments = {each.segment for each in firing}
    windows = [(each.end_us, each.start_us, each.rows) for each in firing if each.axis == "event"]
    windows += [
        (each.end_us, each.start_us, each.rows)
        for each in facts.points
        if each.axis == "event" and each.segment == _ALL and each.version == facts.version
    ]
    measured = [each for each in windows if each[0] > each[1]]
    per_minute = None
    if measured:
        end_us, start_us, rows = max(measured)
        per_minute = rows / ((end_us - start_us) / US_PER_S) * _MINUTE_S
    return Reach(
        segments=tuple(sorted(segments - {_ALL})),
        whole=_ALL in segments or not segments,
        per_minute=per_minute,
        share=_share(facts),
    )


def _share(facts: Facts) -> float:
    """What the ill version answers, as it was decided; all where it is not among those that serve."""
    if facts.desired is None:
        return 1.0
    shares = facts.desired.arrangement.shares
    rest = 1.0 - sum(shares.values()) if facts.desired.version == facts.version else 1.0
    return shares.get(facts.version, rest)


def labels_since(facts: Facts) -> int:
    """Labelled rows of the ill version in windows that ended after the change."""
    windows: dict[tuple[int, int], int] = {}
    for each in facts.points:
        if each.axis == "label" and each.segment == _ALL and each.version == facts.version:
            window = each.start_us, each.end_us
            windows[window] = max(each.rows, windows.get(window, 0))
    return sum(rows for (_, end_us), rows in windows.items() if end_us > facts.incident.change_us)


def unmet(
    conditions: Conditions, facts: Facts, policy: Policy, target: Callable[[], str | None]
) -> str | None:
    """The first condition that does not hold, and what is instead; None when all hold. `target` says why no version is
    safe to go back to, or None where one is."""
    return next(_unmet(conditions, facts, policy, target), None)


def _unmet(
    conditions: Conditions, facts: Facts, policy: Policy, target: Callable[[], str | None]
) -> Iterator[str]:
    if conditions.target_is_safe is True and (why := target()) is not None:
        yield f"no version is safe to go back to: {why}"
    if conditions.target_is_safe is False and target() is None:
        yield "there is a version that is safe to go back to"
    found = reach(facts)
    if conditions.traffic_at_least is not None and (found.per_minute or 0.0) < conditions.traffic_at_least:
        now = "unknown" if found.per_minute is None else f"{found.per_minute:,.0f}"
        yield f"requests per minute are {now}, it wants {conditions.traffic_at_least:,g}"
    if conditions.labels_at_least is not None and (rows := labels_since(facts)) < conditions.labels_at_least:
        yield f"{rows:,} labels have come since the change, it wants {conditions.labels_at_least:,}"
    if conditions.max_segments is not None and (found.whole or len(found.segments) > conditions.max_segments):
        now = "the whole traffic" if found.whole else f"{len(found.segments)} segments"
        yield f"the illness touches {now}, it wants at most {conditions.max_segments} segments"
    frozen = policy.freeze(facts.incident.model, facts.now_us) if conditions.not_frozen else None
    if frozen is not None:
        freeze, until = frozen
        yield f"{facts.incident.model} is frozen until {until:%Y-%m-%d %H:%M} UTC: {freeze.reason}"
    kinds = {each.kind for each in facts.changes}
    if conditions.change_recorded and not kinds & set(conditions.change_recorded):
        yield f"no change of kind {', '.join(conditions.change_recorded)} is recorded near the onset"
    known = sorted(kinds & set(conditions.no_change_recorded))
    if known:
        yield f"a change of kind {', '.join(known)} is recorded near the onset"
