"""Verdicts of concept drift in words for a person who was woken by them."""

from typing import Final

from detectors.concept.values import ConceptVerdict
from detectors.explain import percent, times

GREAT: Final = 100.0
"""A threshold from which on the statistic is one that grows as odds do."""


def sentence(verdict: ConceptVerdict, what: str = "the error rate") -> str:
    """What changed, since when and how sure that is.

    what: the mean that was looked at, such as "the share of large errors" of a regression.
    """
    if verdict.undefined is not None:
        return f"whether {what} changed is undefined, because {verdict.undefined}"
    begins = {"drift": f"{what} changed", "warning": f"{what} may be changing"}.get(verdict.level)
    if begins is None:
        return f"{what} is as it was"
    parts = [begins]
    if verdict.before is not None and verdict.after is not None:
        parts.append(f"from {percent(verdict.before)} to {percent(verdict.after)}")
    if verdict.since is not None:
        parts.append(f"about {verdict.since:,.0f} labelled rows ago")
    text = " ".join(parts)
    if verdict.statistic is None or verdict.threshold is None:
        return text
    if verdict.threshold < GREAT:
        return f"{text} (evidence {verdict.statistic:.3g}, alarm from {verdict.threshold:.3g})"
    ratio = times(verdict.statistic, verdict.threshold)
    return f"{text} (the evidence is {ratio} the threshold of {verdict.threshold:,.0f})"
