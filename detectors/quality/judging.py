"""Findings about the data of a window as the judge uses them: what begins, what goes on, what has ended."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from detectors import explain
from detectors.judgement import Decision, Transition, Window
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.quality.findings import findings
from detectors.quality.values import SURPRISE, Finding, QualityMemory
from detectors.reference import Reference
from detectors.segments import ALL, measured_of, own_of
from detectors.values import AlertKind, Verdict

KIND: Final[AlertKind] = "data_quality"
CALM: Final = 2
"""Windows in a row without what was found, after which it has ended."""
OF_SEGMENTS: Final = ("misaligned_columns", "unit_change")
"""What is looked for in segments: of their rows' order, which tells how long a column is constant, nothing is kept."""
EFFECT: Final = 10.0
"""What a finding counts in a ranking: it says what is wrong, where a measure says that something is."""
_SHOWN: Final = 3


class Quality(NamedTuple):
    """What the findings of a window are. `firing`: whether any that was told goes on."""

    firing: bool
    decisions: tuple[Decision, ...] = ()
    transition: Transition | None = None
    memory: QualityMemory | None = None

    @property
    def part(self) -> "Part":
        """For `joined`."""
        return Part(self.firing, [self.transition] if self.transition else [])


def judge_quality(
    window: Window,
    profile: Profile | None,
    reference: Reference,
    memory: QualityMemory | None,
    *,
    others_fire: bool = False,
    strange: bool = True,
    surprise: float = SURPRISE,
) -> Quality:
    """Take a window of events. Findings are no chance by themselves (surprise: minus the logarithm of what is), so the
    first window tells.
    Nothing that was told is told again while the alert goes on for the sake of measures and tests (`others_fire`).

    Without a profile, on windows of labels or with fewer than 30 rows nothing is said and what was known is remembered.
    A segment is held against its own rows of the reference, and of it misaligned columns and changed units are told
    alone, which are in two windows in a row; under a reference that does not know it they are undefined, and what was
    told under another one ends. strange: whether a column of the segment is far from the reference; without one nothing
    is looked for.
    """
    memory = _bound(memory or QualityMemory(), reference)
    if profile is None or window.axis != "event" or profile.rows < MINIMUM_ROWS:
        return Quality(bool(memory.open), memory=memory)
    if window.segment == ALL:
        everything = findings(profile, reference, surprise)
    else:
        own = own_of(reference, window.segment)
        if own.alone:
            return _unknown(window, own.because, profile.rows, memory, others_fire)
        own_columns = measured_of(reference, window.segment)
        everything = findings(profile, own_columns, surprise) if strange else []
        everything, memory = _lasting([one for one in everything if one.kind in OF_SEGMENTS], memory)
    quiet = {*memory.accepted, *memory.silent}
    decisions = tuple(
        decision
        for one in everything
        for decision in _decisions(one, window, "ok" if _key(one) in quiet else "breach")
    )
    memory = _away(memory, {_key(one) for one in everything})
    found = [one for one in everything if _key(one) not in quiet]
    keys = tuple(_key(one) for one in found)
    new = [one for one in found if _key(one) not in memory.open]
    if new:
        names = dict.fromkeys((*memory.open, *keys))
        transition = Transition(
            kind=KIND,
            state="firing",
            change_us=window.start_us,
            reason=_reason([*new, *(one for one in found if one not in new)]),
            decisions=tuple(one for one in decisions if one.verdict == "breach"),
        )
        return Quality(True, decisions, transition, replace(memory, open=tuple(names), calm=0))
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
    return Quality(False, decisions, ended, replace(memory, open=(), calm=0))


def _lasting(found: list[Finding], memory: QualityMemory) -> tuple[list[Finding], QualityMemory]:
    """Those that were in the window before, too."""
    lasting = [one for one in found if _key(one) in memory.before]
    return lasting, replace(memory, before=tuple(_key(one) for one in found))


def _unknown(window: Window, because: str, rows: int, memory: QualityMemory, others_fire: bool) -> Quality:
    """Of a segment that the reference does not know."""
    decisions = tuple(
        Decision(kind=KIND, measure=name, rows=rows, verdict="undefined", undefined=because)
        for name in OF_SEGMENTS
    )
    after = replace(memory, open=(), calm=0, before=())
    if not memory.open or others_fire:
        return Quality(False, decisions, None, after)
    reason = f"{explain.KIND_NAMES[KIND]}: what was found is not looked for any more, for {because}."
    ended = Transition(kind=KIND, state="cleared", change_us=window.start_us, reason=reason)
    return Quality(False, decisions, ended, after)


def _bound(memory: QualityMemory, reference: Reference) -> QualityMemory:
    """What was said about findings holds for the reference that it was said of."""
    if memory.reference == reference.revision:
        return memory
    return replace(memory, reference=reference.revision, accepted=(), silent=(), feedback=())


def _away(memory: QualityMemory, there: set[str]) -> QualityMemory:
    """What was called expected is news again once it has passed."""
    if not memory.silent:
        return memory
    away = 0 if there & set(memory.silent) else memory.away + 1
    return replace(memory, away=away, silent=() if away >= CALM else memory.silent)


class Part(NamedTuple):
    """What one of those that look at the data of a window says: whether an alert of its own is open now, and what
    began or ended."""

    firing: bool
    transitions: Sequence[Transition] = ()


def joined(parts: Sequence[Part]) -> list[Transition]:
    """The transitions of data quality. All that look at it tell one alert, which ends when none has a reason any
    more."""
    opened = [one for part in parts for one in part.transitions if one.state == "firing"]
    closed = [one for part in parts for one in part.transitions if one.state == "cleared"]
    goes_on = any(
        part.firing and not any(one.state == "firing" for one in part.transitions) for part in parts
    )
    told = closed[:1] if not goes_on else []
    if not opened:
        return told
    if goes_on or not any(_is_begun_anew(part) for part in parts):
        told = []
    first = opened[0]
    return [
        *told,
        replace(
            first,
            change_us=min(one.change_us for one in opened),
            reason=" ".join(one.reason for one in opened),
            decisions=tuple(decision for one in opened for decision in one.decisions),
        ),
    ]


def _is_begun_anew(part: Part) -> bool:
    """Whether an alert has ended, and another one begun, in one window: what it was compared with is another one."""
    return len({one.state for one in part.transitions}) == 2


def _key(finding: Finding) -> str:
    return f"{finding.kind}:{','.join(finding.columns)}"


def _reason(found: list[Finding]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{explain.KIND_NAMES[KIND]}: {'; '.join(one.message for one in found[:_SHOWN])}{more}."


def _decisions(finding: Finding, window: Window, verdict: Verdict) -> list[Decision]:
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
            verdict=verdict,
            reason=finding.message,
            change_us=window.start_us,
        )
        for column in finding.columns
    ]
