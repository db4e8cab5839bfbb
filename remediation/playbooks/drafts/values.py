"""The core of a plan, and how a model answers once another version does."""

from typing import Any

import msgspec
from msgspec.structs import replace

from detectors.values import Value
from remediation.values import Arrangement, ModelVersion


class Draft(Value, frozen=True, kw_only=True):
    """What a step would do: the version that serves afterwards (None: the same, or the one that is trained), how it
    answers, what the action needs besides, and the sentences."""

    blast_radius: str
    undo: str
    arrangement: Arrangement
    to: ModelVersion | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    evidence: tuple[str, ...] = ()


def answering(before: Arrangement, version: str | None) -> Arrangement:
    """A version answers every request: what stood in its way is over, and what has to do with data stays."""
    after = replace(before, shares={}, constant=None, paused=False)
    shadows = tuple(each for each in after.shadows if each != version)
    digests = {name: digest for name, digest in after.digests.items() if name in shadows}
    return replace(after, shadows=shadows, digests=digests)


def without(before: Arrangement, version: str) -> Arrangement:
    """A version gets no share of the requests any more."""
    shares = {name: share for name, share in before.shares.items() if name != version}
    kept = {*shares, *before.shadows}
    digests = {name: digest for name, digest in before.digests.items() if name in kept}
    return replace(before, shares=shares, digests=digests)
