"""Which version answered when, and which only scored beside it, by the record of what was decided."""

from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import NamedTuple

from remediation.values import Desired


class Release(NamedTuple):
    """`by` which decision a version came in place of version `before`."""

    by: Desired
    before: str


def brought(deployments: Sequence[Desired], version: str) -> Release | None:
    """What made a version serve last, if another one served before it. deployments: oldest first."""
    changes = [
        Release(by, before.version)
        for before, by in pairwise(deployments)
        if by.version == version != before.version
    ]
    return changes[-1] if changes else None


def answers(desired: Desired, version: str) -> bool:
    """Whether requests are answered by the version."""
    return version == desired.version or version in desired.arrangement.shares


def scores_only(desired: Desired, version: str) -> bool:
    """Whether the version is a shadow, and nobody is answered by it."""
    return version in desired.arrangement.shadows and not answers(desired, version)


def only_scored(deployments: Sequence[Desired], version: str, at_us: int) -> bool:
    """Whether the version was a shadow at that time and nobody was answered by it. deployments: oldest first."""
    last = next((each for each in reversed(deployments) if each.at_us <= at_us), None)
    return last is not None and scores_only(last, version)


def shadowed_before(deployments: Sequence[Desired], version: str, epoch: int) -> bool:
    """Whether the version was a shadow before what was decided in `epoch`."""
    earlier = takewhile(lambda each: each.epoch < epoch, deployments)
    return any(version in each.arrangement.shadows for each in earlier)


def began_us(deployments: Sequence[Desired], version: str, epoch: int) -> int | None:
    """When the version first answered by what was decided in `epoch` or since; None where it does not."""
    since = (each.at_us for each in deployments if each.epoch >= epoch and answers(each, version))
    return next(since, None)
