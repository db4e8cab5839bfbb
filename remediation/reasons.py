"""A reason goes on record, and somebody reads it when things are bad: it has to say something."""

from typing import Final

from remediation.errors import ReasonMissing

SAY_WHY: Final = "reason must say why, for whoever reads it at night"


def stated(reason: str) -> str:
    """The reason without space around it. Raises `ReasonMissing` where nothing is left."""
    found = reason.strip()
    if not found:
        raise ReasonMissing(SAY_WHY)
    return found
