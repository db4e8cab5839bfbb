"""What is wrong? Pure: facts in, hypotheses with sentences out, the most probable first.

The order of suspicion: labels that no model and no world can bring about say nothing about either; a release explains
everything that began with it and was not there before it; a break upstream explains the drift that it causes; a shift
of the population explains a drop in performance; a drop without any change of the inputs is a change of the concept. A
service or a traffic that is ill while the model is not is what is ill. What nothing explains is `unknown`, and goes to
people. What a person said of the same evidence before counts, but less than the evidence itself.
"""

from detectors.values import Alert
from remediation.causes.concept import concept_shift
from remediation.causes.inputs import breaks, population_shift, upstream_data_break
from remediation.causes.labels import label_problem
from remediation.causes.operation import serving_problem, traffic_change
from remediation.causes.release import bad_release, near_release
from remediation.causes.telling import hypothesis, scaled
from remediation.changes import POPULATION, UPSTREAM, ChangeKind
from remediation.clock import seconds
from remediation.config import DiagnosisConfig
from remediation.evidence import OUTCOMES, Facts, is_plain, of_model
from remediation.values import Cause, Hypothesis

_SPOKEN_FOR_BY: dict[Cause, frozenset[ChangeKind]] = {
    "upstream_data_break": UPSTREAM,
    "label_problem": UPSTREAM,
    "population_shift": POPULATION,
    "concept_shift": POPULATION,
    "traffic_change": POPULATION,
}
_HAS_EVIDENCE = 0.2
_CHANGE_WEIGHT = 0.3
"""A recorded change takes so much of what an explanation with at least `_HAS_EVIDENCE` lacks to certainty."""
_SEGMENTS_TOLD = 3
_WAITS = 2
"""Alerts that come later begin the wait anew, so many times."""
_AND_SEALED = 1.25
"""Windows until the next one has been judged: it has to be complete, and sealed."""
LONGEST_WAIT_S = 1_800.0
"""However long windows are, people are told by then."""


def ready(facts: Facts, config: DiagnosisConfig) -> str | None:
    """Why the evidence is enough for a diagnosis now; None while it is better to wait. The window in which an illness
    begins is ill in part, and what else is ill shows in the next one: so for so long, within bounds, it waits."""
    age_us = facts.now_us - facts.incident.opened_us
    if age_us < seconds(min(config.quiet_s, config.settle_s)):
        return None
    inputs = facts.firing("data_drift") or facts.quality()
    performance = facts.firing(*OUTCOMES)
    settle_us = _settling_us(facts, config)
    near = near_release(facts, config)
    if is_plain(performance) and near and not inputs and not _below_chance(performance):
        return "performance has spoken, near a release"
    if performance and inputs and age_us >= settle_us:
        return "performance and inputs have both spoken"
    strong = performance or facts.firing("data_drift", "volume") or breaks(facts, config) or facts.service()
    patience_us = settle_us if strong else max(settle_us, seconds(config.weak_settle_s))
    newest_us = max((each.end_us for each in facts.firing()), default=0)
    quiet_us = min(age_us, max(facts.now_us - newest_us, age_us - _WAITS * patience_us))
    return f"no other alert in {patience_us / 1e6:g} s" if quiet_us >= patience_us else None


def needs_testimony(facts: Facts, config: DiagnosisConfig) -> bool:
    """Whether the rows around a release can tell if it is the release: near one, and of a model or a service that is
    ill."""
    ill = of_model(facts) or facts.service()
    return bool(ill) and facts.predecessor() is not None and near_release(facts, config)


def next_window_us(span_us: int) -> int:
    """How long the next window should take to be judged, after one that took `span_us`; in microseconds."""
    return min(round(_AND_SEALED * span_us), seconds(LONGEST_WAIT_S))


def longest_us(span_us: int, config: DiagnosisConfig) -> int:
    """By when a diagnosis is there at the latest, however often the wait began anew; `span_us` as above."""
    return max(seconds(config.weak_settle_s), (1 + _WAITS) * next_window_us(span_us))


def _settling_us(facts: Facts, config: DiagnosisConfig) -> int:
    if len(facts.arrivals()) == len(facts.firing()):
        # How events arrive is counted by the clock: no window begins ill in part, and none has to be waited for.
        return seconds(config.settle_s)
    return max(seconds(config.settle_s), next_window_us(facts.span_us))


