"""What a person says about concept drift that was told: into the baseline and the threshold, and to be taken back."""

from typing import Final, Literal

from msgspec.structs import replace

from detectors.concept.values import ConceptFeedback, ConceptMemory

Said = Literal["false alarm", "expected", "new normal"]
KEPT: Final = 2
"""Statements that can be taken back."""
CAUTION: Final = 1.5
"""By which a false alarm multiplies the rows that lie between two of them."""


def say(memory: ConceptMemory, said: Said, name: str = "") -> ConceptMemory:
    """The memory after a person has spoken about the drift that is open; unchanged where none is.

    The rows since the drift are the baseline already. "false alarm" and "new normal" end the incident and leave it at
    that, a false alarm with a threshold that is higher. "expected": the incident stays open in silence until the rows
    are like before it again. name: names the statement.
    """
    opened = memory.opened
    if opened is None:
        return memory
    entry = ConceptFeedback(id=name, before=replace(memory, feedback=()))
    memory = replace(memory, feedback=(*memory.feedback, entry)[-KEPT:])
    if said == "expected":
        return replace(memory, opened=replace(opened, expected=True))
    caution = CAUTION if said == "false alarm" else 1.0
    return replace(memory, opened=None, caution=memory.caution * caution)


def take_back(memory: ConceptMemory, name: str) -> ConceptMemory:
    """The memory as if a statement of this name had not been made, nor a later one: it has not seen the windows since;
    unchanged where there is none."""
    place = next((i for i, one in enumerate(memory.feedback) if one.id == name), None)
    if place is None:
        return memory
    return replace(memory.feedback[place].before, feedback=memory.feedback[:place])


def is_firing(memory: ConceptMemory | None) -> bool:
    """Whether an incident is open that is not expected."""
    return memory is not None and memory.opened is not None and not memory.opened.expected
