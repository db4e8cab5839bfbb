"""What a person says about findings that were told: it ends them, and can be taken back."""

from typing import Final, Literal

from msgspec.structs import replace

from detectors.quality.values import QualityFeedback, QualityMemory

Said = Literal["false alarm", "expected", "new normal"]
KEPT: Final = 2
"""Statements that can be taken back."""


def say(memory: QualityMemory, said: Said, name: str = "") -> QualityMemory:
    """The memory after a person has spoken about the findings that are open; unchanged where none is.

    "false alarm" and "new normal": these are how the data are; they are not told again before another reference comes.
    "expected": they are silent until they have passed, and news when they come again. name: names the statement.
    """
    if not memory.open:
        return memory
    entry = QualityFeedback(id=name, open=memory.open, accepted=memory.accepted, silent=memory.silent)
    after = replace(memory, open=(), calm=0, feedback=(*memory.feedback, entry)[-KEPT:])
    if said == "expected":
        return replace(after, silent=_with(memory.silent, memory.open), away=0)
    return replace(after, accepted=_with(memory.accepted, memory.open))


def take_back(memory: QualityMemory, name: str) -> QualityMemory:
    """The memory as if a statement of this name had not been made, nor a later one; unchanged where there is none."""
    place = next((i for i, one in enumerate(memory.feedback) if one.id == name), None)
    if place is None:
        return memory
    before = memory.feedback[place]
    return replace(
        memory,
        open=_with(before.open, memory.open),
        accepted=before.accepted,
        silent=before.silent,
        calm=0,
        feedback=memory.feedback[:place],
    )


def _with(some: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*some, *more)))