def _below_chance(performance: list[Alert]) -> bool:
    """Answers that turned round need not be the release's: labels that come late for the version before tell."""
    return any(
        (each.measure == "error_rate" and each.value > 0.5) or (each.measure == "auc" and each.value < 0.5)
        for alert in performance
        for each in alert.evidence
    )


def more_may_come(facts: Facts, config: DiagnosisConfig) -> bool:
    """Whether soon more may be known: the window in which an illness begins holds healthy rows, too, and the next one
    tells more. Only a bad release is worth being named without it: each of its answers is a wrong one."""
    wait_us = max(_settling_us(facts, config), seconds(config.quiet_s))
    performance = facts.firing(*OUTCOMES)
    if _below_chance(performance):
        told_us = max(each.end_us for each in performance)
        if all(each.end_us <= told_us for each in facts.windows(facts.version, "label")):
            # Turned labels and a turned world begin alike; a whole window of labels tells them apart.
            wait_us *= 2
    return facts.now_us - facts.incident.opened_us < wait_us


def diagnose(facts: Facts, config: DiagnosisConfig) -> tuple[Hypothesis, ...]:
    """Rank the causes. Confidences are degrees of belief in [0, 1] made of the weights of `remediation.causes`, not
    probabilities: they need not sum to 1, and `unknown` has what the best other cause leaves."""
    labels, no_release_can = label_problem(facts)
    release = bad_release(facts, config)
    if no_release_can:
        release = scaled(release, 1 - labels.confidence)
    broken = upstream_data_break(facts, config)
    unexplained = 1 - release.confidence
    trusted = unexplained * (1 - (labels.confidence if labels.confidence > _HAS_EVIDENCE else 0.0))
    ranked = [
        release,
        labels if no_release_can else scaled(labels, unexplained),
        scaled(broken, unexplained),
        scaled(population_shift(facts), unexplained * (1 - 0.9 * broken.confidence)),
        scaled(concept_shift(facts), trusted),
        scaled(serving_problem(facts), unexplained),
        traffic_change(facts),
    ]
    ranked = [_with_precedents(_with_changes(each, facts), facts) for each in ranked]
    best = max(each.confidence for each in ranked)
    ranked.append(hypothesis("unknown", 1 - best, [f"the best explanation has a confidence of {best:.2f}"]))
    return tuple(sorted(ranked, key=lambda each: -each.confidence))


def _with_changes(found: Hypothesis, facts: Facts) -> Hypothesis:
    """A change that was recorded near the onset speaks for a cause that has evidence of its own, and for no other."""
    kinds = _SPOKEN_FOR_BY.get(found.cause, frozenset[ChangeKind]())
    told = [each.told(facts.incident.change_us) for each in facts.changes if each.kind in kinds]
    if not told or found.confidence < _HAS_EVIDENCE:
        return found
    confidence = found.confidence + _CHANGE_WEIGHT * (1 - found.confidence)
    return hypothesis(found.cause, confidence, [*found.reasons, *told[:2]])


def _with_precedents(found: Hypothesis, facts: Facts) -> Hypothesis:
    """What it was the last time is worth something; the most telling incident of the past, and not their number."""
    like = next((each for each in facts.precedents if each.cause == found.cause), None)
    if like is None:
        return found
    confidence = found.confidence + like.weight * (1 - found.confidence)
    return hypothesis(found.cause, confidence, [*found.reasons, like.sentence])


def summary(facts: Facts, best: Hypothesis) -> str:
    """One sentence for people: what, since when, why."""
    words = {
        "bad_release": f"version {facts.version} is a bad release",
        "upstream_data_break": "the data that arrive are broken upstream",
        "population_shift": "the population has shifted",
        "concept_shift": "the same inputs now have other outcomes",
        "label_problem": "the labels cannot be trusted",
        "serving_problem": "the service is ill, not the model",
        "traffic_change": "the traffic changed",
        "unknown": "the cause is unknown",
    }
    reasons = "; ".join(best.reasons[:3])
    return f"{facts.incident.model}{_place(facts)}: {words[best.cause]} ({reasons})."


def _place(facts: Facts) -> str:
    """The segments, where the illness is told of few of them and not of all rows."""
    segments = sorted({each.segment for each in facts.firing()})
    if not segments or "all" in segments or len(segments) > _SEGMENTS_TOLD:
        return ""
    return f", only in {' and '.join(segments)}"
