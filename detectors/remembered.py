"""What was worked out of an object that never changes, such as a reference, so that no window works it out again."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

Source = TypeVar("Source")
Made = TypeVar("Made")

MOST: Final = 256
"""Objects that are remembered: a judge sees a few references for each of its models."""


class Remembered(Generic[Source, Made]):
    """Makes something of an object once, and remembers it while the object is among the last `MOST`.

    An object is known by its identity, which costs nothing, and is kept alive meanwhile, so that its identity is its
    own. Only for objects that never change.
    """

    def __init__(self, make: Callable[[Source], Made]) -> None:
        self._make = make
        self._known: dict[int, tuple[Source, Made]] = {}

    def of(self, source: Source) -> Made:
        """What is made of this object."""
        found = self._known.get(id(source))
        if found is None:
            if len(self._known) >= MOST:
                self._known.pop(next(iter(self._known)))
            found = self._known[id(source)] = source, self._make(source)
        return found[1]
