"""How far a state has come, when all that can be done is to look again."""

from typing import TypedDict

from remediation.acknowledgements import Standing
from remediation.clock import seconds


class Patience(TypedDict):
    """When a state was asked for, what time it is, and how long it may take."""

    asked_us: int
    now_us: int
    patience_s: float


def waiting(sentence: str, *, asked_us: int, now_us: int, patience_s: float) -> Standing:
    """Waiting, and refused when it has taken longer than `patience_s`."""
    if now_us - asked_us < seconds(patience_s):
        return Standing(state="waiting", sentence=sentence)
    return Standing(state="refused", sentence=f"{sentence}; given up after {patience_s:g} s")


def loaded(sentence: str, *, now_us: int) -> Standing:
    """In force, as far as can be seen."""
    return Standing(state="loaded", sentence=sentence, at_us=now_us)


def refused(sentence: str) -> Standing:
    """It will not come into force."""
    return Standing(state="refused", sentence=sentence)
