"""Which versions only scored beside the one that answered, and when: their events are no traffic, for each stands for a
request that was counted with its answer.

One record of the control topic for each model, made of what was decided.
"""

from collections.abc import Collection, Sequence
from typing import Final, Self
from urllib.parse import quote

import msgspec

from detectors.values import PaneSnapshot, Value

SHADOWS: Final = "shadows/"
_KEPT = 64
"""Spans that are over, of each model: panes that are older are counted already."""


class Span(Value, frozen=True, kw_only=True):
    """A version scored from `from_us` until `until_us` (None: it still does), in event time."""

    version: str
    from_us: int
    until_us: int | None = None


class Shadowing(Value, frozen=True, kw_only=True):
    """The shadows of a model by what was decided until `at_us`."""

    model: str
    at_us: int = 0
    spans: tuple[Span, ...] = ()

    @property
    def key(self) -> bytes:
        """Of its record on the control topic."""
        return f"{SHADOWS}{quote(self.model, safe='')}".encode()

    def to_json(self) -> bytes:
        """The value of the record."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read `to_json`; raises msgspec's `DecodeError`, a `ValueError`."""
        return msgspec.json.decode(text, type=cls)

    def decided(self, shadows: Collection[str], at_us: int) -> "Shadowing":
        """With the decision that from `at_us` on exactly `shadows` only score. One that is older than what is known
        changes nothing, nor does one that says the same."""
        if at_us < self.at_us:
            return self
        running = [each for each in self.spans if each.until_us is None]
        going_on = [each for each in running if each.version in shadows]
        ended = [msgspec.structs.replace(each, until_us=at_us) for each in running if each not in going_on]
        begun = [
            Span(version=name, from_us=at_us)
            for name in sorted(set(shadows) - {each.version for each in going_on})
        ]
        if not ended and not begun:
            return self
        over = [*(each for each in self.spans if each.until_us is not None), *ended]
        return Shadowing(model=self.model, at_us=at_us, spans=(*over[-_KEPT:], *going_on, *begun))


def only_scored(spans: Sequence[Span], pane: PaneSnapshot) -> bool:
    """Whether a pane, or a part of it, is of a version while it only scored."""
    end_us = pane.pane_us + pane.pane_length_us
    return any(
        each.version == pane.version
        and each.from_us < end_us
        and (each.until_us is None or pane.pane_us < each.until_us)
        for each in spans
    )
