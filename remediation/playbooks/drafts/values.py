"""The core of a plan, and how a model answers once another version does."""

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec.structs import replace

from detectors.values import Value
from remediation.values import Arrangement, ModelVersion

WITH_INCIDENT = " By itself when the incident ends."


class Draft(Value, frozen=True, kw_only=True):
    """What a step would do: the version that serves afterwards (None: the same, or the one that is trained), how it
    answers, what the action needs besides, and the sentences."""

    blast_radius: str
    undo: str
    arrangement: Arrangement
    to: ModelVersion | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    evidence: tuple[str, ...] = ()


def answering(before: Arrangement) -> Arrangement:
    """A version answers every request: what stood in its way is over, so are shadows, which may not fit it and must not
    keep it from serving; what has to do with data stays."""
    return replace(before, shares={}, shadows=(), digests={}, constant=None, paused=False)


def without_shadows(before: Arrangement, versions: Collection[str]) -> Arrangement:
    """Versions score no request any more."""
    shadows = tuple(each for each in before.shadows if each not in versions)
    digests = {name: digest for name, digest in before.digests.items() if name in {*before.shares, *shadows}}
    return replace(before, shadows=shadows, digests=digests)


def without(before: Arrangement, version: str) -> Arrangement:
    """A version gets no share of the requests any more."""
    shares = {name: share for name, share in before.shares.items() if name != version}
    kept = {*shares, *before.shadows}
    digests = {name: digest for name, digest in before.digests.items() if name in kept}
    return replace(before, shares=shares, digests=digests)
