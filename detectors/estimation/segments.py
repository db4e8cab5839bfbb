"""What estimates are compared with: what the estimator says of the reference's rows that are like the window's, of its
segment and of its phases of the season."""

from typing import Final, NamedTuple

import msgspec

from detectors.columns import Integers
from detectors.estimation.estimate import estimate
from detectors.estimation.values import Estimator
from detectors.profile import Profile
from detectors.reference_values import Reference
from detectors.season import expected, expected_profile
from detectors.segments import ALL, known_of, own_of, profile_of

_MEMO_SIZE: Final = 1_024


class Usual(NamedTuple):
    """By measure: `values` that are estimated of these `rows` of the reference, and `wander`, the variance of that from
    one part of them to the next beyond what drawn rows explain. `undefined`: why a measure has no value."""

    values: dict[str, float]
    wander: dict[str, float]
    rows: int
    undefined: dict[str, str]


_memo: dict[str, Usual] = {}


def usual_of(profile: Profile, reference: Reference, segment: str, estimator: Estimator) -> Usual:
    """What is usual of a window's segment and phases; the last ones are remembered.

    segment: "all", or one that the reference knows (`own_of(...).alone` is not).
    """
    own = own_of(reference, segment).reference
    counted, key = expected_profile(own, profile), expected(own, profile).revision
    found = _memo.get(key)
    if found is None:
        if counted is None and segment != ALL:
            counted = profile_of(reference, segment)
        if counted is None:
            found = Usual(estimator.expected, estimator.wander, estimator.rows, {})
        else:
            found = _usual(reference, segment, counted.counters, estimator)
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        _memo[key] = found
    return found


def _usual(reference: Reference, segment: str, counters: Integers, estimator: Estimator) -> Usual:
    blank = Profile.empty(reference)
    counted = Profile(reference, blank.layout, counters, blank.registers)
    known, wander = known_of(reference, segment), dict(estimator.wander)
    if known is not None and not isinstance(known.wander, msgspec.UnsetType):
        wander |= {name: max(value, wander.get(name, 0.0)) for name, value in known.wander.items()}
    found = estimate(counted, estimator)
    return Usual(
        {one.measure: one.value for one in found if one.value is not None},
        wander,
        min(counted.rows, estimator.rows),
        {one.measure: f"of the reference's own rows: {one.undefined}" for one in found if one.undefined},
    )
