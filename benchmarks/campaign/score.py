"""What a played scenario was worth: the right cause, the right action, no harm, an end."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.campaign.plant import Plant
from benchmarks.campaign.scenarios import CAUSE_OF, Scenario
from remediation.values import CLOSED_INCIDENTS, Action, ActionKind, Cause, Incident

CONTROL = "control"
NOTHING = "nothing told"
_CHANGES_ANSWERS: frozenset[ActionKind] = frozenset(
    {
        "rollback",
        "retrain",
        "promote",
        "shift_traffic",
        "fall_back",
        "quarantine_feature",
        "pause_model",
    }
)
_RIGHT: dict[Cause, frozenset[ActionKind]] = {
    "bad_release": frozenset({"rollback"}),
    "upstream_data_break": frozenset({"quarantine_feature", "fall_back", "pause_model"}),
    "population_shift": frozenset({"retrain"}),
    "concept_shift": frozenset({"retrain"}),
    "label_problem": frozenset(),
    "serving_problem": frozenset(),
    "traffic_change": frozenset(),
}
"""Actions that change answers and that are right for a cause; to tell people and do no more is right for all but a bad
release and a changed world."""
_MUST_ACT: frozenset[Cause] = frozenset({"bad_release", "population_shift", "concept_shift"})
_NO_TRAINING: frozenset[Cause] = frozenset({"upstream_data_break", "label_problem"})


@dataclass(frozen=True)
class Outcome:
    """One scenario. `found`: the last diagnosis since the fault began, without those of an illness from before;
    `acted`: what was done since, in order; `harm`: sentences; `endless`: incidents that are still open."""

    scenario: Scenario
    found: str
    acted: tuple[ActionKind, ...]
    harm: tuple[str, ...]
    endless: int
    delay: float | None

    @property
    def cause_is_right(self) -> bool:
        """Whether the diagnosis named the fault."""
        return self.found == self.scenario.cause

    @property
    def action_is_right(self) -> bool:
        """Whether what was done fits the fault, and nothing that does not was done first."""
        cause = self.scenario.cause
        if cause is None:
            return not self.acted
        changing = [kind for kind in self.acted if kind in _CHANGES_ANSWERS]
        if not changing:
            return cause not in _MUST_ACT or self.scenario.fault == "shift_without_loss"
        return changing[0] in _RIGHT[cause]

    @property
    def is_wrong(self) -> bool:
        """Whether there is something to tell."""
        missed = self.scenario.cause is not None and not (self.cause_is_right and self.action_is_right)
        return missed or bool(self.harm) or self.endless > 0


@dataclass(frozen=True)
class Done:
    """An action as it counts here. `decided`: another version was made to serve by it."""

    kind: ActionKind
    to_version: str | None
    decided: bool

    @classmethod
    def of(cls, action: Action) -> "Done":
        """From the value."""
        decided = any(each.name == "decide" for each in action.steps)
        return cls(action.kind, action.to_version, decided)


def outcome(plant: Plant) -> Outcome:
    """Judge what happened."""
    scenario = plant.scenario
    onset_us = plant.time_us(scenario.onset)
    incidents = plant.incidents()
    later = [each for each in incidents if _is_about(each, onset_us)]
    about = {each.id for each in later}
    actions = [each for each in plant.journal.state.actions.values() if each.incident_id in about]
    told = min((each.opened_us for each in later), default=None)
    return Outcome(
        scenario=scenario,
        found=said_of_the_fault(scenario, [each.cause for each in later]),
        acted=tuple(each.kind for each in actions),
        harm=tuple(harm(scenario, map(Done.of, plant.journal.state.actions.values()))),
        endless=sum(each.state not in CLOSED_INCIDENTS for each in incidents),
        delay=None if told is None else (told - onset_us) / plant.window_us,
    )


def said_of_the_fault(scenario: Scenario, causes: Sequence[str]) -> str:
    """The last of the causes that were said since the fault began. Without those that name the illness that was there
    before, where there are others: both are right."""
    if scenario.first is not None:
        causes = [each for each in causes if each != CAUSE_OF[scenario.first[0]]] or causes
    return causes[-1] if causes else NOTHING


def _is_about(incident: Incident, onset_us: int) -> bool:
    return incident.diagnosed_us is not None and incident.diagnosed_us >= onset_us


def harm(scenario: Scenario, actions: Iterable[Done], bad: str = "2") -> Iterator[str]:
    """What was done that nobody should have done, as sentences. `bad`: the version that a release made ill."""
    for action in actions:
        if action.kind in _CHANGES_ANSWERS and scenario.cause is None:
            yield f"{action.kind} although nothing was wrong"
        elif action.kind == "retrain" and scenario.cause in _NO_TRAINING and action.decided:
            yield f"a version trained on what {scenario.fault} had spoiled was made to serve"
        elif action.kind == "rollback" and scenario.cause == "bad_release" and action.to_version == bad:
            yield "rolled back to the bad version"


def wilson(right: int, count: int) -> tuple[float, float]:
    """An interval of 95 % for a share (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    z, share = 1.959964, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion(outcomes: Sequence[Outcome]) -> list[str]:
    """A table as lines: what was wrong by row, what was said by column."""
    counts = Counter((each.scenario.cause or CONTROL, each.found) for each in outcomes)
    truths, said = sorted({one for one, _ in counts}), sorted({one for _, one in counts})
    lines = ["| " + " | ".join(["", *said]) + " |", "|---" * (len(said) + 1) + "|"]
    lines += [
        "| " + " | ".join([truth, *(str(counts[truth, one] or "") for one in said)]) + " |"
        for truth in truths
    ]
    return lines
