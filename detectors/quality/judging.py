"""Findings about the data of a window as the judge uses them: what begins, what goes on, what has ended."""

from typing import Final, NamedTuple

from msgspec.structs import replace

from detectors import explain
from detectors.judgement import Decision, Transition, Window
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.quality.findings import findings
from detectors.quality.values import Finding, QualityMemory
from detectors.reference import Reference
from detectors.values import AlertKind

KIND: Final[AlertKind] = "data_quality"
CALM: Final = 2
"""Windows in a row without what was found, after which it has ended."""
EFFECT: Final = 10.0
"""What a finding counts in a ranking: it says what is wrong, where a measure says that something is."""
_SHOWN: Final = 3


class Quality(NamedTuple):
    """What the findings of a window are. `firing`: whether any that was told goes on."""

    firing: bool
    decisions: tuple[Decision, ...] = ()
    transition: Transition | None = None
    memory: QualityMemory | None = None


def judge_quality(
    window: Window,
    profile: Profile | None,
    reference: Reference,
    memory: QualityMemory | None,
    *,
    others_fire: bool = False,
) -> Quality:
    """Take a window of events. Findings are no chance by themselves (one in a million), so the first window tells.
    Nothing that was told is told again while the alert goes on for the sake of measures and tests (`others_fire`).

    Without a profile, on windows of labels, of a segment (whose columns are not those of all rows) or with fewer than
    30 rows nothing is said and what was known is remembered.
    """
    memory = memory or QualityMemory()
    if profile is None or window.axis != "event" or window.segment != "all" or profile.rows < MINIMUM_ROWS:
        return Quality(bool(memory.open), memory=memory)
    found = findings(profile, reference)
    decisions = tuple(decision for one in found for decision in _decisions(one, window))
    keys = tuple(_key(one) for one in found)
    new = [one for one in found if _key(one) not in memory.open]
    if new:
        names = dict.fromkeys((*memory.open, *keys))
        transition = Transition(
            kind=KIND,
            state="firing",
            change_us=window.start_us,
            reason=_reason([*new, *(one for one in found if one not in new)]),
            decisions=decisions,
        )
        return Quality(True, decisions, transition, QualityMemory(open=tuple(names)))
    if keys or not memory.open:
        return Quality(bool(memory.open), decisions, None, replace(memory, calm=0))
    calm_us = memory.calm_us if memory.calm else window.start_us
    if memory.calm + 1 < CALM:
        return Quality(True, decisions, None, replace(memory, calm=memory.calm + 1, calm_us=calm_us))
    if others_fire:
        return Quality(False, decisions, None, replace(memory, calm=CALM, calm_us=calm_us))
    ended = Transition(
        kind=KIND,
        state="cleared",
        change_us=calm_us,
        reason=f"{explain.KIND_NAMES[KIND]}: nothing of what was found is there in {CALM} windows in a row.",
    )
    return Quality(False, decisions, ended, QualityMemory())


def joined(quality: Quality, others: list[Transition], *, others_fire: bool) -> list[Transition]:
    """The transitions of data quality: of findings, and of measures and tests (`others`; `others_fire`: whether an
    alert of theirs is open now). They are one alert, which ends when neither has a reason any more."""
    mine = quality.transition
    if mine is not None and mine.state == "cleared" and others_fire:
        mine = None
    kept = [one for one in others if one.state == "firing" or not quality.firing]
    if mine is None or not kept:
        return [*([mine] if mine else []), *kept]
    if mine.state == "cleared":
        return kept
    first, rest = kept[0], kept[1:]
    both = replace(
        mine,
        change_us=min(mine.change_us, first.change_us),
        reason=f"{mine.reason} {first.reason}",
        decisions=(*mine.decisions, *first.decisions),
    )
    return [both if first.state == "firing" else mine, *rest]


def _key(finding: Finding) -> str:
    return f"{finding.kind}:{','.join(finding.columns)}"


def _reason(found: list[Finding]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{explain.KIND_NAMES[KIND]}: {'; '.join(one.message for one in found[:_SHOWN])}{more}."


def _decisions(finding: Finding, window: Window) -> list[Decision]:
    """One for each column, so that each can be ranked."""
    return [
        Decision(
            kind=KIND,
            measure=finding.kind,
            feature=column,
            value=finding.value,
            threshold=finding.threshold,
            rows=finding.rows,
            effect=EFFECT,
            verdict="breach",
            reason=finding.message,
            change_us=window.start_us,
        )
        for column in finding.columns
    ]
