"""The measures of alibi-detect; they need an environment of their own (see docs/measures/alibi.md)."""

import warnings

import numpy as np
import pytest

from detectors.learning import with_learned
from detectors.library import alibi
from detectors.library.of_reference import seen_reference
from detectors.library.registry import Register
from detectors.library.standard import compare, seen
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.sampling import with_sample
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec

pytestmark = [
    pytest.mark.skipif(not alibi.is_installed(), reason="takes the extra alibi"),
    pytest.mark.filterwarnings("ignore"),
]


def _table(rng, rows, correlation=0.9, shift=0.0):
    table = {f"x{i}": rng.standard_normal(rows) for i in range(4)}
    table["x1"] = correlation * table["x0"] + (1 - correlation**2) ** 0.5 * table["x1"]
    return table | {"x2": table["x2"] + shift, "constant": np.full(rows, 3.0)}


def _found(reference, table, measure):
    window = Profile.empty(reference)
    window.fold(table, None, None, np.arange(len(table["x0"]), dtype=np.uint64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found,) = compare(seen_reference(reference), seen(window), Register({measure.name: measure}))
    return found


@pytest.mark.parametrize("measure", alibi.SAMPLED, ids=[one.name for one in alibi.SAMPLED])
def test_a_change_of_the_joint_distribution_is_seen_and_told_the_same_twice(measure):
    rng = np.random.default_rng(1)
    before = _table(rng, 3_000)
    specs = [FeatureSpec(name=name) for name in before]
    plain = with_learned(build_reference("m", "1", before, specs), Rows(before))
    reference = with_sample(plain, before)
    same, flipped = _table(rng, 1_000), _table(rng, 1_000, correlation=-0.9, shift=1.0)
    quiet, loud = (_found(reference, table, measure) for table in (same, flipped))
    assert loud.value > quiet.value >= 0.0
    assert loud.detail < "p-value 0.05" < quiet.detail
    assert _found(reference, flipped, measure) == loud
    assert "no sample" in _found(plain, same, measure).undefined
    assert "60" in _found(reference, _table(rng, 40), measure).undefined
